//! The engine: all state of the virtual-memory system, and what every verb shares.
//!
//! One `&mut Engine` at a time decides; nothing here blocks or does anything to
//! memory. Verbs and reports are in files of their own, all `impl Engine`.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use faultless_addr::{FrameNo, ObjectId, PageIndex, PageRange, SpaceId, VirtRange, WriteAccess};

use crate::Tick;
use crate::account::{AccountId, Accounts, Payer};
use crate::anon::{AnonId, AnonMap, AnonPages};
use crate::bars::Bar;
use crate::canary::Canary;
use crate::frame::{Busy, FrameTable, Site, State};
use crate::mark::Mark;
use crate::object::cache::NodePool;
use crate::object::{ErrorsSeen, KeptError, Object, ObjectOptions, Rights, Writes};
use crate::pass::Passes;
use crate::plan::{Leaver, Op, Plan, Source, Wakes};
use crate::policy::{Departure, PageKey, Policy, PolicyKind};
use crate::reserve::Reserve;
use crate::shown::{Translation, Translations};
use crate::space::AddressSpace;
use crate::stats::Stats;
use crate::swapping::Swap;
use crate::sweep::Sweep;
use crate::takes::Takes;

/// What an engine is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// The budget.
    pub frames: u32,
    /// Frames of devices, whose numbers follow those of the budget.
    pub device_frames: u32,
    /// Who leaves when a frame is needed.
    pub policy: PolicyKind,
    /// The bounds of each address space.
    pub spaces: Vec<VirtRange>,
    /// Unmapped pages kept between areas, so that running off one is noticed.
    pub guard_pages: u64,
    /// The longest read-ahead window, in pages.
    pub ahead_max: u32,
    /// The longest single read or write, in pages.
    pub run_max: u32,
    /// At how many addresses the machine can show a frame.
    pub addresses: Addresses,
    /// How the machine shows that a page is used.
    pub references: References,
    /// When areas that are next to each other become one.
    pub joining: Joining,
    /// Who may take a translation away.
    pub translations: Losses,
    /// How the machine stops stores.
    pub stops: Stops,
    /// A bug to be planted, for those who check the engine.
    #[cfg(feature = "canary")]
    pub canary: Option<crate::Canary>,
}

/// How a machine shows that a page is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum References {
    /// By a fault, after the page has been unmapped.
    ByFault,
    /// By accessed bits: its driver calls
    /// [`reclaim_seeing`](Engine::reclaim_seeing).
    Bits,
}

/// When private areas that are alike and next to each other become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joining {
    /// Unless their pages came to be apart (`anon_vma` of Linux).
    AsOnLinux,
    /// Always.
    Always,
}

/// Who may take a translation away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Losses {
    /// The engine alone.
    Told,
    /// Others, too, who don't tell: a fault at an address that shows its page means that it
    /// doesn't any more.
    Untold,
}

/// At how many addresses a machine can show a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// At one: a page that is needed at another leaves the first.
    One,
    /// At any number.
    Many,
    /// Pages of objects at any number in shared areas. In private ones at one, whether it is an
    /// object's or anonymous: each address there is a place of its own. The first area that shows
    /// an object, where pins show it, no program touches.
    OneIfPrivate,
}

/// How a machine stops stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stops {
    /// Page by page.
    Each,
    /// Also in a range, of which it passes over what isn't there.
    Ranges,
}

impl Config {
    /// A budget of `frames`, the defaults for the rest.
    pub fn new(frames: u32, spaces: Vec<VirtRange>) -> Config {
        Config {
            frames,
            device_frames: 0,
            policy: PolicyKind::TwoList,
            spaces,
            guard_pages: 1,
            ahead_max: 512,
            run_max: 128,
            addresses: Addresses::Many,
            references: References::ByFault,
            joining: Joining::AsOnLinux,
            translations: Losses::Told,
            stops: Stops::Each,
            #[cfg(feature = "canary")]
            canary: None,
        }
    }
}

/// Where frames are short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In the whole budget.
    All,
    /// Within one object's own limit.
    Object(ObjectId),
    /// Within what some spaces may have together.
    Account(AccountId),
}

