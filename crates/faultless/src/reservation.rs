//! [`Reservation`]: addresses that are set aside, with memory and files at chosen places.

use std::fmt;
use std::ops::RangeBounds;
use std::os::fd::AsFd;
use std::sync::Arc;

use faultless_addr::{PAGE_BYTES, PageIndex, VirtAddr, VirtRange};
use faultless_runtime::{Placed, Reserved};

use crate::error::Error;
use crate::mapping::Mapping;
use crate::options::{Delivery, MapOptions};
use crate::verbs::range::Extent;
use crate::vm::{Inner, Vm};

/// Addresses that are this value's own, and mean nothing until something is placed there:
/// anonymous memory, or private maps of files, at any page (`mmap(2)` with `MAP_FIXED` over
/// a range of `PROT_NONE`).
///
/// It owns what is placed. Placing needs it for itself, so no slice of what is replaced
/// lives; dropping it ends everything. Addresses without anything take no memory, and
/// touching them is a SIGSEGV.
///
/// Two files as one slice:
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::io::Write;
/// # let (mut one, mut two) = (tempfile::tempfile()?, tempfile::tempfile()?);
/// # one.write_all(&[1; 4096])?;
/// # two.write_all(&[2; 5000])?;
/// use faultless::{MapOptions, Over};
/// let vm = faultless::Vm::builder()
///     .memory(1 << 20)
///     .swap(std::env::temp_dir(), 1 << 20)
///     .build()?;
/// let mut both = vm.reserve(64 << 10)?;
/// // SAFETY: nobody changes the files.
/// unsafe {
///     both.place_file(0, &MapOptions::new(), &one, Over::Refuse)?;
///     both.place_file(4096, &MapOptions::new(), &two, Over::Refuse)?;
/// }
/// let bytes = both.slice(..4096 + 5000).unwrap();
/// assert_eq!((bytes[4095], bytes[4096]), (1, 2));
/// # Ok(())
/// # }
/// ```
pub struct Reservation {
    vm: Arc<Inner>,
    reserved: Reserved,
    len: usize,
    /// By address.
    pieces: Vec<Piece>,
}

/// What has been placed at some pages.
#[derive(Clone)]
struct Piece {
    range: VirtRange,
    /// What a file's pages come from, which is to stay as long.
    _file: Option<Arc<Mapping>>,
    /// Budget and swap have room for all of it.
    paid: bool,
}

/// What becomes of something that is at a place already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Over {
    /// It stays, and the call is an error (`MAP_FIXED_NOREPLACE`).
    Refuse,
    /// It goes (`MAP_FIXED`).
    Replace,
}

impl Vm {
    /// Sets `len` bytes of addresses aside, rounded up to pages; faults of what will be
    /// placed there are served by threads of the `Vm`.
    ///
    /// # Errors
    ///
    /// Where there are not so many addresses, or `len` is 0.
    pub fn reserve(&self, len: usize) -> Result<Reservation, Error> {
        self.reserve_by(len, Delivery::Thread)
    }

    /// As [`reserve`](Self::reserve), with the delivery of faults chosen.
    pub fn reserve_by(&self, len: usize, delivery: Delivery) -> Result<Reservation, Error> {
        let bytes = (len as u64).checked_next_multiple_of(PAGE_BYTES).unwrap_or(u64::MAX);
        let reserved = self.inner.core().reserve(delivery.space(), bytes)?;
        let len = reserved.range.len() as usize;
        Ok(Reservation { vm: self.inner.clone(), reserved, len, pieces: Vec::new() })
    }
}

impl Reservation {
    /// The first address.
    pub fn as_ptr(&self) -> *const u8 {
        self.reserved.range.start.0 as *const u8
    }

