//! Every verb against an oracle that keeps each page for itself: what is where, and what
//! number an error has.
//!
//! The oracle knows no areas. Where one ends is seen from its pages: the next page is
//! another kind of page, or doesn't continue this one.

use std::{vec, vec::Vec};

use faultless_addr::PAGE_SHIFT;
use proptest::prelude::*;

use super::*;

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Page {
    prot: Prot,
    sharing: Sharing,
    /// The page of object 0 that is shown, if any.
    shows: Option<u64>,
    flags: VmaFlags,
}

/// A page, guarded or not.
type Slot = Option<(Page, bool)>;

#[derive(Clone, Debug)]
struct Oracle {
    pages: Vec<Slot>,
    limits: Limits,
    lost: u64,
    future: VmaFlags,
}

#[derive(Clone, Debug)]
enum Step {
    Map { start: u64, count: u64, kind: Kind, flags: VmaFlags },
    Unmap { start: u64, count: u64 },
    Protect { start: u64, count: u64, prot: Prot },
    Remap { old: u64, old_count: u64, new_count: u64, flags: u32, new: u64 },
    Lock { start: u64, count: u64, kind: LockKind },
    Unlock { start: u64, count: u64 },
    LockAll { which: u32 },
    UnlockAll,
    Advise { start: u64, count: u64, advice: Advice },
    Seal { start: u64, count: u64 },
    Limit(Limits),
    Fork,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Anonymous,
    Private,
    Shared,
}

impl Oracle {
    fn new() -> Oracle {
        let pages = vec![None; PAGES as usize];
        Oracle { pages, limits: Limits::NONE, lost: 0, future: VmaFlags::empty() }
    }

    fn at(&self, page: u64) -> Option<Page> {
        self.pages.get(page as usize)?.map(|(page, _)| page)
    }

    fn count(&self, which: impl Fn(&Page) -> bool) -> u64 {
        self.pages.iter().flatten().filter(|(page, _)| which(page)).count() as u64
    }

    fn locked(&self) -> u64 {
        self.count(|page| page.flags.contains(VmaFlags::LOCKED)) + self.lost
    }

    /// The end of the area that a page is of.
    fn area_end(&self, page: u64) -> u64 {
        let continues = |page: u64| {
            let (Some(this), Some(next)) = (self.at(page), self.at(page + 1)) else { return false };
            let shows = this.shows.map(|page| page + 1);
            let unmergeable = next.flags.contains(VmaFlags::DEVICE);
            !unmergeable && Page { shows, ..this } == next
        };
        (page..).find(|&page| !continues(page)).expect("the space ends") + 1
    }

    fn area_start(&self, page: u64) -> u64 {
        let end = self.area_end(page);
        (0..=page).find(|&start| self.at(start).is_some() && self.area_end(start) == end).unwrap()
    }

    fn is_data(page: &Page) -> bool {
        page.sharing == Sharing::Private && page.prot.contains(Prot::WRITE)
    }

    fn may_add(&self, page: &Page, count: u64) -> bool {
        let max = |bytes: u64| bytes >> PAGE_SHIFT;
        self.count(|_| true) + count <= max(self.limits.space_bytes_max)
            && (!Self::is_data(page)
                || self.count(Self::is_data) + count <= max(self.limits.data_bytes_max))
    }

    fn may_lock(&self, count: u64) -> bool {
        self.locked() + count <= self.limits.locked_bytes_max >> PAGE_SHIFT
    }

    fn is_sealed(&self, start: u64, end: u64) -> bool {
        (start..end.min(PAGES))
            .any(|page| self.at(page).is_some_and(|page| page.flags.contains(VmaFlags::SEALED)))
    }

    fn unmap(&mut self, start: u64, end: u64) -> Result<(), i32> {
        if end > PAGES || start == end {
            return Err(errno::EINVAL);
        }
        if self.is_sealed(start, end) {
            return Err(errno::EPERM);
        }
        self.pages[start as usize..end as usize].fill(None);
        Ok(())
    }

