//! [`Entry`]: one entry of a page table, bit for bit as x86-64 has it.
//!
//! A table is 512 of them in one frame. With `P` set, the processor reads it:
//!
//! ```text
//!   63  62       52 51                      12 11  9  8  7  6  5   4   3   2   1   0
//!  ┌───┬───────────┬──────────────────────────┬─────┬──┬──┬──┬──┬───┬───┬───┬───┬───┐
//!  │NX │  ignored  │       frame number       │ AVL │G │PS│D │A │PCD│PWT│ U │ W │ P │
//!  └───┴───────────┴──────────────────────────┴─────┴──┴──┴──┴──┴───┴───┴───┴───┴───┘
//! ```
//!
//! | bit | here | when it is set |
//! |---|---|---|
//! | `P` | [`Flags::PRESENT`] | the entry names a frame |
//! | `W` | [`Flags::WRITE`] | stores are allowed |
//! | `U` | [`Flags::USER`] | programs, not only the kernel, may come here |
//! | `A` | [`Flags::ACCESSED`] | a walk has used the entry |
//! | `D` | [`Flags::DIRTY`] | a store went through it; in the last table only |
//! | `NX` | [`Flags::NO_EXECUTE`] | instruction fetches are *not* allowed |
//!
//! `PWT`, `PCD`, `PS` and `G` (caching, big and global pages) are not used here and
//! always clear. With `P` clear the processor ignores all other bits, so they are the
//! kernel's; here the three bits `AVL` say what touching the absent page means:
//!
//! | `AVL` | meaning |
//! |---|---|
//! | 0 | nothing is known: an ordinary absent page |
//! | 1 | [`Marker::Poison`] |
//! | 2 | [`Marker::Guard`] |
//!
//! Source: Intel SDM vol. 3A, section 4.5, "4-Level Paging and 5-Level Paging". (Paging
//! is chapter 4 in most editions, and 5 in the newest; this crate counts as most do.)
//! Intel's names of the bits are `R/W`, `U/S` and `XD`; `NX` is AMD's.

use faultless_addr::{Access, FrameNo, PAGE_SHIFT};

bitflags::bitflags! {
    /// The bits of an [`Entry`] that the processor reads or sets.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Flags: u64 {
        /// The entry names a frame.
        const PRESENT = 1 << 0;
        /// Stores are allowed.
        const WRITE = 1 << 1;
        /// Programs may come here.
        const USER = 1 << 2;
        /// A walk has used the entry.
        const ACCESSED = 1 << 5;
        /// A store went through the entry.
        const DIRTY = 1 << 6;
        /// Instruction fetches are not allowed.
        const NO_EXECUTE = 1 << 63;
    }
}

bitflags::bitflags! {
    /// What a translation allows. Loads are always allowed to whoever may come there.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Rights: u8 {
        /// Stores.
        const WRITE = 1;
        /// Instruction fetches.
        const EXECUTE = 2;
        /// Programs; without it every access of theirs is denied.
        const USER = 4;
    }
}

impl Rights {
    /// Do these rights let a program's `access` happen?
    pub fn allow(self, access: Access) -> bool {
        let needed = match access {
            Access::Read => Rights::USER,
            Access::Write => Rights::USER | Rights::WRITE,
            Access::Execute => Rights::USER | Rights::EXECUTE,
        };
        self.contains(needed)
    }

    fn flags(self) -> Flags {
        let mut flags = Flags::PRESENT;
        flags.set(Flags::WRITE, self.contains(Rights::WRITE));
        flags.set(Flags::USER, self.contains(Rights::USER));
        flags.set(Flags::NO_EXECUTE, !self.contains(Rights::EXECUTE));
        flags
    }
}

/// What touching an absent page means, where that is known beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Marker {
    /// The page could not be read: touching it is an error (SIGBUS on Linux).
    Poison = 1,
    /// No page will ever be here: touching it is a segmentation fault.
    Guard = 2,
}

/// One entry. See the [module's description](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry(u64);

const MARKER_SHIFT: u32 = 9;
const MARKER_BITS: u64 = 0b111 << MARKER_SHIFT;
const FRAME_BITS: u64 = (1 << 52) - (1 << PAGE_SHIFT);

impl Entry {
    /// An absent page of which nothing is known.
    pub const EMPTY: Entry = Entry(0);

    /// The entry of a page in `frame`, not accessed and not dirty.
    pub fn page(frame: FrameNo, rights: Rights) -> Entry {
        Entry(u64::from(frame.0) << PAGE_SHIFT | rights.flags().bits())
    }

    /// The entry of the next table. It forbids nothing: the last table decides.
    pub fn table(frame: FrameNo) -> Entry {
        Entry::page(frame, Rights::all())
    }

    /// An absent page with a marker.
    pub fn marked(marker: Marker) -> Entry {
        Entry((marker as u64) << MARKER_SHIFT)
    }

    /// The entry with this value.
    pub fn from_bits(bits: u64) -> Entry {
        Entry(bits)
    }

    /// Its value.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The bits that are the processor's.
    pub fn flags(self) -> Flags {
        Flags::from_bits_truncate(self.0)
    }

    /// Are all of `flags` set?
    pub fn has(self, flags: Flags) -> bool {
        self.flags().contains(flags)
    }

