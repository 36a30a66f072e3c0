//! mmap, munmap, mremap.

use std::ffi::{c_int, c_void};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};

use faultless::{MapOptions, Protection, Vm};

use crate::error::{Failed, Result, answer};
use crate::mapping::{Kind, Mapping, PAGE};
use crate::table;
use crate::vm::{FaultlessVm, chosen};

/// `MAP_TYPE`: the bits of shared, private and shared_validate.
const KINDS: c_int = 0xf;

/// Flags that mean something here, or that nobody misses.
const KNOWN: c_int = KINDS
    | libc::MAP_ANONYMOUS
    | libc::MAP_NORESERVE
    | libc::MAP_POPULATE
    | libc::MAP_NONBLOCK
    | libc::MAP_LOCKED
    | libc::MAP_DENYWRITE
    | libc::MAP_EXECUTABLE
    | libc::MAP_STACK;

/// Maps a file, or memory, as mmap(2) does, in the default vm.
///
/// The address is Faultless's choice: `addr` is not looked at. Unlike mmap(2):
/// - `offset` may be any byte of the file; what is answered is the address of that byte.
/// - `length` may be more than the file has; what lies behind its last page is SIGBUS, until
///   the file is made longer.
/// - Shared maps of one file have the same addresses, and so the same rights: those that one
///   of them asked for. Each is unmapped by a munmap of its own.
/// - Private writable memory has room in the budget and the swap file from the beginning, or
///   is ENOMEM; MAP_NORESERVE maps a file without, and a store for whose copy there is no
///   room is SIGBUS.
/// - MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_32BIT, MAP_GROWSDOWN and MAP_HUGETLB are EOPNOTSUPP,
///   PROT_EXEC is EPERM. Pipes, ttys and directories are ENODEV.
///
/// Answers MAP_FAILED and sets errno where it can't be.
// SAFETY: 1. no other function has this name.
#[unsafe(no_mangle)]
pub extern "C" fn faultless_mmap(
    addr: *mut c_void,
    length: usize,
    prot: c_int,
    flags: c_int,
    fd: c_int,
    offset: libc::off_t,
) -> *mut c_void {
    // SAFETY: 1. NULL is the default vm.
    unsafe { faultless_vm_mmap(std::ptr::null(), addr, length, prot, flags, fd, offset) }
}

/// As `faultless_mmap`, in `vm`; with NULL, in the default vm.
///
/// # Safety
/// `vm` is NULL or alive.
// SAFETY: 1. no other function has this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn faultless_vm_mmap(
    vm: *const FaultlessVm,
    _addr: *mut c_void,
    length: usize,
    prot: c_int,
    flags: c_int,
    fd: c_int,
    offset: libc::off_t,
) -> *mut c_void {
    let wanted = Wanted { length, prot, flags, fd, offset };
    // SAFETY: the caller's promise is ours.
    let mapped = wanted.check().and_then(|()| wanted.map(unsafe { chosen(vm) }?));
    answer(mapped, libc::MAP_FAILED)
}

/// Unmaps pages as munmap(2) does; `addr` begins a page, or is what mmap answered. What was
/// stored to a file is written, sooner or later; to hear of errors, msync first. Of private
/// memory that is unmapped in part, the addresses are kept until all of it is.
///
/// # Safety
/// Nothing in the range is used any more.
// SAFETY: 1. no other function has this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn faultless_munmap(addr: *mut c_void, length: usize) -> c_int {
    answer(unmap(addr as usize, length).map(|()| 0), -1)
}

/// Makes a mapping longer or shorter, as mremap(2) does; `old_size` is all of it, unless it
/// becomes shorter. Anonymous memory grows where `flags` are MREMAP_MAYMOVE; shared maps of
/// files grow in place, as far as addresses are reserved (writable ones: 1 GiB and more).
/// Other flags are EOPNOTSUPP. Answers MAP_FAILED and sets errno where it can't be.
///
/// # Safety
/// What was at the old addresses isn't used by them any more, where the answer is others.
// SAFETY: 1. no other function has this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn faultless_mremap(
    old_address: *mut c_void,
    old_size: usize,
    new_size: usize,
    flags: c_int,
) -> *mut c_void {
    answer(remap(old_address as usize, old_size, new_size, flags), libc::MAP_FAILED)
}

