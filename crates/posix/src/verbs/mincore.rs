//! mincore(2): which pages are in memory.

use faultless_addr::{PAGE_BYTES, VirtAddr};
use faultless_engine::Residency;
use faultless_engine::space::{Sharing, Vma, VmaFlags};

use crate::errno::Errno;
use crate::flags::TASK_END;
use crate::process::Pid;
use crate::system::{Shows, System};

/// Where a page is. mincore(2) has a bit for it: set where it is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// In memory: in a frame, be it only in the cache.
    Memory,
    /// In swap; also a page of a file in memory that has left its frame.
    Swap,
    /// Nowhere, or on a disk.
    Absent,
}

impl System {
    /// mincore(2); whoever calls has room for the answer.
    pub fn mincore(&self, pid: Pid, addr: u64, len: u64) -> Result<Vec<Presence>, Errno> {
        let start = VirtAddr(addr);
        if !start.is_page_aligned() {
            return Err(Errno::EINVAL);
        }
        if addr.checked_add(len).is_none_or(|end| end > TASK_END) {
            return Err(Errno::ENOMEM);
        }
        let pages = (0..len.div_ceil(PAGE_BYTES)).map(|n| start.plus_pages(n));
        let presence = |at| {
            let area = self.engine.space(pid.space()).find(at).ok_or(Errno::ENOMEM)?;
            Ok(self.presence(pid, area, at))
        };
        pages.map(presence).collect()
    }

    fn presence(&self, pid: Pid, area: &Vma, at: VirtAddr) -> Presence {
        let space = pid.space();
        if let Shows::Device(_) = self.shows(area)
            && !self.engine.has_own_page(space, at)
        {
            // What `remap_pfn_range` has mapped is no page to Linux, and in no page cache.
            let at_once = area.flags.contains(VmaFlags::DEVICE);
            let here = !at_once && self.machine.translation(space, at).is_some();
            return if here { Presence::Memory } else { Presence::Absent };
        }
        let own = area.sharing == Sharing::Private && self.engine.has_own_page(space, at);
        if let (Some(object), Some(page), false) = (area.object(), area.page_at(at), own)
            && !self.file(object).is_on_disk()
        {
            return match self.engine.residency(space, at) {
                _ if !self.file(object).touched.contains(&page.0) => Presence::Absent,
                Some(Residency::Memory) => Presence::Memory,
                _ => Presence::Swap,
            };
        }
        match self.engine.residency(space, at) {
            Some(Residency::Memory) => Presence::Memory,
            Some(Residency::Swap) => Presence::Swap,
            None => Presence::Absent,
        }
    }
}
