//! Short words for calls, so that a case reads like a list of what is done.

use crate::call::{Addr, Call, Data, Fd, FileId, NO_FD, Node, PAGE, Resource, Vector};
use crate::flags::{
    Advice, FallocFlags, LockAllFlags, LockFlags, MapFlags, OpenFlags, Prot, RemapFlags, SyncFlags,
};
use crate::system::World;

pub const R: Prot = Prot::READ;
pub const RW: Prot = Prot::READ.union(Prot::WRITE);
pub const NONE: Prot = Prot::empty();

pub const SHARED: MapFlags = MapFlags::SHARED;
pub const PRIVATE: MapFlags = MapFlags::PRIVATE;
pub const ANON: MapFlags = MapFlags::ANONYMOUS.union(MapFlags::PRIVATE);
pub const SHARED_ANON: MapFlags = MapFlags::ANONYMOUS.union(MapFlags::SHARED);
pub const VALIDATE: MapFlags = MapFlags::SHARED.union(MapFlags::PRIVATE);
pub const FIXED: MapFlags = MapFlags::FIXED;

pub const RDONLY: OpenFlags = OpenFlags::empty();
pub const MAYMOVE: RemapFlags = RemapFlags::MAYMOVE;
pub const TO: RemapFlags = RemapFlags::MAYMOVE.union(RemapFlags::FIXED);

/// Descriptors.
pub const A: Fd = Fd(0);
pub const B: Fd = Fd(1);

/// Page `n` of the window.
pub fn page(n: u64) -> Addr {
    byte(n, 0)
}

/// A byte of page `n` of the window.
pub fn byte(n: u64, offset: u64) -> Addr {
    Addr::at(World::WIDE.base + n * PAGE + offset)
}

/// So many pages in bytes.
pub const fn pages(n: u64) -> u64 {
    n * PAGE
}

/// A mapping with every parameter.
pub fn mmap(addr: Addr, len: u64, prot: Prot, flags: MapFlags, fd: Fd, offset: u64) -> Call {
    Call::Mmap { addr, len, prot, flags, fd, offset, name: None }
}

/// Private anonymous memory at page `n`.
pub fn anon(n: u64, count: u64, prot: Prot) -> Call {
    mmap(page(n), pages(count), prot, ANON | FIXED, NO_FD, 0)
}

/// Shared anonymous memory at page `n`.
pub fn shared_anon(n: u64, count: u64, prot: Prot) -> Call {
    mmap(page(n), pages(count), prot, SHARED_ANON | FIXED, NO_FD, 0)
}

/// A file from its beginning at page `n`.
pub fn file(n: u64, count: u64, prot: Prot, flags: MapFlags, fd: Fd) -> Call {
    mmap(page(n), pages(count), prot, flags | FIXED, fd, 0)
}

pub fn munmap(addr: Addr, len: u64) -> Call {
    Call::Munmap { addr, len }
}

pub fn mprotect(addr: Addr, len: u64, prot: Prot) -> Call {
    Call::Mprotect { addr, len, prot }
}

pub fn mremap(old: Addr, old_len: u64, new_len: u64, flags: RemapFlags, new: Addr) -> Call {
    Call::Mremap { old, old_len, new_len, flags, new, name: None }
}

pub fn msync(addr: Addr, len: u64, flags: SyncFlags) -> Call {
    Call::Msync { addr, len, flags }
}

pub fn madvise(addr: Addr, len: u64, advice: Advice) -> Call {
    Call::Madvise { addr, len, advice }
}

pub fn mincore(addr: Addr, len: u64) -> Call {
    Call::Mincore { addr, len, vector: Vector::Good }
}

pub fn mlock(addr: Addr, len: u64) -> Call {
    Call::Mlock { addr, len }
}

pub fn mlock2(addr: Addr, len: u64, flags: LockFlags) -> Call {
    Call::Mlock2 { addr, len, flags }
}

pub fn munlock(addr: Addr, len: u64) -> Call {
    Call::Munlock { addr, len }
}

pub fn mlockall(flags: LockAllFlags) -> Call {
    Call::Mlockall { flags }
}

pub fn mseal(addr: Addr, len: u64) -> Call {
    Call::Mseal { addr, len, flags: 0 }
}

pub fn brk(bytes: u64) -> Call {
    Call::Brk { addr: Addr::at(World::WIDE.brk + bytes) }
}

pub fn limit(resource: Resource, limit: u64) -> Call {
    Call::Setrlimit { resource, limit: Some(limit) }
}

pub fn open(fd: Fd, file: u8, flags: OpenFlags) -> Call {
    open_node(fd, Node::File(FileId(file)), flags)
}

pub fn open_node(fd: Fd, node: Node, flags: OpenFlags) -> Call {
    Call::Open { fd, node, flags }
}

pub fn load(addr: Addr, len: u64) -> Call {
    Call::Load { addr, len }
}

/// A store of one byte.
pub fn store(addr: Addr, first: u8) -> Call {
    Call::Store { addr, data: Data { first, step: 0, len: 1 } }
}

pub fn pread(fd: Fd, offset: u64, len: u64) -> Call {
    Call::Pread { fd, len, offset }
}

/// A write of one byte.
pub fn pwrite(fd: Fd, offset: u64, first: u8) -> Call {
    Call::Pwrite { fd, data: Data { first, step: 0, len: 1 }, offset }
}

pub fn truncate(fd: Fd, size: u64) -> Call {
    Call::Ftruncate { fd, size }
}

pub fn fallocate(fd: Fd, flags: FallocFlags, offset: u64, len: u64) -> Call {
    Call::Fallocate { fd, flags, offset, len }
}

/// A hole, the size kept.
pub fn punch(fd: Fd, offset: u64, len: u64) -> Call {
    fallocate(fd, FallocFlags::PUNCH_HOLE | FallocFlags::KEEP_SIZE, offset, len)
}