    fn map(&mut self, start: u64, count: u64, mut page: Page) -> Result<(), i32> {
        if start + count > PAGES {
            return Err(errno::ENOMEM);
        }
        if page.flags.contains(VmaFlags::LOCKED) && self.limits.locked_bytes_max == 0 {
            return Err(errno::EPERM);
        }
        page.flags |= self.future;
        if page.flags.contains(VmaFlags::LOCKED) && !self.may_lock(count) {
            return Err(errno::EAGAIN);
        }
        if self.is_sealed(start, start + count) {
            return Err(errno::EPERM);
        }
        let there = (start..start + count).filter(|&page| self.at(page).is_some()).count() as u64;
        if !self.may_add(&page, count - there) {
            return Err(errno::ENOMEM);
        }
        for number in 0..count {
            let shows = page.shows.map(|first| first + number);
            self.pages[(start + number) as usize] = Some((Page { shows, ..page }, false));
        }
        Ok(())
    }

    fn protect(&mut self, start: u64, end: u64, prot: Prot) -> Result<(), i32> {
        let mut at = start;
        while at < end {
            let old = self.at(at).ok_or(errno::ENOMEM)?;
            if old.flags.contains(VmaFlags::SEALED) {
                return Err(errno::EPERM);
            }
            let area_end = self.area_end(at).min(end);
            let new = Page { prot, ..old };
            let count = area_end - at;
            let turns = Self::is_data(&new) && !Self::is_data(&old);
            if turns && !self.may_add(&new, count) && self.may_add(&old, count) {
                return Err(errno::ENOMEM);
            }
            for (page, _) in self.pages[at as usize..area_end as usize].iter_mut().flatten() {
                page.prot = prot;
            }
            at = area_end;
        }
        Ok(())
    }

    /// Up to the first hole.
    fn each(&mut self, start: u64, end: u64, change: impl Fn(&mut Page)) -> Result<(), i32> {
        for number in start..end {
            let Some(Some((page, _))) = self.pages.get_mut(number as usize) else {
                return Err(errno::ENOMEM);
            };
            change(page);
        }
        Ok(())
    }

    fn lock(&mut self, start: u64, end: u64, locks: VmaFlags) -> Result<(), i32> {
        if self.limits.locked_bytes_max == 0 {
            return Err(errno::EPERM);
        }
        let is_locked =
            |&page: &u64| self.at(page).is_some_and(|page| page.flags.contains(VmaFlags::LOCKED));
        let already = (start..end).filter(is_locked).count() as u64;
        if !self.may_lock(end - start - already) {
            return Err(errno::ENOMEM);
        }
        self.each(start, end, |page| page.flags = page.flags - VmaFlags::LOCKS | locks)
    }

    fn lock_all(&mut self, which: LockAll) -> Result<(), i32> {
        if which.is_empty() || which == LockAll::ON_FAULT {
            return Err(errno::EINVAL);
        }
        if self.limits.locked_bytes_max == 0 {
            return Err(errno::EPERM);
        }
        let current = which.contains(LockAll::CURRENT);
        if current && self.count(|_| true) > self.limits.locked_bytes_max >> PAGE_SHIFT {
            return Err(errno::ENOMEM);
        }
        let locks = match which.contains(LockAll::ON_FAULT) {
            true => VmaFlags::LOCKS,
            false => VmaFlags::LOCKED,
        };
        let none = VmaFlags::empty();
        self.future = if which.contains(LockAll::FUTURE) { locks } else { none };
        if current {
            for (page, _) in self.pages.iter_mut().flatten() {
                page.flags = page.flags - VmaFlags::LOCKS | locks;
            }
        }
        Ok(())
    }

