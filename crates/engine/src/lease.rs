//! Leases: slots of swap that a forked child may read for as long as it lives.
//!
//! ```text
//!   slots          1 1 1 1 · ·        the parent's pages
//!   lend_slots     2 2 2 2 · ·        the child's as well: each has one holder more
//!   parent stores  1 2 1 2 1 1        a page that is written again moves to another slot
//!   end_lease      · 1 · 1 1 1
//! ```
//!
//! The child's engine is a copy, made by fork(2), and has a file of its own to write to.
//! So the parent has to keep the bytes, and needs other slots for as many pages as it had
//! room for: before it lends, the area is made so much larger.

use alloc::vec::Vec;

use faultless_addr::{ObjectId, PAGE_BYTES};

use crate::engine::Engine;
use crate::swap::{SwapSlot, TooManyHolders};
use crate::swapping::Swap;

/// Names what one child has been lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease(u32);

/// What one child may read.
pub(crate) struct Lent {
    lease: Lease,
    slots: Vec<SwapSlot>,
}

impl Lent {
    /// Each slot.
    pub fn slots(&self) -> impl Iterator<Item = SwapSlot> {
        self.slots.iter().copied()
    }

    /// Bytes that it takes.
    pub fn bookkeeping_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<SwapSlot>()
    }
}

/// How large the swap area is to be made before it is lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enlarge {
    /// The area.
    pub object: ObjectId,
    /// Slots in all.
    pub slots: u32,
}

impl Engine {
    /// What is to be done before [`lend_slots`](Self::lend_slots), so that afterwards there
    /// is room for as many pages as was promised; `None` where there is no swap.
    pub fn lending_needs(&self) -> Option<Enlarge> {
        let swap = self.swap.as_ref()?;
        let slots = swap.map.in_use().saturating_add(swap.promised).min(u32::MAX - 1);
        Some(Enlarge { object: swap.object, slots: slots.max(swap.map.slots()) })
    }

    /// The area has so many slots now.
    pub fn enlarge_swap(&mut self, slots: u32) {
        let Some(swap) = &mut self.swap else { return };
        swap.map.grow(slots);
        let object = swap.object;
        self.object_mut(object).options.size = u64::from(slots) * PAGE_BYTES;
    }

    /// Keeps the bytes of every slot that a page has, until [`end_lease`](Self::end_lease).
    pub fn lend_slots(&mut self) -> Result<Option<Lease>, TooManyHolders> {
        let Some(swap) = &mut self.swap else { return Ok(None) };
        let lease = Lease(swap.lent.last().map_or(0, |last| last.lease.0.wrapping_add(1)));
        let mut slots = Vec::new();
        for slot in self.anons.iter().filter_map(|(_, page)| page.slot()) {
            if let Err(error) = swap.map.get(slot) {
                put_all(swap, &slots);
                return Err(error);
            }
            slots.push(slot);
        }
        swap.lent.push(Lent { lease, slots });
        Ok(Some(lease))
    }

    /// The child is no more, or has another program.
    pub fn end_lease(&mut self, lease: Lease) {
        let Some(swap) = &mut self.swap else { return };
        let Some(n) = swap.lent.iter().position(|lent| lent.lease == lease) else { return };
        let lent = swap.lent.remove(n);
        put_all(swap, &lent.slots);
    }

    /// How many children have something lent.
    pub fn leases(&self) -> usize {
        self.swap.as_ref().map_or(0, |swap| swap.lent.len())
    }

    /// Ends all leases: those of this engine's original, where it is a copy.
    pub(crate) fn forget_leases(&mut self) {
        while let Some(lease) = self.swap.as_ref().and_then(|swap| Some(swap.lent.last()?.lease)) {
            self.end_lease(lease);
        }
    }
}

fn put_all(swap: &mut Swap, slots: &[SwapSlot]) {
    for slot in slots {
        swap.map.put(*slot);
    }
}
