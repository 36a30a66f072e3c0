//! userfaultfd with nothing around it: a signal, a pread(2), a copy, and what came first
//! leaves first. By one thread, what it lacks on the kernel's mmap is the mechanism's, and what
//! Faultless lacks on it is Faultless's.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::fmt::Display;
use std::fs::File;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use faultless_addr::{VirtAddr, VirtRange};
use faultless_measure::model::{PAGE, PAGE_WORDS, WORD};
use faultless_measure::problem::{Problem, Result};
use faultless_sys::memory::{Reservation, dont_need_many};
use faultless_sys::signal::{self, Fault, Verdict};
use faultless_sys::uffd::{Features, Protect, Userfaultfd};

use super::Access;
use super::device::Page;
use crate::case::Case;

/// Pages that leave by one call.
const BATCH: u64 = 64;

/// Of the process, since that is all that a signal handler can find.
static BARE: OnceLock<Bare> = OnceLock::new();

thread_local! {
    static BUFFER: RefCell<Page> = const { RefCell::new(Page::ZERO) };
}

/// A file, read by page faults.
pub struct Bare {
    uffd: Userfaultfd,
    memory: Reservation,
    file: File,
    /// The page that came in each turn and 1, or 0 when it has left. Turns go round.
    came: Vec<AtomicU64>,
    turns: AtomicU64,
}

impl Bare {
    /// Of the one file of a case, opened by [`open_direct`](super::device::open_direct).
    pub fn map(case: &Case, files: &[File]) -> Result<&'static Bare> {
        let [file] = files else { return Err(Problem::new("it can map one file only")) };
        let uffd = Userfaultfd::open(Features::SIGBUS).map_err(failed)?;
        let memory = Reservation::new(case.bytes as usize).map_err(failed)?;
        // SAFETY: 1. the reservation is ours, and lives as long as the descriptor; 2. its bytes
        // are touched by `load` only, whose faults are served.
        unsafe { uffd.register(memory.range()) }.map_err(failed)?;
        let turns = case.memory_bytes / PAGE / BATCH * BATCH;
        let came = (0..turns).map(|_| AtomicU64::new(0)).collect();
        let file = file.try_clone().map_err(failed)?;
        let bare = Bare { uffd, memory, file, came, turns: AtomicU64::new(0) };
        BARE.set(bare).map_err(|_| failed("it is mapped already"))?;
        signal::install(serve).map_err(failed)?;
        Ok(BARE.get().expect("set above"))
    }

    fn load_page(&self, page: u64) {
        BUFFER.with_borrow_mut(|buffer| {
            buffer.read(&self.file, page * PAGE_WORDS).expect("it can be read");
            let at = self.addr(page);
            // SAFETY: 1. the buffer is a page, this thread's, borrowed until the call returns.
            let copied =
                unsafe { self.uffd.copy(at, buffer.0.as_ptr(), PAGE as usize, Protect::No) };
            // Whoever was quicker has counted it.
            if copied.is_ok() {
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
            self.drop_pages(&[VirtRange::page(self.addr(left - 1))]);
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
            self.drop_pages(&ranges);
        }
    }

    fn drop_pages(&self, ranges: &[VirtRange]) {
        // SAFETY: 1. they lie in our reservation; 2. who touches them again gets the file's
        // bytes again.
        unsafe { dont_need_many(ranges) }.expect("pages can be dropped");
    }

    fn addr(&self, page: u64) -> VirtAddr {
        self.memory.range().start.plus_pages(page)
    }
}

fn failed(why: impl Display) -> Problem {
    Problem::new(format!("cannot map by userfaultfd: {why}"))
}

fn serve(fault: &Fault) -> Verdict {
    match BARE.get() {
        Some(bare) if bare.memory.range().contains(fault.addr) => {
            bare.load_page((fault.addr.0 - bare.memory.range().start.0) / PAGE);
            Verdict::Retry
        }
        _ => Verdict::Pass,
    }
}

impl Access for Bare {
    fn load(&self, word: u64) -> u64 {
        assert!(word * WORD < self.memory.range().len(), "word {word} is within the file");
        // SAFETY: 1. the word is within the reservation (asserted), which lives for ever, and
        // is aligned; 2. it is only ever accessed by atomics, and pages are replaced whole;
        // 3. the fault that it raises is served.
        let word = unsafe { &*self.memory.as_ptr().cast::<AtomicU64>().add(word as usize) };
        u64::from_le(word.load(Ordering::Relaxed))
    }

    fn increment(&self, _: u64) {
        unreachable!("no case stores to it")
    }
}
