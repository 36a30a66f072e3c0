//! Addresses for programs, and the descriptor that their faults come from.

use faultless_addr::{PAGE_BYTES, VirtAddr, VirtRange};
use faultless_sys::Errno;
use faultless_sys::memory::Reservation;
use faultless_sys::uffd::{Features, Userfaultfd};

use crate::error::NewError;

/// The least that an arena is tried with.
const SMALLEST: u64 = 16 << 30;

/// One reservation, registered once: ten thousand mappings in it are one area to
/// the kernel.
#[derive(Debug)]
pub(crate) struct Arena {
    /// Given back before the descriptor is closed: closing first would show zeros to
    /// whoever waits for a page, where nothing must be shown.
    reservation: Reservation,
    pub uffd: Userfaultfd,
}

impl Arena {
    /// An arena of `bytes`, or of half as often as addresses are refused, down to
    /// 16 GiB (or `bytes`, if that is less).
    pub fn new(bytes: u64, features: Features) -> Result<Arena, NewError> {
        let uffd = Userfaultfd::open(features)?;
        let reservation = reserve(bytes)?;
        // SAFETY: 1. the reservation is ours alone, and is unmapped before the
        // descriptor in the same structure is closed; 2. its bytes are reached only through the raw pointers
        // of `Machine::mapped` and the addresses given to programs.
        unsafe { uffd.register(reservation.range()) }.map_err(NewError::Register)?;
        Ok(Arena { reservation, uffd })
    }

    /// The next child has a copy of the pages; it adopts or renounces it.
    pub fn lend(&self) -> Result<(), Errno> {
        self.reservation.lend()
    }

    /// Ends that, in the parent.
    pub fn end_lending(&self) {
        self.reservation.end_lending();
    }

    /// In a child: the copy is served from here on. Pages that were protected are not.
    pub fn adopt(&self) -> Result<(), NewError> {
        self.uffd.renew()?;
        // SAFETY: as in `new`: the copy of our reservation.
        unsafe { self.uffd.register(self.range()) }.map_err(NewError::Register)?;
        self.reservation.adopt().map_err(NewError::Register)
    }

    /// In a child: any access is SIGBUS from here on.
    pub fn renounce(&self) -> Result<(), Errno> {
        self.reservation.renounce()
    }

    /// All its addresses.
    pub fn range(&self) -> VirtRange {
        self.reservation.range()
    }

    /// `pages` from `at`, which must be in it.
    pub fn pages(&self, at: VirtAddr, pages: usize) -> VirtRange {
        let range = VirtRange { start: at, end: at.plus_pages(pages as u64) };
        self.check(range);
        range
    }

    /// Panics where `range` isn't whole pages of this arena: a wrong address here
    /// would change memory that isn't ours.
    pub fn check(&self, range: VirtRange) {
        assert!(
            range.is_page_aligned() && self.range().encloses(range),
            "{range:?} is not in the arena {:?}",
            self.range()
        );
    }
}

fn reserve(bytes: u64) -> Result<Reservation, NewError> {
    let mut bytes = bytes.max(PAGE_BYTES).next_multiple_of(PAGE_BYTES);
    let least = bytes.min(SMALLEST);
    loop {
        match Reservation::new(bytes as usize) {
            Ok(reservation) => return Ok(reservation),
            Err(_) if bytes / 2 >= least => bytes = (bytes / 2).next_multiple_of(PAGE_BYTES),
            Err(errno) => return Err(NewError::Addresses { bytes, errno }),
        }
    }
}
