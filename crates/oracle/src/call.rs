//! `Call`: one thing that a process does to its memory or its files.

use std::fmt;

use crate::flags::{
    Advice, FallocFlags, LockAllFlags, LockFlags, MapFlags, OpenFlags, Prot, RemapFlags, SyncFlags,
};

/// Bytes in a page.
pub const PAGE: u64 = 4096;

/// A process of the world, by the number that its maker gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(pub u8);

/// A descriptor of a process, by the number that its maker gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fd(pub u8);

/// A descriptor that is never open.
pub const NO_FD: Fd = Fd(255);

/// One of the world's regular files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId(pub u8);

/// A place that a system chose, named by who asked for it.
///
/// Two systems may place a mapping differently. A call that says [`Call::Mmap`]`::name`
/// binds the name to the address it got, and later calls say "region 3, byte 4096".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Region(pub u16);

/// An address: a number, or a number of bytes from where a region begins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Addr {
    /// What `bytes` counts from; without one it is the address itself.
    pub region: Option<Region>,
    /// Bytes from there.
    pub bytes: u64,
}

impl Addr {
    /// The address of this number.
    pub const fn at(bytes: u64) -> Addr {
        Addr { region: None, bytes }
    }

    /// `bytes` behind the beginning of a region.
    pub const fn within(region: Region, bytes: u64) -> Addr {
        Addr { region: Some(region), bytes }
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.region {
            None => write!(f, "Addr::at({:#x})", self.bytes),
            Some(region) => write!(f, "Addr::within({region:?}, {:#x})", self.bytes),
        }
    }
}

/// Bytes to store or write, said shortly: `first`, `first + step`, …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data {
    /// The first byte.
    pub first: u8,
    /// What each byte differs from the one before.
    pub step: u8,
    /// How many.
    pub len: u32,
}

impl Data {
    /// The bytes.
    pub fn bytes(self) -> Vec<u8> {
        (0..self.len).map(|i| self.first.wrapping_add(self.step.wrapping_mul(i as u8))).collect()
    }
}

/// What can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// A regular file.
    File(FileId),
    /// The directory of the files.
    Directory,
    /// The reading end of a new pipe.
    Pipe,
    /// The device `/dev/zero`.
    Zero,
    /// A new memfd of this many bytes that can be sealed.
    Memory(u64),
}

/// What setrlimit(2) limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// RLIMIT_AS: everything mapped.
    Space,
    /// RLIMIT_DATA: what is private and writable.
    Data,
    /// RLIMIT_MEMLOCK: what is locked.
    Locked,
}

/// Where mincore(2) puts its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vector {
    /// Into memory of the harness.
    Good,
    /// To an address where nothing is mapped.
    Bad,
}

/// One thing that a process does. Lengths and offsets are bytes; each variant
/// is the system call of its name unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The fields are the parameters of the man pages.
pub enum Call {
    Mmap {
        addr: Addr,
        len: u64,
        prot: Prot,
        flags: MapFlags,
        fd: Fd,
        offset: u64,
        /// The region to bind to the address.
        name: Option<Region>,
    },
    Munmap {
        addr: Addr,
        len: u64,
    },
    Mprotect {
        addr: Addr,
        len: u64,
        prot: Prot,
    },
    Mremap {
        old: Addr,
        old_len: u64,
        new_len: u64,
        flags: RemapFlags,
        new: Addr,
        /// The region to bind to the address.
        name: Option<Region>,
    },
    Msync {
        addr: Addr,
        len: u64,
        flags: SyncFlags,
    },
    Madvise {
        addr: Addr,
        len: u64,
        advice: Advice,
    },
    Mincore {
        addr: Addr,
        len: u64,
        vector: Vector,
    },
    Mlock {
        addr: Addr,
        len: u64,
    },
    Mlock2 {
        addr: Addr,
        len: u64,
        flags: LockFlags,
    },
    Munlock {
        addr: Addr,
        len: u64,
    },
    Mlockall {
        flags: LockAllFlags,
    },
    Munlockall,
    /// The raw call: answers with the break.
    Brk {
        addr: Addr,
    },
    RemapFilePages {
        addr: Addr,
        len: u64,
        prot: Prot,
        page: u64,
        flags: MapFlags,
    },
    Mseal {
        addr: Addr,
        len: u64,
        flags: u64,
    },
    /// The soft limit: this many bytes for what is in the window; `None` is the hard
    /// limit: none, or that of [`crate::system::LOCKED_BYTES_MAX`].
    Setrlimit {
        resource: Resource,
        limit: Option<u64>,
    },
    Fork {
        child: ProcessId,
    },
    Exit,
    Open {
        fd: Fd,
        node: Node,
        flags: OpenFlags,
    },
    Close {
        fd: Fd,
    },
    /// pread(2) into memory of the harness.
    Pread {
        fd: Fd,
        len: u64,
        offset: u64,
    },
    /// pwrite(2) from memory of the harness.
    Pwrite {
        fd: Fd,
        data: Data,
        offset: u64,
    },
    Ftruncate {
        fd: Fd,
        size: u64,
    },
    Fallocate {
        fd: Fd,
        flags: FallocFlags,
        offset: u64,
        len: u64,
    },
    Fsync {
        fd: Fd,
    },
    /// copy_file_range(2).
    CopyRange {
        from: Fd,
        from_offset: u64,
        to: Fd,
        to_offset: u64,
        len: u64,
    },
    /// F_SEAL_WRITE of fcntl(2).
    SealWrites {
        fd: Fd,
    },
    Unlink {
        file: FileId,
    },
    Rename {
        from: FileId,
        to: FileId,
    },
    /// A load of these bytes.
    Load {
        addr: Addr,
        len: u64,
    },
    /// A store of these bytes.
    Store {
        addr: Addr,
        data: Data,
    },
    /// A call of the instruction there, which must be a return (0xC3).
    Fetch {
        addr: Addr,
    },
    /// pread(2) into the process's memory: EFAULT, or less than asked.
    ReadInto {
        fd: Fd,
        addr: Addr,
        len: u64,
        offset: u64,
    },
    /// pwrite(2) from the process's memory: EFAULT, or less than asked.
    WriteFrom {
        fd: Fd,
        addr: Addr,
        len: u64,
        offset: u64,
    },
    /// write(2) from the process's memory to an empty pipe; answers with the
    /// bytes that came out of it.
    PipeFrom {
        addr: Addr,
        len: u64,
    },
}