/// All state of one virtual-memory system, and the verbs on it.
pub struct Engine {
    pub(crate) config: Config,
    pub(crate) frames: FrameTable,
    pub(crate) translations: Translations,
    /// Who found a frame busy and is needed at another address than the frame notes: they
    /// are let go when it settles, and come again.
    pub(crate) others: BTreeMap<FrameNo, Vec<Site>>,
    /// Addresses at which another page is meant now than the frame that is still there:
    /// faults wait for that to leave.
    pub(crate) closing: BTreeSet<(Site, FrameNo)>,
    pub(crate) nodes: NodePool,
    pub(crate) objects: Vec<Option<Box<Object>>>,
    pub(crate) objects_free: Vec<u32>,
    pub(crate) spaces: Vec<AddressSpace>,
    pub(crate) spaces_free: Vec<SpaceId>,
    /// The anonymous pages of each space.
    pub(crate) privates: Vec<AnonMap>,
    pub(crate) anons: AnonPages,
    pub(crate) accounts: Accounts,
    pub(crate) reserve: Reserve,
    pub(crate) takes: Takes,
    pub(crate) swap: Option<Swap>,
    pub(crate) policy: Box<dyn Policy>,
    pub(crate) now: Tick,
    /// Somebody was told that there is no frame.
    pub(crate) starved: bool,
    /// Frames on their way to be free.
    pub(crate) departing: u32,
    /// Frames with I/O or a change of translation under way.
    pub(crate) in_flight: u32,
    /// Of those, pages that are being written.
    pub(crate) writing: u32,
    /// What is being written all at once.
    pub(crate) sweep: Option<Sweep>,
    /// Where stores are just being stopped; mostly nowhere.
    pub(crate) bars: Vec<Bar>,
    /// Pages that pins hold, and passes.
    pub(crate) pinned: u32,
    /// By which pages are pinned again.
    pub(crate) passes: Arc<Passes>,
    /// Addresses that are errors; mostly none.
    pub(crate) marks: Vec<Mark>,
    /// Failed pages whose sleepers have been woken. Should none of them come back
    /// for the answer, reclaim takes the frames.
    pub(crate) failed: Vec<FrameNo>,
    /// Where the search for aged dirty pages goes on.
    pub(crate) age_hand: u32,
    pub(crate) stats: Stats,
}

impl Engine {
    /// An engine with all its frames free.
    pub fn new(config: Config) -> Engine {
        Engine {
            frames: FrameTable::new(config.frames, config.device_frames),
            translations: Translations::default(),
            others: BTreeMap::new(),
            closing: BTreeSet::new(),
            nodes: NodePool::default(),
            objects: Vec::new(),
            objects_free: Vec::new(),
            spaces: config
                .spaces
                .iter()
                .map(|bounds| AddressSpace::new(*bounds, config.guard_pages))
                .collect(),
            spaces_free: Vec::new(),
            privates: config.spaces.iter().map(|_| AnonMap::default()).collect(),
            anons: AnonPages::default(),
            takes: Takes::default(),
            accounts: Accounts::default(),
            reserve: Reserve::default(),
            swap: None,
            policy: config.policy.build(config.frames),
            now: 0,
            starved: false,
            departing: 0,
            in_flight: 0,
            writing: 0,
            sweep: None,
            bars: Vec::new(),
            pinned: 0,
            passes: Arc::new(Passes::new(config.frames / 2)),
            marks: Vec::new(),
            failed: Vec::new(),
            age_hand: 0,
            stats: Stats { frames_total: u64::from(config.frames), ..Stats::default() },
            config,
        }
    }

    /// Adds an object; nothing of it is in memory.
    pub fn create(&mut self, options: ObjectOptions) -> ObjectId {
        let object = Some(Box::new(Object::new(options)));
        match self.objects_free.pop() {
            Some(n) => {
                self.objects[n as usize] = object;
                ObjectId(n)
            }
            None => {
                self.objects.push(object);
                ObjectId(self.objects.len() as u32 - 1)
            }
        }
    }

    /// An object that exists.
    ///
    /// # Panics
    ///
    /// Where it doesn't: a driver names only objects that it has not removed.
    pub fn object(&self, id: ObjectId) -> &Object {
        self.objects[id.index()].as_deref().expect("the object exists")
    }