    fn advise(&mut self, start: u64, end: u64, advice: Advice) -> Result<(), i32> {
        let mut hole = false;
        for number in start..end {
            let Some(Some((page, guard))) = self.pages.get_mut(number as usize) else {
                hole = true;
                continue;
            };
            let locked = page.flags.contains(VmaFlags::LOCKED);
            let anonymous = page.shows.is_none();
            let sealed = page.flags.contains(VmaFlags::SEALED);
            let keeps = sealed && anonymous && !page.prot.contains(Prot::WRITE);
            match advice {
                Advice::DontNeed | Advice::DontFork | Advice::GuardInstall if keeps => {
                    return Err(errno::EPERM);
                }
                Advice::DontNeed | Advice::GuardInstall if locked => return Err(errno::EINVAL),
                Advice::Free if keeps => return Err(errno::EPERM),
                Advice::Free if locked || !anonymous => return Err(errno::EINVAL),
                Advice::DontFork => page.flags |= VmaFlags::DONT_FORK,
                Advice::DoFork => page.flags -= VmaFlags::DONT_FORK,
                Advice::GuardInstall => *guard = true,
                Advice::GuardRemove => *guard = false,
                _ => {}
            }
        }
        if hole { Err(errno::ENOMEM) } else { Ok(()) }
    }

    fn seal(&mut self, start: u64, end: u64) -> Result<(), i32> {
        self.clone().each(start, end, |_| ())?;
        self.each(start, end, |page| page.flags |= VmaFlags::SEALED)
    }

    fn fork(&mut self) {
        for place in &mut self.pages {
            *place = place.filter(|(page, _)| !page.flags.contains(VmaFlags::DONT_FORK));
            if let Some((page, _)) = place {
                page.flags -= VmaFlags::LOCKS;
            }
        }
        (self.lost, self.future) = (0, VmaFlags::empty());
    }

    /// The highest place for so many pages.
    fn anywhere(&self, count: u64) -> Result<u64, i32> {
        let free = |start: &u64| (*start..start + count).all(|page| self.at(page).is_none());
        (0..=PAGES.saturating_sub(count))
            .rev()
            .find(|start| count <= PAGES && free(start))
            .ok_or(errno::ENOMEM)
    }
}

/// A request of `remap`, in pages.
#[derive(Clone, Copy)]
struct Ask {
    old: u64,
    old_count: u64,
    new_count: u64,
    flags: RemapFlags,
    new: u64,
}

impl Oracle {
    fn remap(&mut self, ask: Ask) -> Result<u64, i32> {
        let Ask { old, old_count, new_count, flags, new } = ask;
        let named = flags.intersects(RemapFlags::FIXED | RemapFlags::DONT_UNMAP);
        let overlap = old + old_count > new && new + new_count > old;
        let resizes = flags.contains(RemapFlags::DONT_UNMAP) && old_count != new_count;
        let bad =
            new + new_count > PAGES || !flags.contains(RemapFlags::MAY_MOVE) || resizes || overlap;
        if new_count == 0 || named && bad {
            return Err(errno::EINVAL);
        }
        if flags.contains(RemapFlags::FIXED) && old_count == new_count {
            return self.move_all(ask);
        }
        let page = self.at(old).ok_or(errno::EFAULT)?;
        if page.flags.contains(VmaFlags::SEALED) {
            return Err(errno::EPERM);
        }
        if new_count > old_count || named {
            self.check_one(ask, page)?;
        }
        if named {
            return self.move_to(ask);
        }
        if new_count <= old_count {
            if new_count < old_count {
                self.unmap(old + new_count, old + old_count)?;
            }
            return Ok(old);
        }
        let end = old + old_count;
        let fits = old + new_count <= PAGES;
        if self.area_end(old) == end
            && old_count > 0
            && fits
            && (end..old + new_count).all(|page| self.at(page).is_none())
        {
            for number in old_count..new_count {
                let shows = page.shows.map(|first| first + number);
                self.pages[(old + number) as usize] = Some((Page { shows, ..page }, false));
            }
            return Ok(old);
        }
        if !flags.contains(RemapFlags::MAY_MOVE) {
            return Err(errno::ENOMEM);
        }
        let to = self.anywhere(new_count)?;
        self.carry(Ask { new: to, ..ask }, page);
        Ok(to)
    }