/// What a call of mmap asks for.
struct Wanted {
    length: usize,
    prot: c_int,
    flags: c_int,
    fd: c_int,
    offset: libc::off_t,
}

impl Wanted {
    fn check(&self) -> Result<()> {
        let unknown = self.flags & !KNOWN;
        let refused = |errno, why: &str| Err(Failed::new(errno, why));
        match self.flags & KINDS {
            libc::MAP_SHARED | libc::MAP_PRIVATE | libc::MAP_SHARED_VALIDATE => {}
            _ => return refused(libc::EINVAL, "flags are neither MAP_SHARED nor MAP_PRIVATE"),
        }
        if self.length == 0 {
            return refused(libc::EINVAL, "the length is 0");
        }
        if unknown != 0 {
            let why = format!("flags {unknown:#x} are not supported: Faultless chooses addresses");
            return Err(Failed::new(libc::EOPNOTSUPP, why));
        }
        if self.prot & libc::PROT_EXEC != 0 {
            return refused(libc::EPERM, "memory of Faultless's can't be executed");
        }
        let end = u64::try_from(self.offset).ok().and_then(|o| o.checked_add(self.length as u64));
        if end.is_none_or(|end| end > i64::MAX as u64 - PAGE as u64) {
            return refused(libc::EOVERFLOW, "offset and length leave what a file can have");
        }
        Ok(())
    }

    fn map(&self, vm: &Vm) -> Result<*mut c_void> {
        let is_anonymous = self.flags & libc::MAP_ANONYMOUS != 0;
        let is_private = self.flags & KINDS == libc::MAP_PRIVATE;
        let kind = match (is_anonymous, is_private) {
            (true, true) => Kind::Memory(Mutex::new(vm.anonymous(self.length)?)),
            (true, false) => Kind::Shared(vm.shared_memory(self.length)?.map()?),
            (false, _) => self.file(vm, is_private)?,
        };
        let mapping = Arc::new(Mapping::new(kind, self.length));
        let (start, pages) = (mapping.start(), mapping.pages());
        let rights = rights(self.prot)?;
        // Pages that are mapped already have the rights that all their maps asked for.
        let is_first = table::pieces(&pages).0.is_empty();
        if is_first == (rights != Protection::READ_WRITE) {
            mapping.protect(&pages, rights)?;
        }
        table::add(&mapping, pages.clone());
        if self.flags & libc::MAP_LOCKED != 0 {
            // As on Linux, what can't be locked is no error here.
            let _ = mapping.lock(&pages);
        }
        Ok(start as *mut c_void)
    }

