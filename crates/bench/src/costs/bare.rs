//! A page fault by userfaultfd with nothing around it: what no library can be below.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use faultless_measure::model::{PAGE, PAGE_WORDS};
use faultless_measure::problem::Result;
use faultless_sys::uffd::{Event, Features};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::{Figure, PAGES, each, shuffled};
use crate::bare::{Bare, serve_by_signal};
use crate::systems::device::Page;

pub const THREAD: &str = "bare userfaultfd round trip, handler thread, ns";
pub const INLINE: &str = "bare userfaultfd round trip, inline, ns";

/// What is copied in.
static SOURCE: Page = Page::ZERO;

/// With a thread that reads messages and copies pages in.
pub fn thread() -> Result<Vec<Figure>> {
    let bare = Bare::new(Features::NONE, PAGES * PAGE)?;
    let ends = AtomicBool::new(false);
    let cost = thread::scope(|scope| {
        scope.spawn(|| {
            let mut events = [Event::Other(0); 1];
            while !ends.load(Ordering::Relaxed) {
                let mut readable = [PollFd::new(bare.uffd(), PollFlags::IN)];
                let timeout = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
                let _ = rustix::event::poll(&mut readable, Some(&timeout));
                let count = bare.uffd().read_messages(&mut events).unwrap_or(0);
                for event in &events[..count] {
                    if let Event::PageFault(fault) = event {
                        bare.copy_in(fault.addr, &SOURCE);
                    }
                }
            }
        });
        let cost = touch_all(&bare);
        ends.store(true, Ordering::Relaxed);
        cost
    });
    Ok(vec![(THREAD.to_owned(), cost)])
}

/// With a signal handler that copies pages in.
pub fn inline() -> Result<Vec<Figure>> {
    let bare = Arc::new(Bare::new(Features::SIGBUS, PAGES * PAGE)?);
    let served = bare.clone();
    serve_by_signal(bare.range(), move |at| {
        served.copy_in(at, &SOURCE);
    })?;
    Ok(vec![(INLINE.to_owned(), touch_all(&bare))])
}

fn touch_all(bare: &Bare) -> f64 {
    let pages = shuffled(PAGES);
    each(PAGES, || {
        for page in pages {
            std::hint::black_box(bare.load(page * PAGE_WORDS));
        }
    })
}