    /// The same with `flags` set.
    pub fn with(self, flags: Flags) -> Entry {
        Entry(self.0 | flags.bits())
    }

    /// The same with `flags` clear.
    pub fn without(self, flags: Flags) -> Entry {
        Entry(self.0 & !flags.bits())
    }

    /// The same with other rights; what is known of accesses stays.
    pub fn with_rights(self, rights: Rights) -> Entry {
        self.without(Flags::WRITE | Flags::USER | Flags::NO_EXECUTE).with(rights.flags())
    }

    /// Does it name a frame?
    pub fn is_present(self) -> bool {
        self.has(Flags::PRESENT)
    }

    /// The frame that a present entry names.
    pub fn frame(self) -> FrameNo {
        FrameNo(((self.0 & FRAME_BITS) >> PAGE_SHIFT) as u32)
    }

    /// The rights that a present entry gives.
    pub fn rights(self) -> Rights {
        let mut rights = Rights::empty();
        rights.set(Rights::WRITE, self.has(Flags::WRITE));
        rights.set(Rights::EXECUTE, !self.has(Flags::NO_EXECUTE));
        rights.set(Rights::USER, self.has(Flags::USER));
        rights
    }

    /// What an absent page's entry says of it.
    pub fn marker(self) -> Option<Marker> {
        if self.is_present() {
            return None;
        }
        let markers = [Marker::Poison, Marker::Guard];
        markers.into_iter().find(|marker| self.0 & MARKER_BITS == Entry::marked(*marker).0)
    }

    /// May a TLB hold something of this entry that isn't true of `new` any more?
    ///
    /// That is so where `new` forbids what was allowed, forgets what was known, or
    /// names another frame. Absent pages are never in a TLB, and rights that were given
    /// are found by the walk that a refused access makes.
    pub fn must_flush_for(self, new: Entry) -> bool {
        let lost = self.flags() - new.flags();
        let loses = lost.intersects(
            Flags::PRESENT | Flags::WRITE | Flags::USER | Flags::ACCESSED | Flags::DIRTY,
        );
        let forbids_execution = new.has(Flags::NO_EXECUTE) && !self.has(Flags::NO_EXECUTE);
        self.is_present() && (loses || forbids_execution || self.frame() != new.frame())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_where_the_processor_has_them() {
        let entry = Entry::page(FrameNo(0x1234_5678), Rights::USER | Rights::WRITE);
        assert_eq!(entry.bits(), 1 << 63 | 0x123_4567_8000 | 0b111);
        let entry = entry.with(Flags::ACCESSED | Flags::DIRTY);
        assert_eq!(entry.bits(), 1 << 63 | 0x123_4567_8000 | 0b110_0111);
        assert_eq!(Entry::table(FrameNo(1)).bits(), 0x1007);
        assert_eq!(Entry::marked(Marker::Poison).bits(), 1 << 9);
        assert_eq!(Entry::marked(Marker::Guard).bits(), 2 << 9);
    }

    #[test]
    fn what_went_in_comes_out() {
        for rights in (0..8).map(Rights::from_bits_retain) {
            let entry = Entry::page(FrameNo(u32::MAX), rights).with(Flags::DIRTY);
            assert_eq!((entry.frame(), entry.rights()), (FrameNo(u32::MAX), rights));
            assert_eq!(entry.marker(), None);
            let changed = entry.with_rights(Rights::WRITE);
            assert_eq!((changed.frame(), changed.rights()), (FrameNo(u32::MAX), Rights::WRITE));
            assert!(changed.has(Flags::DIRTY));
        }
        for marker in [Marker::Poison, Marker::Guard] {
            assert_eq!(Entry::marked(marker).marker(), Some(marker));
            assert!(!Entry::marked(marker).is_present());
        }
        assert_eq!(Entry::EMPTY.marker(), None);
    }

    #[test]
    fn what_takes_away_must_flush() {
        let all = Entry::page(FrameNo(1), Rights::all()).with(Flags::ACCESSED | Flags::DIRTY);
        let no_write = all.without(Flags::WRITE);
        let cases = [
            (all, all, false),
            (all, no_write, true),
            (no_write, all, false),
            (all, all.without(Flags::ACCESSED), true),
            (all, all.without(Flags::DIRTY), true),
            (all, all.with(Flags::NO_EXECUTE), true),
            (all.with(Flags::NO_EXECUTE), all, false),
            (all, all.without(Flags::USER), true),
            (all, Entry::EMPTY, true),
            (all, Entry::marked(Marker::Guard), true),
            (all, Entry::page(FrameNo(2), Rights::all()).with(Flags::all()), true),
            (Entry::EMPTY, all, false),
            (Entry::marked(Marker::Poison), Entry::EMPTY, false),
        ];
        for (old, new, expected) in cases {
            assert_eq!(old.must_flush_for(new), expected, "{old:x?} {new:x?}");
        }
    }

    #[test]
    fn rights_allow_what_they_say() {
        let user = Rights::USER;
        assert!(user.allow(Access::Read) && !user.allow(Access::Write));
        assert!((user | Rights::WRITE).allow(Access::Write) && !user.allow(Access::Execute));
        assert!((user | Rights::EXECUTE).allow(Access::Execute));
        assert!(!(Rights::WRITE | Rights::EXECUTE).allow(Access::Read), "the kernel's page");
    }
}
