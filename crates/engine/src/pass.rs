//! Passes: pages that are pinned again and again without asking the engine.
//!
//! A page that is pinned for reading while it is in memory gets a *pass*: the engine pins it
//! once for the pass, and from then on whoever wants it counts itself in and out there, with
//! one atomic operation each and no lock. To the engine such a page is pinned, so whatever
//! keeps off pinned pages is right without knowing of passes. Whoever wants a pinned page
//! to go *recalls* its pass first: nobody comes in any more, and the pass ends at once, or
//! with the last who is in. (The words are like vmcache's page states: Leis et al.,
//! "Virtual-Memory Assisted Buffer Management", SIGMOD 2023.)
//!
//! ```text
//!             open             take, give_back             recall
//!   (none) ──────────► 1 in ◄──────────────────► 0..n in ─────────► n in, recalled
//!      ▲                                            │ 0 in                │ 0 in
//!      └────────────────────────────────────────────┴─────────────────────┘
//! ```
//!
//! A page's pass can be in one slot only, which its number says. Where two want a slot, the
//! one that nobody has used since the last who wanted it came gives way.

use core::sync::atomic::{AtomicU64, Ordering};

use alloc::boxed::Box;

use faultless_addr::{ObjectId, PageIndex};

use crate::policy::PageKey;

/// Passes of more pages would take more memory than a processor keeps close.
const SLOTS_MAX: usize = 1 << 16;

/// A word that many threads change: [`AtomicU64`], or a test's.
pub trait Word: Default {
    /// Its value, after all that was done before it was stored.
    fn load(&self) -> u64;

    /// Sets it to `new` where it is `old`.
    fn change(&self, old: u64, new: u64) -> bool;

    /// Sets it, whatever it is.
    fn store(&self, value: u64);
}

impl Word for AtomicU64 {
    #[inline]
    fn load(&self) -> u64 {
        self.load(Ordering::Acquire)
    }

    #[inline]
    fn change(&self, old: u64, new: u64) -> bool {
        self.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn store(&self, value: u64) {
        self.store(value, Ordering::Release);
    }
}

/// What a slot says:
///
/// ```text
///   63      54   53        52    51     36 35       0
///   │ how many │ recalled │ used │ object │  page   │
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
struct State(u64);

impl State {
    const PAGE_BITS: u32 = 36;
    const OBJECT_BITS: u32 = 16;
    const USED: u64 = 1 << 52;
    const RECALLED: u64 = 1 << 53;
    const ONE: u64 = 1 << 54;
    const KEY: u64 = Self::USED - 1;
    /// No page has this key.
    const NONE: State = State(Self::KEY);

    /// A page's key; none for pages so far out, or of so many objects, that it doesn't fit.
    #[inline]
    fn key(page: PageKey) -> Option<u64> {
        let fits = page.page.0 < (1 << Self::PAGE_BITS) - 1
            && page.object.0 < (1 << Self::OBJECT_BITS) - 1;
        fits.then_some(u64::from(page.object.0) << Self::PAGE_BITS | page.page.0)
    }

    fn page(self) -> PageKey {
        let key = self.0 & Self::KEY;
        PageKey {
            object: ObjectId((key >> Self::PAGE_BITS) as u32),
            page: PageIndex(key & ((1 << Self::PAGE_BITS) - 1)),
        }
    }

    fn is_of(self, key: u64) -> bool {
        self.0 & Self::KEY == key
    }

    fn is_recalled(self) -> bool {
        self.0 & Self::RECALLED != 0
    }

    fn users(self) -> u64 {
        self.0 >> 54
    }
}

/// The passes of an engine's pages.
pub struct Passes<W: Word = AtomicU64> {
    words: Box<[W]>,
}

impl<W: Word> core::fmt::Debug for Passes<W> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Passes").field("slots", &self.words.len()).finish_non_exhaustive()
    }
}

impl<W: Word> Passes<W> {
    /// Room for passes of at most `pages` pages.
    pub fn new(pages: u32) -> Passes<W> {
        let slots = (pages as usize).clamp(1, SLOTS_MAX);
        let slots = if slots.is_power_of_two() { slots } else { slots.next_power_of_two() / 2 };
        let words = core::iter::repeat_with(|| {
            let word = W::default();
            word.store(State::NONE.0);
            word
        });
        Passes { words: words.take(slots).collect() }
    }