    pub(crate) fn object_mut(&mut self, id: ObjectId) -> &mut Object {
        self.objects[id.index()].as_deref_mut().expect("the object exists")
    }

    /// The object's length in bytes, as last told.
    pub fn size(&self, id: ObjectId) -> u64 {
        self.object(id).options.size
    }

    /// Where an object's bytes come from that are not made here.
    pub(crate) fn pager_of(&self, id: ObjectId) -> Source {
        Source::Pager { size: self.size(id) }
    }

    /// The length up to which the object can be shown where it is mapped; any, if it is
    /// shown nowhere.
    pub fn reach(&self, id: ObjectId) -> u64 {
        let windows = self.object(id).windows.windows();
        windows.iter().map(|window| window.pages.end.offset()).max().unwrap_or(u64::MAX)
    }

    /// When the object's dirty pages are written.
    pub fn writes(&self, id: ObjectId) -> Writes {
        self.object(id).options.writes
    }

    /// Frames that the object holds.
    pub fn resident(&self, id: ObjectId) -> u32 {
        self.object(id).resident
    }

    /// Pages of the object that differ from its backing.
    pub fn dirty(&self, id: ObjectId) -> u32 {
        self.object(id).dirty
    }

    /// From now on the object may be written. Pages of before go, but those that pins hold:
    /// a store that came while they arrived would be in the file one day. Where it may be
    /// written already, nothing changes: pages may differ from the file by now.
    pub fn allow_writes(&mut self, id: ObjectId, plan: &mut Plan) {
        if self.object(id).options.rights == Rights::ReadWrite {
            return;
        }
        self.object_mut(id).options.rights = Rights::ReadWrite;
        let mut rest = PageRange::all();
        while let Some((page, no)) = self.object(id).cache.first_in(rest, &self.nodes, &self.frames)
        {
            rest.start = page.next();
            self.recall(no);
            if !self.frames[no].is_pinned() {
                self.discard(id, PageRange::from_len(page, 1), plan);
            }
        }
    }

    /// What errors there are to be told, for a new mapping: none of those before it.
    pub fn errors_seen(&self, id: ObjectId) -> ErrorsSeen {
        self.object(id).errors_seen()
    }

    /// The object's last error, unless `seen` says it has been told.
    pub fn check_errors(&self, id: ObjectId, seen: &mut ErrorsSeen) -> Option<KeptError> {
        self.object(id).unseen_error(seen)
    }

    /// The object's last error, told or not.
    pub fn last_error(&self, id: ObjectId) -> Option<KeptError> {
        self.object(id).last_error()
    }

    /// The areas of a space.
    pub fn space(&self, id: SpaceId) -> &AddressSpace {
        &self.spaces[id.index()]
    }

    /// Counters, and what they count now.
    pub fn stats(&self) -> Stats {
        Stats {
            pages_pinned: u64::from(self.pinned) - self.passes.idle().count() as u64,
            swap_slots_used: u64::from(self.swap_slots().0),
            bookkeeping_bytes: self.bookkeeping_bytes() as u64,
            ..self.stats
        }
    }

    fn bookkeeping_bytes(&self) -> usize {
        self.frames.bookkeeping_bytes()
            + self.translations.bookkeeping_bytes()
            + self.anons.bookkeeping_bytes()
            + self.accounts.bookkeeping_bytes()
            + self.privates.iter().map(AnonMap::bookkeeping_bytes).sum::<usize>()
            + self.swap.as_ref().map_or(0, Swap::bookkeeping_bytes)
            + self.nodes.bookkeeping_bytes()
            + self.policy.bookkeeping_bytes()
            + self.passes.bookkeeping_bytes()
            + self.objects.capacity() * size_of::<Option<Box<Object>>>()
            + (self.objects.len() - self.objects_free.len()) * size_of::<Object>()
    }

    /// Is anything under way, or in a pin's hands, that will make a frame settle?
    pub fn is_in_flight(&self) -> bool {
        self.in_flight > 0
    }

