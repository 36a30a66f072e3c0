//! An episode: one world, some thousand calls, and the shortest sequence that differs.

use std::io;

use crate::call::{Call, ProcessId};
use crate::kernel::Kernel;
use crate::outcome::Outcome;
use crate::system::{Person, Store, System, World};

use super::generate::Generator;
use super::pair::Pair;
use super::told::{Difference, Told};
use super::trio::Trio;

/// Areas are compared after so many calls,
const AREAS_EVERY: u64 = 64;
/// and bytes after so many.
const BYTES_EVERY: u64 = 200;

/// Makes a system beside the model.
pub fn beside_model<S: System>(
    make: impl Fn(World) -> io::Result<S> + Copy,
) -> impl Fn(World) -> io::Result<Pair<S>> + Copy {
    move |world| Ok(Pair::new(make(world)?, world))
}

/// Makes a system beside the kernel.
pub fn beside_kernel<S: System>(
    make: impl Fn(World) -> io::Result<S> + Copy,
) -> impl Fn(World) -> io::Result<Trio<S>> + Copy {
    let (ours, theirs) = (beside_model(make), beside_model(Kernel::new));
    move |world| Ok(Trio::new(ours(world)?, theirs(world)?))
}

/// Who did what.
pub type Step = (ProcessId, Call);

/// What an episode came to.
#[derive(Debug)]
pub struct Ended {
    /// Calls that were compared.
    pub calls: u64,
    /// What differed at last, and the calls up to there.
    pub difference: Option<(Box<Difference>, Vec<Step>)>,
    /// Calls that succeeded.
    pub succeeded: u64,
    /// Calls that could not be compared, and were not made.
    pub left_out: u64,
}

/// The world of a seed: files on a disk or not, root or not, a window with much room
/// or little.
pub fn world(seed: u64) -> World {
    let store = if seed.is_multiple_of(2) { Store::Disk } else { Store::Tmpfs };
    let person = if (seed / 2).is_multiple_of(3) { Person::Ordinary } else { Person::Whoever };
    let narrow = (seed / 6).is_multiple_of(2);
    let len = if narrow { 128 * 4096 } else { World::WIDE.len };
    let brk = if narrow { World::WIDE.base + 64 * 4096 } else { World::WIDE.brk };
    World { store, person, len, brk, ..World::WIDE }
}

/// Runs the calls of a seed.
///
/// # Errors
/// Whatever keeps a system from being made.
pub fn run<T: Told>(
    make: impl Fn(World) -> io::Result<T>,
    seed: u64,
    calls: u64,
) -> io::Result<Ended> {
    let world = world(seed);
    let mut told = make(world)?;
    let mut generator = Generator::new(world, seed);
    let mut steps = Vec::new();
    let (mut succeeded, mut left_out) = (0, 0);
    for done in 1..=calls {
        let process = generator.process();
        let call = generator.call(process, &told.areas(process));
        let compared = told.can_compare(process, &call).and_then(|can| {
            left_out += u64::from(!can);
            if can {
                steps.push((process, call.clone()));
                let outcome = told.call(process, &call)?;
                succeeded += u64::from(!matches!(outcome, Outcome::Errno(_)));
            }
            look(&mut told, generator.processes(), done, done == calls)
        });
        if let Err(difference) = compared {
            let difference = Some((difference, steps));
            return Ok(Ended { calls: done, difference, succeeded, left_out });
        }
    }
    Ok(Ended { calls, difference: None, succeeded, left_out })
}

fn look<T: Told>(
    told: &mut T,
    processes: &[ProcessId],
    done: u64,
    last: bool,
) -> Result<(), Box<Difference>> {
    for process in processes {
        if last || done.is_multiple_of(AREAS_EVERY) {
            told.compare_areas(*process)?;
        }
        if last || done.is_multiple_of(BYTES_EVERY) {
            told.compare_bytes(*process)?;
        }
    }
    Ok(())
}

/// Does the sequence differ, in its calls or in what is there afterwards?
///
/// # Errors
/// Whatever keeps a system from being made.
pub fn replay<T: Told>(
    make: impl Fn(World) -> io::Result<T>,
    world: World,
    steps: &[Step],
) -> io::Result<Option<Box<Difference>>> {
    let mut told = make(world)?;
    for (process, call) in steps {
        let compared = told.can_compare(*process, call).and_then(|can| match can {
            true => told.call(*process, call).map(drop),
            false => Ok(()),
        });
        if let Err(difference) = compared {
            return Ok(Some(difference));
        }
    }
    let all: Vec<ProcessId> = (0..4).map(ProcessId).collect();
    Ok(look(&mut told, &all, 1, true).err())
}

/// Leaves calls out as long as the rest still differs.
///
/// # Errors
/// Whatever keeps a system from being made.
pub fn shrink<T: Told>(
    make: impl Fn(World) -> io::Result<T> + Copy,
    world: World,
    mut steps: Vec<Step>,
) -> io::Result<(Vec<Step>, Option<Box<Difference>>)> {
    let mut found = replay(make, world, &steps)?;
    let Some(first) = &found else { return Ok((steps, None)) };
    // Another difference may be one that the generator takes care not to make.
    let kind = first.kind().to_owned();
    let mut piece = steps.len().div_ceil(2);
    loop {
        let mut at = 0;
        let before = steps.len();
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + piece).min(steps.len()));
            match replay(make, world, &fewer)? {
                Some(difference) if difference.kind() == kind => {
                    (steps, found) = (fewer, Some(difference))
                }
                _ => at += piece,
            }
        }
        match piece {
            1 if steps.len() == before => return Ok((steps, found)),
            1 => {}
            _ => piece = piece.div_ceil(2),
        }
    }
}
