//! Memory without a name that several processes map: memfds.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use faultless_addr::VirtRange;
use rustix::fs::{FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags};

use crate::memory::Reservation;
use crate::{Errno, last_errno};

/// Memory that others can be given, by a descriptor that writes or by one that only reads.
///
/// It has no huge pages: with those a page that nobody has filled could look filled.
#[derive(Debug)]
pub struct SharedMemory {
    fd: OwnedFd,
    read_only: OwnedFd,
}

impl SharedMemory {
    /// `len` bytes, of which none takes memory yet. The name is for people who look at maps.
    pub fn new(name: &str, len: u64) -> Result<SharedMemory, Errno> {
        SharedMemory::with(rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?, len)
    }

    /// As [`new`](Self::new), but nobody can change its length.
    pub fn of_fixed_length(name: &str, len: u64) -> Result<SharedMemory, Errno> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = SharedMemory::with(rustix::fs::memfd_create(name, flags)?, len)?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&memory.fd, seals)?;
        Ok(memory)
    }

    fn with(fd: OwnedFd, len: u64) -> Result<SharedMemory, Errno> {
        rustix::fs::ftruncate(&fd, len)?;
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let read_only = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(SharedMemory { fd, read_only })
    }

    /// The descriptor for those who may change its bytes.
    pub fn writer(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The descriptor for those who may not.
    pub fn reader(&self) -> BorrowedFd<'_> {
        self.read_only.as_fd()
    }

    /// Sets its length; what is cut off leaves every process, and is SIGBUS there.
    pub fn resize(&self, len: u64) -> Result<(), Errno> {
        rustix::fs::ftruncate(&self.fd, len)
    }

    /// Its length.
    pub fn len(&self) -> Result<u64, Errno> {
        Ok(rustix::fs::fstat(&self.fd)?.st_size as u64)
    }

    /// Is there not a byte of it?
    pub fn is_empty(&self) -> Result<bool, Errno> {
        Ok(self.len()? == 0)
    }

    /// Frees the pages of a range, which leave every process that maps them.
    pub fn punch(&self, offset: u64, len: u64) -> Result<(), Errno> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        loop {
            match rustix::fs::fallocate(&self.fd, flags, offset, len) {
                Err(Errno::INTR) => {}
                result => return result,
            }
        }
    }

    /// Bytes that its pages take now.
    pub fn used(&self) -> Result<u64, Errno> {
        Ok(rustix::fs::fstat(&self.fd)?.st_blocks as u64 * 512)
    }

    /// Maps it from its first byte on at `range` of a reservation, in place of what is there.
    /// Bytes beyond its length are SIGBUS.
    ///
    /// # Safety
    /// Nobody refers to the bytes of the range, or uses it for anything else.
    pub unsafe fn map_at(&self, within: &Reservation, range: VirtRange) -> Result<(), Errno> {
        assert!(within.range().encloses(range), "{range:?} is not in the reservation");
        let flags = libc::MAP_SHARED | libc::MAP_FIXED | libc::MAP_NORESERVE;
        // SAFETY: 1. the range lies in the caller's reservation, checked above; 2. its bytes
        // are nobody's, by the caller's promise.
        unsafe { map_fixed(range, flags, self.fd.as_raw_fd()) }
    }
}

/// What [`SharedMemory::map_at`] put there goes; the addresses stay reserved, and can't be
/// touched.
///
/// # Safety
/// As for [`SharedMemory::map_at`].
pub unsafe fn unmap_at(within: &Reservation, range: VirtRange) -> Result<(), Errno> {
    assert!(within.range().encloses(range), "{range:?} is not in the reservation");
    let flags = libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE | libc::MAP_ANONYMOUS;
    // SAFETY: as for `map_at`.
    unsafe { map_fixed(range, flags, -1) }
}

/// # Safety
/// The range is the caller's, and so are its bytes.
unsafe fn map_fixed(range: VirtRange, flags: i32, fd: i32) -> Result<(), Errno> {
    let rights = if fd < 0 { libc::PROT_NONE } else { libc::PROT_READ | libc::PROT_WRITE };
    let (start, len) = (range.start.0 as *mut libc::c_void, range.len() as usize);
    // SAFETY: 1. the caller owns the range; 2. what is mapped there is used by raw pointers.
    let mapped = unsafe { libc::mmap(start, len, rights, flags, fd, 0) };
    if mapped == libc::MAP_FAILED {
        return Err(last_errno());
    }
    // SAFETY: 1. the range has just been mapped by us; 2. the advice changes no byte.
    unsafe { libc::madvise(start, len, libc::MADV_DONTFORK) };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultless_addr::PAGE_BYTES;

    #[test]
    fn a_fixed_length_is_nobodys_to_change() {
        let memory = SharedMemory::of_fixed_length("test", 8192).unwrap();
        assert_eq!(
            [memory.resize(4096), memory.resize(0), memory.resize(1 << 20)],
            [Err(Errno::PERM); 3]
        );
        let seals = rustix::fs::fcntl_add_seals(memory.writer(), SealFlags::WRITE);
        assert_eq!(seals, Err(Errno::PERM));
        memory.punch(0, 4096).expect("pages can go");
        assert_eq!(memory.len(), Ok(8192));
    }

    #[test]
    fn a_punched_page_is_gone_and_the_reader_cannot_write() {
        let within = Reservation::new(8 * PAGE_BYTES as usize).unwrap();
        let memory = SharedMemory::new("test", 3 * PAGE_BYTES).unwrap();
        let range = VirtRange::from_len(within.range().start, 3 * PAGE_BYTES).unwrap();
        // SAFETY: 1. the reservation is ours, and nobody refers to its bytes.
        unsafe { memory.map_at(&within, range).unwrap() };
        let byte = |page: u64| range.start.plus_pages(page).0 as *mut u8;
        for page in 0..3 {
            // SAFETY: 1. it is mapped, above.
            unsafe { byte(page).write_volatile(7) };
        }
        assert_eq!(memory.used().unwrap(), 3 * PAGE_BYTES);
        memory.punch(PAGE_BYTES, PAGE_BYTES).unwrap();
        assert_eq!(memory.used().unwrap(), 2 * PAGE_BYTES);
        // SAFETY: as above.
        let bytes = [0, 1, 2].map(|page| unsafe { byte(page).read_volatile() });
        assert_eq!(bytes, [7, 0, 7]);
        let refused = rustix::io::pwrite(memory.reader(), b"x", 0);
        assert_eq!(refused, Err(Errno::BADF));
        // SAFETY: as above.
        unsafe { unmap_at(&within, range).unwrap() };
    }
}
