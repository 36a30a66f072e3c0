//! Anything at all, against a slow machine without tables and TLBs.

mod slow;
mod step;

use faultless_addr::{Access, PAGE_SIZE};
use faultless_machine::Then;
use proptest::prelude::*;
use proptest::test_runner::{Config as Proptest, TestError, TestRunner};

use super::*;
use slow::Slow;
use step::{CPUS, FRAMES, SPACES, Step, step};

/// Does the same with both, and compares what they answer.
fn take(machine: &SoftwareMachine, slow: &mut Slow, step: &Step) -> Result<(), TestCaseError> {
    match step {
        Step::Load(cpu, space, addr, len) => {
            let mut bytes = vec![0; *len];
            let result = machine.load(*cpu, *space, *addr, &mut bytes);
            prop_assert_eq!((result, bytes), slow.load(*space, *addr, *len, Access::Read));
        }
        Step::Fetch(cpu, space, addr, len) => {
            let mut bytes = vec![0; *len];
            let result = machine.fetch(*cpu, *space, *addr, &mut bytes);
            prop_assert_eq!((result, bytes), slow.load(*space, *addr, *len, Access::Execute));
        }
        Step::Store(cpu, space, addr, bytes) => {
            let result = machine.store(*cpu, *space, *addr, bytes);
            prop_assert_eq!(result, slow.store(*space, *addr, bytes));
        }
        Step::Exchange(cpu, space, addr, new) => {
            // Half of them find what they expect.
            let expected = match new % 2 {
                0 => slow.number(*space, *addr).unwrap_or(0),
                _ => 0,
            };
            let result = machine.compare_exchange_u64(*cpu, *space, *addr, expected, *new);
            prop_assert_eq!(result, slow.exchange(*space, *addr, expected, *new));
        }
        Step::Back(_) | Step::Release(_) | Step::Copy(..) | Step::Zero(_) => {
            take_frame(machine, slow, step);
        }
        _ => take_translation(machine, slow, step)?,
    }
    Ok(())
}

fn take_frame(machine: &SoftwareMachine, slow: &mut Slow, step: &Step) {
    match *step {
        Step::Back(frame) if slow.place(frame) == Place::Empty => {
            machine.back(&[frame]).unwrap();
            slow.fill(frame, UNREAD);
        }
        Step::Release(frame) if !matches!(slow.place(frame), Place::Mapped(_)) => {
            machine.release(&[frame]);
            slow.empty(frame);
        }
        Step::Copy(from, to) if [from, to].iter().all(|f| slow.place(*f) != Place::Empty) => {
            machine.copy_frame(from, to);
            slow.copy(from, to);
        }
        Step::Zero(frame) if slow.place(frame) != Place::Empty => {
            machine.zero_frame(frame);
            slow.fill(frame, 0);
        }
        _ => {} // A driver doesn't do so.
    }
}

