//! Calls on descriptors and names.

use crate::call::{Call, Fd, FileId, Node, ProcessId};
use crate::flags::OpenFlags;
use crate::outcome::Errno;

use super::Model;
use super::allowed::{Allowed, Answer};
use super::bytes::Loose;
use super::object::{Kind, Object, ObjectId};
use super::page::Backing;
use super::process::{Descriptor, Open};
use crate::call::PAGE;

/// The greatest size of a file.
const SIZE_MAX: u64 = i64::MAX as u64;

impl Model {
    pub(super) fn file_call(&mut self, p: ProcessId, call: &Call) -> Answer {
        match *call {
            Call::Open { fd, node, flags } => self.open(p, fd, node, flags),
            Call::Close { fd } => match self.process_mut(p).descriptors.remove(&fd) {
                Some(_) => Ok(Allowed::DONE),
                None => Err(Errno::EBADF),
            },
            Call::Pread { fd, len, offset } => self.pread(p, fd, len, offset),
            Call::Pwrite { fd, data, offset } => self.pwrite(p, fd, data.bytes(), offset),
            Call::Ftruncate { fd, size } => self.ftruncate(p, fd, size),
            Call::Fallocate { fd, flags, offset, len } => self.fallocate(p, fd, flags, offset, len),
            Call::Fsync { fd } => match self.process(p).descriptor(fd)?.open {
                Open::Object(_) | Open::Directory => Ok(Allowed::DONE),
                Open::Pipe | Open::Zero => Err(Errno::EINVAL),
            },
            Call::CopyRange { from, from_offset, to, to_offset, len } => {
                self.copy_range(p, (from, from_offset), (to, to_offset), len)
            }
            Call::SealWrites { fd } => self.seal_writes(p, fd),
            Call::Unlink { file } => match self.names.remove(&file) {
                Some(_) => Ok(Allowed::DONE),
                None => Err(Errno::ENOENT),
            },
            Call::Rename { from, to } => self.rename(from, to),
            _ => unreachable!("{call:?} is carried out elsewhere"),
        }
    }

    fn open(&mut self, p: ProcessId, fd: Fd, node: Node, flags: OpenFlags) -> Answer {
        let mut flags = flags;
        let writes = flags.intersects(OpenFlags::WRONLY | OpenFlags::RDWR);
        let path = flags.contains(OpenFlags::PATH);
        let open = match node {
            Node::File(file) => Open::Object(*self.names.get(&file).ok_or(Errno::ENOENT)?),
            Node::Directory if writes && !path => return Err(Errno::EISDIR),
            Node::Directory => Open::Directory,
            Node::Pipe => {
                flags = OpenFlags::empty();
                Open::Pipe
            }
            Node::Zero => Open::Zero,
            Node::Memory(size) => {
                flags = OpenFlags::RDWR;
                Open::Object(self.add_object(Object::new(Kind::Memory, size)))
            }
        };
        let opened = self.birth();
        self.process_mut(p).descriptors.insert(fd, Descriptor { open, flags, opened });
        Ok(Allowed::DONE)
    }

    /// What can be read from, at an offset.
    pub(super) fn readable(&self, p: ProcessId, fd: Fd, offset: u64) -> Result<Open, Errno> {
        let descriptor = self.process(p).descriptor(fd);
        if offset > SIZE_MAX {
            return Err(Errno::EINVAL);
        }
        let descriptor = descriptor?;
        match descriptor.open {
            Open::Pipe => Err(Errno::ESPIPE),
            _ if !descriptor.reads() => Err(Errno::EBADF),
            Open::Directory => Err(Errno::EISDIR),
            open => Ok(open),
        }
    }

    /// What can be written to, and where a write goes.
    pub(super) fn writable(
        &self,
        p: ProcessId,
        fd: Fd,
        offset: u64,
    ) -> Result<(ObjectId, u64), Errno> {
        let descriptor = self.process(p).descriptor(fd);
        if offset > SIZE_MAX {
            return Err(Errno::EINVAL);
        }
        let descriptor = descriptor?;
        match descriptor.open {
            Open::Pipe => Err(Errno::ESPIPE),
            _ if !descriptor.writes() => Err(Errno::EBADF),
            Open::Object(object) if self.objects[&object].sealed => Err(Errno::EPERM),
            Open::Object(object) if descriptor.flags.contains(OpenFlags::APPEND) => {
                Ok((object, self.objects[&object].size))
            }
            Open::Object(object) => Ok((object, offset)),
            Open::Zero | Open::Directory => Err(Errno::EINVAL),
        }
    }

