//! The bits of Linux's calls, by their numbers on x86-64.

use bitflags::bitflags;

/// The end of what a program can map on x86-64.
pub const TASK_END: u64 = 0x7fff_ffff_f000;

bitflags! {
    /// `MAP_…` of mmap(2).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct MapFlags: u32 {
        /// Stores are seen by all who map the object.
        const SHARED = 1;
        /// Stores go to a copy of one's own.
        const PRIVATE = 2;
        /// As SHARED, and unknown flags are errors.
        const SHARED_VALIDATE = 3;
        /// Private memory that may be dropped (value 8 of the type's four bits).
        const DROPPABLE = 8;
        /// Exactly there, in place of what is there.
        const FIXED = 0x10;
        /// No file.
        const ANONYMOUS = 0x20;
        /// Below 2 GiB.
        const BIT32 = 0x40;
        /// Not below 4 GiB, where only hints and FIXED lead as it is.
        const ABOVE4G = 0x80;
        /// Grows downwards when touched below.
        const GROWSDOWN = 0x100;
        /// Ignored.
        const DENYWRITE = 0x800;
        /// Ignored.
        const EXECUTABLE = 0x1000;
        /// Locked as by mlock(2).
        const LOCKED = 0x2000;
        /// Not counted as committed.
        const NORESERVE = 0x4000;
        /// Filled at once.
        const POPULATE = 0x8000;
        /// With POPULATE: not filled.
        const NONBLOCK = 0x1_0000;
        /// No place for huge pages.
        const STACK = 0x2_0000;
        /// From the pool of huge pages, which is empty.
        const HUGETLB = 0x4_0000;
        /// Stores are durable at once (DAX).
        const SYNC = 0x8_0000;
        /// Exactly there, or EEXIST.
        const FIXED_NOREPLACE = 0x10_0000;
        const _ = !0;
    }

    /// `MS_…` of msync(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct SyncFlags: u32 {
        /// Begins to write.
        const ASYNC = 1;
        /// Fails where a page is locked.
        const INVALIDATE = 2;
        /// Has written.
        const SYNC = 4;
        const _ = !0;
    }

    /// `O_…` of open(2); no bit is O_RDONLY.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct OpenFlags: u32 {
        /// Writing only.
        const WRONLY = 1;
        /// Reading and writing.
        const RDWR = 2;
        /// Writes go to the end.
        const APPEND = 0o2000;
        /// Around the page cache: as everything here, through it.
        const DIRECT = 0o40_000;
        /// A name for the file and nothing else.
        const PATH = 0o10_000_000;
        const _ = !0;
    }

    /// `FALLOC_FL_…` of fallocate(2); no bit allocates.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct FallocFlags: u32 {
        /// The size stays.
        const KEEP_SIZE = 1;
        /// A hole, with KEEP_SIZE.
        const PUNCH_HOLE = 2;
        /// The range goes, what is behind moves down.
        const COLLAPSE = 8;
        /// Zeros.
        const ZERO = 16;
        /// What is behind moves up, a hole comes.
        const INSERT = 32;
        const _ = !0;
    }
}
