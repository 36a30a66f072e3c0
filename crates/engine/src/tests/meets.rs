//! Verbs that meet: in every order of their steps and of what their plans say, the end is as
//! if one had come after the other.
//!
//! ```text
//!   verb 0 ──step──step──step──►   each step is a call of the engine; what its plan says
//!   verb 1 ───step──step──►        becomes tasks, and tasks begin tasks. A verb that waits
//!   tasks    ──task───task──►      goes on when the engine wakes it, else nobody does.
//! ```
//!
//! There is one page: a file's that is shared, a private copy of one, or anonymous. Its bytes
//! are one number. ARCHITECTURE's table of what meets what names these tests.

mod model;
mod world;

use std::collections::BTreeSet;
use std::vec::Vec;

use faultless_addr::*;

use crate::*;
use model::Model;
use world::{Running, Wait, World};

/// What the file has, what the program has stored before, and what it stores now.
const FILE: u64 = 1;
const BEFORE: u64 = 2;
const NOW: u64 = 3;
/// What a child stores when all is over.
const CHILDS: u64 = 4;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Page {
    Shared,
    Copied,
    Anonymous,
}

/// What has been done with the page before.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Start {
    Untouched,
    Loaded,
    Stored,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Verb {
    /// The program stores [`NOW`].
    Fault,
    WriteBack,
    Evict,
    Truncate,
    Fork,
    Unmap,
}

/// What an access sees.
type Seen = Result<u64, Signal>;

/// What is to be seen in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct End {
    /// How the store ended, if there was one.
    store: Option<Result<(), Signal>>,
    parent: Option<Seen>,
    child: Option<Seen>,
    /// What the parent sees when the child has stored.
    after_child: Option<Seen>,
    file: Option<u64>,
}

/// Numbers that are chosen: the next play chooses others, until all have been.
#[derive(Default)]
struct Choices {
    taken: Vec<(usize, usize)>,
    at: usize,
}

impl Choices {
    fn below(&mut self, n: usize) -> usize {
        if self.at == self.taken.len() {
            self.taken.push((0, n));
        }
        let (chosen, of) = self.taken[self.at];
        assert_eq!(of, n, "a play is not the same a second time");
        self.at += 1;
        chosen
    }

    fn is_there_another(&mut self) -> bool {
        self.at = 0;
        while let Some((chosen, of)) = self.taken.pop() {
            if chosen + 1 < of {
                self.taken.push((chosen + 1, of));
                return true;
            }
        }
        false
    }
}

/// Plays verbs in the order that is chosen.
fn play(mut world: World, verbs: &[Verb], choices: &mut Choices) -> End {
    let mut running: Vec<Running> = verbs.iter().copied().map(Running::new).collect();
    loop {
        let ready = |it: &Running| !it.done && it.wait == Wait::Nothing;
        let able: Vec<usize> = (0..running.len()).filter(|n| ready(&running[*n])).collect();
        let count = able.len() + world.tasks.len();
        if count == 0 {
            assert!(running.iter().all(|it| it.done), "a verb waits for ever");
            return world.end();
        }
        world.settled = 0;
        let chosen = choices.below(count);
        match able.get(chosen) {
            Some(n) => world.advance(&mut running[*n]),
            None => {
                world.carry_out(chosen - able.len());
                wake(&mut running, |wait| wait == Wait::Task);
            }
        }
        let (settled, changes) = (world.settled, world.changes);
        wake(&mut running, |wait| match wait {
            Wait::Frame(no) => settled >> Wakes::group(no) & 1 == 1,
            Wait::Change => !changes,
            _ => false,
        });
        world.check();
    }
}

fn wake(running: &mut [Running], wakes: impl Fn(Wait) -> bool) {
    for it in running.iter_mut().filter(|it| wakes(it.wait)) {
        it.wait = Wait::Nothing;
    }
}

