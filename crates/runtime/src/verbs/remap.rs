//! `remap`: private memory that becomes longer or shorter, where it is or elsewhere
//! (mremap(2)).
//!
//! ```text
//!   before   │▒▒▒▒▒▒▒▒│ somebody's │             in swap ─┐
//!                 └──────────────────────────────┐       │    no byte is copied
//!   after    │ nobody │ somebody's │             │▒▒▒▒▒▒▒▒        │
//! ```
//!
//! The engine names the pages by their new addresses. Those in memory leave the old ones
//! before anybody else is given them, and are mapped again when they are touched: a page in
//! memory costs a fault without I/O, one in swap costs nothing.

use faultless_addr::{PAGE_BYTES, PAGE_SHIFT, SpaceId, VirtAddr, VirtRange};
use faultless_engine::space::{RemapError, RemapFlags, RemapRequest, Vma};
use faultless_engine::{Engine, Plan};
use faultless_machine::Machine;

use crate::core::Core;
use crate::error::Error;
use crate::private::somewhere;

/// May memory that grows go to other addresses?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moving {
    /// No: where something is behind it, it doesn't grow.
    No,
    /// Yes, to where so many bytes behind it are free as well, if there is such a place.
    WithRoom(u64),
}

impl<M: Machine> Core<M> {
    /// Makes a range of private memory `len` bytes long, whole pages and at least one; says
    /// where it is then. What is new is zeros, or pages further on in the object. To grow,
    /// it has to have the same rights and locks all over.
    pub fn resize_private(
        &self,
        space: SpaceId,
        range: VirtRange,
        len: u64,
        moving: Moving,
    ) -> Result<VirtRange, Error> {
        self.check_birthplace()?;
        if len <= range.len() {
            let kept = VirtRange::new(range.start, VirtAddr(range.start.0 + len));
            if len < range.len() {
                self.unmap_private(space, VirtRange::new(kept.end, range.end))?;
            }
            return Ok(kept);
        }
        let start = self
            .take_away(space, range, |engine, plan| grow(engine, space, range, len, moving, plan));
        let start = start.map_err(|why| Error::refused("resize", range, why.errno(), why))?;
        if start != range.start {
            self.give_back(space, range);
        }
        let resized = VirtRange::new(start, VirtAddr(start.0 + len));
        self.wait_until_quiet(space, resized);
        // As on Linux, what can't be brought in now is no error: it is locked when it comes.
        let _ = self.bring_locked(space, resized);
        Ok(resized)
    }
}

/// Where it is, if a page is left free behind it; else elsewhere, and the old addresses are
/// retired.
fn grow(
    engine: &mut Engine,
    space: SpaceId,
    range: VirtRange,
    len: u64,
    moving: Moving,
    plan: &mut Plan,
) -> Result<VirtAddr, RemapError> {
    let request = RemapRequest {
        old: range.start,
        old_len: range.len(),
        new_len: len,
        flags: RemapFlags::empty(),
        new: VirtAddr(0),
    };
    let is_locked = engine.space(space).find(range.start).is_some_and(Vma::is_locked);
    let more = (len - range.len()) >> PAGE_SHIFT;
    if is_locked {
        engine.recall_idle();
        if more > engine.pages_left_to_hold() {
            return Err(RemapError::TooManyLocked);
        }
    }
    let end = range.start.0.saturating_add(len).saturating_add(PAGE_BYTES);
    let behind = VirtRange::new(range.end, VirtAddr(end));
    let is_free = engine.space(space).overlapping(behind).next().is_none();
    let in_bounds = end <= engine.space(space).config().bounds.end.0;
    if is_free && in_bounds {
        return Ok(engine.remap(space, request, plan)?.start);
    }
    let Moving::WithRoom(room) = moving else { return Err(RemapError::NoRoom) };
    let place = |len| engine.space(space).find_place(&somewhere(len));
    let with_room = len.checked_add(room).and_then(|len| place(len).ok());
    let new = match with_room {
        Some(range) => range.start,
        None => place(len)?.start,
    };
    let flags = RemapFlags::MAY_MOVE | RemapFlags::FIXED;
    let moved = engine.remap(space, RemapRequest { flags, new, ..request }, plan)?;
    engine.retire(space, range, plan).expect("nothing is there");
    Ok(moved.start)
}
