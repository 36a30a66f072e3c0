//! One client: its descriptor, its regions, and what it tells.
//!
//! A region has two ranges. One is where the engine shows it. The other is where the client
//! has it now: an mremap moves its pages at once, and the engine hears of it a little later.
//! The kernel refuses to change anything between the move and the reading of the event
//! (EAGAIN), and reading applies it here, before more is read. What the engine asks for is
//! done where the client has it now, and nothing is applied meanwhile
//! ([`Client::attempt`]): so it is never done at addresses that have become another's.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use faultless_addr::{ObjectId, PAGE_BYTES, PageIndex, SpaceId, VirtAddr, VirtRange};
use faultless_sys::Errno;
use faultless_sys::process::EventFd;
use faultless_sys::uffd::{Event, PageFault, Stopped, Userfaultfd};

/// Whose a region's memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An object's; the client's stores are, too.
    Shared,
    /// An object's; the client's stores are its own, in copies that its kernel makes
    /// (`MAP_PRIVATE`).
    Private,
    /// The client's alone: each page has its home in memory that no other process maps. It may
    /// begin as an object's.
    Own {
        /// Memory was promised for all of it.
        promised: bool,
    },
}

impl Kind {
    /// Has the client the memory for itself?
    pub fn is_own(self) -> bool {
        matches!(self, Kind::Own { .. })
    }
}

/// A part of an object that a client maps, or of its own memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its addresses as the engine knows them.
    pub range: VirtRange,
    /// Where its first page is in the client now.
    pub now: VirtAddr,
    /// Where its first page is seen by the broker.
    pub home: VirtAddr,
    /// The object's page that its first one is, or begins as; none where it begins as zeros.
    pub shows: Option<(ObjectId, PageIndex)>,
    /// Whose memory it is.
    pub kind: Kind,
    /// The client has unmapped it: nothing is shown there any more.
    pub gone: bool,
}

impl Region {
    /// Where the broker sees all of it.
    pub fn homes(&self) -> VirtRange {
        VirtRange { start: self.home, end: VirtAddr(self.home.0 + self.range.len()) }
    }

    /// Where the broker sees the page at `at`.
    pub fn home_of(&self, at: VirtAddr) -> VirtAddr {
        VirtAddr(self.home.0 + (at.0 - self.range.start.0))
    }

    /// The object's page that the page at `at` is, or begins as; also beyond its end.
    pub fn shown_at(&self, at: VirtAddr) -> Option<(ObjectId, PageIndex)> {
        let pages = (at.0 - self.range.start.0) / PAGE_BYTES;
        self.shows.map(|(object, first)| (object, first.plus(pages)))
    }

    /// The part of it in `range`.
    pub fn part(&self, range: VirtRange) -> Region {
        let range = self.range.intersect(range);
        let (now, home) = (self.now_of(range.start), self.home_of(range.start));
        Region { range, now, home, shows: self.shown_at(range.start), ..*self }
    }

    /// Where the client has it now.
    pub fn range_now(&self) -> VirtRange {
        VirtRange { start: self.now, end: VirtAddr(self.now.0 + self.range.len()) }
    }

    /// Where the client has the page at `at` now.
    fn now_of(&self, at: VirtAddr) -> VirtAddr {
        VirtAddr(self.now.0 + (at.0 - self.range.start.0))
    }

    /// The part that the client has in `range` now.
    fn part_now(&self, range: VirtRange) -> Option<Region> {
        let now = self.range_now().intersect(range);
        let at = |now: VirtAddr| VirtAddr(self.range.start.0 + (now.0 - self.now.0));
        let is_part = !self.gone && now.start < now.end;
        is_part.then(|| self.part(VirtRange { start: at(now.start), end: at(now.end) }))
    }

    /// Has the client taken its pages from where the engine shows it?
    pub fn has_left(&self) -> bool {
        self.gone || self.now != self.range.start
    }
}

