//! Descriptors: what one is, and a second one for `O_DIRECT`.

use std::io::IsTerminal;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, SealFlags, StatxFlags};

use crate::open::{FileId, IoMode, OpenError, Rights, Unmappable};
use crate::pager::PAGE_SIZE;

/// What a mappable file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Regular,
    BlockDevice,
}

/// What was found out about a descriptor that may be paged.
pub(crate) struct Inspected {
    pub(crate) kind: Kind,
    pub(crate) id: FileId,
    pub(crate) name: String,
    flags: OFlags,
}

/// The descriptors of one file with the same rights.
pub(crate) struct Descriptors {
    /// Takes any offset and length.
    pub(crate) buffered: OwnedFd,
    /// Takes whole pages; `None` where the file system refuses.
    pub(crate) direct: Option<OwnedFd>,
    pub(crate) rights: Rights,
}

/// Checks that `fd` is a file with pages that `rights` may be used on.
pub(crate) fn inspect(fd: BorrowedFd<'_>, rights: Rights) -> Result<Inspected, OpenError> {
    let stat = fs::fstat(fd).map_err(OpenError::system("examine the descriptor"))?;
    let flags = fs::fcntl_getfl(fd).map_err(OpenError::system("read the descriptor's flags"))?;
    let name = name_of(fd);
    // O_PATH first: what it names may well be a file, but it reads nothing.
    if flags.contains(OFlags::PATH) {
        return Err(OpenError::PathOnly { name });
    }
    let kind = match kind_of(fd, FileType::from_raw_mode(stat.st_mode)) {
        Ok(kind) => kind,
        Err(what) => return Err(OpenError::NotMappable { name, what }),
    };
    let id = match kind {
        Kind::Regular => FileId { dev: stat.st_dev, ino: stat.st_ino },
        Kind::BlockDevice => FileId { dev: stat.st_rdev, ino: 0 },
    };
    check_rights(fd, flags, rights, &name)?;
    Ok(Inspected { kind, id, name, flags })
}

fn kind_of(fd: BorrowedFd<'_>, file_type: FileType) -> Result<Kind, Unmappable> {
    match file_type {
        FileType::RegularFile => Ok(Kind::Regular),
        FileType::BlockDevice => Ok(Kind::BlockDevice),
        FileType::Directory => Err(Unmappable::Directory),
        FileType::Fifo => Err(Unmappable::Pipe),
        FileType::Socket => Err(Unmappable::Socket),
        FileType::CharacterDevice if fd.is_terminal() => Err(Unmappable::Terminal),
        FileType::CharacterDevice => Err(Unmappable::CharacterDevice),
        _ => Err(Unmappable::Other),
    }
}

fn check_rights(
    fd: BorrowedFd<'_>,
    flags: OFlags,
    rights: Rights,
    name: &str,
) -> Result<(), OpenError> {
    let name = || name.to_owned();
    let access = flags & OFlags::RWMODE;
    if access == OFlags::WRONLY {
        return Err(OpenError::WriteOnly { name: name() });
    }
    if rights == Rights::ReadOnly {
        return Ok(());
    }
    if access != OFlags::RDWR {
        return Err(OpenError::NotWritable { name: name() });
    }
    // Only memfds have seals; every other file answers EINVAL.
    let seals = fs::fcntl_get_seals(fd).unwrap_or(SealFlags::empty());
    if seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE) {
        return Err(OpenError::Sealed { name: name() });
    }
    Ok(())
}

/// Descriptors of our own on the file behind `fd`: it may be closed afterwards,
/// and the file renamed or unlinked.
pub(crate) fn open(
    fd: BorrowedFd<'_>,
    file: &Inspected,
    rights: Rights,
    wish: IoMode,
) -> Result<Descriptors, OpenError> {
    // A duplicate shares its flags and its position with the caller's. O_APPEND
    // would send every write to the end, O_DIRECT would refuse a tail, and the
    // size of a block device is found by moving the position.
    let shares_badly =
        file.flags.intersects(OFlags::APPEND | OFlags::DIRECT) || file.kind == Kind::BlockDevice;
    let buffered = if shares_badly {
        reopen(fd, file.id, rights, OFlags::empty())
            .map_err(OpenError::system("open the file again by /proc/self/fd"))?
    } else {
        rustix::io::fcntl_dupfd_cloexec(fd, 0)
            .map_err(OpenError::system("duplicate the descriptor"))?
    };
    let direct = match wish {
        IoMode::Buffered => None,
        IoMode::Direct if !takes_pages_directly(fd, file.kind) => None,
        IoMode::Direct => reopen(fd, file.id, rights, OFlags::DIRECT).ok(),
    };
    Ok(Descriptors { buffered, direct, rights })
}

/// A new open file description of the same file.
fn reopen(
    fd: BorrowedFd<'_>,
    id: FileId,
    rights: Rights,
    extra: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let access = match rights {
        Rights::ReadOnly => OFlags::RDONLY,
        Rights::ReadWrite => OFlags::RDWR,
    };
    let flags = access | extra | OFlags::CLOEXEC | OFlags::NOCTTY;
    let opened = rustix::io::retry_on_intr(|| fs::open(proc_path(fd), flags, Mode::empty()))?;
    // Whatever is mounted at /proc, the pages must be those of our file.
    let same = inspect(opened.as_fd(), Rights::ReadOnly).is_ok_and(|found| found.id == id);
    if same { Ok(opened) } else { Err(rustix::io::Errno::STALE) }
}

/// Do page-aligned offsets and memory suffice for `O_DIRECT` here?
fn takes_pages_directly(fd: BorrowedFd<'_>, kind: Kind) -> bool {
    // These are memory already. Newer kernels accept the flag there and copy
    // all the same.
    const TMPFS_MAGIC: u64 = 0x0102_1994;
    const RAMFS_MAGIC: u64 = 0x8584_58f6;
    let is_memory = |s: fs::StatFs| [TMPFS_MAGIC, RAMFS_MAGIC].contains(&(s.f_type as u64));
    // (The name of a block device is in such a file system, but its bytes aren't.)
    if kind == Kind::Regular && fs::fstatfs(fd).is_ok_and(is_memory) {
        return false;
    }
    match fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) {
        Ok(found) if found.stx_mask & StatxFlags::DIOALIGN.bits() != 0 => {
            divides_page(found.stx_dio_offset_align) && divides_page(found.stx_dio_mem_align)
        }
        // A kernel before 6.1, or a file system that doesn't tell: the open
        // call, and then the first read, will.
        _ => true,
    }
}

/// An alignment of 0 means that there is no direct I/O on this file.
fn divides_page(alignment: u32) -> bool {
    alignment != 0 && PAGE_SIZE.is_multiple_of(u64::from(alignment))
}

fn proc_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// What to call a file in messages: its path, where /proc tells it.
pub fn name_of(fd: BorrowedFd<'_>) -> String {
    match std::fs::read_link(proc_path(fd)) {
        Ok(path) => path.to_string_lossy().into_owned(),
        Err(_) => format!("descriptor {}", fd.as_raw_fd()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alignments_that_a_page_satisfies() {
        assert!([1, 4, 512, 4096].into_iter().all(divides_page));
        assert!(![0, 8192, 65536].into_iter().any(divides_page));
    }
}