    fn check_one(&self, ask: Ask, page: Page) -> Result<(), i32> {
        if ask.old_count == 0 && page.sharing == Sharing::Private {
            return Err(errno::EINVAL);
        }
        if ask.old + ask.old_count.min(ask.new_count) > self.area_end(ask.old) {
            return Err(errno::EFAULT);
        }
        let added = ask.new_count.saturating_sub(ask.old_count);
        if added > 0 && page.flags.contains(VmaFlags::LOCKED) && !self.may_lock(added) {
            return Err(errno::EAGAIN);
        }
        if added > 0 && !self.may_add(&page, added) {
            return Err(errno::ENOMEM);
        }
        Ok(())
    }

    fn move_to(&mut self, ask: Ask) -> Result<u64, i32> {
        let Ask { old, old_count, new_count, flags, mut new } = ask;
        let fixed = flags.contains(RemapFlags::FIXED);
        if fixed {
            self.unmap(new, new + new_count)?;
        }
        let page = self.at(old).ok_or(errno::EFAULT)?;
        if new_count < old_count {
            self.unmap(old + new_count, old + old_count)?;
        }
        let old_count = old_count.min(new_count);
        if flags.contains(RemapFlags::DONT_UNMAP) && !self.may_add(&page, old_count) {
            return Err(errno::ENOMEM);
        }
        if !fixed && (new..new + new_count).any(|page| self.at(page).is_some()) {
            new = self.anywhere(new_count)?;
        }
        self.carry(Ask { old_count, new, ..ask }, page);
        Ok(new)
    }

    fn move_all(&mut self, ask: Ask) -> Result<u64, i32> {
        let end = ask.old + ask.old_count;
        self.at(ask.old).ok_or(errno::EFAULT)?;
        let mut at = ask.old;
        while at < end {
            let Some(page) = self.at(at) else {
                at += 1;
                continue;
            };
            if page.flags.contains(VmaFlags::SEALED) {
                return Err(errno::EPERM);
            }
            let count = self.area_end(at).min(end) - at;
            let new = ask.new + (at - ask.old);
            self.move_to(Ask { old: at, old_count: count, new_count: count, new, ..ask })?;
            at += count;
        }
        Ok(ask.new)
    }

