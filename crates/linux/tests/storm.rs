//! Random verbs from two threads: contents are right, and the physical bound holds.

mod common;

use common::*;
use faultless_addr::{FrameNo, PAGE_SIZE, VirtAddr, VirtRange, WriteAccess};
use faultless_linux::{INLINE, LinuxMachine, THREAD};
use faultless_machine::{Machine, Stores, Then};
use faultless_sys::process::rss_bytes;

const FRAMES: u32 = 4096;
const SPARE: u32 = 96;
const OPERATIONS: usize = 50_000;

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Empty,
    Aside,
    At(VirtAddr, WriteAccess),
}

/// One thread's frames and its part of the arenas: nobody else touches either.
struct Driver<'a> {
    machine: &'a LinuxMachine,
    random: Random,
    first: u32,
    frames: Vec<(Place, u8)>,
    /// Arena pages that are free, as stacks of runs' starts: 16 pages each.
    pages: Vec<(faultless_addr::SpaceId, VirtAddr)>,
    space_of: Vec<faultless_addr::SpaceId>,
}

impl Driver<'_> {
    fn pick(&mut self, most: usize, is: impl Fn(Place) -> bool) -> Vec<usize> {
        let count = 1 + self.random.below(most);
        let start = self.random.below(self.frames.len());
        let n = self.frames.len();
        (0..n).map(|i| (start + i) % n).filter(|&i| is(self.frames[i].0)).take(count).collect()
    }

    fn no(&self, i: usize) -> FrameNo {
        FrameNo(self.first + i as u32)
    }

    fn nos(&self, picked: &[usize]) -> Vec<FrameNo> {
        picked.iter().map(|&i| self.no(i)).collect()
    }

    fn check_aside(&self, i: usize) {
        let byte = self.frames[i].1;
        assert_eq!(ends(self.machine, self.no(i)), (byte, byte), "frame {i}");
    }

    fn step(&mut self) {
        match self.random.below(10) {
            0..=2 => self.back(),
            3..=5 => self.map(),
            6 if self.random.below(2) == 0 => self.unmap(Then::Keep(Stores::Pass)),
            6 => self.unmap(Then::Keep(Stores::Stopped)),
            7 => self.unmap(Then::Drop),
            8 => self.release(),
            _ => self.write(),
        }
    }

    fn back(&mut self) {
        let picked = self.pick(80, |place| place == Place::Empty);
        self.machine.back(&self.nos(&picked)).unwrap();
        for i in picked {
            let byte = self.random.below(256) as u8;
            fill(self.machine, self.no(i), byte);
            self.frames[i] = (Place::Aside, byte);
        }
    }

    fn map(&mut self) {
        let picked = self.pick(16, |place| place == Place::Aside);
        if picked.is_empty() {
            return;
        }
        let choice = self.random.below(self.pages.len());
        let (space, at) = self.pages.swap_remove(choice);
        let write = [WriteAccess::Allowed, WriteAccess::Tracked, WriteAccess::Forbidden]
            [self.random.below(3)];
        picked.iter().for_each(|&i| self.check_aside(i));
        self.machine.map(space, at, &self.nos(&picked), write).unwrap();
        for (n, &i) in picked.iter().enumerate() {
            let at = at.plus_pages(n as u64);
            assert_eq!(load(at), self.frames[i].1);
            self.frames[i].0 = Place::At(at, write);
            self.space_of[i] = space;
        }
    }

    fn unmap(&mut self, then: Then) {
        let picked = self.pick(60, |place| match place {
            Place::At(_, write) => {
                then != Then::Keep(Stores::Stopped) || write != WriteAccess::Allowed
            }
            _ => false,
        });
        for space in [THREAD, INLINE] {
            let mine = picked.iter().copied().filter(|&i| self.space_of[i] == space);
            let mine: Vec<usize> = mine.collect();
            let mut list: Vec<_> = mine
                .iter()
                .map(|&i| match self.frames[i].0 {
                    Place::At(at, _) => (at, self.no(i)),
                    _ => unreachable!(),
                })
                .collect();
            list.sort_unstable();
            assert_eq!(self.machine.unmap(space, &list, then).unwrap(), list.len());
            for &i in &mine {
                let Place::At(at, _) = self.frames[i].0 else { unreachable!() };
                self.frames[i].0 = if then == Then::Drop { Place::Empty } else { Place::Aside };
                if then != Then::Drop {
                    self.check_aside(i);
                }
                self.give_page(space, at);
            }
        }
    }

    /// A block of 16 pages is free again when its last page is.
    fn give_page(&mut self, space: faultless_addr::SpaceId, at: VirtAddr) {
        let block = VirtAddr(at.0 & !(16 * PAGE_SIZE as u64 - 1));
        let inside = |i: usize| match self.frames[i].0 {
            Place::At(at, _) => at.0 & !(16 * PAGE_SIZE as u64 - 1) == block.0,
            _ => false,
        };
        if !(0..self.frames.len()).any(inside) {
            self.pages.push((space, block));
        }
    }

    fn release(&mut self) {
        let picked = self.pick(30, |place| place == Place::Aside);
        picked.iter().for_each(|&i| self.check_aside(i));
        self.machine.release(&self.nos(&picked));
        picked.iter().for_each(|&i| self.frames[i].0 = Place::Empty);
    }

    fn write(&mut self) {
        for i in self.pick(4, |place| matches!(place, Place::At(..))) {
            let Place::At(at, write) = self.frames[i].0 else { unreachable!() };
            if write != WriteAccess::Allowed {
                let range = VirtRange::page(at);
                self.machine.set_write(self.space_of[i], range, WriteAccess::Allowed).unwrap();
            }
            let byte = self.random.below(256) as u8;
            store(at, byte);
            store(VirtAddr(at.0 + PAGE_SIZE as u64 - 1), byte);
            self.frames[i] = (Place::At(at, WriteAccess::Allowed), byte);
        }
    }
}

