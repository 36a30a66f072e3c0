//! The Linux machine alone: showing pages and taking them away, alone and beside another
//! running thread, which has to be interrupted.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use faultless_addr::{FrameNo, VirtAddr, WriteAccess};
use faultless_linux::{Config, INLINE, LinuxMachine};
use faultless_machine::{Machine as _, Then};

use super::{Figure, PAGES, each};

pub const EVICT: &str = "machine: eviction, batches of 64 scattered pages, ns a page";
pub const EVICT_BESIDE: &str = "machine: the same beside a running thread, ns a page";
const MAP_ONE: &str = "machine: a single page shown, ns";
const MAP_RUN: &str = "machine: runs of 64 pages shown, ns a page";

/// Pages of a batch or run.
const RUN: usize = 64;

/// All of it.
pub fn costs() -> io::Result<Vec<Figure>> {
    let (map_one, evict) = single_pages()?;
    let map_run = runs()?;
    let ends = AtomicBool::new(false);
    let (_, beside) = thread::scope(|scope| {
        scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        let costs = single_pages();
        ends.store(true, Ordering::Relaxed);
        costs
    })?;
    Ok(vec![
        (MAP_ONE.to_owned(), map_one),
        (MAP_RUN.to_owned(), map_run),
        (EVICT.to_owned(), evict),
        (EVICT_BESIDE.to_owned(), beside),
    ])
}

fn machine() -> io::Result<LinuxMachine> {
    let config = Config { spare: 256, ..Config::new(PAGES as u32) };
    LinuxMachine::new(config).map_err(io::Error::other)
}

/// Every other page, so that none has a neighbour.
fn single_pages() -> io::Result<(f64, f64)> {
    let machine = machine()?;
    let start = machine.arena(INLINE).start;
    let pages: Vec<(VirtAddr, FrameNo)> =
        (0..PAGES).map(|n| (start.plus_pages(2 * n), FrameNo(n as u32))).collect();
    let mut failed = Ok(());
    let map = each(PAGES, || {
        for (at, frame) in &pages {
            let shown = machine
                .back(&[*frame])
                .and_then(|()| machine.map(INLINE, *at, &[*frame], WriteAccess::Allowed));
            failed = std::mem::replace(&mut failed, Ok(())).and(shown);
        }
    });
    failed?;
    let mut gone = 0;
    let evict = each(PAGES, || {
        for batch in pages.chunks(RUN) {
            gone += machine.unmap(INLINE, batch, Then::Drop).unwrap_or(0);
        }
    });
    assert_eq!(gone as u64, PAGES, "all have left");
    Ok((map, evict))
}

fn runs() -> io::Result<f64> {
    let machine = machine()?;
    let start = machine.arena(INLINE).start;
    let frames: Vec<FrameNo> = (0..PAGES as u32).map(FrameNo).collect();
    for run in frames.chunks(RUN) {
        machine.back(run)?;
    }
    let mut failed = Ok(());
    let cost = each(PAGES, || {
        for (nth, run) in frames.chunks(RUN).enumerate() {
            let at = start.plus_pages((nth * RUN) as u64);
            let shown = machine.map(INLINE, at, run, WriteAccess::Allowed);
            failed = std::mem::replace(&mut failed, Ok(())).and(shown);
        }
    });
    failed?;
    Ok(cost)
}