    /// The first address.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.reserved.range.start.0 as *mut u8
    }

    /// Bytes of addresses: whole pages.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Are there no addresses? There always are.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Places zeros at a range, which begins with a page and is rounded up to whole ones.
    ///
    /// # Errors
    ///
    /// EINVAL where the range doesn't begin with a page or is empty, ENOMEM where it leaves
    /// the reservation, or where budget and swap have no room; EEXIST where something is
    /// there, and not to be replaced.
    pub fn place_anonymous(
        &mut self,
        range: impl RangeBounds<usize>,
        over: Over,
    ) -> Result<(), Error> {
        let range = self.extent().pages(range)?;
        self.place(Piece { range, _file: None, paid: true }, Placed::Anonymous, over)
    }

    /// Places a file's bytes, those that `options` name, at byte `at`; answers how many
    /// bytes its pages have. What is stored to them is this value's own, as with
    /// [`map_copy`](MapOptions::map_copy); behind the file's end its last page is zeros.
    ///
    /// # Errors
    ///
    /// As [`place_anonymous`](Self::place_anonymous); EINVAL where the offset in the file is
    /// not a multiple of the page size, because a page of the file is a page of memory.
    ///
    /// # Safety
    ///
    /// As for [`map_copy`](MapOptions::map_copy), as long as it is placed.
    #[allow(unsafe_code)]
    pub unsafe fn place_file(
        &mut self,
        at: usize,
        options: &MapOptions,
        file: &impl AsFd,
        over: Over,
    ) -> Result<usize, Error> {
        let vm = Vm { inner: self.vm.clone() };
        let part = options.private_part(&vm, file)?;
        if !part.offset.is_multiple_of(PAGE_BYTES) {
            return Err(Error::Option {
                option: "the offset of a file at a fixed place",
                value: format!("{} bytes", part.offset),
                remedy: "give a multiple of 4096, or map it where its first byte is inside a page",
            });
        }
        let end = at.saturating_add(usize::try_from(part.len).unwrap_or(usize::MAX));
        let range = self.extent().pages(at..end)?;
        let copy = Placed::Copy(part.mapping.object(), PageIndex::containing(part.offset));
        let piece = Piece { range, _file: Some(part.mapping), paid: part.reserved };
        self.place(piece, copy, over)?;
        Ok(range.len() as usize)
    }

    /// Ends what is placed at a range, whose addresses stay set aside. The range begins with
    /// a page and is rounded up to whole ones.
    pub fn remove(&mut self, range: impl RangeBounds<usize>) -> Result<(), Error> {
        let range = self.extent().pages(range)?;
        if range.is_empty() {
            return Ok(());
        }
        self.vm.core().place(&self.reserved, range, Placed::Nothing)?;
        self.forget(range);
        Ok(())
    }

    fn place(&mut self, piece: Piece, placed: Placed, over: Over) -> Result<(), Error> {
        let range = piece.range;
        if range.is_empty() {
            return Err(Error::Option {
                option: "the length of what is placed",
                value: "0 bytes".into(),
                remedy: "give one byte at least",
            });
        }
        let taken = self.pieces.iter().map(|piece| piece.range.intersect(range));
        if let (Over::Refuse, Some(taken)) =
            (over, taken.filter(|cut| !cut.is_empty()).min_by_key(|cut| cut.start))
        {
            return Err(Error::Occupied { at: taken.start.0 - self.reserved.range.start.0 });
        }
        let room = if piece.paid { range.len() } else { 0 };
        self.vm.room.take(room)?;
        if let Err(error) = self.vm.core().place(&self.reserved, range, placed) {
            self.vm.room.give(room);
            return Err(error.into());
        }
        self.forget(range);
        let n = self.pieces.partition_point(|other| other.range.start < range.start);
        self.pieces.insert(n, piece);
        Ok(())
    }

    /// What was placed at a range is there no more; what of it was paid is given back.
    fn forget(&mut self, range: VirtRange) {
        let mut kept = Vec::new();
        for piece in std::mem::take(&mut self.pieces) {
            let cut = piece.range.intersect(range);
            if cut.is_empty() {
                kept.push(piece);
                continue;
            }
            if piece.paid {
                self.vm.room.give(cut.len());
            }
            let before = VirtRange::new(piece.range.start, cut.start);
            let behind = VirtRange::new(cut.end, piece.range.end);
            for part in [before, behind].into_iter().filter(|part| !part.is_empty()) {
                kept.push(Piece { range: part, ..piece.clone() });
            }
        }
        self.pieces = kept;
    }

    /// Where a range's bytes are, if something is placed at all of its pages.
    pub(crate) fn placed_bytes(&self, range: impl RangeBounds<usize>) -> Option<(*mut u8, usize)> {
        let (start, end) = self.extent().bounds(&range).ok()?;
        let at = |offset: usize| VirtAddr(self.reserved.range.start.0 + offset as u64);
        let mut reached = at(start);
        for piece in self.pieces.iter().filter(|piece| piece.range.end > at(start)) {
            if piece.range.start > reached {
                break;
            }
            reached = piece.range.end;
        }
        (reached >= at(end)).then_some((at(start).0 as *mut u8, end - start))
    }

    fn extent(&self) -> Extent {
        let Reserved { space, range, .. } = self.reserved;
        Extent { space, start: range.start, len: self.len }
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("start", &self.as_ptr())
            .field("len", &self.len)
            .field("pieces", &self.pieces.len())
            .finish_non_exhaustive()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let Reserved { space, range, .. } = self.reserved;
        // Before the files that are placed may be closed.
        if self.vm.core().unmap_private(space, range).is_ok() {
            self.forget(range);
        }
    }
}