    /// The frame that holds a page of an object, if one does.
    pub(crate) fn lookup(&self, object: ObjectId, page: PageIndex) -> Option<FrameNo> {
        self.object(object).cache.get(page, &self.nodes, &self.frames)
    }

    /// A frame for an absent page, its bytes on their way; else, where one has to become free
    /// first.
    pub(crate) fn take_frame(&mut self, key: PageKey, payer: Payer) -> Result<FrameNo, Scope> {
        if let Some(account) = payer.filter(|_| self.accounts.left(payer) == 0) {
            return Err(Scope::Account(account));
        }
        let no = self.frames.take(key).ok_or(Scope::All)?;
        self.accounts.charge(no, payer);
        match AnonId::of(key) {
            Some(id) => self.anons[id].set_frame(Some(no)),
            None => {
                let object = self.objects[key.object.index()].as_deref_mut();
                let object = object.expect("the object exists");
                object.cache.insert(key.page, no, &mut self.nodes, &self.frames);
                object.resident += 1;
            }
        }
        self.in_flight += 1;
        self.stats.frames_used += 1;
        self.stats.frames_used_max = self.stats.frames_used_max.max(self.stats.frames_used);
        Ok(no)
    }

    /// The page leaves memory; its frame becomes free.
    pub(crate) fn forget(&mut self, no: FrameNo, why: Departure, plan: &mut Plan) {
        let key = self.frames[no].key();
        self.set_clean(no);
        if self.frames[no].state == State::Resident {
            self.policy.remove(no, key, why);
        }
        self.let_go(no, plan);
        if AnonId::of(key).is_none() {
            let object = self.objects[key.object.index()].as_deref_mut();
            let object = object.expect("the object exists");
            object.cache.remove(key.page, &mut self.nodes, &self.frames);
            object.resident -= 1;
            object.doomed -= u32::from(self.frames[no].doomed);
        }
        self.frames.give_back(no);
        self.accounts.release(no);
        if let Some(swap) = &mut self.swap {
            swap.refused.remove(&no);
        }
        if self.has(Canary::DoubleFree) && self.stats.evictions % 16 == 15 {
            self.frames.give_back_again(no);
        }
        self.stats.frames_used -= 1;
        if let Some(id) = AnonId::of(key) {
            self.anons[id].set_frame(None);
            if self.anons[id].refs == 0 {
                self.remove_anon(id);
            }
        }
        if why == Departure::Evicted {
            self.stats.evictions += 1;
        }
        if core::mem::take(&mut self.starved) {
            plan.wakes.frames = true;
        }
    }

    /// Begins something that is reported in `parts`.
    pub(crate) fn begin(&mut self, no: FrameNo, busy: Busy, parts: usize) {
        self.frames[no].begin(busy, parts as u16);
        self.in_flight += 1;
        if busy == Busy::Writing {
            self.writing += 1;
            if let Some(object) = self.object_of(no) {
                object.writing += 1;
            }
        }
    }

    /// Ends a part of it; answers whether that was the last.
    pub(crate) fn end(&mut self, no: FrameNo, busy: Busy) -> bool {
        let last = self.frames[no].end(busy);
        self.in_flight -= u32::from(last);
        if last && busy == Busy::Writing {
            self.writing -= 1;
            if let Some(object) = self.object_of(no) {
                object.writing -= 1;
            }
        }
        last
    }

    /// The page in a frame is no more: the frame comes back as soon as nothing is being done
    /// with it and no pin holds it.
    pub(crate) fn doom(&mut self, no: FrameNo) {
        self.recall(no);
        let before = core::mem::replace(&mut self.frames[no].doomed, true);
        if !before && let Some(object) = self.object_of(no) {
            object.doomed += 1;
        }
    }

    /// The object whose page is in a frame; anonymous pages have none.
    fn object_of(&mut self, no: FrameNo) -> Option<&mut Object> {
        let key = self.frames[no].key();
        match AnonId::of(key) {
            Some(_) => None,
            None => Some(self.object_mut(key.object)),
        }
    }

    /// What is about to be done at the frame's address lets go whom the machine holds there.
    /// Whoever is held from here on may have touched the page after that was done, and before
    /// it is reported: they are let go when the frame settles.
    pub(crate) fn let_go_by_machine(&mut self, no: FrameNo) {
        self.frames[no].held = false;
    }

