//! The page cache, as system calls use it: the kernel maps what it copies.
//!
//! ```text
//!   pread ──► an area in the kernel's space ──faults──► the object's pages ◄── programs' maps
//! ```
//!
//! So there is one place where an object's newest bytes are, and one way to bring pages
//! in. The area lives as long as the copy.

use faultless_addr::{
    Access, ByteRange, ObjectId, PAGE_BYTES, PageIndex, PageRange, Prot, VirtAddr, VirtRange,
};
use faultless_engine::ResizedBy;
use faultless_engine::space::{Backing, MapRequest, Merge, Place, Sharing, VmaFlags};
use faultless_software::CpuNo;

use crate::errno::Errno;
use crate::file::pieces;
use crate::system::{KERNEL, System};
use crate::user::Trouble;

/// The addresses of the kernel's space.
pub(crate) const WINDOW: VirtRange =
    VirtRange { start: VirtAddr(1 << 30), end: VirtAddr((1 << 30) + PAGE_BYTES) };

/// The CPU on which everything runs.
pub(crate) const CPU: CpuNo = CpuNo(0);

impl System {
    /// Bytes up to the end, or up to a page for which there is no memory.
    pub(crate) fn read_object(
        &mut self,
        object: ObjectId,
        offset: u64,
        len: u64,
    ) -> Result<Vec<u8>, Errno> {
        let end = self.file(object).size.min(offset.saturating_add(len));
        let mut bytes = Vec::new();
        for (page, range) in pieces(offset, end) {
            let done = bytes.len();
            bytes.resize(done + range.len(), 0);
            let looked = self.look(object, PageIndex(page), Access::Read, |system, at| {
                let addr = VirtAddr(at.0 + range.start as u64);
                let read = system.machine.load(CPU, KERNEL, addr, &mut bytes[done..]);
                read.expect("the page has just been brought in");
            });
            if let Err(trouble) = looked {
                bytes.truncate(done);
                return if done == 0 { Err(trouble.errno()) } else { Ok(bytes) };
            }
        }
        Ok(bytes)
    }

    /// A write by a system call: it makes the object longer. Says how many bytes it took,
    /// up to a page for which there is no memory.
    pub(crate) fn write_object(
        &mut self,
        object: ObjectId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<u64, Errno> {
        let end = offset + bytes.len() as u64;
        let size = self.file(object).size;
        if !bytes.is_empty() && end > size {
            self.resize(object, end);
        }
        let mut done = 0;
        for (page, range) in pieces(offset, end) {
            let piece = &bytes[done..done + range.len()];
            let looked = self.look(object, PageIndex(page), Access::Write, |system, at| {
                let addr = VirtAddr(at.0 + range.start as u64);
                let written = system.machine.store(CPU, KERNEL, addr, piece);
                written.expect("the page has just been brought in");
            });
            if let Err(trouble) = looked {
                let reached = if done == 0 { size } else { size.max(offset + done as u64) };
                if reached < end {
                    self.resize(object, reached);
                }
                return if done == 0 { Err(trouble.errno()) } else { Ok(done as u64) };
            }
            self.file_mut(object).touched.insert(page);
            done += range.len();
        }
        Ok(done as u64)
    }

    /// Shows one page in the kernel's space while something is done with it.
    fn look(
        &mut self,
        object: ObjectId,
        first: PageIndex,
        access: Access,
        then: impl FnOnce(&mut System, VirtAddr),
    ) -> Result<(), Trouble> {
        let request = MapRequest {
            place: Place::FixedNoReplace(WINDOW.start),
            len: PAGE_BYTES,
            prot: Prot::READ | Prot::WRITE,
            sharing: Sharing::Shared,
            backing: Backing::Object { object, first },
            flags: VmaFlags::empty(),
            merge: Merge::No,
        };
        self.engine.map(KERNEL, request).expect("the kernel's space is empty");
        let served = self.serve(KERNEL, WINDOW.start, access);
        if served.is_ok() {
            then(self, WINDOW.start);
        }
        self.plan(|engine, plan| engine.unmap(KERNEL, WINDOW, plan)).expect("it was mapped");
        self.clear(KERNEL, WINDOW);
        served
    }

    /// Another size. Where it is not greater, private copies of what goes are lost.
    pub(crate) fn resize(&mut self, object: ObjectId, size: u64) {
        let old = self.file(object).size;
        let ends = [old, size].map(PageIndex::containing);
        for end in ends {
            self.flush(object, PageRange::from_len(end, 1));
        }
        self.file_mut(object).resize(size);
        self.plan(|engine, plan| {
            engine.set_size(object, size, ResizedBy::User, plan);
            // The same size again clears what is behind the end, too.
            let tail = ByteRange::new(size, size.next_multiple_of(PAGE_BYTES)).pages();
            if size == old {
                engine.discard(object, tail, plan);
            }
        });
    }
}