    fn carry(&mut self, ask: Ask, page: Page) {
        let Ask { old, old_count, new_count, flags, new } = ask;
        let range = old as usize..(old + old_count) as usize;
        let moved: Vec<Slot> = self.pages[range.clone()].to_vec();
        if flags.contains(RemapFlags::DONT_UNMAP) {
            for number in self.area_start(old)..self.area_end(old) {
                let (page, _) = self.pages[number as usize].as_mut().expect("of an area");
                self.lost += u64::from(page.flags.contains(VmaFlags::LOCKED));
                page.flags -= VmaFlags::LOCKS;
            }
            self.pages[range].iter_mut().flatten().for_each(|(_, guard)| *guard = false);
        } else {
            self.pages[range].fill(None);
        }
        for number in 0..new_count {
            let shows = page.shows.map(|first| first + number);
            let guard = moved.get(number as usize).is_some_and(|place| place.unwrap().1);
            self.pages[(new + number) as usize] = Some((Page { shows, ..page }, guard));
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![Just(Kind::Anonymous), Just(Kind::Private), Just(Kind::Shared)];
    let prot = prop_oneof![2 => Just(READ_WRITE), 1 => Just(Prot::READ), 1 => Just(Prot::empty())];
    let locked = prop_oneof![4 => Just(VmaFlags::empty()), 1 => Just(VmaFlags::LOCKED)];
    let lock = prop_oneof![Just(LockKind::Full), Just(LockKind::OnFault)];
    let range = || (0..PAGES - 4, 1..9u64);
    let limit = || prop_oneof![Just(u64::MAX), (0..PAGES).prop_map(|count| count * PAGE_BYTES)];
    let advice = prop_oneof![
        Just(Advice::DontFork),
        Just(Advice::DoFork),
        Just(Advice::DontNeed),
        Just(Advice::Free),
        Just(Advice::GuardInstall),
        Just(Advice::GuardInstall),
        Just(Advice::GuardRemove),
    ];
    let areas = prop_oneof![
        4 => (range(), kind, locked).prop_map(|((start, count), kind, flags)| {
            Step::Map { start, count, kind, flags }
        }),
        1 => range().prop_map(|(start, count)| Step::Unmap { start, count }),
        1 => (range(), prot)
            .prop_map(|((start, count), prot)| Step::Protect { start, count, prot }),
        4 => (0..PAGES, 0..9u64, 0..9u64, 0..8u32, 0..PAGES).prop_map(
            |(old, old_count, new_count, flags, new)| {
                // Half of the moves keep their size.
                let new_count = if new % 2 == 0 { old_count } else { new_count };
                Step::Remap { old, old_count, new_count, flags, new }
            }
        ),
    ];
    let locks = prop_oneof![
        2 => (range(), lock).prop_map(|((start, count), kind)| Step::Lock { start, count, kind }),
        1 => range().prop_map(|(start, count)| Step::Unlock { start, count }),
        1 => (0..8u32).prop_map(|which| Step::LockAll { which }),
        1 => Just(Step::UnlockAll),
    ];
    let limits = (limit(), limit(), limit()).prop_map(|(space, data, locked)| Limits {
        space_bytes_max: space,
        data_bytes_max: data,
        locked_bytes_max: locked,
        ..Limits::NONE
    });
    prop_oneof![
        20 => areas,
        6 => locks,
        4 => (range(), advice)
            .prop_map(|((start, count), advice)| Step::Advise { start, count, advice }),
        1 => (0..PAGES, 1..3u64).prop_map(|(start, count)| Step::Seal { start, count }),
        1 => limits.prop_map(Step::Limit),
        1 => Just(Step::Fork),
    ]
}

fn request_of(start: u64, count: u64, kind: Kind, flags: VmaFlags) -> (MapRequest, Page) {
    let first = PageIndex(start % 4 + 1);
    let (sharing, shows) = match kind {
        Kind::Anonymous => (Sharing::Private, None),
        Kind::Private => (Sharing::Private, Some(first.0)),
        Kind::Shared => (Sharing::Shared, Some(first.0)),
    };
    let backing = match kind {
        Kind::Anonymous => Backing::Anonymous,
        _ => Backing::Object { object: ObjectId(0), first },
    };
    let place = Place::Fixed(addr(start));
    let request = MapRequest { place, sharing, backing, flags, ..anonymous(count, READ_WRITE) };
    (request, Page { prot: READ_WRITE, sharing, shows, flags })
}

/// Does one step in the space; the answer is an address, if it is asked for one.
fn step_of(space: &mut AddressSpace, step: &Step) -> Result<u64, i32> {
    let bytes = |count: u64| count * PAGE_BYTES;
    let done = match *step {
        Step::Map { start, count, kind, flags } => {
            let (request, _) = request_of(start, count, kind, flags);
            space.map(request, &mut Vec::new()).map(|_| ()).map_err(MapError::errno)
        }
        Step::Unmap { start, count } => {
            let unmapped = space.unmap(pages(start, start + count), &mut Vec::new());
            unmapped.map_err(UnmapError::errno)
        }
        Step::Protect { start, count, prot } => {
            space.protect(pages(start, start + count), prot).map_err(ProtectError::errno)
        }
        Step::Remap { old, old_count, new_count, flags, new } => {
            let request = RemapRequest {
                old: addr(old),
                old_len: bytes(old_count),
                new_len: bytes(new_count),
                flags: RemapFlags::from_bits_retain(flags),
                new: addr(new),
            };
            let at = space.remap(request, &mut RemapEffects::default());
            return at.map(|at| (at.0 - BASE) >> PAGE_SHIFT).map_err(RemapError::errno);
        }
        Step::Lock { start, count, kind } => {
            space.lock(addr(start), bytes(count), kind).map(|_| ()).map_err(LockError::errno)
        }
        Step::Unlock { start, count } => {
            space.unlock(addr(start), bytes(count)).map_err(LockError::errno)
        }
        Step::LockAll { which } => {
            let done = space.lock_all(LockAll::from_bits_retain(which));
            done.map(|_| ()).map_err(LockError::errno)
        }
        Step::UnlockAll => {
            space.unlock_all();
            Ok(())
        }
        Step::Advise { start, count, advice } => {
            let advised = space.advise(addr(start), bytes(count), advice, &mut Vec::new());
            advised.map_err(AdviseError::errno)
        }
        Step::Seal { start, count } => {
            space.seal(addr(start), bytes(count), 0).map_err(SealError::errno)
        }
        Step::Limit(limits) => {
            space.set_limits(limits);
            Ok(())
        }
        Step::Fork => {
            *space = space.fork();
            Ok(())
        }
    };
    done.map(|()| 0)
}

/// Does the same step in the oracle.
fn expected(oracle: &mut Oracle, step: &Step) -> Result<u64, i32> {
    let done = match *step {
        Step::Map { start, count, kind, flags } => {
            let (_, page) = request_of(start, count, kind, flags);
            oracle.map(start, count, page)
        }
        Step::Unmap { start, count } => oracle.unmap(start, start + count),
        Step::Protect { start, count, prot } => oracle.protect(start, start + count, prot),
        Step::Remap { old, old_count, new_count, flags, new } => {
            let flags = RemapFlags::from_bits_retain(flags);
            return oracle.remap(Ask { old, old_count, new_count, flags, new });
        }
        Step::Lock { start, count, kind } => {
            let on_fault = kind == LockKind::OnFault;
            let locks = if on_fault { VmaFlags::LOCKS } else { VmaFlags::LOCKED };
            oracle.lock(start, start + count, locks)
        }
        Step::Unlock { start, count } => {
            oracle.each(start, start + count, |page| page.flags -= VmaFlags::LOCKS)
        }
        Step::LockAll { which } => oracle.lock_all(LockAll::from_bits_retain(which)),
        Step::UnlockAll => {
            oracle.future = VmaFlags::empty();
            let unlock = |place: &mut (Page, bool)| place.0.flags -= VmaFlags::LOCKS;
            oracle.pages.iter_mut().flatten().for_each(unlock);
            Ok(())
        }
        Step::Advise { start, count, advice } => oracle.advise(start, start + count, advice),
        Step::Seal { start, count } => oracle.seal(start, start + count),
        Step::Limit(limits) => {
            oracle.limits = limits;
            Ok(())
        }
        Step::Fork => {
            oracle.fork();
            Ok(())
        }
    };
    done.map(|()| 0)
}

fn compare(space: &AddressSpace, oracle: &Oracle) {
    space.check_invariants();
    assert_eq!(space.locked_pages(), oracle.locked());
    for (number, expected) in (0..).zip(&oracle.pages) {
        let found = space.find(addr(number)).map(|area| {
            let shows = area.page_at(addr(number)).map(|page| page.0);
            let Vma { prot, sharing, flags, .. } = *area;
            (Page { prot, sharing, shows, flags }, space.guards().contains(addr(number)))
        });
        assert_eq!(found, *expected, "page {number}");
        if expected.is_some() {
            let end = space.find(addr(number)).unwrap().range.end;
            assert_eq!(end, addr(oracle.area_end(number)), "the area of page {number}");
        }
    }
}

proptest! {
    #[test]
    fn every_verb_agrees_with_each_page_for_itself(
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let (mut space, mut oracle) = (space(), Oracle::new());
        for step in &steps {
            let expected = expected(&mut oracle, step);
            prop_assert_eq!(step_of(&mut space, step), expected, "{:?}", step);
            compare(&space, &oracle);
        }
    }
}