    fn pread(&mut self, p: ProcessId, fd: Fd, len: u64, offset: u64) -> Answer {
        match self.readable(p, fd, offset)? {
            Open::Object(object) => Ok(Allowed::Bytes(self.objects[&object].read(offset, len))),
            _ => Ok(Allowed::Bytes(Loose::exactly(vec![0; len as usize]))),
        }
    }

    fn pwrite(&mut self, p: ProcessId, fd: Fd, bytes: Vec<u8>, offset: u64) -> Answer {
        let len = bytes.len() as u64;
        if self.swallows(p, fd) {
            return Ok(Allowed::value(len));
        }
        let (object, offset) = self.writable(p, fd, offset)?;
        self.object_mut(object).write(offset, &Loose::exactly(bytes));
        Ok(Allowed::value(len))
    }

    /// `/dev/zero` takes what is written, and does not look at it.
    pub(super) fn swallows(&self, p: ProcessId, fd: Fd) -> bool {
        let descriptor = self.process(p).descriptor(fd);
        descriptor.is_ok_and(|found| found.open == Open::Zero && found.writes())
    }

    fn ftruncate(&mut self, p: ProcessId, fd: Fd, size: u64) -> Answer {
        if size > SIZE_MAX {
            return Err(Errno::EINVAL);
        }
        let descriptor = self.process(p).descriptor(fd)?;
        let Open::Object(id) = descriptor.open else { return Err(Errno::EINVAL) };
        if !descriptor.writes() {
            return Err(Errno::EINVAL);
        }
        let object = self.object_mut(id);
        match size > object.size {
            true => object.grow(size),
            false => {
                object.cut(size);
                self.forget_copies(id, size.div_ceil(PAGE));
            }
        }
        Ok(Allowed::DONE)
    }

    /// Private copies of an object's pages from one on are lost, in all processes.
    pub(super) fn forget_copies(&mut self, object: ObjectId, from: u64) {
        let pages = self.processes.values_mut().flat_map(|process| process.pages.values_mut());
        for page in pages {
            match page.traits.backing {
                Backing::Object { object: its, page: index } if its == object && index >= from => {
                    page.drop_own();
                }
                _ => {}
            }
        }
    }

    fn seal_writes(&mut self, p: ProcessId, fd: Fd) -> Answer {
        let descriptor = self.process(p).descriptor(fd)?;
        let Open::Object(id) = descriptor.open else { return Err(Errno::EINVAL) };
        if self.objects[&id].kind != Kind::Memory {
            return Err(Errno::EINVAL);
        }
        let mut pages = self.processes.values().flat_map(|process| process.pages.values());
        let is_written = pages.any(|page| {
            let traits = page.traits;
            let same = matches!(traits.backing, Backing::Object { object, .. } if object == id);
            same && traits.is_shared() && traits.may.contains(crate::flags::Prot::WRITE)
        });
        if is_written {
            return Err(Errno::EBUSY);
        }
        self.object_mut(id).sealed = true;
        Ok(Allowed::DONE)
    }

    fn rename(&mut self, from: FileId, to: FileId) -> Answer {
        let object = *self.names.get(&from).ok_or(Errno::ENOENT)?;
        if from != to {
            self.names.remove(&from);
            self.names.insert(to, object);
        }
        Ok(Allowed::DONE)
    }

    fn copy_range(&mut self, p: ProcessId, from: (Fd, u64), to: (Fd, u64), len: u64) -> Answer {
        let Open::Object(source) = self.readable(p, from.0, from.1)? else {
            return Err(Errno::EINVAL);
        };
        let (target, offset) = self.writable(p, to.0, to.1)?;
        let bytes = self.objects[&source].read(from.1, len);
        self.object_mut(target).write(offset, &bytes);
        Ok(Allowed::value(bytes.len()))
    }
}
