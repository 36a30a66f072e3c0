//! The bits of Linux's calls as types; unknown bits can be said, too.

use bitflags::bitflags;
use linux_raw_sys::general as raw;

bitflags! {
    /// What may be done with a page: `PROT_…` of mmap(2) and mprotect(2).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
    pub struct Prot: u32 {
        /// Loads.
        const READ = raw::PROT_READ;
        /// Stores; on x86 loads as well.
        const WRITE = raw::PROT_WRITE;
        /// Instruction fetches.
        const EXEC = raw::PROT_EXEC;
        /// mprotect(2): from the beginning of an area that grows down.
        const GROWSDOWN = raw::PROT_GROWSDOWN;
        /// mprotect(2): to the end of an area that grows up.
        const GROWSUP = raw::PROT_GROWSUP;
        const _ = !0;
    }

    /// `MAP_…` of mmap(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MapFlags: u32 {
        /// Stores are seen by all who map the object.
        const SHARED = raw::MAP_SHARED;
        /// Stores go to a copy of one's own.
        const PRIVATE = raw::MAP_PRIVATE;
        /// Private memory that the kernel may drop (value 8 of the type's four bits).
        const DROPPABLE = raw::MAP_DROPPABLE;
        /// Exactly at this address, in place of what is there.
        const FIXED = raw::MAP_FIXED;
        /// Exactly at this address, or EEXIST.
        const FIXED_NOREPLACE = raw::MAP_FIXED_NOREPLACE;
        /// No file.
        const ANONYMOUS = raw::MAP_ANONYMOUS;
        /// Below 2 GiB.
        const BIT32 = raw::MAP_32BIT;
        /// Not below 4 GiB.
        const ABOVE4G = raw::MAP_ABOVE4G;
        /// Grows downwards when touched below.
        const GROWSDOWN = raw::MAP_GROWSDOWN;
        /// Ignored.
        const DENYWRITE = raw::MAP_DENYWRITE;
        /// Ignored.
        const EXECUTABLE = raw::MAP_EXECUTABLE;
        /// Locked as by mlock(2).
        const LOCKED = raw::MAP_LOCKED;
        /// Not counted as committed.
        const NORESERVE = raw::MAP_NORESERVE;
        /// Filled at once.
        const POPULATE = raw::MAP_POPULATE;
        /// With POPULATE: not filled.
        const NONBLOCK = raw::MAP_NONBLOCK;
        /// Ignored.
        const STACK = raw::MAP_STACK;
        /// From the pool of huge pages.
        const HUGETLB = raw::MAP_HUGETLB;
        /// Stores are durable at once (DAX).
        const SYNC = raw::MAP_SYNC;
        const _ = !0;
    }

    /// `MREMAP_…` of mremap(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct RemapFlags: u32 {
        /// May go elsewhere.
        const MAYMOVE = raw::MREMAP_MAYMOVE;
        /// Goes to the address given.
        const FIXED = raw::MREMAP_FIXED;
        /// The old addresses stay mapped, without their pages.
        const DONTUNMAP = raw::MREMAP_DONTUNMAP;
        const _ = !0;
    }

    /// `MS_…` of msync(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct SyncFlags: u32 {
        /// Begins to write.
        const ASYNC = raw::MS_ASYNC;
        /// Fails where a page is locked.
        const INVALIDATE = raw::MS_INVALIDATE;
        /// Has written.
        const SYNC = raw::MS_SYNC;
        const _ = !0;
    }

    /// `MLOCK_…` of mlock2(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct LockFlags: u32 {
        /// Locks pages when they come, and does not bring them.
        const ONFAULT = 1;
        const _ = !0;
    }

    /// `MCL_…` of mlockall(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct LockAllFlags: u32 {
        /// All that is mapped now.
        const CURRENT = raw::MCL_CURRENT;
        /// All that will be mapped.
        const FUTURE = raw::MCL_FUTURE;
        /// Locks pages when they come.
        const ONFAULT = raw::MCL_ONFAULT;
        const _ = !0;
    }

    /// `O_…` of open(2); no bit is O_RDONLY.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct OpenFlags: u32 {
        /// Writing only.
        const WRONLY = raw::O_WRONLY;
        /// Reading and writing.
        const RDWR = raw::O_RDWR;
        /// Writes go to the end.
        const APPEND = raw::O_APPEND;
        /// A name for the file and nothing else.
        const PATH = raw::O_PATH;
        /// Around the page cache.
        const DIRECT = raw::O_DIRECT;
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

/// `MADV_…` of madvise(2): numbers, not bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Advice(pub i32);

macro_rules! advice {
    ($($name:ident = $value:expr),* $(,)?) => {
        #[allow(missing_docs)] // The names are those of madvise(2).
        impl Advice {
            $(pub const $name: Advice = Advice($value as i32);)*
        }

        impl std::fmt::Debug for Advice {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match *self {
                    $(Advice::$name => f.write_str(concat!("Advice::", stringify!($name))),)*
                    Advice(number) => write!(f, "Advice({number})"),
                }
            }
        }
    };
}

advice! {
    NORMAL = raw::MADV_NORMAL,
    RANDOM = raw::MADV_RANDOM,
    SEQUENTIAL = raw::MADV_SEQUENTIAL,
    WILLNEED = raw::MADV_WILLNEED,
    DONTNEED = raw::MADV_DONTNEED,
    FREE = raw::MADV_FREE,
    REMOVE = raw::MADV_REMOVE,
    DONTFORK = raw::MADV_DONTFORK,
    DOFORK = raw::MADV_DOFORK,
    MERGEABLE = raw::MADV_MERGEABLE,
    UNMERGEABLE = raw::MADV_UNMERGEABLE,
    HUGEPAGE = raw::MADV_HUGEPAGE,
    NOHUGEPAGE = raw::MADV_NOHUGEPAGE,
    DONTDUMP = raw::MADV_DONTDUMP,
    DODUMP = raw::MADV_DODUMP,
    WIPEONFORK = raw::MADV_WIPEONFORK,
    KEEPONFORK = raw::MADV_KEEPONFORK,
    COLD = raw::MADV_COLD,
    PAGEOUT = raw::MADV_PAGEOUT,
    POPULATE_READ = raw::MADV_POPULATE_READ,
    POPULATE_WRITE = raw::MADV_POPULATE_WRITE,
    DONTNEED_LOCKED = raw::MADV_DONTNEED_LOCKED,
    COLLAPSE = raw::MADV_COLLAPSE,
    GUARD_INSTALL = raw::MADV_GUARD_INSTALL,
    GUARD_REMOVE = raw::MADV_GUARD_REMOVE,
}
