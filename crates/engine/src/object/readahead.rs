//! Read-ahead: sees sequences and strides in the faults on one object.
//!
//! Four streams are followed at once, so that several threads may each scan a
//! part of a file. A stream's window doubles with every hit, and one page of each
//! window is its *marker*: it is brought in but not mapped, so that touching it
//! is noticed and asks for what comes after, while the reader still has pages
//! before it. (Linux's `ondemand_readahead` and `PG_readahead`.)
//!
//! ```text
//!   window 1     window 2              window 3 (read when the marker is touched)
//!   ┌─────────┐  ┌───────────────────┐ ┌──────── …
//!   p  p+1 …     M  .  .  .  .  .  .   M
//!                ▲ marker
//! ```
//!
//! Once windows are as long as they may be, two are asked for beyond the one whose marker is
//! touched: the pages of one arrive together, mostly, and while they are mapped and the reader
//! goes on to them, the backing is busy with the other.
//!
//! Whoever begins an object at its first page is taken for somebody who reads on, as by Linux:
//! a small file is read whole then, by one read and for one fault.

use faultless_addr::{PageIndex, PageRange};

/// Long windows end where a group of so many pages does, and so do the batches in which pages
/// leave: what is cut in the same places each time stays together in memory, too.
pub const GROUP: u64 = 64;

const STREAMS: usize = 4;
const FIRST_WINDOW: u64 = 4;
/// The first window of an object that is begun at its first page.
const BEGINNING: u64 = 16;
/// Windows from a touched marker on: the one that begins there, and two more.
const AHEAD_MAX: u64 = 3;
const STRIDE_MAX: i64 = 1024;
const STRIDE_HITS: u8 = 2;
const STRIDE_AHEAD_MAX: u64 = 16;

/// What the user said about the order of accesses (`madvise(2)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pattern {
    /// Nothing: look at the faults.
    #[default]
    Normal,
    /// Nothing is read ahead.
    Random,
    /// Windows are as long as they may be from the start.
    Sequential,
}

/// Pages worth reading now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// None.
    Nothing,
    /// These, but those that are markers not to be mapped.
    Window {
        /// The pages.
        pages: PageRange,
        /// Where markers are: touching one asks for what comes after.
        markers: Markers,
    },
    /// `count` pages, `stride` apart, from `first` on.
    Strided {
        /// The first.
        first: PageIndex,
        /// From one to the next; may be negative.
        stride: i64,
        /// How many.
        count: u64,
    },
}

/// A page, and every so many pages from there on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Markers {
    first: PageIndex,
    apart: u64,
}

impl Markers {
    const NONE: Markers = Markers { first: PageIndex(u64::MAX), apart: 1 };

    /// Is it one of them?
    pub fn has(self, page: PageIndex) -> bool {
        page >= self.first && (page.0 - self.first.0).is_multiple_of(self.apart)
    }
}

/// How much may be read ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pages of a window.
    pub longest: u64,
    /// Pages that there are frames for at the moment.
    pub room: u64,
    /// Where the object ends: a window that reaches it has no marker, for nothing comes after.
    pub end: PageIndex,
}

#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    /// The page whose fault would continue the sequence.
    next: u64,
    /// The last window's length; 0 where there was none.
    window: u64,
    /// The last page that faulted here.
    last: u64,
    stride: i64,
    stride_hits: u8,
    /// When it was last of use.
    used: u32,
}

/// What is known of one object's accesses.
#[derive(Default)]
pub struct ReadAhead {
    pattern: Pattern,
    streams: [Stream; STREAMS],
    clock: u32,
}

impl ReadAhead {
    /// What the user said.
    pub fn advise(&mut self, pattern: Pattern) {
        self.pattern = pattern;
        self.streams = Default::default();
    }

