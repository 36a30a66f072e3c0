//! What the verbs cost here: `cargo test --release -p faultless-linux --test cost -- --ignored --nocapture`.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use common::*;
use faultless_addr::{FrameNo, VirtAddr, WriteAccess};
use faultless_linux::{LinuxMachine, THREAD};
use faultless_machine::{Machine, Stores, Then};

const PAGES: u32 = 16384;

fn timed(name: &str, run: usize, body: impl FnOnce()) {
    let since = Instant::now();
    body();
    let each = since.elapsed().as_secs_f64() * 1e6 / f64::from(PAGES);
    println!("{name:28} {run:3} pages a call: {each:6.2} µs a page");
}

fn round(machine: &LinuxMachine, run: usize, write: WriteAccess, then: Then) {
    let frames = frames(0..PAGES);
    let at = |i: usize| page(machine, THREAD, i as u64);
    let list: Vec<(VirtAddr, FrameNo)> =
        frames.iter().enumerate().map(|(i, frame)| (at(i), *frame)).collect();
    let each = |body: &dyn Fn(usize)| (0..PAGES as usize).step_by(run).for_each(body);
    timed("back", run, || each(&|i| machine.back(&frames[i..i + run]).unwrap()));
    timed(&format!("map {write:?}"), run, || {
        each(&|i| machine.map(THREAD, at(i), &frames[i..i + run], write).unwrap())
    });
    timed(&format!("unmap {then:?}"), run, || {
        each(&|i| {
            machine.unmap(THREAD, &list[i..i + run], then).unwrap();
        })
    });
    if then != Then::Drop {
        timed("release", run, || each(&|i| machine.release(&frames[i..i + run])));
    }
}

#[test]
#[ignore = "a measurement"]
fn costs() {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for others in ["alone", "with a second running thread"] {
            println!("-- {others}");
            for run in [1, 4, 8, 64] {
                for then in [Then::Keep(Stores::Stopped), Then::Keep(Stores::Pass), Then::Drop] {
                    for write in [WriteAccess::Allowed, WriteAccess::Tracked] {
                        round(&machine(PAGES, 256), run, write, then);
                    }
                }
            }
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop()
                }
            });
        }
        stop.store(true, Ordering::Relaxed);
    });
}