/// A process whose faults are served.
#[derive(Debug)]
pub struct Client {
    /// Its space.
    pub space: SpaceId,
    pub(super) uffd: Userfaultfd,
    regions: RwLock<BTreeMap<u64, Region>>,
    /// Locked while messages are read, too: so they stay in order.
    events: Mutex<VecDeque<Event>>,
    bell: EventFd,
    /// See [`Client::next_healed`].
    healed: Mutex<VecDeque<VirtRange>>,
}

/// No more ranges than these are known to be errors no more: others stay errors.
const HEALED_MAX: usize = 1024;

/// Messages read at a time.
const BATCH: usize = 16;

impl Client {
    pub(super) fn new(space: SpaceId, uffd: Userfaultfd) -> Result<Client, Errno> {
        Ok(Client {
            space,
            uffd,
            regions: RwLock::default(),
            events: Mutex::default(),
            bell: EventFd::new()?,
            healed: Mutex::default(),
        })
    }

    /// Becomes readable when there are events.
    pub fn bell(&self) -> &EventFd {
        &self.bell
    }

    /// Has the process memory still?
    pub fn is_alive(&self) -> bool {
        self.uffd.is_alive()
    }

    /// A region more. Where it lies was nobody's.
    pub fn add(&self, region: Region) {
        self.write().insert(region.range.start.0, region);
    }

    /// The parts of regions in `range` are gone: what is asked of them from now on has
    /// happened already. Answers them.
    pub fn mark_gone(&self, range: VirtRange) -> Vec<Region> {
        self.split(range, |part| Some(Region { gone: true, ..part }))
    }

    /// Regions of the client's own in `range` begin as an object's pages from one on, or as
    /// zeros.
    pub fn begin_as(&self, range: VirtRange, first: Option<(ObjectId, PageIndex)>) {
        self.split(range, |part| {
            let pages = (part.range.start.0 - range.start.0) / PAGE_BYTES;
            let shows = first.map(|(object, first)| (object, first.plus(pages)));
            Some(if part.kind.is_own() { Region { shows, ..part } } else { part })
        });
    }

    /// What the client has done to its addresses.
    fn apply(&self, event: Event) {
        let parts = |range| {
            let regions = self.regions.read().unwrap_or_else(PoisonError::into_inner);
            let parts = regions.values().filter_map(|region| region.part_now(range));
            parts.collect::<Vec<Region>>()
        };
        match event {
            Event::Unmap(range) => {
                for part in parts(range) {
                    self.split(part.range, |part| Some(Region { gone: true, ..part }));
                }
            }
            Event::Remap { from, to } => {
                for part in parts(from) {
                    let now = VirtAddr(to.start.0 + (part.now.0 - from.start.0));
                    self.split(part.range, |part| Some(Region { now, ..part }));
                }
            }
            Event::Remove(_) | Event::PageFault(_) | Event::Other(_) => {}
        }
    }

    /// The region that the client has at an address now, and the address by which the
    /// engine knows it.
    pub(super) fn find_now(&self, at: VirtAddr) -> Option<(Region, VirtAddr)> {
        let here = self.find(at).filter(|region| !region.has_left());
        if let Some(region) = here {
            return Some((region, at));
        }
        let regions = self.regions.read().unwrap_or_else(PoisonError::into_inner);
        let is_it = |region: &&Region| !region.gone && region.range_now().contains(at);
        let region = regions.values().find(is_it)?;
        Some((*region, VirtAddr(region.range.start.0 + (at.0 - region.now.0))))
    }

    /// The parts of regions in `range` are forgotten.
    pub fn remove(&self, range: VirtRange) -> Vec<Region> {
        self.split(range, |_| None)
    }

    /// The engine is to know from now on what it knew at `from` at `to`, where nothing is
    /// known. Answers what is there then.
    pub fn carry(&self, from: VirtRange, to: VirtAddr) -> Vec<Region> {
        let mut regions = self.write();
        let moved = split(&mut regions, from, |_| None);
        let moved = moved.into_iter().map(|region| {
            let start = VirtAddr(to.0 + (region.range.start.0 - from.start.0));
            let range = VirtRange { start, end: VirtAddr(start.0 + region.range.len()) };
            Region { range, ..region }
        });
        let moved: Vec<Region> = moved.collect();
        regions.extend(moved.iter().map(|region| (region.range.start.0, *region)));
        moved
    }

