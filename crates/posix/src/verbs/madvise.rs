//! madvise(2): every mapped part is done; a hole is told afterwards.

use faultless_addr::{Access, PAGE_BYTES, PageRange, VirtAddr};
use faultless_engine::space::{Advice, Vma};

use crate::errno::Errno;
use crate::flags::FallocFlags;
use crate::process::Pid;
use crate::system::{Shows, System};
use crate::user::Trouble;

impl System {
    /// madvise(2).
    pub fn madvise(&mut self, pid: Pid, addr: u64, len: u64, advice: i32) -> Result<(), Errno> {
        let advice = Advice::from_number(advice)?;
        let (space, mut pieces) = (pid.space(), Vec::new());
        let range = (VirtAddr(addr), len);
        let result =
            self.plan(|engine, plan| engine.advise_range(space, range, advice, &mut pieces, plan));
        for piece in pieces {
            self.clear(space, piece.range);
            self.do_as_advised(pid, &piece, advice)?;
        }
        Ok(result?)
    }

    /// What the engine leaves to its driver.
    fn do_as_advised(&mut self, pid: Pid, piece: &Vma, advice: Advice) -> Result<(), Errno> {
        match advice {
            Advice::Remove => self.remove(piece),
            Advice::PopulateRead => self.bring_all(pid, piece, Access::Read),
            Advice::PopulateWrite => self.bring_all(pid, piece, Access::Write),
            Advice::WillNeed => {
                if let (Some(object), Some(pages)) = (piece.object(), pages_of(piece)) {
                    self.plan(|engine, plan| engine.prefetch(object, pages, plan));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A hole in the object.
    fn remove(&mut self, piece: &Vma) -> Result<(), Errno> {
        let (Some(object), Some(pages)) = (piece.object(), pages_of(piece)) else {
            return Err(Errno::EINVAL);
        };
        if let Shows::Device(_) = self.shows_of(object) {
            return Err(Errno::ENODEV);
        }
        let hole = FallocFlags::PUNCH_HOLE | FallocFlags::KEEP_SIZE;
        self.allocate(object, hole, pages.start.offset(), pages.len() * PAGE_BYTES)
    }

    fn bring_all(&mut self, pid: Pid, piece: &Vma, access: Access) -> Result<(), Errno> {
        for n in 0..piece.range.pages() {
            let at = piece.range.start.plus_pages(n);
            self.bring(pid.space(), at, access).map_err(Trouble::errno)?;
        }
        Ok(())
    }
}

fn pages_of(piece: &Vma) -> Option<PageRange> {
    let first = piece.page_at(piece.range.start)?;
    Some(PageRange::from_len(first, piece.range.pages()))
}
