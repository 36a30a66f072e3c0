//! What threads do: loads and stores that must agree with a model, and verbs on memory
//! of their own.

use faultless_addr::{
    Access, ObjectId, PAGE_SHIFT, PageIndex, PageRange, Prot, VirtAddr, VirtRange,
};
use faultless_engine::space::{Backing, MapRequest, Merge, Place, Sharing, VmaFlags};
use faultless_engine::{FlushStep, Signal};
use faultless_software::CpuNo;

use super::drive::{Reads, Worker};
use super::memory::{Page, WORDS};
use super::schedule::{Sleep, pause};
use super::{BOUNDS, SPACE, State};

/// A thread's life: verbs and accesses.
pub async fn play(mut worker: Worker, rounds: u32) {
    let me = worker.number();
    let mut mine: Vec<VirtRange> = Vec::new();
    for _ in 0..rounds {
        let what = worker.with(|state| state.rng.u32(..100));
        match what {
            0..12 => {
                let new = map(&mut worker).await;
                mine.extend(new);
                // Much of what is asked for is filled at once.
                fill(&mut worker, new).await;
            }
            12..15 => extend(&mut worker, &mut mine),
            15..27 => unmap_some(&mut worker, &mut mine).await,
            27..32 => forget(&mut worker, &mine).await,
            32..34 => share(&worker, &mut mine),
            34..46 => sweep(&mut worker, &mine).await,
            _ => {
                if let Some(number) = worker.with(|state| state.choose_page(me)) {
                    access(&mut worker, number).await;
                }
            }
        }
    }
    for range in mine {
        unmap(&mut worker, range).await;
    }
    worker.with(|state| state.playing -= 1);
}

/// After all have ended: everything is looked at once more, and given back.
pub async fn end(mut worker: Worker) {
    let numbers: Vec<u64> = worker.with(|state| state.memory.pages.keys().copied().collect());
    for number in numbers {
        look(&mut worker, number, None).await;
    }
    while let Some((number, _)) = worker.with(|state| state.first_page()) {
        unmap(&mut worker, VirtRange::page(VirtAddr(number << PAGE_SHIFT))).await;
    }
    for object in worker.with(|state| state.memory.files.clone()) {
        flush(&mut worker, object).await;
        worker.finish_steps(|engine, plan| engine.close_step(object, plan)).await;
        worker.with(|state| {
            let same = state.memory.has_file(object, &state.backings[&object.0].bytes);
            assert!(same, "{object:?}: a store was lost");
            state.engine.remove(object);
        });
    }
    // Handlers may still be at it.
    while worker.with(|state| state.engine.is_in_flight()) {
        pause().await;
    }
    worker.with(|state| state.playing = 0);
}

async fn flush(worker: &mut Worker, object: ObjectId) {
    let mut rest = PageRange::all();
    loop {
        match worker.plan(|engine, plan| engine.flush_step(object, &mut rest, plan)) {
            FlushStep::Wait(no) => worker.sleep(Sleep::until_settled(no)).await,
            FlushStep::Done => break,
            FlushStep::More => worker.finish().await,
            FlushStep::Pinned(page) => panic!("{page:?} is pinned"),
            FlushStep::InChange => panic!("nobody changes {object:?}"),
        }
    }
    worker.finish().await;
    while let Some(no) = worker.plan(|engine, _| engine.writing_in(object, PageRange::all())) {
        worker.sleep(Sleep::until_settled(no)).await;
    }
}

/// A handler's life: it reads what others hand off, and keeps some frames free.
pub async fn handle(mut worker: Worker) {
    while !worker.with(|state| state.stopping) {
        let taken = worker.take_handed_off();
        worker.reclaim_shortage();
        let idle = !taken && !worker.has_plan();
        worker.carry_out(Reads::Queue).await;
        if worker.end_a_job().await {
            worker.reap();
            worker.carry_out(Reads::Queue).await;
        } else if idle {
            worker.sleep(Sleep::Bell).await;
        }
    }
}

/// The keeper's life: time passes, and what is dirty for long is written.
pub async fn keep(mut worker: Worker) {
    loop {
        for _ in 0..worker.with(|state| state.rng.u32(..200)) {
            pause().await;
        }
        let now = worker.with(|state| {
            state.now += state.rng.u32(..400);
            state.failing = state.may_fail && state.rng.u32(..4) == 0;
            state.now
        });
        worker.plan(|engine, plan| {
            engine.tick(now, plan);
            engine.write_aged(300, 16, plan);
        });
        worker.finish().await;
        worker.with(|state| state.sleepers.ring());
    }
}

/// A load or a store, again and again until it happens.
async fn access(worker: &mut Worker, number: u64) {
    let store = worker.with(|state| state.rng.bool().then(|| state.rng.u64(1..)));
    look(worker, number, store).await;
}

