//! How [`remap`](AddressSpace::remap) resizes and moves areas that may be.
//!
//! ```text
//!   resize    shrinks, grows in place, or else goes elsewhere ──┐
//!   move_to   one piece, to a place that is named ──────────────┼──► carry
//!   move_all  piece by piece, holes kept ──► move_to            ┘
//! ```

use alloc::vec::Vec;

use faultless_addr::{VirtAddr, VirtRange};

use super::remap::{Left, Moved, RemapEffects, RemapError, RemapFlags, RemapRequest};
use super::{AddressSpace, AnonSet, AnonSide, Place, Vma, VmaFlags};

impl AddressSpace {
    /// No address is named: it shrinks or grows where it is, or goes elsewhere to grow.
    pub(super) fn resize(
        &mut self,
        area: Vma,
        request: &RemapRequest,
        effects: &mut RemapEffects,
    ) -> Result<VirtAddr, RemapError> {
        let RemapRequest { old, old_len, new_len, .. } = *request;
        if new_len < old_len {
            self.cut_tail(request, effects)?;
        }
        if new_len <= old_len {
            return Ok(old);
        }
        let end = VirtAddr(old.0 + old_len);
        let more = VirtRange::from_len(end, new_len - old_len);
        if old_len > 0
            && end == area.range.end
            && let Some(more) = more.filter(|&more| self.gaps.encloses(more))
        {
            self.lengthen(area, VirtRange::new(area.range.start, more.end));
            populate_if_locked(&area, more, effects);
            return Ok(old);
        }
        if !request.flags.contains(RemapFlags::MAY_MOVE) {
            return Err(RemapError::NoRoom);
        }
        self.carry(Place::Anywhere, request, effects)
    }

    /// An address is named, or what is there stays.
    pub(super) fn move_to(
        &mut self,
        request: &RemapRequest,
        effects: &mut RemapEffects,
    ) -> Result<VirtAddr, RemapError> {
        let RemapRequest { old, old_len, new_len, flags, new } = *request;
        let mut place = if new.0 == 0 { Place::Anywhere } else { Place::Hint(new) };
        if flags.contains(RemapFlags::FIXED) {
            place = Place::Fixed(new);
            let target = VirtRange::new(new, VirtAddr(new.0 + new_len));
            self.unmap(target, &mut effects.removed)?;
        }
        // With an old size of 0 the target may have been where the source was.
        let area = *self.find(old).ok_or(RemapError::Hole)?;
        if new_len < old_len {
            self.cut_tail(request, effects)?;
        }
        let kept = old_len.min(new_len);
        let request = RemapRequest { old_len: kept, ..*request };
        let pages = VirtRange::new(VirtAddr(0), VirtAddr(kept)).pages();
        if flags.contains(RemapFlags::DONT_UNMAP) && !self.may_add(&area, pages) {
            return Err(RemapError::TooManyPages);
        }
        self.carry(place, &request, effects)
    }

    /// The same size elsewhere: area by area, with the holes between them. What is in the
    /// way of a hole stays there.
    pub(super) fn move_all(
        &mut self,
        request: &RemapRequest,
        effects: &mut RemapEffects,
    ) -> Result<VirtAddr, RemapError> {
        let range = VirtRange::from_len(request.old, request.old_len).ok_or(RemapError::Hole)?;
        self.find(range.start).ok_or(RemapError::Hole)?;
        let areas: Vec<Vma> = self.overlapping(range).copied().collect();
        for area in areas {
            let piece = area.range.intersect(range);
            let part = RemapRequest {
                old: piece.start,
                old_len: piece.len(),
                new_len: piece.len(),
                new: VirtAddr(request.new.0 + (piece.start.0 - range.start.0)),
                ..*request
            };
            // It has a way of its own to find addresses, and goes alone or not at all.
            if area.flags.contains(VmaFlags::ZERO_FILE) && piece != range {
                return Err(RemapError::AcrossAreas);
            }
            self.check_remap_of(&area, &part)?;
            self.move_to(&part, effects)?;
        }
        Ok(request.new)
    }

    /// Removes what is behind the new size, whatever areas that is.
    fn cut_tail(
        &mut self,
        request: &RemapRequest,
        effects: &mut RemapEffects,
    ) -> Result<(), RemapError> {
        let RemapRequest { old, old_len, new_len, .. } = *request;
        let end = old.checked_add(old_len).ok_or(RemapError::OutOfBounds)?;
        let tail = VirtRange::new(VirtAddr(old.0 + new_len), end);
        Ok(self.unmap(tail, &mut effects.removed)?)
    }

    /// Moves the old range, which lies in one area, and makes it as long as it shall be.
    fn carry(
        &mut self,
        place: Place,
        request: &RemapRequest,
        effects: &mut RemapEffects,
    ) -> Result<VirtAddr, RemapError> {
        let RemapRequest { old, old_len, new_len, flags, .. } = *request;
        if self.len() + 3 >= self.config.areas_max {
            return Err(RemapError::TooManyAreas);
        }
        let area = *self.find(old).ok_or(RemapError::Hole)?;
        let from = area.part(VirtRange::new(old, VirtAddr(old.0 + old_len)));
        let range = self.place(place, &from, Some(new_len))?;
        let left = match flags.contains(RemapFlags::DONT_UNMAP) {
            true => Left::EmptyArea,
            false => Left::Nothing,
        };
        if old_len > 0 {
            let guarded: Vec<VirtRange> = self.guards.take(from.range);
            match left {
                Left::EmptyArea => self.leave_empty(area, &from),
                Left::Nothing => self.remove_part(area, from.range),
            }
            self.guards.install_moved(&guarded, from.range.start, range.start);
            effects.moved.push(Moved { from, to: range.start, left });
        }
        self.add(from.at(range));
        let more = VirtRange::new(VirtAddr(range.start.0 + old_len), range.end);
        populate_if_locked(&area, more, effects);
        Ok(range.start)
    }

    /// The pages of `from` are elsewhere, and its area stays. On Linux the whole of it is
    /// then locked no more, and goes on being counted as if it were.
    fn leave_empty(&mut self, area: Vma, from: &Vma) {
        let mut empty = area;
        if area.is_locked() {
            empty.flags -= VmaFlags::LOCKS;
            self.locked_lost += area.range.pages();
        }
        if from.range == area.range {
            empty.anon = AnonSide { set: AnonSet::Untouched, ..area.anon };
        }
        let changed = self.change(area, empty);
        assert!(changed.is_ok(), "a whole area is changed: there are no more than before");
    }
}

fn populate_if_locked(area: &Vma, more: VirtRange, effects: &mut RemapEffects) {
    let locks = area.flags & VmaFlags::LOCKS;
    if locks == VmaFlags::LOCKED && !more.is_empty() {
        effects.populate.push(more);
    }
}
