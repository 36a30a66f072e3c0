//! Reclaim: getting frames back.
//!
//! The policy says which page is next; reclaim turns that into operations. A
//! clean page goes at once, a dirty one is written first, with its dirty
//! neighbours, and leaves when the write has ended well. Pages are unmapped in
//! batches, because a batch costs little more than a page, and a batch doesn't end within
//! a group of pages that were read ahead together. What a locked area shows
//! stays. When it begins and stops is in `reserve`.

use faultless_addr::{FrameNo, ObjectId, PageIndex, PageRange, SpaceId, VirtAddr};

use crate::anon::{AnonId, AnonPages};
use crate::engine::{Engine, Leave, References, Scope};
use crate::frame::{Dirt, FrameTable, Kind, State};
use crate::object::readahead::GROUP;
use crate::object::{Backing, Object};
use crate::pass::Passes;
use crate::plan::{Op, Plan};
use crate::policy::{Departure, PageKey, Verdict, View};
use crate::shown::{Translation, Translations};
use crate::space::{AddressSpace, Vma};
use crate::swapping::Swap;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;

/// How long an object's page that could not be written is left alone, in ticks.
const WRITE_RETRY_TICKS: u32 = 1000;

/// Has the page at this address been accessed since that was last cleared?
pub type Accessed<'a> = dyn Fn(SpaceId, VirtAddr) -> bool + 'a;

/// While fewer than one in so many frames are dirty, clean pages go first.
const FEW: u32 = 2;

/// How short frames are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressure {
    /// There are enough.
    None,
    /// The background has something to do.
    Low,
    /// It doesn't keep up: whoever takes frames is to get some back.
    High,
}

/// What happens to the pages of locked areas.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Locked {
    Stay,
    Go,
}

/// What happens to pages of objects that would have to be written first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unwritten {
    /// There are few: others go, and these are written together when they are more.
    Stay,
    Go,
}

/// What policies may ask about frames.
struct Frames<'a> {
    frames: &'a FrameTable,
    translations: &'a Translations,
    accessed: &'a Accessed<'a>,
    /// Their bits are to be cleared by a plan that has not been carried out yet.
    cleared: &'a BTreeSet<FrameNo>,
    objects: &'a [Option<Box<Object>>],
    anons: &'a AnonPages,
    spaces: &'a [AddressSpace],
    locked: Locked,
    unwritten: Unwritten,
    swap: Option<&'a Swap>,
    passes: &'a Passes,
    now: crate::Tick,
}

/// What a policy may see of an engine, which keeps its policy to itself meanwhile.
macro_rules! frames_view {
    ($engine:expr, $accessed:expr, $locked:expr, $unwritten:expr, $cleared:expr) => {
        Frames {
            frames: &$engine.frames,
            translations: &$engine.translations,
            accessed: $accessed,
            cleared: $cleared,
            objects: &$engine.objects,
            anons: &$engine.anons,
            spaces: &$engine.spaces,
            locked: $locked,
            unwritten: $unwritten,
            swap: $engine.swap.as_ref(),
            passes: &$engine.passes,
            now: $engine.now,
        }
    };
}

impl View for Frames<'_> {
    fn is_referenced(&self, no: FrameNo) -> bool {
        if self.cleared.contains(&no) {
            return false;
        }
        let mut shown = self.translations.of(self.frames, no);
        shown.any(|it| (self.accessed)(it.space(), it.at()))
    }

    fn is_movable(&self, no: FrameNo) -> bool {
        let frame = &self.frames[no];
        // A pass that nobody uses is recalled in time.
        let by_pins = frame.pins - u16::from(frame.pins > 0 && self.passes.is_idle(frame.key()));
        let pinned = by_pins > 0 || frame.pinned_for_write;
        if pinned
            || !frame.is_idle()
            || frame.doomed
            || frame.state != State::Resident
            || self.is_locked(no)
        {
            return false;
        }
        if !frame.is_dirty() {
            return true;
        }
        if let Some(id) = AnonId::of(frame.key()) {
            let room = |swap: &Swap| {
                swap.has_room_for(self.anons[id].slot()) && !swap.refused.contains(&no)
            };
            return self.swap.is_some_and(room);
        }
        if self.unwritten == Unwritten::Stay {
            return false;
        }
        let object = self.objects[frame.object.index()].as_deref().expect("the object exists");
        let since = self.now.wrapping_sub(frame.dirty_since);
        let rests = frame.dirt == Dirt::Refused && since < WRITE_RETRY_TICKS;
        object.options.backing == Backing::Pager && !rests && !object.holds(frame.page)
    }
}

