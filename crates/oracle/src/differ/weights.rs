//! How often the generator does what.

use crate::flags::{Advice, MapFlags, Prot};

/// What kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Mmap,
    Munmap,
    Mprotect,
    Mremap,
    Msync,
    Madvise,
    Mincore,
    Mlock,
    Mlock2,
    Munlock,
    Mlockall,
    Munlockall,
    Brk,
    RemapFilePages,
    Mseal,
    Setrlimit,
    Fork,
    Exit,
    Open,
    Close,
    Pread,
    Pwrite,
    Ftruncate,
    Fallocate,
    Fsync,
    CopyRange,
    Load,
    Store,
    ReadInto,
    WriteFrom,
    PipeFrom,
}

/// Kinds of calls.
pub const KINDS: &[(u64, Kind)] = &[
    (1300, Kind::Mmap),
    (400, Kind::Munmap),
    (800, Kind::Mprotect),
    (700, Kind::Mremap),
    (150, Kind::Msync),
    (900, Kind::Madvise),
    (400, Kind::Mincore),
    (150, Kind::Mlock),
    (80, Kind::Mlock2),
    (250, Kind::Munlock),
    (6, Kind::Mlockall),
    (20, Kind::Munlockall),
    (250, Kind::Brk),
    (100, Kind::RemapFilePages),
    (8, Kind::Mseal),
    (100, Kind::Setrlimit),
    (60, Kind::Fork),
    (50, Kind::Exit),
    (150, Kind::Open),
    (60, Kind::Close),
    (200, Kind::Pread),
    (300, Kind::Pwrite),
    (250, Kind::Ftruncate),
    (250, Kind::Fallocate),
    (20, Kind::Fsync),
    (40, Kind::CopyRange),
    (1400, Kind::Load),
    (1600, Kind::Store),
    (250, Kind::ReadInto),
    (250, Kind::WriteFrom),
    (250, Kind::PipeFrom),
];

/// Rights of a mapping.
pub const PROTS: &[(u64, Prot)] = &[
    (14, Prot::READ.union(Prot::WRITE)),
    (4, Prot::READ),
    (2, Prot::empty()),
    (2, Prot::WRITE),
    (1, Prot::READ.union(Prot::EXEC)),
    (1, Prot::EXEC),
    (1, Prot::READ.union(Prot::WRITE).union(Prot::EXEC)),
    (1, Prot::READ.union(Prot::GROWSDOWN)),
];

const SHARED_ANONYMOUS: MapFlags = MapFlags::SHARED.union(MapFlags::ANONYMOUS);
const ANONYMOUS: MapFlags = MapFlags::PRIVATE.union(MapFlags::ANONYMOUS);

/// Flags of a mapping, without how it is placed.
pub const FLAGS: &[(u64, MapFlags)] = &[
    (24, ANONYMOUS),
    (10, SHARED_ANONYMOUS),
    (16, MapFlags::SHARED),
    (16, MapFlags::PRIVATE),
    (2, MapFlags::SHARED.union(MapFlags::PRIVATE)),
    (2, ANONYMOUS.union(MapFlags::NORESERVE)),
    (2, ANONYMOUS.union(MapFlags::POPULATE)),
    (2, MapFlags::PRIVATE.union(MapFlags::POPULATE)),
    (2, MapFlags::SHARED.union(MapFlags::POPULATE)),
    (1, ANONYMOUS.union(MapFlags::LOCKED)),
    (1, ANONYMOUS.union(MapFlags::GROWSDOWN)),
    (1, MapFlags::ANONYMOUS),
    (2, MapFlags::ANONYMOUS.union(MapFlags::DROPPABLE)),
    (1, SHARED_ANONYMOUS.union(MapFlags::LOCKED)),
    (1, ANONYMOUS.union(MapFlags::STACK)),
];

/// Advice. None that brings huge pages: the model has none.
pub const ADVICE: &[(u64, Advice)] = &[
    (1, Advice::NORMAL),
    (1, Advice::RANDOM),
    (1, Advice::SEQUENTIAL),
    (1, Advice::WILLNEED),
    (12, Advice::DONTNEED),
    (3, Advice::FREE),
    (4, Advice::REMOVE),
    (2, Advice::DONTFORK),
    (2, Advice::DOFORK),
    (1, Advice::DONTDUMP),
    (1, Advice::DODUMP),
    (2, Advice::WIPEONFORK),
    (2, Advice::KEEPONFORK),
    (1, Advice::COLD),
    (1, Advice::PAGEOUT),
    (3, Advice::POPULATE_READ),
    (3, Advice::POPULATE_WRITE),
    (2, Advice::DONTNEED_LOCKED),
    (3, Advice::GUARD_INSTALL),
    (4, Advice::GUARD_REMOVE),
    (1, Advice::MERGEABLE),
    (1, Advice::UNMERGEABLE),
    (1, Advice::NOHUGEPAGE),
    (1, Advice(77)),
];
