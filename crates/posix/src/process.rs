//! `Process`: its number and its descriptors. Its areas and pages are the engine's.

use std::collections::BTreeMap;

use faultless_addr::{ObjectId, SpaceId};

use crate::errno::Errno;
use crate::flags::OpenFlags;

/// The number of a process: that of its space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pid(pub u32);

impl Pid {
    pub(crate) fn space(self) -> SpaceId {
        SpaceId(self.0)
    }
}

/// What can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// A regular file, by its name.
    File(u32),
    /// A directory.
    Directory,
    /// The reading end of a new pipe.
    Pipe,
    /// The device `/dev/zero`.
    Zero,
    /// A device, by the number that [`System::add_device`](crate::System::add_device) gave.
    Device(u32),
    /// A new memfd of this many bytes that can be sealed.
    Memory(u64),
}

/// What a descriptor names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    Object(ObjectId),
    Directory,
    Pipe,
    Zero,
    Device(u32),
}

/// An open file.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    pub open: Open,
    pub flags: OpenFlags,
    /// Counts calls of open(2): areas of different ones stay apart.
    pub opened: u32,
}

impl Descriptor {
    pub fn reads(self) -> bool {
        !self.flags.intersects(OpenFlags::WRONLY | OpenFlags::PATH)
    }

    pub fn writes(self) -> bool {
        self.flags.intersects(OpenFlags::WRONLY | OpenFlags::RDWR)
            && !self.flags.contains(OpenFlags::PATH)
    }
}

/// A process.
#[derive(Clone, Debug, Default)]
pub struct Process {
    pub descriptors: BTreeMap<i32, Descriptor>,
}

impl Process {
    /// An open descriptor; not one that O_PATH opened.
    pub fn descriptor(&self, fd: i32) -> Result<Descriptor, Errno> {
        let found = self.descriptors.get(&fd).copied();
        found.filter(|found| !found.flags.contains(OpenFlags::PATH)).ok_or(Errno::EBADF)
    }
}
