//! Anonymous memory of a [`Vm`] for allocators, paid for out of its room.
//!
//! Addresses cost nothing and are plenty; bytes that may be used are *paid*: so many
//! fewer are left of what budget and swap can hold. Whoever can't pay is refused.

use std::sync::Arc;

use faultless_addr::{PAGE_BYTES, SpaceId, VirtAddr, VirtRange};
use faultless_heap::Place;
use faultless_runtime::Moving;

use crate::options::Delivery;
use crate::vm::{Inner, Vm};

/// Addresses that are left free behind a mapping, in lengths of it: it can grow by so
/// many without being moved, unless others take them.
const GROWTH: u64 = 3;

/// Makes, changes and ends mappings. All lengths are whole pages.
pub(super) struct Mappings {
    vm: Arc<Inner>,
    space: SpaceId,
}

impl Mappings {
    pub fn new(vm: &Vm, delivery: Delivery) -> Mappings {
        Mappings { vm: vm.inner.clone(), space: delivery.space() }
    }

    /// All addresses that it can ever answer with.
    pub fn arena(&self) -> VirtRange {
        self.vm.core().machine().arena(self.space)
    }

    /// Is this the process that has the memory, not a fork of it?
    pub fn is_here(&self) -> bool {
        self.vm.core().check_birthplace().is_ok()
    }

    /// `len` bytes may be used from now on, if there is room for them.
    pub fn pay(&self, len: u64) -> Option<()> {
        self.vm.room.take(len).ok()
    }

    /// `len` bytes are not used any more.
    pub fn refund(&self, len: u64) {
        self.vm.room.give(len);
    }

    /// Addresses aligned to `align`, unpaid. If it may be, others behind stay free.
    pub fn place(&self, len: u64, align: u64) -> Option<VirtRange> {
        let room = len.saturating_mul(GROWTH);
        self.place_with(len, align, room).or_else(|| self.place_with(len, align, 0))
    }

    /// Takes more addresses than needed and gives both ends back.
    fn place_with(&self, len: u64, align: u64, room: u64) -> Option<VirtRange> {
        let more = len.checked_add(room)?.checked_add(align.max(PAGE_BYTES) - PAGE_BYTES)?;
        let all = self.vm.core().map_anonymous(self.space, more).ok()?;
        let start = VirtAddr(all.start.0.next_multiple_of(align.max(PAGE_BYTES)));
        let range = VirtRange::new(start, VirtAddr(start.0 + len));
        self.end(VirtRange::new(all.start, range.start));
        self.end(VirtRange::new(range.end, all.end));
        Some(range)
    }

    /// A mapping, paid.
    pub fn map(&self, len: u64, align: u64) -> Option<VirtRange> {
        self.pay(len)?;
        let placed = self.place(len, align);
        if placed.is_none() {
            self.refund(len);
        }
        placed
    }

    /// Makes a mapping longer or shorter, where it is or, if it may be, elsewhere with its
    /// pages. `None` leaves it as it was.
    pub fn resize(&self, range: VirtRange, new: u64, place: Place) -> Option<VirtRange> {
        let old = range.len();
        let moving = match place {
            Place::Same => Moving::No,
            Place::Any => Moving::WithRoom(new.saturating_mul(GROWTH)),
        };
        self.pay(new.saturating_sub(old))?;
        match self.vm.core().resize_private(self.space, range, new, moving) {
            Ok(resized) => {
                self.refund(old.saturating_sub(new));
                Some(resized)
            }
            Err(_) => {
                self.refund(new.saturating_sub(old));
                None
            }
        }
    }

    /// Ends a mapping, or a part of one that was paid.
    pub fn unmap(&self, range: VirtRange) {
        self.end(range);
        self.refund(range.len());
    }

    /// Ends unpaid addresses. In a fork they are the parent's and stay.
    pub fn end(&self, range: VirtRange) {
        if !range.is_empty() {
            let _ = self.vm.core().unmap_private(self.space, range);
        }
    }

    /// The bytes are zeros again, and take no memory.
    pub fn forget(&self, range: VirtRange) -> Option<()> {
        self.vm.core().dont_need(self.space, range).ok()
    }
}
