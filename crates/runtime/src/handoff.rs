//! Reads that handlers are to start, for somebody who doesn't wait for them. Others may, who
//! come for one of the pages: then a handler is what they wait for.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use faultless_addr::{ObjectId, PageIndex};

use crate::io::Frames;
use crate::lock::{LEAF, Ranked};

/// Pages that a handler is to read.
pub(crate) struct HandedOff {
    pub object: ObjectId,
    pub first: PageIndex,
    pub frames: Frames,
}

/// What has been handed off and not been taken.
pub(crate) struct Handoff {
    queue: Ranked<VecDeque<HandedOff>>,
    /// At least as many as are in the queue: raised before, lowered after.
    count: AtomicUsize,
}

impl Handoff {
    pub fn new() -> Handoff {
        Handoff { queue: Ranked::new(LEAF, VecDeque::new()), count: AtomicUsize::new(0) }
    }

    pub fn push(&self, job: HandedOff) {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.queue.lock().push_back(job);
    }

    pub fn pop(&self) -> Option<HandedOff> {
        let job = self.queue.lock().pop_front()?;
        self.count.fetch_sub(1, Ordering::SeqCst);
        Some(job)
    }

    /// Is there, or will there be, something to take? It takes no lock, so that one who is
    /// not at work may ask.
    pub fn has_some(&self) -> bool {
        self.count.load(Ordering::SeqCst) > 0
    }

    /// In a forked child: it was the parent's.
    pub fn clear(&self) {
        self.queue.lock().clear();
        self.count.store(0, Ordering::SeqCst);
    }
}
