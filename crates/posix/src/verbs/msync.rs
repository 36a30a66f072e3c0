//! msync(2): what was stored to shared maps is written to what is behind their objects.

use faultless_addr::{PAGE_BYTES, PageRange, VirtAddr, VirtRange};
use faultless_engine::space::{Sharing, Vma};

use crate::errno::Errno;
use crate::flags::SyncFlags;
use crate::process::Pid;
use crate::system::{Shows, System};

impl System {
    /// msync(2).
    pub fn msync(&mut self, pid: Pid, addr: u64, len: u64, flags: SyncFlags) -> Result<(), Errno> {
        let known = SyncFlags::ASYNC | SyncFlags::SYNC | SyncFlags::INVALIDATE;
        let both = SyncFlags::ASYNC | SyncFlags::SYNC;
        let start = VirtAddr(addr);
        if !known.contains(flags) || !start.is_page_aligned() || flags.contains(both) {
            return Err(Errno::EINVAL);
        }
        let len = len.wrapping_add(PAGE_BYTES - 1) & !(PAGE_BYTES - 1);
        let range = VirtRange::from_len(start, len).ok_or(Errno::ENOMEM)?;
        let (mut at, mut hole) = (range.start, false);
        let areas: Vec<Vma> = self.engine.space(pid.space()).overlapping(range).copied().collect();
        for area in areas {
            hole |= at < area.range.start;
            // ASYNC does nothing else, and stops here.
            if hole && flags == SyncFlags::ASYNC {
                return Err(Errno::ENOMEM);
            }
            if flags.contains(SyncFlags::INVALIDATE) && area.is_locked() {
                return Err(Errno::EBUSY);
            }
            // A driver has no fsync.
            if flags.contains(SyncFlags::SYNC) && self.is_shared_device(&area) {
                return Err(Errno::EINVAL);
            }
            if flags.contains(SyncFlags::SYNC) {
                self.sync(&area.part(area.range.intersect(range)));
            }
            at = area.range.end;
        }
        if hole || at < range.end { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    fn is_shared_device(&self, area: &Vma) -> bool {
        area.sharing == Sharing::Shared && matches!(self.shows(area), Shows::Device(_))
    }

    fn sync(&mut self, piece: &Vma) {
        if let (Some(object), Some(first)) = (piece.object(), piece.page_at(piece.range.start))
            && piece.sharing == Sharing::Shared
        {
            self.flush(object, PageRange::from_len(first, piece.range.pages()));
        }
    }
}