    /// Whoever waits for the frame tries again.
    pub(crate) fn let_go(&mut self, no: FrameNo, plan: &mut Plan) {
        self.wake(no, plan);
        let frame = &mut self.frames[no];
        if core::mem::take(&mut frame.held) && frame.site != Site::NONE {
            plan.push_wake(frame.site);
        }
        for site in self.others.remove(&no).into_iter().flatten() {
            plan.push_wake(site);
        }
    }

    /// As [`let_go`](Self::let_go), with a thread that is held at `site`.
    pub(crate) fn let_go_at(&mut self, no: FrameNo, site: Site, plan: &mut Plan) {
        if core::mem::take(&mut self.frames[no].held) {
            plan.push_wake(site);
        }
        self.let_go(no, plan);
    }

    /// Wakes the driver's sleepers.
    pub(crate) fn wake(&mut self, no: FrameNo, plan: &mut Plan) {
        if core::mem::take(&mut self.frames[no].waited) {
            plan.wakes.settled |= 1 << Wakes::group(no);
        }
    }

    /// Begins to map a page that is not at `site` yet.
    pub(crate) fn begin_map(
        &mut self,
        no: FrameNo,
        site: Site,
        write: WriteAccess,
        plan: &mut Plan,
    ) {
        if self.is_elsewhere(no, site) {
            // Whoever wants it here comes again when it has left the other address.
            self.others.entry(no).or_default().push(site);
            return self.begin_leave(no, Leave::Keep, plan);
        }
        self.begin(no, Busy::Mapping, 1);
        if !self.frames[no].is_mapped() {
            self.frames[no].site = site;
        }
        if self.frames[no].site == site {
            self.let_go_by_machine(no);
        }
        self.heal_before_map(site, plan);
        let write = match write {
            WriteAccess::Forbidden if self.has_other_stores(no) => WriteAccess::Tracked,
            WriteAccess::Allowed if self.barred(site).is_some() => WriteAccess::Tracked,
            write => write,
        };
        plan.push_map(site.space(), site.at(), no, write);
    }

    /// Is a page that is shown read-only stored to in other ways? Then the machine may not
    /// take its time to forbid it: a store that passes would be seen, or lost.
    fn has_other_stores(&self, no: FrameNo) -> bool {
        let key = self.frames[no].key();
        AnonId::of(key).is_some()
            || self.object(key.object).options.rights == Rights::ReadWrite
            || self.object(key.object).windows.windows().len() > 1
    }

    /// Begins to take a mapped page away from all its addresses.
    pub(crate) fn begin_leave(&mut self, no: FrameNo, then: Leave, plan: &mut Plan) {
        self.begin(no, Busy::Leaving, self.translations.count(&self.frames, no));
        let leavers = match then {
            Leave::Keep => &mut plan.keep,
            Leave::Drop => &mut plan.drop,
        };
        leavers.extend(self.translations.of(&self.frames, no).map(|it| Leaver {
            space: it.space(),
            at: it.at(),
            frame: no,
            writable: it.writable,
        }));
    }

    /// Is the page shown at `site`, and do stores go through there?
    pub(crate) fn shown_at(&self, no: FrameNo, site: Site) -> Option<Translation> {
        self.translations.at(&self.frames, no, site)
    }

    /// Stores to a page that is about to be written stop; at its first address the write
    /// sees to that itself.
    pub(crate) fn stop_stores(&mut self, no: FrameNo, plan: &mut Plan) {
        let translations = self.translations.of(&self.frames, no).skip(1);
        for it in translations.filter(|it| it.writable) {
            plan.ops.push(Op::Protect { space: it.space(), at: it.at() });
        }
        self.translations.stop_stores(&mut self.frames, no);
    }

    /// The first address that shows the page.
    pub(crate) fn first_site(&self, no: FrameNo) -> Option<Site> {
        self.translations.of(&self.frames, no).next().map(|it| it.site)
    }
}

/// What becomes of the bytes of a page that leaves its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// They stay in the frame.
    Keep,
    /// They are dropped; the frame becomes free.
    Drop,
}