impl Frames<'_> {
    /// Is the page shown where it has to stay in memory?
    fn is_locked(&self, no: FrameNo) -> bool {
        let locks = |it: Translation| {
            let space = &self.spaces[it.space().index()];
            space.locked_pages() > 0 && space.find(it.at()).is_some_and(Vma::is_locked)
        };
        self.locked == Locked::Stay && self.translations.of(self.frames, no).any(locks)
    }
}

impl Engine {
    /// Below this many free frames, the background begins to reclaim.
    pub fn water_low(&self) -> u32 {
        self.reserve.low(self.frames.count())
    }

    /// Up to this many.
    pub fn water_high(&self) -> u32 {
        2 * self.water_low()
    }

    /// How many frames the background should get back now.
    pub fn shortage(&self) -> u32 {
        let coming = self.frames.free() + self.departing;
        if coming < self.water_low() { self.water_high() - coming } else { 0 }
    }

    /// How urgently somebody should get frames back.
    pub fn pressure(&self) -> Pressure {
        let coming = self.frames.free() + self.departing;
        match self.water_low() {
            low if coming >= low => Pressure::None,
            low if coming >= low / 2 => Pressure::Low,
            _ => Pressure::High,
        }
    }

    /// Begins to free up to `target` frames; returns how many will come of it.
    pub fn reclaim(&mut self, scope: Scope, target: u32, plan: &mut Plan) -> u32 {
        self.reclaim_seeing(scope, target, &|_, _| true, plan)
    }

    /// As [`reclaim`](Self::reclaim), for a machine that keeps accessed bits.
    pub fn reclaim_seeing(
        &mut self,
        scope: Scope,
        target: u32,
        accessed: &Accessed<'_>,
        plan: &mut Plan,
    ) -> u32 {
        self.forget_failed(plan);
        match scope {
            Scope::All => self.reclaim_any(target, accessed, Locked::Stay, plan),
            Scope::Object(object) => self.reclaim_of(object, target, plan),
            Scope::Account(account) => self.reclaim_of_account(account, target, plan),
        }
    }

    /// As [`reclaim`](Self::reclaim), but locked pages go as well: for a driver that would
    /// rather break a lock than end a program, when nothing else is left. Whatever comes
    /// first, used or not: the time for second chances is over.
    pub fn reclaim_locked(&mut self, target: u32, plan: &mut Plan) -> u32 {
        self.reclaim_any(target, &|_, _| false, Locked::Go, plan)
    }

    fn forget_failed(&mut self, plan: &mut Plan) {
        while let Some(no) = self.failed.pop() {
            let frame = &self.frames[no];
            if frame.state == State::Failed && frame.is_idle() && !frame.is_pinned() {
                self.forget(no, Departure::Dropped, plan);
            }
        }
    }

    fn reclaim_any(
        &mut self,
        target: u32,
        accessed: &Accessed<'_>,
        locked: Locked,
        plan: &mut Plan,
    ) -> u32 {
        let (mut begun, mut cleared, mut last) = (0, BTreeSet::new(), None);
        let mut unwritten = self.unwritten();
        let is_batch = u64::from(target) >= GROUP / 2;
        let looks_max = target.saturating_mul(4).saturating_add(64);
        for _ in 0..looks_max {
            if begun >= target && !(is_batch && last.is_some_and(|it| self.is_within_group(it))) {
                break;
            }
            let view = frames_view!(self, accessed, locked, unwritten, &cleared);
            match self.policy.next(&view) {
                Some(Verdict::Evict(no)) => {
                    last = Some(self.frames[no].key());
                    begun += self.evict(no, plan);
                }
                Some(Verdict::Unreference(no)) => {
                    self.unreference(no, plan);
                    if self.config.references == References::Bits {
                        cleared.insert(no);
                    }
                }
                None if unwritten == Unwritten::Stay => unwritten = Unwritten::Go,
                None => {
                    if let Some(swap) = self.swap_object() {
                        self.forget_refusals(swap);
                    }
                    break;
                }
            }
        }
        begun
    }

