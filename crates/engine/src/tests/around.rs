//! Fault-around: what is shown with a page that is touched, and what isn't.

use std::vec::Vec;

use faultless_addr::*;

use super::driver::carry_out;
use crate::frame::{Busy, Kind, Site};
use crate::space::{Backing, MapRequest, Merge, Place, Sharing, VmaFlags};
use crate::*;

const SPACE: SpaceId = SpaceId(0);
const FILE: u64 = 64;

struct Fixture {
    engine: Engine,
    file: ObjectId,
    plan: Plan,
}

/// An engine that has a whole file in memory and shows it nowhere.
fn fixture(addresses: Addresses) -> Fixture {
    let bounds = VirtRange::new(VirtAddr(1 << 30), VirtAddr(1 << 40));
    let config =
        Config { addresses, policy: PolicyKind::Clock, ..Config::new(128, std::vec![bounds]) };
    let mut engine = Engine::new(config);
    let file = engine.create(ObjectOptions::file(FILE * PAGE_BYTES, Rights::ReadWrite));
    let mut plan = Plan::new();
    engine.prefetch(file, PageRange::new(PageIndex(0), PageIndex(FILE)), &mut plan);
    carry_out(&mut engine, &mut plan);
    Fixture { engine, file, plan }
}

impl Fixture {
    /// An area of the file's pages `first..end`.
    fn map(&mut self, first: u64, end: u64) -> VirtRange {
        let prot = Prot::READ | Prot::WRITE;
        let mapped = self.engine.map_object(SPACE, self.file, PageIndex(first), end - first, prot);
        mapped.unwrap()
    }

    /// The runs of pages that a fault maps, as offsets from the start of `area`.
    fn touch(&mut self, area: VirtRange, page: u64, access: Access) -> Vec<(u64, u64)> {
        let runs = self.fault(area, page, access);
        carry_out(&mut self.engine, &mut self.plan);
        runs
    }

    /// As `touch`, where nothing is carried out.
    fn fault(&mut self, area: VirtRange, page: u64, access: Access) -> Vec<(u64, u64)> {
        let at = area.start.plus_pages(page);
        self.engine.fault(SPACE, at, access, Waiter::Machine, &mut self.plan);
        let runs = self.plan.ops.iter().filter_map(|op| match *op {
            Op::Map { at, frames, .. } => {
                let first = (at.0 - area.start.0) / PAGE_BYTES;
                Some((first, first + self.plan.frames(frames).len() as u64))
            }
            _ => None,
        });
        runs.collect()
    }

    fn load(&mut self, area: VirtRange, page: u64) -> Vec<(u64, u64)> {
        self.touch(area, page, Access::Read)
    }

    fn on_trial(&self) -> Vec<u64> {
        let frames = self.engine.frames.iter().map(|(_, frame)| frame);
        let on_trial = frames.filter(|it| it.has_page() && it.kind == Kind::OnTrial);
        let mut pages: Vec<_> = on_trial.map(|it| it.page.0).collect();
        pages.sort_unstable();
        pages
    }

    /// Is what the area means at this offset shown there?
    fn is_shown(&self, area: VirtRange, page: u64) -> bool {
        let site = Site::new(SPACE, area.start.plus_pages(page));
        let no = self.engine.meant_at(site).unwrap();
        self.engine.shown_at(no, site).is_some()
    }

    fn frame(&self, page: u64) -> FrameNo {
        self.engine.lookup(self.file, PageIndex(page)).unwrap()
    }
}

#[test]
fn a_load_shows_its_leaf_by_one_call() {
    let mut f = fixture(Addresses::Many);
    let area = f.map(0, FILE);
    assert_eq!(f.load(area, 21), [(16, 32)]);
    assert_eq!(f.engine.stats().pages_around, 15);
    assert_eq!(f.engine.stats().faults_minor, 1);
    // And again where the same pages are looked at from elsewhere.
    let second = f.map(0, FILE);
    assert_eq!(f.load(second, 31), [(16, 32)]);
    assert_eq!(f.load(second, 32), [(32, 48)]);
}

#[test]
fn it_ends_where_the_area_does() {
    let mut f = fixture(Addresses::Many);
    let area = f.map(20, 27);
    assert_eq!(f.load(area, 3), [(0, 7)]);
}

#[test]
fn a_store_shows_its_page_alone() {
    let mut f = fixture(Addresses::Many);
    let area = f.map(0, FILE);
    assert_eq!(f.touch(area, 21, Access::Write), [(21, 22)]);
    // Around it the page that is dirty is there already.
    assert_eq!(f.load(area, 20), [(16, 21), (22, 32)]);
}

#[test]
fn what_is_dirty_elsewhere_is_shown_with_its_rights() {
    let mut f = fixture(Addresses::Many);
    let first = f.map(0, FILE);
    f.touch(first, 21, Access::Write);
    let second = f.map(0, FILE);
    assert_eq!(f.load(second, 16), [(16, 21), (21, 22), (22, 32)]);
    let stores = |page: u64| {
        let site = Site::new(SPACE, second.start.plus_pages(page));
        f.engine.shown_at(f.frame(page), site).unwrap().writable
    };
    assert!(stores(21) && !stores(20));
}

#[test]
fn what_is_busy_or_a_marker_is_left_out() {
    let mut f = fixture(Addresses::Many);
    let area = f.map(0, FILE);
    let (busy, marker) = (f.frame(18), f.frame(24));
    f.engine.frames[busy].begin(Busy::Writing, 1);
    f.engine.frames[marker].kind = Kind::Marker;
    assert_eq!(f.fault(area, 21, Access::Read), [(16, 18), (19, 24), (25, 32)]);
}

#[test]
fn what_is_on_trial_has_to_be_touched() {
    let mut f = fixture(Addresses::Many);
    let area = f.map(0, FILE);
    for leaf in 0..4 {
        f.load(area, 16 * leaf);
    }
    f.engine.reclaim(Scope::All, 8, &mut f.plan);
    carry_out(&mut f.engine, &mut f.plan);
    let before = f.on_trial();
    assert!(before.len() > 1, "{before:?}");
    let page = before[0];
    assert_eq!(f.load(area, page), [(page, page + 1)]);
    assert_eq!(f.on_trial(), before[1..], "who is touched is on trial no more; the others are");
}

#[test]
fn nothing_is_taken_from_another_address() {
    let mut f = fixture(Addresses::One);
    let (first, second) = (f.map(16, 24), f.map(0, FILE));
    assert_eq!(f.load(first, 4), [(0, 8)]);
    // The page that is touched has to leave first: until then the others stay where they are,
    // also those that are nowhere.
    assert_eq!(f.load(second, 21), []);
    assert!(f.is_shown(first, 6) && !f.is_shown(second, 22) && !f.is_shown(second, 24));
}

#[test]
fn a_private_area_has_what_it_touches_alone() {
    for addresses in [Addresses::OneIfPrivate, Addresses::One] {
        private_area_touches_alone(addresses);
    }
}

fn private_area_touches_alone(addresses: Addresses) {
    let mut f = fixture(addresses);
    let range = f.map(0, FILE);
    let request = MapRequest {
        place: Place::Fixed(range.start),
        len: range.len(),
        prot: Prot::READ | Prot::WRITE,
        sharing: Sharing::Private,
        backing: Backing::Object { object: f.file, first: PageIndex(0) },
        flags: VmaFlags::empty(),
        merge: Merge::Yes,
    };
    f.engine.map_over(SPACE, request, &mut f.plan).unwrap();
    carry_out(&mut f.engine, &mut f.plan);
    assert_eq!(f.load(range, 21), [(21, 22)]);
}
