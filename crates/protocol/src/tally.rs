//! The tally of a trace: what its writers have written and lost, in memory that they share
//! with who has asked for it.
//!
//! Writers are threads of any process that `faultless run --trace` has begun, in the middle
//! of anything: they can add, and no more.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Bytes of the memory: a page. The tally is at its beginning.
pub const TALLY_BYTES: usize = 4096;

/// What all writers of a trace count. Any bytes are one.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Tally {
    lines: AtomicU64,
    lost: AtomicU64,
    /// Why the first line was lost; 0 if none was.
    errno: AtomicU32,
    /// 1 when a line has been written in part: the next one begins with an end of line.
    torn: AtomicU32,
}

/// What a tally says, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tallied {
    /// Lines that were written.
    pub lines: u64,
    /// Lines that could not be.
    pub lost: u64,
    /// Why the first of those could not (an errno), or 0.
    pub errno: i32,
}

impl Tally {
    /// Of nothing.
    pub const fn new() -> Tally {
        Tally {
            lines: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            errno: AtomicU32::new(0),
            torn: AtomicU32::new(0),
        }
    }

    /// A line has been written.
    pub fn wrote(&self) {
        self.lines.fetch_add(1, Ordering::Relaxed);
    }

    /// A line is lost, for this reason.
    pub fn lost(&self, errno: i32) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        let first = errno.unsigned_abs();
        let _ = self.errno.compare_exchange(0, first, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// A line has been written in part, and what follows it must not be taken for its rest.
    pub fn tore(&self) {
        self.torn.store(1, Ordering::Relaxed);
    }

    /// Has a line been written in part, which nobody has ended yet? The caller does.
    pub fn mend(&self) -> bool {
        self.torn.load(Ordering::Relaxed) != 0 && self.torn.swap(0, Ordering::Relaxed) != 0
    }

    /// From the bytes of a tally, as they are in memory; fewer count as none.
    pub fn read(bytes: &[u8]) -> Tallied {
        let long = |at: usize| {
            let bytes = bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            u64::from_ne_bytes(bytes.unwrap_or_default())
        };
        let errno = bytes.get(16..20).and_then(|bytes| bytes.try_into().ok());
        let errno = i32::from_ne_bytes(errno.unwrap_or_default());
        Tallied { lines: long(0), lost: long(8), errno }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn what_is_read_is_where_it_is_counted() {
        let places = (offset_of!(Tally, lines), offset_of!(Tally, lost), offset_of!(Tally, errno));
        assert_eq!(places, (0, 8, 16));
        let mut bytes = [0; 24];
        (bytes[0], bytes[8], bytes[16]) = (3, 2, 28);
        assert_eq!(Tally::read(&bytes), Tallied { lines: 3, lost: 2, errno: 28 });
        assert_eq!(Tally::read(&[]), Tallied::default());
    }

    #[test]
    fn the_first_reason_is_kept_and_a_torn_line_is_mended_once() {
        let tally = Tally::new();
        tally.lost(28);
        tally.lost(5);
        assert_eq!(tally.errno.load(Ordering::Relaxed), 28);
        assert!(!tally.mend());
        tally.tore();
        assert_eq!((tally.mend(), tally.mend()), (true, false));
    }
}
