//! A page fault by userfaultfd with nothing around it: what no library can be below.

#![allow(unsafe_code)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use faultless_addr::VirtAddr;
use faultless_measure::model::PAGE;
use faultless_sys::memory::Reservation;
use faultless_sys::signal::{self, Fault, Verdict};
use faultless_sys::uffd::{Event, Features, Protect, Userfaultfd};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::{Figure, PAGES, each, shuffled};
use crate::systems::device::Page;

pub const THREAD: &str = "bare userfaultfd round trip, handler thread, ns";
pub const INLINE: &str = "bare userfaultfd round trip, inline, ns";

/// What the handler copies in.
static SOURCE: Page = Page::ZERO;
/// Of the inline one.
static DESCRIPTOR: OnceLock<Userfaultfd> = OnceLock::new();

/// With a thread that reads messages and copies pages in.
pub fn thread() -> Result<Vec<Figure>, Errno> {
    let (uffd, memory) = registered(Features::NONE)?;
    let ends = AtomicBool::new(false);
    let cost = thread::scope(|scope| {
        scope.spawn(|| {
            let mut events = [Event::Other(0); 1];
            while !ends.load(Ordering::Relaxed) {
                let mut readable = [PollFd::new(&uffd, PollFlags::IN)];
                let timeout = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
                let _ = rustix::event::poll(&mut readable, Some(&timeout));
                let count = uffd.read_messages(&mut events).unwrap_or(0);
                for event in &events[..count] {
                    if let Event::PageFault(fault) = event {
                        copy_in(&uffd, fault.addr);
                    }
                }
            }
        });
        let cost = touch_all(&memory);
        ends.store(true, Ordering::Relaxed);
        cost
    });
    Ok(vec![(THREAD.to_owned(), cost)])
}

/// With a signal handler that copies pages in.
pub fn inline() -> Result<Vec<Figure>, Errno> {
    let (uffd, memory) = registered(Features::SIGBUS)?;
    DESCRIPTOR.set(uffd).expect("set once");
    fn serve(fault: &Fault) -> Verdict {
        match DESCRIPTOR.get() {
            Some(uffd) => {
                copy_in(uffd, fault.addr);
                Verdict::Retry
            }
            None => Verdict::Pass,
        }
    }
    signal::install(serve).map_err(|_| Errno::BUSY)?;
    Ok(vec![(INLINE.to_owned(), touch_all(&memory))])
}

fn registered(features: Features) -> Result<(Userfaultfd, Reservation), Errno> {
    let uffd = Userfaultfd::open(features).map_err(|_| Errno::PERM)?;
    let memory = Reservation::new((PAGES * PAGE) as usize)?;
    // SAFETY: 1. the reservation is ours, and as long as the descriptor is of use; 2. its
    // bytes are touched by `touch_all` only.
    unsafe { uffd.register(memory.range())? };
    Ok((uffd, memory))
}

fn copy_in(uffd: &Userfaultfd, addr: VirtAddr) {
    // SAFETY: 1. the source is a page that lives for ever and that nobody writes to.
    let copied =
        unsafe { uffd.copy(addr.page_start(), SOURCE.0.as_ptr(), PAGE as usize, Protect::No) };
    // Somebody who was quicker is all right.
    let _ = copied;
}

fn touch_all(memory: &Reservation) -> f64 {
    let pages = shuffled(PAGES);
    each(PAGES, || {
        for page in pages {
            let at = memory.as_ptr() as u64 + page * PAGE;
            // SAFETY: 1. the address is aligned and within the reservation; 2. it is only
            // ever accessed by atomics; 3. the fault that it raises is served.
            let word = unsafe { &*(at as *const AtomicU64) };
            std::hint::black_box(word.load(Ordering::Relaxed));
        }
    })
}
