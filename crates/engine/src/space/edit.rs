//! Changes of the map of areas: everything a verb does to it, it does with these.
//!
//! ```text
//!   add      ├── low ──┤╞ new ╡├── high ──┤   ⇒  ├────────── one ──────────┤
//!   cut      ├─────────── area ───────────┤   ⇒  ├── head ──┤      ├─ tail ┤
//!   change   ├── A ──┤├─────── B ─────────┤   ⇒  ├── A ───────┤├──── B ────┤
//!                     ╞═ like A ═╡
//! ```
//!
//! Areas, gaps, counts and guards stay in step here and nowhere else.

use alloc::vec::Vec;

use faultless_addr::{PAGE_BYTES, PageIndex, VirtAddr, VirtRange};

use super::gaps::Above;
use super::{AddressSpace, AnonSide, Vma, VmaFlags};

/// The area limit would be passed. The verbs have this in their own errors.
pub struct TooManyAreas;

/// So many bytes in whole pages, as Linux rounds: too many become 0.
pub fn page_align(len: u64) -> u64 {
    len.wrapping_add(PAGE_BYTES - 1) & !(PAGE_BYTES - 1)
}

/// What an area is to the gap below it.
pub fn seen_below(area: &Vma) -> Above {
    match area.flags.contains(VmaFlags::GROWS_DOWN) {
        true => Above::Stack,
        false => Above::Area,
    }
}

/// `area` as one with those of its neighbours that it merges with, and their number.
/// With `low` in it, it may not merge with `high` any more: each has its own pages.
pub fn merged(area: Vma, low: Option<Vma>, high: Option<Vma>) -> (Vma, usize) {
    let below = low.and_then(|low| low.merged(&area));
    let whole = below.unwrap_or(area);
    let above = high.and_then(|high| whole.merged(&high));
    (above.unwrap_or(whole), usize::from(below.is_some()) + usize::from(above.is_some()))
}

impl AddressSpace {
    /// Adds an area where there is none.
    pub(super) fn add(&mut self, area: Vma) {
        self.gaps.take(area.range, seen_below(&area));
        self.counts.add(&area);
        self.insert_merged(area);
    }

    /// Removes everything in `range`, which lies between pages, and puts the pieces into
    /// `removed`, by address.
    pub(super) fn remove_all(&mut self, range: VirtRange, removed: &mut Vec<Vma>) {
        let first_removed = removed.len();
        removed.extend(self.overlapping(range).copied());
        for piece in &mut removed[first_removed..] {
            let area = *piece;
            *piece = area.part(area.range.intersect(range));
            self.remove_part(area, piece.range);
        }
    }

    /// Removes `range` from `area`, which holds all of it.
    pub(super) fn remove_part(&mut self, area: Vma, range: VirtRange) {
        self.cut(area, range);
        let above = match self.areas.get(&range.end) {
            Some(area) => seen_below(area),
            None => Above::Nothing,
        };
        self.gaps.give(range, above);
        self.counts.remove(&area.part(range));
        self.guards.remove(range);
    }

    /// Puts `area`, which has become longer upwards, in place of what it was.
    pub(super) fn lengthen(&mut self, area: Vma, range: VirtRange) {
        let more = VirtRange::new(area.range.end, range.end);
        self.gaps.take(more, Above::Area);
        let long = Vma { range, ..area };
        self.counts.add(&Vma { range: more, ..area });
        self.areas.remove(&area.range.start);
        self.insert_merged(long);
    }

    /// Puts `area`, which grows down, in place of what it was, now from `start` on.
    pub(super) fn lengthen_down(&mut self, area: Vma, start: VirtAddr) {
        let more = VirtRange::new(start, area.range.start);
        self.gaps.take(more, Above::Stack);
        self.counts.add(&Vma { range: more, ..area });
        self.areas.remove(&area.range.start);
        let first = PageIndex(area.anon.first.0.saturating_sub(more.pages()));
        let range = VirtRange::new(start, area.range.end);
        self.insert_merged(Vma { range, anon: AnonSide { first, ..area.anon }, ..area });
    }

    /// Puts `piece` in place of the addresses that it has in common with `area`, which
    /// holds all of them.
    pub(super) fn change(&mut self, area: Vma, piece: Vma) -> Result<(), TooManyAreas> {
        let head = area.range.start < piece.range.start;
        let tail = piece.range.end < area.range.end;
        let low = self.ending_at(&piece).filter(|_| !head);
        let high = self.areas.get(&piece.range.end).copied().filter(|_| !tail);
        let (_, neighbours) = merged(piece, low, high);
        let count = self.len() + usize::from(head) + usize::from(tail) - neighbours;
        if count > self.config.areas_max {
            return Err(TooManyAreas);
        }
        self.counts.remove(&area.part(piece.range));
        self.counts.add(&piece);
        self.cut(area, piece.range);
        self.insert_merged(piece);
        Ok(())
    }

    /// Gives the area of which `piece` is a part other flags there.
    pub(super) fn change_flags(&mut self, piece: Vma, flags: VmaFlags) -> Result<(), TooManyAreas> {
        let area = *self.find(piece.range.start).expect("a piece is a part of an area");
        match flags == area.flags {
            true => Ok(()),
            false => self.change(area, Vma { flags, ..piece }),
        }
    }

    /// A sealed area in `range`.
    pub(super) fn sealed_in(&self, range: VirtRange) -> Option<&Vma> {
        self.overlapping(range).find(|area| area.is_sealed())
    }

    /// The area that `range` would leave in two.
    pub(super) fn covering(&self, range: VirtRange) -> Option<&Vma> {
        let inside = |area: &&Vma| area.range.start < range.start && range.end < area.range.end;
        self.find(range.start).filter(inside)
    }

    /// The area that starts where `area` ends, if both could be one.
    pub(super) fn merges_above(&self, area: &Vma) -> Option<Vma> {
        let high = self.areas.get(&area.range.end)?;
        area.can_merge(high).then_some(*high)
    }

    /// The area that ends where `area` starts.
    fn ending_at(&self, area: &Vma) -> Option<Vma> {
        let (_, low) = self.areas.range(..area.range.start).next_back()?;
        (low.range.end == area.range.start).then_some(*low)
    }

    /// Adds an area where there is none, as one with the neighbours that it merges with.
    /// The gaps and the counts are the caller's.
    fn insert_merged(&mut self, area: Vma) {
        let low = self.ending_at(&area);
        let high = self.areas.get(&area.range.end).copied();
        let (whole, _) = merged(area, low, high);
        if whole.range.end > area.range.end {
            self.areas.remove(&area.range.end);
        }
        self.areas.insert(whole.range.start, whole);
    }

    /// Takes the addresses of `range` out of `area`, which holds all of them, and leaves
    /// the rest of it. The gaps and the counts are the caller's.
    fn cut(&mut self, area: Vma, range: VirtRange) {
        let head = VirtRange::new(area.range.start, range.start);
        let tail = VirtRange::new(range.end, area.range.end);
        self.areas.remove(&area.range.start);
        for rest in [head, tail] {
            if !rest.is_empty() {
                self.areas.insert(rest.start, area.part(rest));
            }
        }
    }
}