    /// Does something to the first region in `range`, where the client has it now; answers
    /// that region, and where the kernel stopped.
    pub(super) fn attempt(
        &self,
        range: VirtRange,
        work: impl Fn(&Region, VirtRange) -> Result<(), Stopped>,
    ) -> Option<(Region, Result<(), Stopped>)> {
        let regions = self.regions.read().unwrap_or_else(PoisonError::into_inner);
        let part = overlapping(&regions, range).next()?.part(range);
        let result = if part.gone { Ok(()) } else { work(&part, part.range_now()) };
        Some((part, result))
    }

    /// Replaces the parts in `range`; answers what they were.
    fn split(&self, range: VirtRange, to: impl Fn(Region) -> Option<Region>) -> Vec<Region> {
        split(&mut self.write(), range, to)
    }

    /// The region that an address lies in.
    pub fn find(&self, at: VirtAddr) -> Option<Region> {
        let regions = self.regions.read().unwrap_or_else(PoisonError::into_inner);
        let (_, region) = regions.range(..=at.0).next_back()?;
        region.range.contains(at).then_some(*region)
    }

    /// The parts of regions in `range`, by address.
    pub fn regions_in(&self, range: VirtRange) -> Vec<Region> {
        let regions = self.regions.read().unwrap_or_else(PoisonError::into_inner);
        overlapping(&regions, range).map(|region| region.part(range)).collect()
    }

    /// Is one of the regions such a one?
    pub fn has_region(&self, is_such: impl Fn(&Region) -> bool) -> bool {
        let regions = self.regions.read().unwrap_or_else(PoisonError::into_inner);
        regions.values().any(is_such)
    }

    /// The next event, in the order in which they came.
    pub fn next_event(&self) -> Option<Event> {
        self.lock_events().pop_front()
    }

    /// Reads what there is: faults go to `faults`, events are kept, and the bell rings.
    pub(super) fn read(&self, mut faults: impl FnMut(PageFault)) -> Result<(), Errno> {
        let mut messages = [Event::Other(0); BATCH];
        let mut events = self.lock_events();
        let before = events.len();
        let result = loop {
            let count = match self.uffd.read_messages(&mut messages) {
                Ok(count) => count,
                Err(errno) => break Err(errno),
            };
            for message in &messages[..count] {
                match *message {
                    Event::PageFault(fault) => faults(fault),
                    event => {
                        self.apply(event);
                        events.push_back(event);
                    }
                }
            }
            if count < BATCH {
                break Ok(());
            }
        };
        if events.len() > before {
            self.bell.signal();
        }
        result
    }

    /// Touching a range needn't be an error any more, but is for the client's kernel, until a
    /// page is mapped there, or the client gives the range up.
    pub(super) fn note_healed(&self, range: VirtRange) {
        let mut healed = self.lock_healed();
        if let Some(last) = healed.back_mut().filter(|last| last.end == range.start) {
            last.end = range.end;
        } else if healed.len() < HEALED_MAX {
            healed.push_back(range);
        }
    }

    /// The next range that the client had better give up (`MADV_DONTNEED`), so that its next
    /// access is asked for.
    pub fn next_healed(&self) -> Option<VirtRange> {
        self.lock_healed().pop_front()
    }

    /// Is there such a range?
    pub fn has_healed(&self) -> bool {
        !self.lock_healed().is_empty()
    }