fn take_translation(
    machine: &SoftwareMachine,
    slow: &mut Slow,
    step: &Step,
) -> Result<(), TestCaseError> {
    match *step {
        Step::Map(space, at, frame, rights) if slow.place(frame) != Place::Empty => {
            let result = machine.map_with(space, at, frame, rights);
            prop_assert_eq!(result.is_ok(), slow.map(space, at, &[frame], rights));
        }
        Step::MapRun(space, at, frames, write)
            if frames.iter().all(|frame| slow.place(*frame) != Place::Empty) =>
        {
            let result = machine.map(space, at, &frames, write);
            prop_assert_eq!(result.is_ok(), slow.map(space, at, &frames, rights_for(write)));
        }
        Step::Unmap(space, at, then) => {
            if let Some(frame) = slow.unmap(space, at, then) {
                machine.unmap(space, &[(at, frame)], then).unwrap();
            }
        }
        Step::Protect(space, at, rights) => {
            let is_there = slow.protect(space, at, |_| rights);
            if is_there {
                machine.protect(space, at, rights);
            }
        }
        Step::SetWrite(space, range, write) => {
            machine.set_write(space, range, write).unwrap();
            for at in slow::pages(range) {
                slow.protect(space, at, |rights| match write {
                    WriteAccess::Allowed => rights | Rights::WRITE,
                    _ => rights - Rights::WRITE,
                });
            }
        }
        Step::Mark(space, range, marker) => {
            let result = match marker {
                Marker::Poison => machine.poison(space, range).is_ok(),
                Marker::Guard => machine.guard(space, range).is_ok(),
            };
            prop_assert_eq!(result, slow.mark(space, range, marker));
        }
        Step::Unmark(space, range, marker) => {
            match marker {
                Marker::Poison => machine.heal(space, range).unwrap(),
                Marker::Guard => machine.unguard(space, range),
            }
            slow.unmark(space, range, marker);
        }
        Step::ClearAccessed(space, at) => {
            let accessed = machine.clear_accessed(space, at);
            prop_assert_eq!(accessed, slow.clear(space, at, |page| &mut page.accessed));
        }
        Step::ClearDirty(space, at) => {
            let dirty = machine.clear_dirty(space, at);
            prop_assert_eq!(dirty, slow.clear(space, at, |page| &mut page.dirty));
        }
        Step::Flush(space, range) => machine.flush(space, range),
        _ => {} // Frames that are empty aren't mapped.
    }
    Ok(())
}

fn rights_for(write: WriteAccess) -> Rights {
    match write {
        WriteAccess::Allowed => Rights::all(),
        _ => Rights::USER | Rights::EXECUTE,
    }
}

/// Everything that can be seen is the same.
fn compare(machine: &SoftwareMachine, slow: &Slow) -> Result<(), TestCaseError> {
    machine.check_invariants();
    prop_assert_eq!(machine.free_table_frames(), slow.free_table_frames());
    for space in (0..SPACES).map(SpaceId) {
        prop_assert_eq!(machine.translations(space).collect::<Vec<_>>(), slow.translations(space));
    }
    for frame in (0..FRAMES).map(FrameNo) {
        prop_assert_eq!(machine.place(frame), slow.place(frame));
        if let Some(expected) = slow.bytes(frame) {
            let mut bytes = vec![0; PAGE_SIZE];
            machine.read_frame(frame, 0, &mut bytes);
            prop_assert!(bytes == *expected, "the bytes of {:?} differ", frame);
        }
    }
    Ok(())
}

/// What is tried: how many frames there are for tables, and what is done.
type Case = (u32, Vec<Step>);

fn search(mut runner: TestRunner, canary: Option<Canary>) -> Result<(), TestError<Case>> {
    // Two roots, and often not what all pages need.
    let strategy = (5..20u32, prop::collection::vec(step(), 1..150));
    runner.run(&strategy, |(table_frames, steps)| {
        let config =
            Config { table_frames, cpus: CPUS, spaces: SPACES, canary, ..Config::new(FRAMES) };
        let machine = SoftwareMachine::new(config);
        let mut slow = Slow::new(FRAMES, table_frames - SPACES);
        for step in &steps {
            take(&machine, &mut slow, step)?;
            if canary.is_none() {
                prop_assert_eq!(machine.stale(), []);
            }
        }
        compare(&machine, &slow)
    })
}

#[test]
fn anything_agrees_with_the_slow_machine() {
    let proptest = Proptest { cases: 1500, failure_persistence: None, ..Proptest::default() };
    search(TestRunner::new(proptest), None).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_missing_flush_is_found() {
    let result = search(TestRunner::deterministic(), Some(Canary::MissingFlush));
    let Err(TestError::Fail(_, (_, steps))) = result else {
        panic!("nothing was found: the model checks nothing");
    };
    // The shortest way has five steps: a frame, its address, an access that is
    // remembered, the end of the address, and an access that should fault.
    assert!((5..10).contains(&steps.len()), "{steps:#?}");
}
