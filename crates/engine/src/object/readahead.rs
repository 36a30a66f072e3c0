//! Read-ahead: sees sequences and strides in the faults on one object.
//!
//! Four streams are followed at once, so that several threads may each scan a
//! part of a file. A stream's window doubles with every hit, and one page of each
//! window is its *marker*: it is brought in but not mapped, so that touching it
//! is noticed and asks for the window after, while the reader still has pages
//! before it. (Linux's `ondemand_readahead` and `PG_readahead`.)
//!
//! ```text
//!   window 1     window 2              window 3 (read when the marker is touched)
//!   ┌─────────┐  ┌───────────────────┐ ┌──────── …
//!   p  p+1 …     M  .  .  .  .  .  .   M
//!                ▲ marker
//! ```

use faultless_addr::{PageIndex, PageRange};

const STREAMS: usize = 4;
const FIRST_WINDOW: u64 = 4;
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
    /// These, the one at `marker` not to be mapped.
    Window {
        /// The pages.
        pages: PageRange,
        /// Touching it asks for the next window.
        marker: PageIndex,
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
    /// is in memory). `longest` bounds a window, in pages; 0 forbids any.
    pub fn note(&mut self, page: PageIndex, longest: u64) -> Ahead {
        if self.pattern == Pattern::Random || longest == 0 {
            return Ahead::Nothing;
        }
        self.clock = self.clock.wrapping_add(1);
        let clock = self.clock;
        let fresh = self.pattern == Pattern::Sequential;
        let stream = self.stream_of(page);
        stream.used = clock;
        if stream.next == page.0 && (stream.last != page.0 || fresh) {
            return stream.lengthen(page, longest, fresh);
        }
        stream.follow_stride(page, longest)
    }

    /// The touched page is the marker of the window that a stream asked for last.
    pub fn note_marker(&mut self, page: PageIndex, longest: u64) -> Ahead {
        if longest == 0 {
            return Ahead::Nothing;
        }
        let found = self.streams.iter_mut().find(|stream| {
            stream.window > 0 && page.0 < stream.next && stream.next <= page.0 + stream.window
        });
        let Some(stream) = found else { return Ahead::Nothing };
        self.clock = self.clock.wrapping_add(1);
        stream.used = self.clock;
        stream.last = page.0;
        let window = (stream.window * 2).min(longest);
        let pages = PageRange::from_len(PageIndex(stream.next), window);
        stream.window = window;
        stream.next += window;
        Ahead::Window { pages, marker: pages.start }
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
    /// The reader has reached the end of what was read: a longer window from there.
    fn lengthen(&mut self, page: PageIndex, longest: u64, at_once: bool) -> Ahead {
        let window = if at_once { longest } else { (self.window * 2).max(FIRST_WINDOW) };
        let pages = PageRange::from_len(page, window.min(longest));
        self.last = page.0;
        self.window = pages.len();
        self.next = pages.end.0;
        self.stride = 0;
        Ahead::Window { pages, marker: PageIndex(page.0 + (pages.len() / 2).max(1)) }
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
    use super::*;

    fn window(ahead: Ahead) -> (u64, u64) {
        match ahead {
            Ahead::Window { pages, .. } => (pages.start.0, pages.end.0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_second_page_in_order_starts_a_window_that_doubles() {
        let mut ahead = ReadAhead::default();
        assert_eq!(ahead.note(PageIndex(10), 64), Ahead::Nothing);
        assert_eq!(window(ahead.note(PageIndex(11), 64)), (11, 15));
        assert_eq!(window(ahead.note_marker(PageIndex(13), 64)), (15, 23));
        assert_eq!(window(ahead.note_marker(PageIndex(15), 64)), (23, 39));
        assert_eq!(window(ahead.note_marker(PageIndex(23), 20)), (39, 59));
    }

    #[test]
    fn random_pages_read_nothing_ahead() {
        let mut ahead = ReadAhead::default();
        let mut page = 1u64;
        for _ in 0..200 {
            page = page.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            assert_eq!(ahead.note(PageIndex(page >> 20), 64), Ahead::Nothing);
        }
    }

    #[test]
    fn four_scans_at_once_are_each_followed() {
        let mut ahead = ReadAhead::default();
        for start in [0, 10_000, 20_000, 30_000] {
            assert_eq!(ahead.note(PageIndex(start), 64), Ahead::Nothing);
        }
        for start in [0, 10_000, 20_000, 30_000] {
            assert_eq!(window(ahead.note(PageIndex(start + 1), 64)), (start + 1, start + 5));
        }
    }

    #[test]
    fn a_stride_is_seen_at_its_third_repetition() {
        let mut ahead = ReadAhead::default();
        for page in [100, 107, 114] {
            assert_eq!(ahead.note(PageIndex(page), 64), Ahead::Nothing);
        }
        let expected = Ahead::Strided { first: PageIndex(128), stride: 7, count: 4 };
        assert_eq!(ahead.note(PageIndex(121), 64), expected);
        // The next fault is the first that was not read: 121 + 5 * 7.
        assert!(matches!(ahead.note(PageIndex(156), 64), Ahead::Strided { count: 8, .. }));
    }

    #[test]
    fn advice_random_silences_and_sequential_begins_long() {
        let mut ahead = ReadAhead::default();
        ahead.advise(Pattern::Random);
        ahead.note(PageIndex(0), 64);
        assert_eq!(ahead.note(PageIndex(1), 64), Ahead::Nothing);
        ahead.advise(Pattern::Sequential);
        assert_eq!(window(ahead.note(PageIndex(5), 64)), (5, 69));
    }
}
