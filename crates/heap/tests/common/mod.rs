//! Plain memory for a heap, by mmap(2); what is not usable can't be touched.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use faultless_heap::{Pages, Place, Refused, UNIT};
use rustix::mm::{Advice, MapFlags, MprotectFlags, MremapFlags, ProtFlags};

const PAGE: usize = 4096;

/// Anonymous memory of the kernel.
pub struct Mmap {
    /// The segment's address, and its usable bytes.
    segment: AtomicUsize,
    end: AtomicUsize,
    /// Counts the bytes that were given out and not given back, of any kind.
    pub outstanding: Option<Arc<AtomicUsize>>,
    /// Bytes that may still be mapped or added to the segment, minus one; 0 for any.
    pub limit: AtomicUsize,
}

impl Mmap {
    pub const fn new() -> Mmap {
        Mmap {
            segment: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            outstanding: None,
            limit: AtomicUsize::new(0),
        }
    }

    /// While `f` runs, touching any page of the segment is SIGSEGV.
    pub fn untouchable<R>(&self, f: impl FnOnce() -> R) -> R {
        self.protect(MprotectFlags::empty());
        let result = f();
        self.protect(MprotectFlags::READ | MprotectFlags::WRITE);
        result
    }

    fn protect(&self, rights: MprotectFlags) {
        let start = self.segment.load(Ordering::SeqCst) as *mut c_void;
        // SAFETY: 1. the segment is ours; 2. whoever touches it while it may not be
        // touched is what the test looks for.
        unsafe { rustix::mm::mprotect(start, self.end.load(Ordering::SeqCst), rights) }.unwrap();
    }

    fn count(&self, given: usize, back: usize) {
        if let Some(outstanding) = &self.outstanding {
            outstanding.fetch_add(given, Ordering::SeqCst);
            outstanding.fetch_sub(back, Ordering::SeqCst);
        }
    }

    fn is_within_limit(&self, bytes: usize) -> bool {
        let spend = |limit: usize| match limit {
            0 => Some(0),
            limit => limit.checked_sub(bytes).filter(|left| *left > 0),
        };
        self.limit.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend).is_ok()
    }

    /// Maps `len` bytes aligned to `align`, by mapping more and cutting it off.
    fn map_aligned(&self, len: usize, align: usize, prot: ProtFlags) -> Option<NonNull<u8>> {
        let more = len.checked_add(align.max(PAGE) - PAGE)?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        let null = std::ptr::null_mut();
        // SAFETY: 1. the kernel picks addresses where nothing is; 2. what is cut off
        // is of this mapping, and nobody knows of it.
        let start = unsafe {
            let mapped = rustix::mm::mmap_anonymous(null, more, prot, flags).ok()?;
            let before = mapped.addr().next_multiple_of(align.max(PAGE)) - mapped.addr();
            let start = mapped.byte_add(before);
            cut(mapped, before);
            cut(start.byte_add(len), more - before - len);
            start
        };
        self.count(len, 0);
        NonNull::new(start.cast())
    }

    /// # Safety
    /// As for `Pages::unmap`.
    unsafe fn end(&self, start: NonNull<u8>, len: usize) {
        // SAFETY: the caller's promise is ours.
        unsafe { cut(start.as_ptr().cast(), len) };
        self.count(0, len);
    }
}

/// # Safety
/// Nobody uses the bytes.
unsafe fn cut(start: *mut c_void, len: usize) {
    if len > 0 {
        // SAFETY: the caller's promise is ours.
        unsafe { rustix::mm::munmap(start, len) }.unwrap();
    }
}

// SAFETY: 1. mmap gives memory that nobody has, of zeros; 2. it stays until munmap;
// 3. what MADV_DONTNEED drops of a private mapping reads as zeros.
unsafe impl Pages for Mmap {
    fn reserve(&self, len: usize) -> Option<NonNull<u8>> {
        let start = self.map_aligned(len, UNIT, ProtFlags::empty())?;
        self.segment.store(start.as_ptr().addr(), Ordering::SeqCst);
        Some(start)
    }

    /// # Safety
    /// As the trait says.
    unsafe fn release(&self, segment: NonNull<u8>, len: usize) {
        // SAFETY: the caller's promise is ours.
        unsafe { self.end(segment, len) };
    }

    /// # Safety
    /// As the trait says.
    unsafe fn set_break(&self, at: NonNull<u8>, old: usize, new: usize) -> Result<(), Refused> {
        if new > old && !self.is_within_limit(new - old) {
            return Err(Refused);
        }
        let (low, high) = (old.min(new), old.max(new));
        let rights = match new > old {
            true => MprotectFlags::READ | MprotectFlags::WRITE,
            false => MprotectFlags::empty(),
        };
        // SAFETY: 1. the segment has these bytes; 2. nobody uses them.
        unsafe {
            let start = at.as_ptr().add(low).cast();
            rustix::mm::mprotect(start, high - low, rights).map_err(|_| Refused)?;
            rustix::mm::madvise(start, high - low, Advice::LinuxDontNeed).unwrap();
        }
        self.end.store(new, Ordering::SeqCst);
        Ok(())
    }

    /// # Safety
    /// As the trait says.
    unsafe fn discard(&self, start: NonNull<u8>, len: usize) -> Result<(), Refused> {
        // SAFETY: nobody uses the bytes, by the caller's promise.
        unsafe { rustix::mm::madvise(start.as_ptr().cast(), len, Advice::LinuxDontNeed) }
            .map_err(|_| Refused)
    }

    fn map(&self, len: usize, align: usize) -> Option<NonNull<u8>> {
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        self.is_within_limit(len).then(|| self.map_aligned(len, align, rights)).flatten()
    }

    /// # Safety
    /// As the trait says.
    unsafe fn remap(
        &self,
        start: NonNull<u8>,
        old: usize,
        new: usize,
        place: Place,
    ) -> Option<NonNull<u8>> {
        let flags = match place {
            Place::Same => MremapFlags::empty(),
            Place::Any => MremapFlags::MAYMOVE,
        };
        // SAFETY: the caller's promise is ours.
        let moved = unsafe { rustix::mm::mremap(start.as_ptr().cast(), old, new, flags) }.ok()?;
        self.count(new, old);
        NonNull::new(moved.cast())
    }

    /// # Safety
    /// As the trait says.
    unsafe fn unmap(&self, start: NonNull<u8>, len: usize) {
        // SAFETY: the caller's promise is ours.
        unsafe { self.end(start, len) };
    }

    fn side(&self, len: usize) -> Option<NonNull<u8>> {
        self.map_aligned(len, PAGE, ProtFlags::READ | ProtFlags::WRITE)
    }

    /// # Safety
    /// As the trait says.
    unsafe fn release_side(&self, start: NonNull<u8>, len: usize) {
        // SAFETY: the caller's promise is ours.
        unsafe { self.end(start, len) };
    }
}