    /// Pages that are written one by one, between reads, cost the disk more than those of a
    /// sweep; and the more a sweep writes, the more of them lie together, and the longer each
    /// has had to be stored to again.
    fn unwritten(&self) -> Unwritten {
        let few = self.stats.pages_dirty < u64::from(self.frames.count() / FEW);
        if few { Unwritten::Stay } else { Unwritten::Go }
    }

    /// Is the next page to go the one behind `last`, of the same group?
    fn is_within_group(&self, last: PageKey) -> bool {
        let Some(no) = self.policy.peek() else { return false };
        let key = self.frames[no].key();
        key.object == last.object
            && key.page == last.page.next()
            && !key.page.0.is_multiple_of(GROUP)
    }

    /// A second chance: being touched again is its reference. A bit shows it; where there
    /// is none, the page is unmapped and kept, and the fault shows it.
    fn unreference(&mut self, no: FrameNo, plan: &mut Plan) {
        self.recall(no);
        if !self.frames[no].is_mapped() || self.frames[no].is_pinned() {
            return;
        }
        self.stats.second_chances += 1;
        match self.config.references {
            References::ByFault => {
                if self.frames[no].kind == Kind::Plain {
                    self.frames[no].kind = Kind::OnTrial;
                }
                self.begin_leave(no, Leave::Keep, plan);
            }
            References::Bits => {
                for it in self.translations.of(&self.frames, no) {
                    plan.ops.push(Op::ClearAccessed { space: it.space(), at: it.at() });
                }
            }
        }
    }

    /// Begins to free a movable frame; returns how many frames leave with it.
    pub(crate) fn evict(&mut self, no: FrameNo, plan: &mut Plan) -> u32 {
        self.recall(no);
        if self.frames[no].is_pinned() {
            return 0;
        }
        if self.frames[no].is_dirty() {
            return self.launder(no, plan);
        }
        if self.frames[no].is_mapped() {
            self.frames[no].leaving = true;
            self.departing += 1;
            self.begin_leave(no, Leave::Drop, plan);
        } else {
            self.forget(no, Departure::Evicted, plan);
        }
        1
    }

    /// Begins to free a frame out of turn, if it can go; returns how many leave with it.
    pub(crate) fn evict_if_movable(&mut self, no: FrameNo, plan: &mut Plan) -> u32 {
        let (locked, cleared) = (Locked::Stay, BTreeSet::new());
        let view = frames_view!(self, &|_, _| true, locked, Unwritten::Go, &cleared);
        if view.is_movable(no) { self.evict(no, plan) } else { 0 }
    }

    /// Writes a dirty page that is to leave, and its dirty neighbours on the way.
    fn launder(&mut self, no: FrameNo, plan: &mut Plan) -> u32 {
        match AnonId::of(self.frames[no].key()) {
            None => {
                self.begin_write_around(no, plan);
                self.begin_sweep(self.frames[no].object, plan);
            }
            Some(id) => {
                if !self.begin_swap_out(id, no, plan) {
                    return 0;
                }
            }
        }
        self.frames[no].leaving = true;
        self.departing += 1;
        1
    }

    /// The object's own limit is reached: the next of its pages, in page order,
    /// that can go. (CLOCK without reference bits.)
    fn reclaim_of(&mut self, object: ObjectId, target: u32, plan: &mut Plan) -> u32 {
        let mut begun = 0;
        let mut looks = self.object(object).resident.min(target.saturating_mul(4) + 64);
        while begun < target && looks > 0 {
            looks -= 1;
            let from = self.object(object).hand;
            let range = PageRange::new(from, PageRange::all().end);
            let cache = &self.object(object).cache;
            let found = cache.first_in(range, &self.nodes, &self.frames);
            let Some((page, no)) = found else {
                self.object_mut(object).hand = PageIndex(0);
                continue;
            };
            self.object_mut(object).hand = page.next();
            begun += self.evict_if_movable(no, plan);
        }
        begun
    }
}