async fn look(worker: &mut Worker, number: u64, store: Option<u64>) {
    let word = worker.with(|state| state.rng.usize(..WORDS.len()));
    let at = VirtAddr((number << PAGE_SHIFT) + WORDS[word] as u64);
    let me = worker.number();
    for _ in 0..10_000 {
        pause().await;
        if worker.with(|state| state.touch(me, number, word, store)) {
            return;
        }
        let access = if store.is_some() { Access::Write } else { Access::Read };
        let signal = worker.serve(at, access).await;
        let (failed, failing) = worker.with(|state| (state.failed, state.failing));
        assert!(signal.is_none() || signal == Some(Signal::Bus) && failed, "{signal:?} at {at:?}");
        // What could not be read is tried again when all is well.
        if signal.is_some() && failing {
            return;
        }
    }
    panic!("{at:?} is never served");
}

/// As a vector that is filled: page after page of one's own.
async fn sweep(worker: &mut Worker, mine: &[VirtRange]) {
    let Some(range) = worker.with(|state| state.rng.choice(mine).copied()) else { return };
    let store = worker.with(|state| state.rng.u32(..3) > 0);
    for n in 0..range.pages() {
        let value = worker.with(|state| store.then(|| state.rng.u64(1..)));
        look(worker, (range.start.0 >> PAGE_SHIFT) + n, value).await;
    }
}

/// As a vector that is made full, or a stack: a store to page after page, up or down.
async fn fill(worker: &mut Worker, ranges: impl IntoIterator<Item = VirtRange>) {
    for range in ranges {
        let down = worker.with(|state| state.rng.bool());
        for n in 0..range.pages() {
            let n = if down { range.pages() - 1 - n } else { n };
            let value = worker.with(|state| Some(state.rng.u64(1..)));
            look(worker, (range.start.0 >> PAGE_SHIFT) + n, value).await;
        }
    }
}

/// New memory; as an allocator asks for it, more than needed, both ends given back.
async fn map(worker: &mut Worker) -> Option<VirtRange> {
    let me = worker.number();
    let (all, kept) = worker.with(|state| {
        let (backing, sharing, most) = state.choose_backing();
        let pages = state.rng.u64(1..=most);
        let all = state.map_pages(Place::Anywhere, backing, sharing, pages)?;
        let (front, back) = match state.rng.bool() {
            true => (0, 0),
            false => (state.rng.u64(..pages), state.rng.u64(..pages)),
        };
        let kept = match front + back < pages {
            true => VirtRange::new(all.start.plus_pages(front), all.start.plus_pages(pages - back)),
            false => all,
        };
        state.tally.note("thread: maps");
        state.add_pages(me, kept, all, backing, sharing);
        Some((all, kept))
    })?;
    unmap(worker, VirtRange::new(all.start, kept.start)).await;
    unmap(worker, VirtRange::new(kept.end, all.end)).await;
    Some(kept)
}

/// More memory right behind one's own, if nothing is there.
fn extend(worker: &mut Worker, mine: &mut [VirtRange]) {
    let me = worker.number();
    worker.with(|state| {
        let Some(range) = state.rng.choice(mine) else { return };
        let pages = state.rng.u64(1..8);
        let place = Place::FixedNoReplace(range.end);
        let room = state.memory.private() + pages <= state.memory.room;
        if room && range.end.plus_pages(pages) <= BOUNDS.end {
            let (backing, sharing) = (Backing::Anonymous, Sharing::Private);
            if let Some(more) = state.map_pages(place, backing, sharing, pages) {
                state.tally.note("thread: extends");
                state.add_pages(me, more, more, backing, sharing);
                range.end = more.end;
            }
        }
    });
}

/// A mapping ends, or one end of it.
async fn unmap_some(worker: &mut Worker, mine: &mut Vec<VirtRange>) {
    let Some(n) = worker.with(|state| (!mine.is_empty()).then(|| state.rng.usize(..mine.len())))
    else {
        return;
    };
    let range = mine[n];
    let cut = worker.with(|state| state.rng.u64(..range.pages()));
    let gone = VirtRange::new(range.start.plus_pages(cut), range.end);
    match cut {
        0 => drop(mine.swap_remove(n)),
        _ => mine[n].end = gone.start,
    }
    unmap(worker, gone).await;
}

async fn unmap(worker: &mut Worker, range: VirtRange) {
    if range.is_empty() {
        return;
    }
    worker.with(|state| state.memory.pages.retain(|number, _| !is_in(range, *number)));
    let retires = worker.with(|state| {
        state.tally.note("thread: unmaps");
        state.retires
    });
    if retires {
        retire(worker, range).await;
    }
    worker.plan(|engine, plan| engine.unmap(SPACE, range, plan).expect("areas end"));
    worker.finish().await;
    worker.finish_steps(|engine, plan| engine.clear_step(SPACE, range, plan)).await;
}

/// Others may be given the addresses as soon as the area is gone: pages go before.
async fn retire(worker: &mut Worker, range: VirtRange) {
    worker.plan(|engine, plan| engine.retire(SPACE, range, plan).expect("nothing is sealed"));
    worker.finish().await;
    worker.finish_steps(|engine, plan| engine.clear_step(SPACE, range, plan)).await;
    worker.with(|state| {
        let left = state.machine.translations(SPACE).find(|it| range.contains(it.at));
        assert_eq!(left, None, "a page is where others may map");
    });
}

