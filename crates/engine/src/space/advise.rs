//! `advise`: what a program says about its memory, area by area.
//!
//! ```text
//!   areas     ┌─── A ───┐      ┌──── B ────┐
//!   range          ╞════════════════╡
//!   pieces         └─ A ┘      └ B ─┘          each checked, then marked, then handed back
//!                        ▲
//!                        └ Hole: told at the end, when everything else is done
//! ```
//!
//! Advice that marks areas (`DONTFORK`, `RANDOM`, …) is done when this returns; for the
//! rest the caller does to the pages of the pieces what was asked, also after an error.
//!
//! | advice | is refused by |
//! |---|---|
//! | `DONTNEED` | locked, a device's |
//! | `DONTNEED_LOCKED` | a device's |
//! | `FREE` | locked, all but private anonymous, a device's |
//! | `COLD`, `PAGEOUT` | locked, a device's |
//! | `REMOVE` | locked, anonymous (EINVAL); private, never writable (EACCES) |
//! | `WIPEONFORK` | all but private anonymous |
//! | `KEEPONFORK`, `DODUMP` | what may be dropped |
//! | `DOFORK`, `DODUMP` | a device's |
//! | `GUARD_INSTALL` | locked, a device's |
//! | `GUARD_REMOVE` | a device's |
//! | `POPULATE_READ`, `POPULATE_WRITE` | without that right; a hole ends it |
//! | `COLLAPSE` | everything: there are no large pages |
//!
//! Source: madvise(2), and Linux 6.18, which answers EACCES where a private file is to be
//! punched, and EAGAIN where an area can't be split.

use alloc::vec::Vec;

use faultless_addr::{Prot, VirtAddr, VirtRange};

use super::edit::page_align;
use super::seal::may_discard;
use super::{AddressSpace, Backing, Sharing, Vma, VmaFlags, errno};

macro_rules! advice {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// Advice of madvise(2).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Advice {
            $($(#[$doc])* $name = $number,)*
        }

        impl Advice {
            /// Everything there is.
            pub const ALL: &[Advice] = &[$(Advice::$name,)*];

            /// The advice with this number.
            pub fn from_number(number: i32) -> Result<Advice, AdviseError> {
                match number {
                    $($number => Ok(Advice::$name),)*
                    _ => Err(AdviseError::Unknown),
                }
            }
        }
    };
}

advice! {
    /// No particular order.
    Normal = 0,
    /// Here and there.
    Random = 1,
    /// From front to back.
    Sequential = 2,
    /// Soon.
    WillNeed = 3,
    /// Not any more: what pages hold is lost, or read again.
    DontNeed = 4,
    /// Not any more, unless it is written again first.
    Free = 8,
    /// Not any more, by anybody: a hole in the object.
    Remove = 9,
    /// A child doesn't have it.
    DontFork = 10,
    /// A child has it.
    DoFork = 11,
    /// Equal pages may become one.
    Mergeable = 12,
    /// They may not.
    Unmergeable = 13,
    /// Large pages are welcome.
    HugePage = 14,
    /// They are not.
    NoHugePage = 15,
    /// A core dump leaves it out.
    DontDump = 16,
    /// A core dump has it.
    DoDump = 17,
    /// A child has zeros.
    WipeOnFork = 18,
    /// A child has a copy.
    KeepOnFork = 19,
    /// Reclaim it first.
    Cold = 20,
    /// Reclaim it now.
    PageOut = 21,
    /// Bring it in, to be read.
    PopulateRead = 22,
    /// Bring it in, to be written.
    PopulateWrite = 23,
    /// `DontNeed`, also where it is locked.
    DontNeedLocked = 24,
    /// Make large pages of small ones.
    Collapse = 25,
    /// No access may touch it.
    GuardInstall = 102,
    /// Accesses may touch it again.
    GuardRemove = 103,
}

impl Advice {
    /// May it lose what a page holds? Seals stop that.
    pub fn discards(self) -> bool {
        matches!(
            self,
            Advice::DontNeed
                | Advice::DontNeedLocked
                | Advice::Free
                | Advice::Remove
                | Advice::DontFork
                | Advice::WipeOnFork
                | Advice::GuardInstall
        )
    }

    /// Does it bring pages in, one after the other, up to the first that can't be?
    pub fn populates(self) -> bool {
        matches!(self, Advice::PopulateRead | Advice::PopulateWrite)
    }

    /// The flags of `area` when it has been advised so.
    fn mark(self, area: &Vma) -> VmaFlags {
        let flags = area.flags;
        let huge = VmaFlags::HUGE_PAGES | VmaFlags::NO_HUGE_PAGES;
        match self {
            Advice::Normal => flags - VmaFlags::READ_PATTERN,
            Advice::Random => (flags - VmaFlags::READ_PATTERN) | VmaFlags::READ_RANDOM,
            Advice::Sequential => (flags - VmaFlags::READ_PATTERN) | VmaFlags::READ_SEQUENTIAL,
            Advice::DontFork => flags | VmaFlags::DONT_FORK,
            Advice::DoFork => flags - VmaFlags::DONT_FORK,
            Advice::WipeOnFork => flags | VmaFlags::WIPE_ON_FORK,
            Advice::KeepOnFork => flags - VmaFlags::WIPE_ON_FORK,
            Advice::DontDump => flags | VmaFlags::DONT_DUMP,
            Advice::DoDump => flags - VmaFlags::DONT_DUMP,
            Advice::Mergeable
                if area.sharing == Sharing::Private && !flags.contains(VmaFlags::DROPPABLE) =>
            {
                flags | VmaFlags::MERGEABLE
            }
            Advice::Unmergeable => flags - VmaFlags::MERGEABLE,
            Advice::HugePage => (flags - huge) | VmaFlags::HUGE_PAGES,
            Advice::NoHugePage => (flags - huge) | VmaFlags::NO_HUGE_PAGES,
            _ => flags,
        }
    }
}

