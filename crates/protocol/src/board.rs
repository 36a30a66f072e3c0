//! The board: which files are served, in memory that every client can read.
//!
//! A client asks before it reads or writes a file by system calls whether it has to tell
//! the broker. That must cost nothing for files that nobody has mapped. So the broker keeps
//! a table of counters: how many served files fall on each. A counter that is 0 says no for
//! sure; another one says perhaps, and the broker is asked. The first counts all served
//! files: while it is 0, a client needn't even look which file it has.

/// Counters on the board, each an `AtomicU32`.
pub const BOARD_SLOTS: usize = 1024;

/// The counter of all files; those of single files follow.
pub const BOARD_TOTAL: usize = 0;

/// Bytes of the board.
pub const BOARD_BYTES: usize = BOARD_SLOTS * 4;

/// A file, whatever its names are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId {
    /// The file system (`st_dev`).
    pub device: u64,
    /// The file in it (`st_ino`).
    pub inode: u64,
}

/// The counter that a file falls on; never [`BOARD_TOTAL`].
pub fn slot_of(file: FileId) -> usize {
    // Fibonacci hashing: neighbours fall far apart.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (file.inode ^ file.device.rotate_left(32)).wrapping_mul(FACTOR);
    let slot = mixed >> (64 - BOARD_SLOTS.trailing_zeros());
    (slot as usize).max(BOARD_TOTAL + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_fall_on_different_counters() {
        let slots: std::collections::BTreeSet<_> =
            (0..64).map(|inode| slot_of(FileId { device: 1, inode })).collect();
        assert!(slots.len() > 56, "{}", slots.len());
        assert!(slots.iter().all(|slot| *slot < BOARD_SLOTS && *slot != BOARD_TOTAL));
        assert_ne!(slot_of(FileId { device: 0, inode: 0 }), BOARD_TOTAL);
    }
}
