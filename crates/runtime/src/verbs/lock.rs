//! `lock`, `unlock`, `populate`: pages that stay in memory, or come before they are touched
//! (mlock(2), `MADV_POPULATE_WRITE`).

use faultless_addr::{Access, SpaceId, VirtRange};
use faultless_engine::space::{LockKind, Vma};
use faultless_machine::Machine;

use crate::core::Core;
use crate::error::Error;
use crate::serve::Served;

impl<M: Machine> Core<M> {
    /// Brings the pages of private memory in and has them stay. All or none of those that
    /// weren't locked before.
    pub fn lock(&self, space: SpaceId, range: VirtRange) -> Result<(), Error> {
        self.check_birthplace()?;
        let mut engine = self.engine.lock();
        let areas = engine.space(space).overlapping(range);
        let open: Vec<Vma> = areas.filter(|area| !area.is_locked()).copied().collect();
        let open: Vec<VirtRange> = open.iter().map(|area| area.range.intersect(range)).collect();
        let wanted = open.iter().map(|range| range.pages()).sum();
        engine.recall_idle();
        let left = engine.pages_left_to_hold();
        if wanted > left {
            return Err(Error::NoRoom { wanted, left });
        }
        let locked = engine.lock(space, (range.start, range.len()), LockKind::Full);
        drop(engine);
        let result = locked
            .map_err(|why| Error::refused("lock", range, why.errno(), why))
            .and_then(|range| self.bring(space, range));
        if result.is_err() {
            for range in open {
                let _ = self.engine.lock().unlock(space, (range.start, range.len()));
            }
        }
        result
    }

    /// The pages of a range may leave again.
    pub fn unlock(&self, space: SpaceId, range: VirtRange) -> Result<(), Error> {
        self.check_birthplace()?;
        let result = self.engine.lock().unlock(space, (range.start, range.len()));
        result.map_err(|why| Error::refused("unlock", range, why.errno(), why))
    }

    /// Brings the pages of a range in, private ones as copies if they may be stored to.
    pub fn populate(&self, space: SpaceId, range: VirtRange) -> Result<(), Error> {
        self.check_birthplace()?;
        self.bring(space, range)
    }

    /// Brings locked pages of a range back that a verb has taken away from their addresses.
    pub(crate) fn bring_locked(&self, space: SpaceId, range: VirtRange) -> Result<(), Error> {
        let engine = self.engine.lock();
        let locked = engine.space(space).to_populate(range).filter(Vma::is_locked);
        let ranges: Vec<VirtRange> =
            locked.filter(|area| !area.prot.is_empty()).map(|area| area.range).collect();
        drop(engine);
        ranges.into_iter().try_for_each(|range| self.bring(space, range))
    }

    fn bring(&self, space: SpaceId, range: VirtRange) -> Result<(), Error> {
        let pieces: Vec<Vma> = self.engine.lock().space(space).to_populate(range).collect();
        for piece in pieces {
            let access = piece.populate_access();
            let pages = 0..piece.range.pages();
            let is_there = |access: Access, n| {
                let at = piece.range.start.plus_pages(n);
                self.serve_here(space, at, access) == Served::Yes
            };
            if !access.is_some_and(|access| pages.into_iter().all(|n| is_there(access, n))) {
                let why = "its rights forbid every access, or a page could not be had";
                return Err(Error::refused("bring in", piece.range, libc::ENOMEM, why));
            }
        }
        Ok(())
    }
}
