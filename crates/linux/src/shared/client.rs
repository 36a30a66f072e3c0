//! One client: its descriptor, its regions, and what it tells.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use faultless_addr::{SpaceId, VirtAddr, VirtRange};
use faultless_sys::Errno;
use faultless_sys::process::EventFd;
use faultless_sys::uffd::{Event, PageFault, Userfaultfd};

/// A part of an object that a client maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its addresses in the client.
    pub range: VirtRange,
    /// Where its first page is seen by the broker.
    pub home: VirtAddr,
    /// The client's stores are its own (`MAP_PRIVATE`).
    pub private: bool,
    /// The client has unmapped it: nothing is shown there any more.
    pub gone: bool,
}

impl Region {
    /// Where the broker sees the page at `at`.
    pub fn home_of(&self, at: VirtAddr) -> VirtAddr {
        VirtAddr(self.home.0 + (at.0 - self.range.start.0))
    }

    /// The part of it in `range`.
    pub fn part(&self, range: VirtRange) -> Region {
        let range = self.range.intersect(range);
        Region { range, home: self.home_of(range.start), ..*self }
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
}

/// Messages read at a time.
const BATCH: usize = 16;
/// How often an operation is tried again at once where an event is unread.
const TRIES: u32 = 100;

impl Client {
    pub(super) fn new(space: SpaceId, uffd: Userfaultfd) -> Result<Client, Errno> {
        Ok(Client {
            space,
            uffd,
            regions: RwLock::default(),
            events: Mutex::default(),
            bell: EventFd::new()?,
        })
    }

    /// Becomes readable when there are events.
    pub fn bell(&self) -> &EventFd {
        &self.bell
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

    /// The parts of regions in `range` are forgotten.
    pub fn remove(&self, range: VirtRange) -> Vec<Region> {
        self.split(range, |_| None)
    }

    /// Replaces the parts in `range`; answers what they were.
    fn split(&self, range: VirtRange, to: impl Fn(Region) -> Option<Region>) -> Vec<Region> {
        let mut regions = self.write();
        let touched: Vec<Region> = overlapping(&regions, range).collect();
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
                    event => events.push_back(event),
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

    /// Does something that waits for unread events, reading them.
    pub(super) fn insist<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, Errno>,
        mut faults: impl FnMut(PageFault),
    ) -> Result<T, Errno> {
        let mut tries = 0;
        loop {
            match attempt() {
                Err(Errno::AGAIN) => {}
                result => return result,
            }
            self.read(&mut faults)?;
            tries += 1;
            match tries {
                n if n < TRIES => std::thread::yield_now(),
                _ => std::thread::sleep(std::time::Duration::from_micros(50)),
            }
        }
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<u64, Region>> {
        self.regions.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_events(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn overlapping(
    regions: &BTreeMap<u64, Region>,
    range: VirtRange,
) -> impl Iterator<Item = Region> + '_ {
    let before = regions.range(..range.start.0).next_back();
    let before = before.filter(move |(_, region)| region.range.end > range.start);
    before.into_iter().chain(regions.range(range.start.0..range.end.0)).map(|(_, region)| *region)
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultless_sys::uffd::Features;

    fn range(from: u64, to: u64) -> VirtRange {
        VirtRange { start: VirtAddr(from << 12), end: VirtAddr(to << 12) }
    }

    #[test]
    fn a_hole_splits_a_region_and_keeps_what_each_part_shows() {
        let client = Client::new(SpaceId(1), Userfaultfd::open(Features::NONE).unwrap()).unwrap();
        let whole = Region { range: range(10, 20), home: VirtAddr(0), private: false, gone: false };
        client.add(whole);
        assert_eq!(client.mark_gone(range(12, 14)), [whole.part(range(12, 14))]);
        assert_eq!(client.find(VirtAddr(13 << 12)).unwrap().home, VirtAddr(2 << 12));
        assert!(client.find(VirtAddr(13 << 12)).unwrap().gone);
        client.remove(range(12, 14));
        assert_eq!(client.find(VirtAddr(13 << 12)), None);
        let parts = client.regions_in(range(0, 100));
        let shown = |part: &Region| (part.range, part.home.0 >> 12);
        assert_eq!(
            parts.iter().map(shown).collect::<Vec<_>>(),
            [(range(10, 12), 0), (range(14, 20), 4)]
        );
    }
}
