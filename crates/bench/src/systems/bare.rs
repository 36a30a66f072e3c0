//! userfaultfd with nothing around it: a signal, a pread(2), a copy, and what came first
//! leaves first. By one thread, what it lacks on the kernel's mmap is the mechanism's, and what
//! Faultless lacks on it is Faultless's.

use std::cell::RefCell;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use faultless_addr::{VirtAddr, VirtRange};
use faultless_measure::model::{PAGE, PAGE_WORDS};
use faultless_measure::problem::{Problem, Result};
use faultless_sys::uffd::Features;

use super::Access;
use super::device::Page;
use crate::bare::{Bare, serve_by_signal};
use crate::case::Case;

/// Pages that leave by one call.
const BATCH: u64 = 64;

thread_local! {
    static BUFFER: RefCell<Page> = const { RefCell::new(Page::ZERO) };
}

/// A file, read by page faults.
pub struct BareFile {
    bare: Bare,
    file: File,
    /// The page that came in each turn and 1, or 0 when it has left. Turns go round.
    came: Vec<AtomicU64>,
    turns: AtomicU64,
}

impl BareFile {
    /// Of the one file of a case, opened by [`open_direct`](super::device::open_direct).
    pub fn map(case: &Case, files: &[File]) -> Result<Arc<BareFile>> {
        let [file] = files else { return Err(Problem::new("it can map one file only")) };
        let file = file.try_clone();
        let file = file.map_err(|why| Problem::new(format!("cannot map a file: {why}")))?;
        let turns = case.memory_bytes / PAGE / BATCH * BATCH;
        let came = (0..turns).map(|_| AtomicU64::new(0)).collect();
        let bare = Bare::new(Features::SIGBUS, case.bytes)?;
        let bare = Arc::new(BareFile { bare, file, came, turns: AtomicU64::new(0) });
        let (served, range) = (bare.clone(), bare.bare.range());
        serve_by_signal(range, move |at| served.load_page((at.0 - range.start.0) / PAGE))?;
        Ok(bare)
    }

    fn load_page(&self, page: u64) {
        BUFFER.with_borrow_mut(|buffer| {
            buffer.read(&self.file, page * PAGE_WORDS).expect("it can be read");
            // Whoever was quicker has counted it.
            if self.bare.copy_in(self.addr(page), buffer) {
                self.has_come(page);
            }
        });
    }

    /// A page takes its turn; those whose turn is next but one batch leave.
    fn has_come(&self, page: u64) {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let place = |turn: u64| &self.came[(turn % self.came.len() as u64) as usize];
        let left = place(turn).swap(page + 1, Ordering::Relaxed);
        if left != 0 {
            self.bare.drop_pages(&[VirtRange::page(self.addr(left - 1))]);
        }
        if turn.is_multiple_of(BATCH) {
            let nothing = VirtRange::new(self.addr(0), self.addr(0));
            let mut ranges = [nothing; BATCH as usize];
            for (next, range) in (turn + BATCH..).zip(&mut ranges) {
                let came = place(next).swap(0, Ordering::Relaxed);
                if came != 0 {
                    *range = VirtRange::page(self.addr(came - 1));
                }
            }
            self.bare.drop_pages(&ranges);
        }
    }

    fn addr(&self, page: u64) -> VirtAddr {
        self.bare.range().start.plus_pages(page)
    }
}

impl Access for Arc<BareFile> {
    fn load(&self, word: u64) -> u64 {
        self.bare.load(word)
    }

    fn increment(&self, _: u64) {
        unreachable!("no case stores to it")
    }
}