    #[inline]
    fn word(&self, key: u64) -> &W {
        // Neighbours in a file are neighbours here.
        let object = (key >> State::PAGE_BITS).wrapping_mul(0x9e37_79b9);
        &self.words[(key.wrapping_add(object)) as usize & (self.words.len() - 1)]
    }

    /// Counts a user of the page in, if it has a pass. By anybody, at any time.
    #[inline]
    pub fn take(&self, page: PageKey) -> bool {
        let Some(key) = State::key(page) else { return false };
        let word = self.word(key);
        loop {
            let state = State(word.load());
            let full = state.0 >= u64::MAX - State::ONE;
            if !state.is_of(key) || state.is_recalled() || full {
                return false;
            }
            if word.change(state.0, (state.0 + State::ONE) | State::USED) {
                return true;
            }
        }
    }

    /// Counts a user out again. If that was the last of a pass that has been recalled, the
    /// answer is yes, and the engine is to be told (by [`Engine::unpin`](crate::Engine::unpin)).
    #[inline]
    pub fn give_back(&self, page: PageKey) -> bool {
        let key = State::key(page).expect("a page with a pass has a key");
        let word = self.word(key);
        loop {
            let state = State(word.load());
            debug_assert!(state.is_of(key) && state.users() > 0, "nobody is in");
            if word.change(state.0, state.0 - State::ONE) {
                return state.is_recalled() && state.users() == 1;
            }
        }
    }

    /// Gives a page a pass, with one who is in. Answers no if it can't have any; else the page
    /// whose pass was ended for it, if there was one.
    pub fn open(&self, page: PageKey) -> Option<Option<PageKey>> {
        let key = State::key(page)?;
        let word = self.word(key);
        loop {
            let state = State(word.load());
            let free = state == State::NONE;
            let busy = state.is_of(key) || state.users() > 0 || state.is_recalled();
            if !free && busy {
                return None;
            }
            let used = !free && state.0 & State::USED != 0;
            let new = if used { state.0 & !State::USED } else { key | State::ONE };
            if word.change(state.0, new) {
                return if used { None } else { Some((!free).then(|| state.page())) };
            }
        }
    }

    /// Nobody gets in any more. If nobody is in, the pass has ended, which the answer says.
    pub fn recall(&self, page: PageKey) -> bool {
        let Some(key) = State::key(page) else { return false };
        let word = self.word(key);
        loop {
            let state = State(word.load());
            if !state.is_of(key) {
                return false;
            }
            let idle = state.users() == 0;
            let new = if idle { State::NONE.0 } else { state.0 | State::RECALLED };
            if word.change(state.0, new) {
                return idle;
            }
        }
    }

    /// Ends a recalled pass with nobody in; no if there is none (any more).
    pub fn end(&self, page: PageKey) -> bool {
        let Some(key) = State::key(page) else { return false };
        let word = self.word(key);
        let state = State(word.load());
        let over = state.is_of(key) && state.is_recalled() && state.users() == 0;
        if over {
            // Nobody changes it any more: there's nobody in, and nobody gets in.
            word.store(State::NONE.0);
        }
        over
    }

    /// Has the page a pass with nobody in?
    pub fn is_idle(&self, page: PageKey) -> bool {
        let Some(key) = State::key(page) else { return false };
        let state = State(self.word(key).load());
        state.is_of(key) && state.users() == 0
    }

    /// The pages that have passes with nobody in.
    pub fn idle(&self) -> impl Iterator<Item = PageKey> + '_ {
        let states = self.words.iter().map(|word| State(word.load()));
        states.filter(|state| *state != State::NONE && state.users() == 0).map(|state| state.page())
    }

    /// There are none any more, whoever is in: nobody is, in a forked child.
    pub fn clear(&self) {
        self.words.iter().for_each(|word| word.store(State::NONE.0));
    }

    /// Bytes that the table takes.
    pub fn bookkeeping_bytes(&self) -> usize {
        self.words.len() * size_of::<W>()
    }
}
