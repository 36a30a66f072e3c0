//! Both worlds: one `Vm` and one kernel, with the same files, maps and memory.

use std::collections::VecDeque;
use std::path::PathBuf;

use faultless::{Delivery, Vm};

use super::PAGE;
use super::dice::Dice;
use super::differences::Tally;
use super::op::Op;
use super::touch::How;
use super::twin::{HOME_PAGES, Private, TwinFile};

pub struct World<'a> {
    pub vm: &'a Vm,
    pub files: Vec<TwinFile>,
    pub privates: Vec<Private>,
    pub tally: &'a Tally,
    /// Nobody else uses the `Vm`: what no twin has is nobody's.
    pub alone: bool,
    /// What was done last.
    pub log: VecDeque<String>,
}

/// Whose addresses are meant: by number of private memory, or of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Private(usize),
    Home(usize),
}

/// Where a target is.
pub struct Place {
    pub ours: usize,
    pub kernel: usize,
    pub pages: usize,
    pub delivery: Delivery,
}

impl Place {
    pub fn is_inline(&self) -> bool {
        self.delivery == Delivery::Inline
    }
}

pub const DELIVERIES: [Delivery; 2] = [Delivery::Thread, Delivery::Inline];

/// Lines of what was done that a failure shows.
const LOG_LINES: usize = 40;

pub fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

impl<'a> World<'a> {
    pub fn new(vm: &'a Vm, tally: &'a Tally, alone: bool, dice: &mut Dice) -> World<'a> {
        let files = (0..1 + dice.below(3))
            .map(|_| {
                let len = 1 + dice.below(HOME_PAGES / 2 * PAGE);
                TwinFile::new(&directory(), &dice.bytes(len))
            })
            .collect();
        World { vm, files, privates: Vec::new(), tally, alone, log: VecDeque::new() }
    }

    pub fn say(&mut self, line: impl FnOnce() -> String) {
        if self.log.len() == LOG_LINES {
            self.log.pop_front();
        }
        let line = line();
        super::watch::doing(&line);
        self.log.push_back(line);
    }

    pub fn place(&self, target: Target) -> Place {
        match target {
            Target::Private(index) => {
                let private = &self.privates[index];
                Place {
                    ours: private.ours(),
                    kernel: private.kernel.start,
                    pages: private.kernel.pages,
                    delivery: private.delivery,
                }
            }
            Target::Home(file) => {
                let home = self.files[file].home.as_ref().expect("the file is mapped");
                Place {
                    ours: home.ours,
                    kernel: home.kernel.start,
                    pages: HOME_PAGES,
                    delivery: home.delivery,
                }
            }
        }
    }

    /// Everything that has addresses.
    pub fn targets(&self) -> Vec<Target> {
        let homes = (0..self.files.len()).filter(|file| self.files[*file].home.is_some());
        (0..self.privates.len()).map(Target::Private).chain(homes.map(Target::Home)).collect()
    }

    /// Is there nothing of ours at some addresses?
    pub fn is_nobodys(&self, start: usize, len: usize) -> bool {
        self.alone
            && self.targets().into_iter().all(|target| {
                let place = self.place(target);
                start + len <= place.ours || place.ours + place.pages * PAGE <= start
            })
    }

    /// Compares everything that may be read.
    pub fn compare_all(&mut self) -> Result<(), String> {
        for target in self.targets() {
            for page in 0..self.place(target).pages {
                self.load(target, (page * PAGE) as isize, PAGE, How::Many)
                    .map_err(|error| format!("at the end, {target:?}, page {page}: {error}"))?;
            }
        }
        Ok(())
    }

    /// Gives all rights back, compares everything, and drops one after the other.
    pub fn finish(&mut self, dice: &mut Dice) -> Result<(), String> {
        for target in self.targets() {
            self.allow_all(target)?;
        }
        self.compare_all()?;
        while !self.targets().is_empty() {
            self.drop_one(dice)?;
        }
        Ok(())
    }
}

/// Carries operations out; a failure comes with what was done last.
pub fn run(vm: &Vm, tally: &Tally, alone: bool, (seed, ops): (u64, &[Op])) -> Result<(), String> {
    let mut dice = Dice::new(seed);
    let mut world = World::new(vm, tally, alone, &mut dice);
    let result = ops
        .iter()
        .try_for_each(|op| {
            super::watch::step(seed, op.step);
            world.apply(op)
        })
        .and_then(|()| world.finish(&mut dice));
    result.map_err(|error| {
        let done: Vec<String> = world.log.iter().cloned().collect();
        format!("{}\n  {error}", done.join("\n"))
    })
}