    /// A fault found `page` absent, or found the marker of a window (then `page`
    /// is in memory).
    pub fn note(&mut self, page: PageIndex, limits: Limits) -> Ahead {
        if self.pattern == Pattern::Random || limits.room == 0 {
            return Ahead::Nothing;
        }
        let begins = self.clock == 0 && page.0 == 0;
        self.clock = self.clock.wrapping_add(1);
        let clock = self.clock;
        let sequential = self.pattern == Pattern::Sequential;
        let stream = self.stream_of(page);
        stream.used = clock;
        match () {
            () if sequential && stream.next == page.0 => stream.begin(page, limits.longest, limits),
            () if begins => stream.begin(page, BEGINNING, limits),
            () if stream.next == page.0 && stream.last != page.0 => {
                stream.begin(page, (stream.window * 2).max(FIRST_WINDOW), limits)
            }
            () => stream.follow_stride(page, limits.room.min(limits.longest)),
        }
    }

    /// The touched page is the marker of a window that a stream asked for.
    pub fn note_marker(&mut self, page: PageIndex, limits: Limits) -> Ahead {
        let found = self.streams.iter_mut().find(|stream| {
            stream.window > 0
                && page.0 < stream.next
                && stream.next <= page.0 + AHEAD_MAX * stream.window
        });
        let Some(stream) = found else { return Ahead::Nothing };
        self.clock = self.clock.wrapping_add(1);
        stream.used = self.clock;
        stream.last = page.0;
        stream.go_on(page, limits)
    }

    /// The stream that `page` continues, else the one next to it, else the oldest.
    fn stream_of(&mut self, page: PageIndex) -> &mut Stream {
        let near = |stream: &Stream| (page.0 as i64 - stream.last as i64).abs() <= STRIDE_MAX;
        let mut best = 0;
        let mut best_rank = (0, 0);
        for (n, stream) in self.streams.iter().enumerate() {
            let age = self.clock.wrapping_sub(stream.used);
            let rank = match () {
                () if stream.used > 0 && stream.next == page.0 => (3, 0),
                () if stream.stride != 0
                    && stream.last.wrapping_add_signed(stream.stride) == page.0 =>
                {
                    (2, 0)
                }
                () if stream.used > 0 && near(stream) => (1, u32::MAX - age),
                () => (0, age),
            };
            if rank >= best_rank {
                (best, best_rank) = (n, rank);
            }
        }
        let stream = &mut self.streams[best];
        if best_rank.0 == 0 {
            *stream = Stream { last: page.0, next: page.0, ..Stream::default() };
        }
        stream
    }
}

impl Stream {
    /// The reader has reached the end of what was read: a window from there.
    fn begin(&mut self, page: PageIndex, window: u64, limits: Limits) -> Ahead {
        self.window = window.min(limits.longest).max(1);
        let pages = PageRange::from_len(page, self.window.min(limits.room));
        self.last = page.0;
        self.next = pages.end.0;
        self.stride = 0;
        let first = page.plus((pages.len() / 2).max(1));
        Ahead::Window { pages, markers: self.markers(first, limits) }
    }

    /// The reader is at a marker: whole windows that come after all that was asked for, or as
    /// much of them as there is room for, in parts that are worth a read.
    fn go_on(&mut self, page: PageIndex, limits: Limits) -> Ahead {
        let window = (self.window * 2).min(limits.longest).max(1);
        let wanted = match window > self.window {
            true => window,
            false => {
                let missing = (page.0 + AHEAD_MAX * window).saturating_sub(self.next);
                missing - missing % window
            }
        };
        self.window = window;
        let part = (window / 4).max(1);
        let wanted = wanted.min(limits.room - limits.room % part);
        if wanted == 0 {
            return Ahead::Nothing;
        }
        let end = self.next + wanted;
        let beyond = if window >= 4 * GROUP { end % part } else { 0 };
        let pages = PageRange::new(PageIndex(self.next), PageIndex(end - beyond));
        self.next = pages.end.0;
        Ahead::Window { pages, markers: self.markers(pages.start, limits) }
    }

    /// Those of the window that was asked for last, from `first` on.
    fn markers(&self, first: PageIndex, limits: Limits) -> Markers {
        match self.next < limits.end.0 {
            true => Markers { first, apart: self.window },
            false => Markers::NONE,
        }
    }

