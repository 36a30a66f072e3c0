//! What every machine does: one suite, which the tests of each machine play by
//! [`all`].
//!
//! It speaks of the trait's own words only. What a machine has besides (addresses at which
//! one frame is shown twice, runs that one call moves, threads that are inline) is for tests
//! of its own.

use faultless_addr::{Access, FrameNo, SpaceId, VirtAddr, VirtRange, WriteAccess};

use crate::{Machine, Stores, Then};

/// A machine to be tried, and a program on it.
pub trait Subject {
    /// The machine. Sixteen frames from 0 on are empty, and no other calls are made.
    fn machine(&self) -> &dyn Machine;

    /// Where the program lives.
    fn space(&self) -> SpaceId;

    /// The first of 64 pages at which nothing is.
    fn base(&self) -> VirtAddr;

    /// Fills a frame that is aside.
    fn fill(&self, frame: FrameNo, byte: u8);

    /// The first byte of a frame that is aside.
    fn byte(&self, frame: FrameNo) -> u8;

    /// The program loads the first byte of a page, or stores it.
    fn begin(&self, at: VirtAddr, act: Act) -> Attempt<'_>;

    /// Is an access to the page an error?
    fn refuses(&self, at: VirtAddr) -> bool;

    /// Does healing take an error away? Else only a page that is mapped does.
    fn heals(&self) -> bool {
        true
    }
}

/// What a program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A load.
    Load,
    /// A store of this byte.
    Store(u8),
}

impl Act {
    /// The kind of access that it is.
    pub fn access(self) -> Access {
        match self {
            Act::Load => Access::Read,
            Act::Store(_) => Access::Write,
        }
    }
}

/// How far a program comes.
pub enum Attempt<'a> {
    /// It has done it; this is the byte that it has loaded or stored.
    Done(u8),
    /// It is stopped. The function lets it go on, and answers with its byte.
    Held(Box<dyn FnOnce() -> u8 + 'a>),
}

/// Plays the suite on machines that `make` makes, each new. What doesn't hold is a panic.
pub fn all<S: Subject>(make: impl Fn() -> S) {
    let tests: [fn(&Try<S>); 8] = [
        pages_are_shown_in_order,
        a_store_is_in_the_frame,
        a_touch_of_nothing_waits_until_a_page_is_mapped,
        the_first_store_to_a_tracked_page_waits,
        stores_are_stopped_at_once,
        kept_bytes_are_shown_elsewhere,
        a_dropped_frame_is_empty,
        a_poisoned_page_is_an_error_until_it_is_healed,
    ];
    for test in tests {
        test(&Try(make()));
    }
}

struct Try<S>(S);

impl<S: Subject> Try<S> {
    fn at(&self, page: u64) -> VirtAddr {
        self.0.base().plus_pages(page)
    }

    fn range(&self, page: u64, count: u64) -> VirtRange {
        VirtRange::new(self.at(page), self.at(page + count))
    }

    /// Frames from `first` on, each filled with its number and 1, at pages from `page` on.
    fn show(&self, first: u32, count: u32, page: u64, write: WriteAccess) -> Vec<FrameNo> {
        let frames: Vec<FrameNo> = (first..first + count).map(FrameNo).collect();
        self.0.machine().back(&frames).expect("there is memory");
        frames.iter().for_each(|no| self.0.fill(*no, no.0 as u8 + 1));
        self.map(&frames, page, write);
        frames
    }

    fn map(&self, frames: &[FrameNo], page: u64, write: WriteAccess) {
        let mapped = self.0.machine().map(self.0.space(), self.at(page), frames, write);
        mapped.expect("nothing is there");
    }

    fn unmap(&self, pages: &[(u64, FrameNo)], then: Then) {
        let pages: Vec<_> = pages.iter().map(|(page, no)| (self.at(*page), *no)).collect();
        let taken = self.0.machine().unmap(self.0.space(), &pages, then);
        assert_eq!(taken.expect("the pages are there"), pages.len());
    }

    fn set_write(&self, range: VirtRange, write: WriteAccess) {
        let set = self.0.machine().set_write(self.0.space(), range, write);
        set.expect("the pages are there");
    }

    /// It must go through.
    fn does(&self, page: u64, act: Act) -> u8 {
        match self.0.begin(self.at(page), act) {
            Attempt::Done(byte) => byte,
            Attempt::Held(_) => panic!("{act:?} of page {page} waits"),
        }
    }

    /// It must not.
    fn waits(&self, page: u64, act: Act) -> Box<dyn FnOnce() -> u8 + '_> {
        match self.0.begin(self.at(page), act) {
            Attempt::Done(byte) => panic!("{act:?} of page {page} goes through: {byte}"),
            Attempt::Held(go_on) => go_on,
        }
    }
}

fn pages_are_shown_in_order<S: Subject>(it: &Try<S>) {
    for (n, write) in
        [WriteAccess::Allowed, WriteAccess::Tracked, WriteAccess::Forbidden].into_iter().enumerate()
    {
        // A short run, and one that is long enough for other ways.
        for (count, page) in [(2, 0), (12, 10)] {
            let frames = it.show(0, count, page + n as u64, write);
            for (frame, page) in frames.iter().zip(page + n as u64..) {
                assert_eq!(it.does(page, Act::Load), frame.0 as u8 + 1, "{write:?}");
            }
            let pages: Vec<_> = (page + n as u64..).zip(frames).collect();
            it.unmap(&pages, Then::Drop);
        }
    }
}