    fn file(&self, vm: &Vm, is_private: bool) -> Result<Kind> {
        if self.fd < 0 {
            return Err(Failed::new(libc::EBADF, "the descriptor is negative"));
        }
        // SAFETY: 1. it isn't -1; 2. it is the caller's during this call, and where it isn't
        // open, what is done with it is EBADF.
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd) };
        let file = std::fs::File::from(fd.try_clone_to_owned().map_err(of_system)?);
        let is = file.metadata().map_err(of_system)?;
        let (size, offset) = (is.len(), self.offset as u64);
        if is.is_file() && offset > size {
            let why = format!("the file has {size} bytes, and {offset} is behind them");
            return Err(Failed::new(libc::ENXIO, why));
        }
        // What there is of it.
        let len = (self.length as u64).min(size.saturating_sub(offset));
        let pages = (offset + self.length as u64).next_multiple_of(PAGE as u64);
        let mut options = MapOptions::new().offset(offset).len(len);
        if self.flags & libc::MAP_POPULATE != 0 {
            options = options.populate();
        }
        let writes = self.prot & libc::PROT_WRITE != 0;
        if is_private {
            if is.is_file() && pages > size.next_multiple_of(PAGE as u64) {
                let why = "a private map doesn't reach beyond the last page of its file";
                return Err(Failed::new(libc::ENXIO, why));
            }
            if !writes || self.flags & libc::MAP_NORESERVE != 0 {
                options = options.no_reserve();
            }
            // SAFETY: 1. nobody has a slice of the bytes: C has pointers.
            let copy = unsafe { options.map_copy(vm, &fd)? };
            return Ok(Kind::Copy(Mutex::new(copy)));
        }
        // mprotect may ask for more later, if the descriptor allows it.
        // SAFETY: 1. fcntl reads and writes no memory of ours.
        let mode = unsafe { libc::fcntl(self.fd, libc::F_GETFL) } & libc::O_ACCMODE;
        let map = match writes || mode == libc::O_RDWR {
            // As far again as was asked for, and 1 GiB at least.
            true => options.reserve((2 * pages).max(1 << 30)).map_raw_mut(vm, &fd)?,
            false => options.reserve(pages).map_raw(vm, &fd)?,
        };
        if pages - offset > map.reserved().next_multiple_of(PAGE as u64) {
            let why = "the file was mapped with fewer addresses before: unmap that, or ask for \
                       less";
            return Err(Failed::new(libc::ENOMEM, why));
        }
        Ok(Kind::Shared(map))
    }
}

/// `prot` as rights. What can be written can be read, as on the processors there are.
pub fn rights(prot: c_int) -> Result<Protection> {
    if prot & libc::PROT_EXEC != 0 {
        return Err(Failed::new(libc::EPERM, "memory of Faultless's can't be executed"));
    }
    Ok(match (prot & libc::PROT_WRITE != 0, prot & libc::PROT_READ != 0) {
        (true, _) => Protection::READ_WRITE,
        (false, true) => Protection::READ,
        (false, false) => Protection::NONE,
    })
}

fn unmap(addr: usize, length: usize) -> Result<()> {
    if length == 0 {
        return Err(Failed::new(libc::EINVAL, "the length is 0"));
    }
    for piece in table::take(&table::whole_pages(addr, length)?) {
        // The last page's end is the mapping's, when this is dropped.
        if table::has(&piece.mapping) {
            piece.mapping.give_up(&piece.range)?;
        }
    }
    Ok(())
}

fn remap(old: usize, old_size: usize, new_size: usize, flags: c_int) -> Result<*mut c_void> {
    let may_move = flags == libc::MREMAP_MAYMOVE;
    if flags != 0 && !may_move {
        let why = "of mremap's flags, Faultless has MREMAP_MAYMOVE only";
        return Err(Failed::new(libc::EOPNOTSUPP, why));
    }
    if new_size == 0 {
        return Err(Failed::new(libc::EINVAL, "the new size is 0"));
    }
    let mapping = table::at(old)
        .map_err(|_| Failed::new(libc::EFAULT, format!("nothing is mapped at {old:#x}")))?;
    let pages = table::whole_pages(old, old_size)?;
    let new_pages = table::whole_pages(old, new_size)?;
    if new_pages.end <= pages.end {
        if new_pages.end < pages.end {
            unmap(new_pages.end, pages.end - new_pages.end)?;
        }
        return Ok(old as *mut c_void);
    }
    if mapping.pages() != pages {
        let why = "only a whole mapping grows: old_size is not the length of this one";
        return Err(Failed::new(libc::EFAULT, why));
    }
    let start = mapping.resize(new_size, may_move)?;
    if start == old {
        table::add(&mapping, pages.end..mapping.pages().end);
    } else {
        table::take(&pages);
        table::add(&mapping, mapping.pages());
    }
    Ok(start as *mut c_void)
}

fn of_system(error: std::io::Error) -> Failed {
    Failed::new(error.raw_os_error().unwrap_or(libc::EIO), error.to_string())
}