/// All orders, of every kind of page for which the verbs have a meaning.
fn meet(verbs: &[Verb]) {
    let mut orders = 0;
    for page in [Page::Shared, Page::Copied, Page::Anonymous] {
        let is_of_files = verbs.contains(&Verb::Truncate) || verbs.contains(&Verb::WriteBack);
        if is_of_files && page == Page::Anonymous {
            continue;
        }
        for start in [Start::Untouched, Start::Loaded, Start::Stored] {
            for addresses in [Addresses::Many, Addresses::One, Addresses::OneIfPrivate] {
                // fork shows a page at two addresses.
                if addresses != Addresses::One || !verbs.contains(&Verb::Fork) {
                    orders += meet_on(verbs, page, start, addresses);
                }
            }
        }
    }
    std::eprintln!("{verbs:?}: {orders} orders");
}

fn meet_on(verbs: &[Verb], page: Page, start: Start, addresses: Addresses) -> usize {
    let serial: Vec<End> =
        one_by_one(verbs).iter().map(|it| Model::new(page, start).play(it)).collect();
    let (mut choices, mut orders) = (Choices::default(), 0);
    let mut ends = BTreeSet::new();
    loop {
        let world = World::new(page, start, addresses);
        let played = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| {
            let end = play(world, verbs, &mut choices);
            assert!(serial.contains(&end), "{end:?} is neither of {serial:?}");
            end
        }));
        orders += 1;
        match played {
            Ok(end) => drop(ends.insert(serial.iter().position(|it| *it == end))),
            Err(panic) => {
                std::eprintln!("{page:?} {start:?} {addresses:?}: order {:?}", choices.taken);
                std::panic::resume_unwind(panic);
            }
        }
        if !choices.is_there_another() {
            // Where it makes a difference which of two is first, each was.
            let differ = verbs.len() == 2 && serial[0] != serial[1];
            assert!(ends.len() == 2 || !differ, "one is always first");
            return orders;
        }
    }
}

/// The verbs in every order, each done before the next.
fn one_by_one(verbs: &[Verb]) -> Vec<Vec<Verb>> {
    let [first, rest @ ..] = verbs else { return std::vec![Vec::new()] };
    let mut all = Vec::new();
    for order in one_by_one(rest) {
        for place in 0..=order.len() {
            let mut order = order.clone();
            order.insert(place, *first);
            all.push(order);
        }
    }
    all
}

#[test]
fn fault_meets_write_back() {
    meet(&[Verb::Fault, Verb::WriteBack]);
}

#[test]
fn fault_meets_evict() {
    meet(&[Verb::Fault, Verb::Evict]);
}

#[test]
fn fault_meets_truncate() {
    meet(&[Verb::Fault, Verb::Truncate]);
}

#[test]
fn fault_meets_fork() {
    meet(&[Verb::Fault, Verb::Fork]);
}

#[test]
fn fault_meets_unmap() {
    meet(&[Verb::Fault, Verb::Unmap]);
}

#[test]
fn write_back_meets_evict() {
    meet(&[Verb::WriteBack, Verb::Evict]);
}

#[test]
fn write_back_meets_truncate() {
    meet(&[Verb::WriteBack, Verb::Truncate]);
}

#[test]
fn write_back_meets_fork() {
    meet(&[Verb::WriteBack, Verb::Fork]);
}

#[test]
fn write_back_meets_unmap() {
    meet(&[Verb::WriteBack, Verb::Unmap]);
}

#[test]
fn evict_meets_truncate() {
    meet(&[Verb::Evict, Verb::Truncate]);
}

#[test]
fn evict_meets_fork() {
    meet(&[Verb::Evict, Verb::Fork]);
}

#[test]
fn evict_meets_unmap() {
    meet(&[Verb::Evict, Verb::Unmap]);
}

#[test]
fn truncate_meets_fork() {
    meet(&[Verb::Truncate, Verb::Fork]);
}

#[test]
fn truncate_meets_unmap() {
    meet(&[Verb::Truncate, Verb::Unmap]);
}

#[test]
fn three_meet() {
    use Verb::*;
    let all = [Fault, WriteBack, Evict, Truncate, Fork, Unmap];
    for (n, a) in all.iter().enumerate() {
        for (m, b) in all.iter().enumerate().skip(n + 1) {
            for c in &all[m + 1..] {
                // Verbs of one space exclude each other.
                if (*b, *c) != (Fork, Unmap) {
                    let orders =
                        meet_on(&[*a, *b, *c], Page::Shared, Start::Stored, Addresses::Many);
                    std::eprintln!("{a:?} {b:?} {c:?}: {orders} orders");
                }
            }
        }
    }
}
