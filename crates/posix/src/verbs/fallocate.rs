//! fallocate(2), as ext4 and tmpfs do it.

use faultless_addr::{ObjectId, PAGE_BYTES, PageIndex};
use faultless_engine::ResizedBy;

use crate::errno::Errno;
use crate::flags::FallocFlags;
use crate::process::{Open, Pid};
use crate::system::System;

use super::files::SIZE_MAX;

const HOLE: FallocFlags = FallocFlags::PUNCH_HOLE.union(FallocFlags::KEEP_SIZE);

impl System {
    /// fallocate(2).
    pub fn fallocate(
        &mut self,
        pid: Pid,
        fd: i32,
        flags: FallocFlags,
        offset: u64,
        len: u64,
    ) -> Result<(), Errno> {
        let descriptor = self.process(pid).descriptor(fd)?;
        if len == 0 || offset > SIZE_MAX || len > SIZE_MAX {
            return Err(Errno::EINVAL);
        }
        let kind = flags - FallocFlags::KEEP_SIZE;
        let known = [
            FallocFlags::empty(),
            FallocFlags::PUNCH_HOLE,
            FallocFlags::ZERO,
            FallocFlags::COLLAPSE,
            FallocFlags::INSERT,
        ];
        let keeps = flags.contains(FallocFlags::KEEP_SIZE);
        let shifts = flags.intersects(FallocFlags::COLLAPSE | FallocFlags::INSERT);
        if !known.contains(&kind) || kind == FallocFlags::PUNCH_HOLE && !keeps || shifts && keeps {
            return Err(Errno::EOPNOTSUPP);
        }
        if !descriptor.writes() {
            return Err(Errno::EBADF);
        }
        match descriptor.open {
            Open::Object(object) => self.allocate(object, flags, offset, len),
            Open::Pipe => Err(Errno::ESPIPE),
            Open::Directory => Err(Errno::EISDIR),
            Open::Zero | Open::Device(_) => Err(Errno::ENODEV),
        }
    }

    /// The same for an object; madvise(MADV_REMOVE) comes here, too.
    pub(super) fn allocate(
        &mut self,
        object: ObjectId,
        flags: FallocFlags,
        offset: u64,
        len: u64,
    ) -> Result<(), Errno> {
        let (end, file) = (offset + len, self.file(object));
        let grows = end > file.size && !flags.contains(FallocFlags::KEEP_SIZE);
        match flags {
            HOLE if file.sealed => return Err(Errno::EPERM),
            HOLE => self.zero(object, offset, end),
            _ if flags - FallocFlags::KEEP_SIZE == FallocFlags::empty() => {
                if grows {
                    self.resize(object, end);
                }
            }
            _ if !file.is_on_disk() => return Err(Errno::EOPNOTSUPP),
            FallocFlags::COLLAPSE | FallocFlags::INSERT => {
                return self.shift(object, flags, offset, len);
            }
            _ => {
                if grows {
                    self.resize(object, end);
                }
                self.zero(object, offset, end);
            }
        }
        Ok(())
    }

    /// A disk's file system leaves what is behind the end as it is.
    fn zero(&mut self, object: ObjectId, from: u64, to: u64) {
        let file = self.file(object);
        let to = if file.is_on_disk() { to.min(file.size) } else { to };
        self.rewrite(object, PageIndex::containing(from), |file| file.zero(from, to));
    }

    /// What is behind moves down or up; private copies of it are lost.
    fn shift(
        &mut self,
        object: ObjectId,
        flags: FallocFlags,
        offset: u64,
        len: u64,
    ) -> Result<(), Errno> {
        let size = self.file(object).size;
        if !offset.is_multiple_of(PAGE_BYTES) || !len.is_multiple_of(PAGE_BYTES) {
            return Err(Errno::EINVAL);
        }
        let collapses = flags == FallocFlags::COLLAPSE;
        if collapses && offset + len >= size || offset >= size {
            return Err(Errno::EINVAL);
        }
        let (from, to) = if collapses { (offset + len, offset) } else { (offset, offset + len) };
        let new = if collapses { size - len } else { size + len };
        self.rewrite(object, PageIndex::containing(offset), |file| {
            file.shift(from / PAGE_BYTES, to / PAGE_BYTES);
            file.size = new;
        });
        self.plan(|engine, plan| engine.set_size(object, new, ResizedBy::User, plan));
        self.forget_copies(object, offset);
        Ok(())
    }
}