fn a_store_is_in_the_frame<S: Subject>(it: &Try<S>) {
    let frames = it.show(0, 8, 3, WriteAccess::Allowed);
    it.does(5, Act::Store(99));
    // With gaps, by address.
    let pages: Vec<_> = (3..).zip(frames).collect();
    let (odd, even): (Vec<_>, Vec<_>) = pages.iter().partition(|(page, _)| page % 2 == 1);
    it.unmap(&odd, Then::Keep(Stores::Pass));
    it.unmap(&even, Then::Keep(Stores::Pass));
    for (page, no) in pages {
        let expected = if page == 5 { 99 } else { no.0 as u8 + 1 };
        assert_eq!(it.0.byte(no), expected, "page {page}");
    }
}

fn a_touch_of_nothing_waits_until_a_page_is_mapped<S: Subject>(it: &Try<S>) {
    for (page, act) in [(0, Act::Load), (2, Act::Store(77))] {
        let go_on = it.waits(page, act);
        let frames = it.show(page as u32, 1, page, WriteAccess::Allowed);
        let expected = if act == Act::Load { frames[0].0 as u8 + 1 } else { 77 };
        assert_eq!(go_on(), expected);
        it.unmap(&[(page, frames[0])], Then::Keep(Stores::Pass));
        assert_eq!(it.0.byte(frames[0]), expected);
    }
}

fn the_first_store_to_a_tracked_page_waits<S: Subject>(it: &Try<S>) {
    let frames = it.show(0, 1, 9, WriteAccess::Tracked);
    assert_eq!(it.does(9, Act::Load), 1);
    let go_on = it.waits(9, Act::Store(2));
    it.set_write(it.range(9, 1), WriteAccess::Allowed);
    assert_eq!(go_on(), 2);
    it.does(9, Act::Store(3));
    it.unmap(&[(9, frames[0])], Then::Keep(Stores::Pass));
    assert_eq!(it.0.byte(frames[0]), 3);
}

fn stores_are_stopped_at_once<S: Subject>(it: &Try<S>) {
    it.show(0, 6, 0, WriteAccess::Allowed);
    for page in 0..6 {
        it.does(page, Act::Store(50 + page as u8));
    }
    it.set_write(it.range(1, 4), WriteAccess::Tracked);
    for page in 0..6 {
        assert_eq!(it.does(page, Act::Load), 50 + page as u8, "bytes stay");
    }
    // Its neighbours are as they were.
    it.does(0, Act::Store(1));
    it.does(5, Act::Store(1));
    for page in [1, 4] {
        let go_on = it.waits(page, Act::Store(1));
        assert_eq!(it.does(page, Act::Load), 50 + page as u8, "it has not been done");
        it.set_write(it.range(page, 1), WriteAccess::Allowed);
        assert_eq!(go_on(), 1);
    }
}

fn kept_bytes_are_shown_elsewhere<S: Subject>(it: &Try<S>) {
    for write in [WriteAccess::Allowed, WriteAccess::Tracked] {
        let stores = match write {
            WriteAccess::Allowed => Stores::Pass,
            _ => Stores::Stopped,
        };
        let frames = it.show(0, 5, 20, write);
        let pages: Vec<_> = (20..).zip(frames.clone()).collect();
        it.unmap(&pages, Then::Keep(stores));
        let go_on = it.waits(22, Act::Load);
        it.map(&frames[1..3], 40, write);
        assert_eq!((it.does(40, Act::Load), it.does(41, Act::Load)), (2, 3));
        it.map(&frames[4..5], 22, write);
        assert_eq!(go_on(), 5, "what is there now, not what was");
        it.unmap(&[(22, frames[4]), (40, frames[1]), (41, frames[2])], Then::Drop);
        it.0.machine().release(&frames);
    }
}

fn a_dropped_frame_is_empty<S: Subject>(it: &Try<S>) {
    // Frames go round: each is another page's afterwards, and has only that one's bytes.
    for round in 0..4 {
        let frames = it.show(0, 16, 0, WriteAccess::Allowed);
        it.does(round, Act::Store(200));
        let pages: Vec<_> = (0..).zip(frames.clone()).collect();
        it.unmap(&pages[..8], Then::Drop);
        it.unmap(&pages[8..], Then::Keep(Stores::Pass));
        // Of these, half are empty already.
        it.0.machine().release(&frames);
    }
    let go_on = it.waits(3, Act::Load);
    it.show(7, 1, 3, WriteAccess::Tracked);
    assert_eq!(go_on(), 8);
}

fn a_poisoned_page_is_an_error_until_it_is_healed<S: Subject>(it: &Try<S>) {
    it.show(0, 1, 4, WriteAccess::Allowed);
    let (machine, space) = (it.0.machine(), it.0.space());
    machine.poison(space, it.range(5, 2)).expect("nothing is there");
    assert!(it.0.refuses(it.at(5)) && it.0.refuses(it.at(6)));
    assert_eq!(it.does(4, Act::Load), 1, "its neighbour is as it was");
    machine.heal(space, it.range(5, 2)).expect("it was poisoned");
    let go_on = it.0.heals().then(|| it.waits(5, Act::Load));
    it.show(1, 2, 5, WriteAccess::Allowed);
    assert!(go_on.is_none_or(|go_on| go_on() == 2));
    assert_eq!((it.does(5, Act::Load), it.does(6, Act::Load)), (2, 3));
}