/// Some of one's own pages are what they were at the beginning.
async fn forget(worker: &mut Worker, mine: &[VirtRange]) {
    let Some(range) = worker.with(|state| state.rng.choice(mine).copied()) else { return };
    let range = worker.with(|state| {
        let first = state.rng.u64(..range.pages());
        let pages = state.rng.u64(1..=range.pages() - first);
        let start = range.start.plus_pages(first);
        let range = VirtRange::new(start, start.plus_pages(pages));
        let gone = state.memory.pages.iter_mut().filter(|(number, _)| is_in(range, **number));
        gone.for_each(|(_, page)| page.words = [None; WORDS.len()]);
        range
    });
    worker.with(|state| state.tally.note("thread: forgets"));
    worker.plan(|engine, plan| engine.dont_need(SPACE, range, plan));
    worker.finish().await;
    worker.finish_steps(|engine, plan| engine.clear_step(SPACE, range, plan)).await;
}

/// One's own memory becomes everybody's, for good.
fn share(worker: &Worker, mine: &mut Vec<VirtRange>) {
    worker.with(|state| {
        let everybodys = state.memory.pages.values().filter(|page| page.owner.is_none()).count();
        if mine.is_empty() || everybodys as u64 > state.memory.room / 2 {
            return;
        }
        let range = mine.swap_remove(state.rng.usize(..mine.len()));
        let pages = state.memory.pages.iter_mut().filter(|(number, _)| is_in(range, **number));
        pages.for_each(|(_, page)| page.owner = None);
    });
}

fn is_in(range: VirtRange, number: u64) -> bool {
    range.contains(VirtAddr(number << PAGE_SHIFT))
}

impl State {
    fn first_page(&self) -> Option<(u64, ())> {
        self.memory.pages.keys().next().map(|number| (*number, ()))
    }

    fn choose_page(&mut self, thread: usize) -> Option<u64> {
        let hot = self.rng.u32(..3) > 0;
        let pages = self.memory.pages.iter();
        let open = |page: &Page| page.owner.is_none_or(|owner| owner == thread);
        let open: Vec<u64> = pages.filter(|(_, page)| open(page)).map(|(n, _)| *n).collect();
        let among = if hot { open.len().min(12) } else { open.len() };
        (among > 0).then(|| open[self.rng.usize(..among)])
    }

    fn choose_backing(&mut self) -> (Backing, Sharing, u64) {
        let file = self.rng.usize(..2);
        let object = self.memory.files[file];
        let pages = self.engine.size(object) >> PAGE_SHIFT;
        let first = self.rng.u64(..pages);
        let backing = Backing::Object { object, first: PageIndex(first) };
        // What is stored to a file that private areas show may be seen there, or not.
        match (self.rng.u32(..10), file) {
            (0, 0) => (backing, Sharing::Shared, pages - first),
            (0, _) => (backing, Sharing::Private, pages - first),
            _ => (Backing::Anonymous, Sharing::Private, 24),
        }
    }

    fn map_pages(
        &mut self,
        place: Place,
        backing: Backing,
        sharing: Sharing,
        pages: u64,
    ) -> Option<VirtRange> {
        if sharing == Sharing::Private && self.memory.private() + pages > self.memory.room {
            return None;
        }
        let request = MapRequest {
            place,
            len: pages << PAGE_SHIFT,
            prot: Prot::READ | Prot::WRITE,
            sharing,
            backing,
            flags: VmaFlags::empty(),
            merge: Merge::No,
        };
        self.engine.map(SPACE, request).ok()
    }

    /// The model's pages of a part of a new area.
    fn add_pages(
        &mut self,
        owner: usize,
        kept: VirtRange,
        all: VirtRange,
        backing: Backing,
        sharing: Sharing,
    ) {
        let first = all.start.0 >> PAGE_SHIFT;
        for number in kept.start.0 >> PAGE_SHIFT..kept.end.0 >> PAGE_SHIFT {
            let object = match backing {
                Backing::Object { object, first: page } => {
                    Some((object, page.plus(number - first)))
                }
                _ => None,
            };
            let words = [None; WORDS.len()];
            let page = Page { owner: Some(owner), object, sharing, words };
            let before = self.memory.pages.insert(number, page);
            assert!(before.is_none(), "an area over another, at page {number:#x}");
        }
    }

    /// Makes an access if the machine translates it; answers whether it was made.
    fn touch(&mut self, thread: usize, number: u64, word: usize, store: Option<u64>) -> bool {
        let cpu = CpuNo((thread.saturating_sub(super::HANDLERS + 1)) as u32);
        let at = VirtAddr((number << PAGE_SHIFT) + WORDS[word] as u64);
        if let Some(value) = store {
            let done = self.machine.store(cpu, SPACE, at, &value.to_le_bytes()).is_ok();
            if done {
                self.memory.store(number, word, value);
            }
            return done;
        }
        let mut seen = [0; 8];
        if self.machine.load(cpu, SPACE, at, &mut seen).is_err() {
            return false;
        }
        let (seen, must) = (u64::from_le_bytes(seen), self.memory.word(number, word));
        assert_eq!(seen, must, "thread {thread} at {at:?}: wrong bytes");
        true
    }
}