    fn follow_stride(&mut self, page: PageIndex, longest: u64) -> Ahead {
        let stride = page.0 as i64 - self.last as i64;
        self.last = page.0;
        self.next = page.0 + 1;
        self.window = 0;
        if stride == 0 || stride != self.stride {
            self.stride = stride;
            self.stride_hits = 0;
            return Ahead::Nothing;
        }
        self.stride_hits = self.stride_hits.saturating_add(1);
        if self.stride_hits < STRIDE_HITS {
            return Ahead::Nothing;
        }
        let count = (1 << self.stride_hits.min(8)).min(STRIDE_AHEAD_MAX).min(longest);
        let first = PageIndex(page.0.saturating_add_signed(stride));
        // The next fault is expected behind what is now read.
        self.last = page.0.saturating_add_signed(stride * count as i64);
        Ahead::Strided { first, stride, count }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const UP_TO_64: Limits = limits(64, 1000);

    const fn limits(longest: u64, room: u64) -> Limits {
        Limits { longest, room, end: PageIndex(1 << 40) }
    }

    fn window(ahead: Ahead) -> (u64, u64) {
        match ahead {
            Ahead::Window { pages, .. } => (pages.start.0, pages.end.0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_second_page_in_order_starts_a_window_that_doubles() {
        let mut ahead = ReadAhead::default();
        assert_eq!(ahead.note(PageIndex(10), UP_TO_64), Ahead::Nothing);
        assert_eq!(window(ahead.note(PageIndex(11), UP_TO_64)), (11, 15));
        assert_eq!(window(ahead.note_marker(PageIndex(13), UP_TO_64)), (15, 23));
        assert_eq!(window(ahead.note_marker(PageIndex(15), UP_TO_64)), (23, 39));
        assert_eq!(window(ahead.note_marker(PageIndex(23), limits(20, 99))), (39, 59));
    }

    #[test]
    fn who_begins_at_the_beginning_reads_on() {
        let mut ahead = ReadAhead::default();
        let first = ahead.note(PageIndex(0), UP_TO_64);
        assert_eq!((window(first), &markers(first)[..]), ((0, 16), &[8][..]));
        assert_eq!(window(ahead.note_marker(PageIndex(8), UP_TO_64)), (16, 48));
        // Later, a fault there is one like others.
        assert_eq!(ahead.note(PageIndex(9_000), UP_TO_64), Ahead::Nothing);
        assert_eq!(ahead.note(PageIndex(0), UP_TO_64), Ahead::Nothing);
        // And who begins elsewhere hasn't begun at the beginning.
        let mut ahead = ReadAhead::default();
        assert_eq!(ahead.note(PageIndex(5_000), UP_TO_64), Ahead::Nothing);
        assert_eq!(ahead.note(PageIndex(0), UP_TO_64), Ahead::Nothing);
    }

    #[test]
    fn where_nothing_comes_after_nothing_asks_for_it() {
        let ends_at = |page| Limits { end: PageIndex(page), ..UP_TO_64 };
        for (end, marked) in [(13, &[][..]), (16, &[]), (17, &[8])] {
            let first = ReadAhead::default().note(PageIndex(0), ends_at(end));
            assert_eq!((window(first), &markers(first)[..]), ((0, 16), marked), "{end}");
        }
        let mut ahead = ReadAhead::default();
        ahead.note(PageIndex(10), ends_at(23));
        assert_eq!(markers(ahead.note(PageIndex(11), ends_at(23))), [13]);
        assert_eq!(markers(ahead.note_marker(PageIndex(13), ends_at(23))), []);
    }

    #[test]
    fn long_windows_end_where_groups_do() {
        let mut ahead = ReadAhead::default();
        let limits = limits(512, 5000);
        ahead.note(PageIndex(10), limits);
        let mut next = ahead.note(PageIndex(11), limits);
        let mut ends = Vec::new();
        for _ in 0..9 {
            let (first, end) = window(next);
            ends.push(end);
            // The first has its marker in the middle.
            let marker = if first == 11 { 13 } else { first };
            next = ahead.note_marker(PageIndex(marker), limits);
        }
        assert_eq!(ends[..6], [15, 23, 39, 71, 135, 263], "double, up to 128 pages");
        assert_eq!(ends[6], 512, "256, but for 7");
        assert!(ends[7..].iter().all(|end| end.is_multiple_of(GROUP)), "{ends:?}");
    }

    fn markers(ahead: Ahead) -> Vec<u64> {
        match ahead {
            Ahead::Window { pages, markers } => {
                pages.iter().filter(|page| markers.has(*page)).map(|page| page.0).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn when_windows_grow_no_more_two_are_ahead() {
        let mut ahead = ReadAhead::default();
        ahead.advise(Pattern::Sequential);
        let first = ahead.note(PageIndex(0), UP_TO_64);
        assert_eq!((window(first), &markers(first)[..]), ((0, 64), &[32][..]));
        // No more than three windows from the marker on, each with a marker of its own.
        let next = ahead.note_marker(PageIndex(32), UP_TO_64);
        assert_eq!((window(next), &markers(next)[..]), ((64, 192), &[64, 128][..]));
        for marker in [64, 128, 192] {
            let next = ahead.note_marker(PageIndex(marker), UP_TO_64);
            let asked = (marker + 128, marker + 192);
            assert_eq!((window(next), &markers(next)[..]), (asked, &[marker + 128][..]));
        }
    }

    #[test]
    fn what_there_are_no_frames_for_is_asked_for_later() {
        let mut ahead = ReadAhead::default();
        ahead.advise(Pattern::Sequential);
        ahead.note(PageIndex(0), UP_TO_64);
        let few = |room| limits(64, room);
        assert_eq!(ahead.note_marker(PageIndex(32), few(15)), Ahead::Nothing);
        // Parts of a quarter of a window.
        assert_eq!(window(ahead.note_marker(PageIndex(32), few(40))), (64, 96));
        // The window is still as long as it was.
        assert_eq!(window(ahead.note(PageIndex(96), UP_TO_64)), (96, 160));
    }

    #[test]
    fn random_pages_read_nothing_ahead() {
        let mut ahead = ReadAhead::default();
        let mut page = 1u64;
        for _ in 0..200 {
            page = page.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            assert_eq!(ahead.note(PageIndex(page >> 20), UP_TO_64), Ahead::Nothing);
        }
    }

    #[test]
    fn four_scans_at_once_are_each_followed() {
        let mut ahead = ReadAhead::default();
        for start in [100, 10_000, 20_000, 30_000] {
            assert_eq!(ahead.note(PageIndex(start), UP_TO_64), Ahead::Nothing);
        }
        for start in [100, 10_000, 20_000, 30_000] {
            assert_eq!(window(ahead.note(PageIndex(start + 1), UP_TO_64)), (start + 1, start + 5));
        }
    }

    #[test]
    fn a_stride_is_seen_at_its_third_repetition() {
        let mut ahead = ReadAhead::default();
        for page in [100, 107, 114] {
            assert_eq!(ahead.note(PageIndex(page), UP_TO_64), Ahead::Nothing);
        }
        let expected = Ahead::Strided { first: PageIndex(128), stride: 7, count: 4 };
        assert_eq!(ahead.note(PageIndex(121), UP_TO_64), expected);
        // The next fault is the first that was not read: 121 + 5 * 7.
        assert!(matches!(ahead.note(PageIndex(156), UP_TO_64), Ahead::Strided { count: 8, .. }));
    }

    #[test]
    fn advice_random_silences_and_sequential_begins_long() {
        let mut ahead = ReadAhead::default();
        ahead.advise(Pattern::Random);
        ahead.note(PageIndex(0), UP_TO_64);
        assert_eq!(ahead.note(PageIndex(1), UP_TO_64), Ahead::Nothing);
        ahead.advise(Pattern::Sequential);
        assert_eq!(window(ahead.note(PageIndex(5), UP_TO_64)), (5, 69));
    }
}