/// Why advice is not taken, or not everywhere. The pieces handed back are done all the
/// same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdviseError {
    /// There is no such advice.
    #[error("there is no such advice")]
    Unknown,
    /// The range begins inside a page: round it.
    #[error("the range does not lie between pages")]
    Unaligned,
    /// The range passes the last address there is.
    #[error("the range is outside of the address space")]
    OutOfBounds,
    /// There is no area at this address. Every area in the range has been advised, unless
    /// pages were to be brought in: that ends here.
    #[error("there is no area at {at:?}")]
    Hole {
        /// The first address without an area.
        at: VirtAddr,
    },
    /// It is not for an area like the one at this address.
    #[error("the area at {at:?} can't be advised so")]
    Unfit {
        /// Where advice ended.
        at: VirtAddr,
    },
    /// The area at this address is private, or may never be written.
    #[error("the area at {at:?} may not change its object")]
    Forbidden {
        /// Where advice ended.
        at: VirtAddr,
    },
    /// The area at this address is sealed.
    #[error("the area at {at:?} is sealed")]
    Sealed {
        /// Where advice ended.
        at: VirtAddr,
    },
    /// The area at this address would have to be split, and there may be no more areas.
    #[error("there are as many areas as there may be, and the one at {at:?} would be split")]
    TooManyAreas {
        /// Where advice ended.
        at: VirtAddr,
    },
}

impl AdviseError {
    /// What Linux calls it.
    pub fn errno(self) -> i32 {
        match self {
            AdviseError::Unknown
            | AdviseError::Unaligned
            | AdviseError::OutOfBounds
            | AdviseError::Unfit { .. } => errno::EINVAL,
            AdviseError::Hole { .. } => errno::ENOMEM,
            AdviseError::Forbidden { .. } => errno::EACCES,
            AdviseError::Sealed { .. } => errno::EPERM,
            AdviseError::TooManyAreas { .. } => errno::EAGAIN,
        }
    }
}

impl AddressSpace {
    /// Takes advice about the pages from `start` on that `len` bytes reach, and puts the
    /// pieces of areas that it goes for into `pieces`, by address.
    pub fn advise(
        &mut self,
        start: VirtAddr,
        len: u64,
        advice: Advice,
        pieces: &mut Vec<Vma>,
    ) -> Result<(), AdviseError> {
        if !start.is_page_aligned() {
            return Err(AdviseError::Unaligned);
        }
        let rounded = page_align(len);
        let range = VirtRange::from_len(start, rounded).filter(|_| len == 0 || rounded > 0);
        let range = range.ok_or(AdviseError::OutOfBounds)?;
        let hole = self.first_hole(range);
        let areas: Vec<Vma> = self.overlapping(range).copied().collect();
        for area in areas {
            if let Some(at) = hole.filter(|&at| at < area.range.start && advice.populates()) {
                return Err(AdviseError::Hole { at });
            }
            let piece = area.part(area.range.intersect(range));
            check(&piece, advice)?;
            self.mark(&piece, advice)?;
            pieces.push(piece);
        }
        hole.map_or(Ok(()), |at| Err(AdviseError::Hole { at }))
    }

    fn mark(&mut self, piece: &Vma, advice: Advice) -> Result<(), AdviseError> {
        match advice {
            Advice::GuardInstall => {
                self.guards.install(piece.range);
                let area = self.areas.range_mut(..=piece.range.start).next_back();
                let (_, area) = area.expect("a piece is a part of an area");
                area.flags |= VmaFlags::HAD_GUARD;
            }
            Advice::GuardRemove => self.guards.remove(piece.range),
            _ => {
                let at = piece.range.start;
                self.change_flags(*piece, advice.mark(piece))
                    .map_err(|_| AdviseError::TooManyAreas { at })?;
            }
        }
        Ok(())
    }
}

/// May an area be advised so?
fn check(area: &Vma, advice: Advice) -> Result<(), AdviseError> {
    let at = area.range.start;
    if advice.discards() && !may_discard(area) {
        return Err(AdviseError::Sealed { at });
    }
    let is_device = area.flags.contains(VmaFlags::DEVICE);
    let is_zero_file = area.flags.contains(VmaFlags::ZERO_FILE);
    let is_droppable = area.flags.contains(VmaFlags::DROPPABLE);
    let is_unfit = match advice {
        Advice::DontNeed | Advice::Cold | Advice::PageOut | Advice::GuardInstall => {
            area.is_locked() || is_device
        }
        Advice::Free => area.is_locked() || is_device || !area.is_anonymous(),
        Advice::DontNeedLocked | Advice::DoFork | Advice::GuardRemove => is_device,
        Advice::DoDump => is_device || is_droppable,
        Advice::KeepOnFork => is_droppable,
        Advice::WipeOnFork => !area.is_anonymous() || is_zero_file,
        Advice::Remove => area.is_locked() || (area.backing == Backing::Anonymous && !is_zero_file),
        Advice::PopulateRead => is_device || !area.prot.contains(Prot::READ),
        Advice::PopulateWrite => is_device || !area.prot.contains(Prot::WRITE),
        Advice::Collapse => true,
        _ => false,
    };
    let is_open = area.sharing == Sharing::Shared && !area.flags.contains(VmaFlags::NEVER_WRITE);
    match advice {
        _ if is_unfit => Err(AdviseError::Unfit { at }),
        Advice::Remove if !is_open => Err(AdviseError::Forbidden { at }),
        _ => Ok(()),
    }
}
