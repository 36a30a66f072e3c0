//! What a descriptor must be to be paged, and the errors that say it isn't.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

/// What the pages of a file may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Reading. `write`, `resize` and `punch` answer `EBADF`.
    ReadOnly,
    /// Reading and writing.
    ReadWrite,
}

/// Which way the bytes of a file take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoMode {
    /// From the disk into the caller's memory, by `O_DIRECT`.
    Direct,
    /// Through the kernel's page cache.
    Buffered,
}

/// Which file it is: equal for two descriptors of one file, however opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// The device that the file is on, or the block device itself.
    pub dev: u64,
    /// The inode number; 0, which no file has, for a block device.
    pub ino: u64,
}

/// A kind of file that has no pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmappable {
    /// A directory.
    Directory,
    /// A pipe or FIFO.
    Pipe,
    /// A socket.
    Socket,
    /// A terminal.
    Terminal,
    /// A character device other than a terminal.
    CharacterDevice,
    /// Something without a file type: an eventfd, an epoll instance.
    Other,
}

impl Unmappable {
    fn noun(self) -> &'static str {
        match self {
            Unmappable::Directory => "a directory",
            Unmappable::Pipe => "a pipe",
            Unmappable::Socket => "a socket",
            Unmappable::Terminal => "a terminal",
            Unmappable::CharacterDevice => "a character device",
            Unmappable::Other => "neither a file nor a block device",
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Unmappable::Directory => "open a file inside it",
            Unmappable::Pipe | Unmappable::Socket => {
                "its bytes pass only once: copy them to a file and map that"
            }
            Unmappable::Terminal => "read it, or redirect a file to it",
            Unmappable::CharacterDevice => "read it, or copy what it gives to a file and map that",
            Unmappable::Other => "map a regular file or a block device",
        }
    }
}

/// Why a descriptor can't be paged, and what to do.
///
/// [`OpenError::errno`] is what `mmap(2)` says in the same place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It has no pages (`ENODEV`).
    #[error("{name} is {}, which has no pages: {}", .what.noun(), .what.advice())]
    NotMappable {
        /// What a person calls it.
        name: String,
        /// What it is.
        what: Unmappable,
    },
    /// It can't be read (`EACCES`): pages that are written partly must be read first.
    #[error(
        "{name} is open for writing only, and pages are read before they are written: \
             open it for reading and writing"
    )]
    WriteOnly {
        /// What a person calls it.
        name: String,
    },
    /// It can't be written, and that was asked for (`EACCES`).
    #[error(
        "{name} is open for reading only: open it for reading and writing, \
             or ask for a read-only or private mapping"
    )]
    NotWritable {
        /// What a person calls it.
        name: String,
    },
    /// It was opened with `O_PATH` (`EBADF`).
    #[error("{name} is open as a path only (O_PATH): open it for reading")]
    PathOnly {
        /// What a person calls it.
        name: String,
    },
    /// A memfd sealed against writing (`EPERM`).
    #[error("{name} is sealed against writing: ask for a read-only or private mapping")]
    Sealed {
        /// What a person calls it.
        name: String,
    },
    /// Rights were granted by a descriptor of another file (`EINVAL`).
    #[error("{other} is not the file {name}: grant rights by a descriptor of the same file")]
    OtherFile {
        /// The file that is paged.
        name: String,
        /// The file that the descriptor is of.
        other: String,
    },
    /// A swap area can't be had in this directory.
    #[error("cannot make a swap file in {}: {source}: name another directory", .dir.display())]
    NoSwapFile {
        /// The directory.
        dir: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused a system call.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl OpenError {
    /// The errno that `mmap(2)` gives here.
    pub fn errno(&self) -> i32 {
        let errno = match self {
            OpenError::NotMappable { .. } => Errno::NODEV,
            OpenError::WriteOnly { .. } | OpenError::NotWritable { .. } => Errno::ACCESS,
            OpenError::PathOnly { .. } => Errno::BADF,
            OpenError::Sealed { .. } => Errno::PERM,
            OpenError::OtherFile { .. } => Errno::INVAL,
            OpenError::System { source, .. } | OpenError::NoSwapFile { source, .. } => {
                return source.raw_os_error().unwrap_or(Errno::IO.raw_os_error());
            }
        };
        errno.raw_os_error()
    }

    /// The kind that an [`io::Error`] made of this has.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            OpenError::NotMappable { .. } => io::ErrorKind::Unsupported,
            OpenError::WriteOnly { .. }
            | OpenError::NotWritable { .. }
            | OpenError::Sealed { .. } => io::ErrorKind::PermissionDenied,
            OpenError::PathOnly { .. } | OpenError::OtherFile { .. } => io::ErrorKind::InvalidInput,
            OpenError::System { source, .. } | OpenError::NoSwapFile { source, .. } => {
                source.kind()
            }
        }
    }

    pub(crate) fn system(doing: &'static str) -> impl FnOnce(Errno) -> OpenError {
        move |errno| OpenError::System { doing, source: errno.into() }
    }
}

impl From<OpenError> for io::Error {
    fn from(error: OpenError) -> io::Error {
        io::Error::new(error.kind(), error)
    }
}
