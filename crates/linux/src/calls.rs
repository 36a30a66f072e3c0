//! Counting the calls that cost something, for tests and measurements.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many calls of each kind the machine has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Calls {
    /// UFFDIO_MOVE.
    pub moves: u64,
    /// UFFDIO_COPY.
    pub copies: u64,
    /// Batches of MADV_DONTNEED.
    pub drops: u64,
    /// UFFDIO_WRITEPROTECT.
    pub protects: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    moves: AtomicU64,
    copies: AtomicU64,
    drops: AtomicU64,
    protects: AtomicU64,
}

impl Counters {
    pub fn move_(&self) {
        self.moves.fetch_add(1, Ordering::Relaxed);
    }

    pub fn copy(&self) {
        self.copies.fetch_add(1, Ordering::Relaxed);
    }

    pub fn drop_(&self) {
        self.drops.fetch_add(1, Ordering::Relaxed);
    }

    pub fn protect(&self) {
        self.protects.fetch_add(1, Ordering::Relaxed);
    }

    pub fn read(&self) -> Calls {
        Calls {
            moves: self.moves.load(Ordering::Relaxed),
            copies: self.copies.load(Ordering::Relaxed),
            drops: self.drops.load(Ordering::Relaxed),
            protects: self.protects.load(Ordering::Relaxed),
        }
    }
}
