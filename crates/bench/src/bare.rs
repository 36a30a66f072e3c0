//! Memory whose faults are served by hand, by userfaultfd with nothing around it: what no library
//! that stands on it can be quicker than.

#![allow(unsafe_code)]

use std::fmt::Display;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use faultless_addr::{VirtAddr, VirtRange};
use faultless_measure::model::{PAGE, WORD};
use faultless_measure::problem::{Problem, Result};
use faultless_sys::memory::{Reservation, dont_need_many};
use faultless_sys::signal::{self, Fault, Verdict};
use faultless_sys::uffd::{Features, Protect, Userfaultfd};

use crate::systems::device::Page;

/// Serves faults of the process: all that a signal handler can find is of the process.
type Serve = Box<dyn Fn(VirtAddr) + Send + Sync>;

static SERVE: OnceLock<(VirtRange, Serve)> = OnceLock::new();

/// Memory without pages, and what puts them there.
pub struct Bare {
    uffd: Userfaultfd,
    memory: Reservation,
}

impl Bare {
    /// So many bytes; `features` say who is told of faults.
    pub fn new(features: Features, bytes: u64) -> Result<Bare> {
        let uffd = Userfaultfd::open(features).map_err(refused)?;
        let memory = Reservation::new(bytes as usize).map_err(refused)?;
        // SAFETY: 1. the reservation is ours, and as long as the descriptor is of use; 2. its
        // bytes are touched by `load` only.
        unsafe { uffd.register(memory.range()) }.map_err(refused)?;
        Ok(Bare { uffd, memory })
    }

    /// Where faults are told, if not by signals.
    pub fn uffd(&self) -> &Userfaultfd {
        &self.uffd
    }

    /// Its addresses.
    pub fn range(&self) -> VirtRange {
        self.memory.range()
    }

    /// Copies a page to where one is missing; false where somebody was quicker.
    pub fn copy_in(&self, at: VirtAddr, page: &Page) -> bool {
        // SAFETY: 1. the source is a page, borrowed until the call returns.
        let copied =
            unsafe { self.uffd.copy(at.page_start(), page.0.as_ptr(), PAGE as usize, Protect::No) };
        copied.is_ok()
    }

    /// Takes pages away. Who touches them again faults again.
    pub fn drop_pages(&self, ranges: &[VirtRange]) {
        let own = self.range();
        assert!(ranges.iter().all(|it| own.start <= it.start && it.end <= own.end), "it is ours");
        // SAFETY: 1. they lie in our reservation (asserted); 2. what is touched there again is
        // served anew.
        unsafe { dont_need_many(ranges) }.expect("pages can be dropped");
    }

    /// Loads a word; waits until its page is there.
    pub fn load(&self, word: u64) -> u64 {
        assert!(word * WORD < self.range().len(), "word {word} is within the memory");
        // SAFETY: 1. the word is within the reservation (asserted), and aligned; 2. it is only
        // ever accessed by atomics, and pages are replaced whole; 3. its fault is served, or
        // the thread waits.
        let word = unsafe { &*self.memory.as_ptr().cast::<AtomicU64>().add(word as usize) };
        u64::from_le(word.load(Ordering::Relaxed))
    }
}

/// From now on threads serve their own faults in `range`, by SIGBUS. (Once in a process.)
pub fn serve_by_signal(
    range: VirtRange,
    serve: impl Fn(VirtAddr) + Send + Sync + 'static,
) -> Result<()> {
    fn on_fault(fault: &Fault) -> Verdict {
        match SERVE.get() {
            Some((range, serve)) if range.contains(fault.addr) => {
                serve(fault.addr);
                Verdict::Retry
            }
            _ => Verdict::Pass,
        }
    }
    let set = SERVE.set((range, Box::new(serve)));
    set.map_err(|_| refused("faults are served already"))?;
    signal::install(on_fault).map_err(refused)
}

fn refused(why: impl Display) -> Problem {
    Problem::new(format!("no memory by userfaultfd: {why}"))
}