    fn lock_healed(&self) -> MutexGuard<'_, VecDeque<VirtRange>> {
        self.healed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<u64, Region>> {
        self.regions.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_events(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Replaces the parts of regions in `range`; answers what they were.
fn split(
    regions: &mut BTreeMap<u64, Region>,
    range: VirtRange,
    to: impl Fn(Region) -> Option<Region>,
) -> Vec<Region> {
    let touched: Vec<Region> = overlapping(regions, range).collect();
    for region in &touched {
        regions.remove(&region.range.start.0);
        let below = VirtRange { start: region.range.start, end: range.start };
        let above = VirtRange { start: range.end, end: region.range.end };
        let rest = [below, above].into_iter().filter(|rest| rest.start < rest.end);
        let rest = rest.map(|rest| region.part(rest));
        for part in rest.chain(to(region.part(range))) {
            regions.insert(part.range.start.0, part);
        }
    }
    touched.into_iter().map(|region| region.part(range)).collect()
}

fn overlapping(
    regions: &BTreeMap<u64, Region>,
    range: VirtRange,
) -> impl Iterator<Item = Region> + '_ {
    let before = regions.range(..range.start.0).next_back();
    let before = before.filter(move |(_, region)| region.range.end > range.start);
    let before = before.filter(|_| !range.is_empty());
    before.into_iter().chain(regions.range(range.start.0..range.end.0)).map(|(_, region)| *region)
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultless_sys::uffd::Features;

    fn range(from: u64, to: u64) -> VirtRange {
        VirtRange { start: VirtAddr(from << 12), end: VirtAddr(to << 12) }
    }

    fn region(range: VirtRange) -> Region {
        let (now, home) = (range.start, VirtAddr(0));
        let shows = Some((ObjectId(3), PageIndex(100)));
        Region { range, now, home, shows, kind: Kind::Shared, gone: false }
    }

    #[test]
    fn a_move_is_followed_until_the_engine_has_heard_of_it() {
        let client = Client::new(SpaceId(1), Userfaultfd::open(Features::NONE).unwrap()).unwrap();
        client.add(region(range(10, 20)));
        client.apply(Event::Remap { from: range(10, 20), to: range(50, 60) });
        client.apply(Event::Remap { from: range(52, 54), to: range(80, 82) });
        client.apply(Event::Unmap(range(55, 56)));
        let known = |page: u64| client.find_now(VirtAddr(page << 12)).map(|(_, at)| at.0 >> 12);
        assert_eq!([known(10), known(50), known(81), known(55)], [None, Some(10), Some(13), None]);
        let now: Vec<_> = client.regions_in(range(0, 100)).iter().map(Region::range_now).collect();
        let expected = [range(50, 52), range(80, 82), range(54, 55), range(55, 56), range(56, 60)];
        assert_eq!(now, expected);
    }

    #[test]
    fn a_move_on_its_way_is_applied_to_what_has_been_carried() {
        let client = Client::new(SpaceId(1), Userfaultfd::open(Features::NONE).unwrap()).unwrap();
        client.add(region(range(10, 20)));
        client.apply(Event::Remap { from: range(10, 20), to: range(50, 60) });
        let carried = client.carry(range(10, 20), VirtAddr(50 << 12));
        assert_eq!(carried, [region(range(50, 60))]);
        client.apply(Event::Remap { from: range(50, 60), to: range(80, 90) });
        let at = |page: u64| client.find_now(VirtAddr(page << 12)).map(|(_, at)| at.0 >> 12);
        assert_eq!([at(15), at(55), at(85)], [None, None, Some(55)]);
    }

    #[test]
    fn a_hole_splits_a_region_and_keeps_what_each_part_shows() {
        let client = Client::new(SpaceId(1), Userfaultfd::open(Features::NONE).unwrap()).unwrap();
        let whole = region(range(10, 20));
        client.add(whole);
        assert_eq!(client.regions_in(range(15, 15)), []);
        assert_eq!(client.mark_gone(range(12, 14)), [whole.part(range(12, 14))]);
        assert_eq!(client.find(VirtAddr(13 << 12)).unwrap().home, VirtAddr(2 << 12));
        assert!(client.find(VirtAddr(13 << 12)).unwrap().gone);
        client.remove(range(12, 14));
        assert_eq!(client.find(VirtAddr(13 << 12)), None);
        let parts = client.regions_in(range(0, 100));
        let shown = |part: &Region| {
            let (_, page) = part.shows.expect("an object's");
            (part.range, part.home.0 >> 12, page.0)
        };
        assert_eq!(
            parts.iter().map(shown).collect::<Vec<_>>(),
            [(range(10, 12), 0, 100), (range(14, 20), 4, 104)]
        );
    }
}
