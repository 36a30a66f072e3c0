//! Calls on descriptors and names: open, close, unlink, rename, ftruncate, fsync.

use faultless_addr::{ObjectId, PAGE_BYTES, PageIndex, PageRange};

use crate::errno::Errno;
use crate::file::{File, Store};
use crate::flags::OpenFlags;
use crate::process::{Descriptor, Node, Open, Pid};
use crate::system::System;

/// The greatest size of a file.
pub(super) const SIZE_MAX: u64 = i64::MAX as u64;

impl System {
    /// open(2), memfd_create(2) and pipe(2): the descriptor has this number.
    pub fn open(&mut self, pid: Pid, fd: i32, node: Node, flags: OpenFlags) -> Result<(), Errno> {
        let mut flags = flags;
        let writes = flags.intersects(OpenFlags::WRONLY | OpenFlags::RDWR);
        let path = flags.contains(OpenFlags::PATH);
        let open = match node {
            Node::File(name) => Open::Object(*self.names.get(&name).ok_or(Errno::ENOENT)?),
            Node::Directory if writes && !path => return Err(Errno::EISDIR),
            Node::Directory => Open::Directory,
            Node::Pipe => {
                flags = OpenFlags::empty();
                Open::Pipe
            }
            Node::Zero => Open::Zero,
            Node::Device(number) if number as usize >= self.devices.len() => {
                return Err(Errno::ENOENT);
            }
            Node::Device(number) => Open::Device(number),
            Node::Memory(size) => {
                flags = OpenFlags::RDWR;
                Open::Object(self.add_file(File::new(Store::Memory, size)))
            }
        };
        self.openings += 1;
        let descriptor = Descriptor { open, flags, opened: self.openings };
        self.process_mut(pid).descriptors.insert(fd, descriptor);
        self.reap();
        Ok(())
    }

    /// close(2).
    pub fn close(&mut self, pid: Pid, fd: i32) -> Result<(), Errno> {
        let closed = self.process_mut(pid).descriptors.remove(&fd).ok_or(Errno::EBADF);
        self.reap();
        closed.map(drop)
    }

    /// unlink(2): who has it open or mapped keeps it.
    pub fn unlink(&mut self, name: u32) -> Result<(), Errno> {
        let unlinked = self.names.remove(&name).ok_or(Errno::ENOENT);
        self.reap();
        unlinked.map(drop)
    }

    /// rename(2).
    pub fn rename(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        let object = *self.names.get(&from).ok_or(Errno::ENOENT)?;
        if from != to {
            self.names.remove(&from);
            self.names.insert(to, object);
            self.reap();
        }
        Ok(())
    }

    /// fsync(2).
    pub fn fsync(&mut self, pid: Pid, fd: i32) -> Result<(), Errno> {
        match self.process(pid).descriptor(fd)?.open {
            Open::Object(object) => self.flush(object, PageRange::all()),
            Open::Directory => {}
            Open::Pipe | Open::Zero | Open::Device(_) => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    /// ftruncate(2).
    pub fn ftruncate(&mut self, pid: Pid, fd: i32, size: u64) -> Result<(), Errno> {
        if size > SIZE_MAX {
            return Err(Errno::EINVAL);
        }
        let descriptor = self.process(pid).descriptor(fd)?;
        match descriptor.open {
            Open::Object(object) if descriptor.writes() => self.resize(object, size),
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    /// Private copies of an object's pages from one on are lost, in all processes.
    pub(super) fn forget_copies(&mut self, object: ObjectId, from: u64) {
        let pages = PageRange::new(PageIndex(from / PAGE_BYTES), PageRange::all().end);
        self.plan(|engine, plan| engine.forget_copies(object, pages, plan));
        for space in self.processes.keys().map(|pid| pid.space()).collect::<Vec<_>>() {
            self.clear(space, self.config.bounds);
        }
    }
}
