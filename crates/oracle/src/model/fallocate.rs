//! fallocate(2), as ext4 and tmpfs do it.

use crate::call::{Fd, PAGE, ProcessId};
use crate::flags::FallocFlags;
use crate::outcome::Errno;
use crate::system::Store;

use super::Model;
use super::allowed::{Allowed, Answer};
use super::bytes::Loose;
use super::object::{Kind, ObjectId};
use super::process::Open;

const HOLE: FallocFlags = FallocFlags::PUNCH_HOLE.union(FallocFlags::KEEP_SIZE);

impl Model {
    pub(super) fn fallocate(
        &mut self,
        p: ProcessId,
        fd: Fd,
        flags: FallocFlags,
        offset: u64,
        len: u64,
    ) -> Answer {
        let descriptor = self.process(p).descriptor(fd)?;
        if len == 0 || offset > i64::MAX as u64 || len > i64::MAX as u64 {
            return Err(Errno::EINVAL);
        }
        let kept = flags - FallocFlags::KEEP_SIZE;
        let known = [
            FallocFlags::empty(),
            FallocFlags::PUNCH_HOLE,
            FallocFlags::ZERO,
            FallocFlags::COLLAPSE,
            FallocFlags::INSERT,
        ];
        let keeps = flags.contains(FallocFlags::KEEP_SIZE);
        let shifts = flags.intersects(FallocFlags::COLLAPSE | FallocFlags::INSERT);
        if !known.contains(&kept) || kept == FallocFlags::PUNCH_HOLE && !keeps || shifts && keeps {
            return Err(Errno::EOPNOTSUPP);
        }
        if !descriptor.writes() {
            return Err(Errno::EBADF);
        }
        match descriptor.open {
            Open::Object(object) => self.allocate(object, flags, offset, len)?,
            Open::Pipe => return Err(Errno::ESPIPE),
            Open::Directory => return Err(Errno::EISDIR),
            Open::Zero => return Err(Errno::ENODEV),
        }
        Ok(Allowed::DONE)
    }

    /// The same for an object; madvise(MADV_REMOVE) comes here, too.
    pub(super) fn allocate(
        &mut self,
        id: ObjectId,
        flags: FallocFlags,
        offset: u64,
        len: u64,
    ) -> Result<(), Errno> {
        let object = self.object_mut(id);
        let end = offset + len;
        let size = object.size;
        let can_shift = matches!(object.kind, Kind::File(_, Store::Disk));
        match flags {
            HOLE if object.sealed => return Err(Errno::EPERM),
            HOLE => object.empty(offset, end),
            _ if flags - FallocFlags::KEEP_SIZE == FallocFlags::empty() => {
                if end > size && flags.is_empty() {
                    object.grow(end);
                }
                object.reserve(offset, end);
            }
            _ if !can_shift => return Err(Errno::EOPNOTSUPP),
            FallocFlags::COLLAPSE | FallocFlags::INSERT => self.shift(id, flags, offset, len)?,
            _ => {
                if end > size && !flags.contains(FallocFlags::KEEP_SIZE) {
                    object.grow(end);
                }
                object.empty(offset, end);
            }
        }
        Ok(())
    }

    /// What is behind moves down or up; private copies of it are lost.
    fn shift(
        &mut self,
        id: ObjectId,
        flags: FallocFlags,
        offset: u64,
        len: u64,
    ) -> Result<(), Errno> {
        let object = self.object_mut(id);
        let size = object.size;
        if !offset.is_multiple_of(PAGE) || !len.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        let collapses = flags == FallocFlags::COLLAPSE;
        if collapses && offset + len >= size || offset >= size {
            return Err(Errno::EINVAL);
        }
        let from = if collapses { offset + len } else { offset };
        let behind = object.read(from, size);
        object.cut(offset);
        if collapses {
            object.write(offset, &behind);
        } else {
            object.write(offset, &Loose::exactly(vec![0; len as usize]));
            object.write(offset + len, &behind);
        }
        self.forget_copies(id, offset / PAGE);
        Ok(())
    }
}
