//! [`Turns`]: faults that wait to be served, one of each client in its turn.
//!
//! In the order in which they came, a client with a thousand threads would have each fault of
//! any other wait for a thousand of its own.

use std::collections::{HashMap, VecDeque};

use faultless_addr::SpaceId;
use faultless_machine::Held;

/// Faults, by client.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Never an empty one.
    faults: HashMap<SpaceId, VecDeque<Held>>,
    /// Whose turn is next: each that has a fault, once.
    order: VecDeque<SpaceId>,
}

impl Turns {
    /// A fault more; of those of its client it is the last.
    pub fn push(&mut self, held: Held) {
        let faults = self.faults.entry(held.space).or_default();
        if faults.is_empty() {
            self.order.push_back(held.space);
        }
        faults.push_back(held);
    }

    /// Nobody serves the faults of a client that is none any more.
    pub fn forget(&mut self, space: SpaceId) {
        self.faults.remove(&space);
        self.order.retain(|it| *it != space);
    }

    /// The next fault.
    pub fn pop(&mut self) -> Option<Held> {
        let space = self.order.pop_front()?;
        let faults = self.faults.get_mut(&space)?;
        let held = faults.pop_front();
        if faults.is_empty() {
            self.faults.remove(&space);
        } else {
            self.order.push_back(space);
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultless_addr::{Access, VirtAddr};

    fn held(space: u32, page: u64) -> Held {
        let addr = VirtAddr(page << 12);
        Held { space: SpaceId(space), addr, access: Access::Read, thread: 0 }
    }

    fn taken(turns: &mut Turns) -> Option<(u32, u64)> {
        turns.pop().map(|held| (held.space.0, held.addr.0 >> 12))
    }

    #[test]
    fn who_has_many_waits_for_who_has_one() {
        let mut turns = Turns::default();
        (0..3).for_each(|page| turns.push(held(1, page)));
        turns.push(held(2, 7));
        assert_eq!(taken(&mut turns), Some((1, 0)));
        // Who comes now comes before the rest of those that came first.
        turns.push(held(3, 8));
        let order: Vec<_> = std::iter::from_fn(|| taken(&mut turns)).collect();
        assert_eq!(order, [(2, 7), (1, 1), (3, 8), (1, 2)]);
        turns.push(held(1, 9));
        assert_eq!((taken(&mut turns), taken(&mut turns)), (Some((1, 9)), None));
        turns.push(held(2, 1));
        turns.push(held(1, 2));
        turns.forget(SpaceId(2));
        assert_eq!((taken(&mut turns), taken(&mut turns)), (Some((1, 2)), None));
        assert!(turns.faults.is_empty() && turns.order.is_empty(), "{turns:?}");
    }
}
