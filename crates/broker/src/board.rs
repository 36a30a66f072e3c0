//! Which files are served, in memory that clients can read.

use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};

use faultless_protocol::{BOARD_BYTES, BOARD_SLOTS, BOARD_TOTAL, FileId, slot_of};
use faultless_sys::shared::SharedMemory;
use rustix::io::Errno;

/// The counters, and the memory that shows them.
#[derive(Debug)]
pub(crate) struct Board {
    memory: SharedMemory,
    counters: Mutex<Vec<u32>>,
}

impl Board {
    pub fn new() -> Result<Board, Errno> {
        let memory = SharedMemory::new("faultless-board", BOARD_BYTES as u64)?;
        Ok(Board { memory, counters: Mutex::new(vec![0; BOARD_SLOTS]) })
    }

    /// What clients are sent.
    pub fn reader(&self) -> BorrowedFd<'_> {
        self.memory.reader()
    }

    /// The file is served from now on.
    pub fn add(&self, file: FileId) {
        self.change(file, 1);
    }

    /// It is not any more.
    pub fn remove(&self, file: FileId) {
        self.change(file, -1);
    }

    fn change(&self, file: FileId, by: i32) {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        for slot in [BOARD_TOTAL, slot_of(file)] {
            counters[slot] = counters[slot].saturating_add_signed(by);
            // The memory is ours and has its pages: nothing can refuse four bytes.
            let bytes = counters[slot].to_ne_bytes();
            let written = rustix::io::pwrite(self.memory.writer(), &bytes, slot as u64 * 4);
            debug_assert_eq!(written, Ok(4));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_see_how_many_files_fall_on_a_counter() {
        let board = Board::new().unwrap();
        let file = FileId { device: 3, inode: 4711 };
        let shown = || {
            let mut bytes = [0; 4];
            let offset = slot_of(file) as u64 * 4;
            rustix::io::pread(board.reader(), &mut bytes, offset).unwrap();
            u32::from_ne_bytes(bytes)
        };
        assert_eq!(shown(), 0);
        board.add(file);
        board.add(file);
        assert_eq!(shown(), 2);
        board.remove(file);
        assert_eq!(shown(), 1);
    }
}