fn drive(machine: &LinuxMachine, seed: u64, part: u32) {
    let half = FRAMES / 2;
    let mut pages = Vec::new();
    for block in 0..u64::from(half) {
        for space in [THREAD, INLINE] {
            let block = block + u64::from(part) * u64::from(half);
            // Arenas are aligned to a page only, blocks to 16.
            let start = machine.arena(space).start.0.next_multiple_of(16 * PAGE_SIZE as u64);
            pages.push((space, VirtAddr(start).plus_pages(block * 16)));
        }
    }
    let mut driver = Driver {
        machine,
        random: Random(seed + 1 + u64::from(part)),
        first: part * half,
        frames: vec![(Place::Empty, 0); half as usize],
        pages,
        space_of: vec![THREAD; half as usize],
    };
    for _ in 0..OPERATIONS {
        driver.step();
    }
}

#[test]
fn two_threads_stay_within_the_bound() {
    let seed = match std::env::var("FAULTLESS_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => std::process::id().into(),
    };
    println!("replay: FAULTLESS_SEED={seed} cargo test -p faultless-linux --test storm");
    let machine = machine(FRAMES, SPARE);
    let before = rss_bytes().unwrap();
    let bound = (FRAMES + SPARE) as usize;
    std::thread::scope(|scope| {
        let drivers = [0, 1].map(|part| {
            let machine = &machine;
            scope.spawn(move || drive(machine, seed, part))
        });
        let mut most = 0;
        while !drivers.iter().all(|driver| driver.is_finished()) {
            let (physical, limit) = machine.physical_pages();
            assert!(physical <= limit && limit == bound);
            most = most.max(rss_bytes().unwrap().saturating_sub(before));
            std::thread::sleep(std::time::Duration::from_micros(300));
        }
        // Stacks, the heap of the two drivers, and the kernel's per-CPU counting.
        let slack = 4 << 20;
        println!("resident at most {} pages of {bound}", most / PAGE_SIZE as u64);
        assert!(most < (bound * PAGE_SIZE) as u64 + slack, "{most} bytes resident");
        for driver in drivers {
            driver.join().unwrap();
        }
    });
    machine.trim(0).unwrap();
    println!("{:?}", machine.calls());
}
