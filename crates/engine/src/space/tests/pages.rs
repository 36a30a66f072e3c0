//! The oracle of all verbs: each page for itself, and errors as numbers.
//!
//! It knows no areas. Where one ends is seen from its pages: the next page is another
//! kind of page, or doesn't continue this one.

use std::{vec, vec::Vec};

use faultless_addr::PAGE_SHIFT;

use super::*;

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub prot: Prot,
    pub sharing: Sharing,
    /// The page of object 0 that is shown, if any.
    pub shows: Option<u64>,
    pub flags: VmaFlags,
}

/// A page, guarded or not.
pub type Slot = Option<(Page, bool)>;

#[derive(Clone, Debug)]
pub struct Oracle {
    pub pages: Vec<Slot>,
    pub limits: Limits,
    pub lost: u64,
    pub future: VmaFlags,
}

impl Oracle {
    pub fn new() -> Oracle {
        let pages = vec![None; PAGES as usize];
        Oracle { pages, limits: Limits::NONE, lost: 0, future: VmaFlags::empty() }
    }

    pub fn at(&self, page: u64) -> Option<Page> {
        self.pages.get(page as usize)?.map(|(page, _)| page)
    }

    pub fn count(&self, which: impl Fn(&Page) -> bool) -> u64 {
        self.pages.iter().flatten().filter(|(page, _)| which(page)).count() as u64
    }

    pub fn locked(&self) -> u64 {
        self.count(|page| page.flags.contains(VmaFlags::LOCKED)) + self.lost
    }

    /// The end of the area that a page is of.
    pub fn area_end(&self, page: u64) -> u64 {
        let continues = |page: u64| {
            let (Some(this), Some(next)) = (self.at(page), self.at(page + 1)) else { return false };
            let shows = this.shows.map(|page| page + 1);
            let unmergeable = next.flags.contains(VmaFlags::DEVICE);
            !unmergeable && Page { shows, ..this } == next
        };
        (page..).find(|&page| !continues(page)).expect("the space ends") + 1
    }

    pub fn area_start(&self, page: u64) -> u64 {
        let end = self.area_end(page);
        (0..=page).find(|&start| self.at(start).is_some() && self.area_end(start) == end).unwrap()
    }

    pub fn is_data(page: &Page) -> bool {
        page.sharing == Sharing::Private && page.prot.contains(Prot::WRITE)
    }

    pub fn may_add(&self, page: &Page, count: u64) -> bool {
        let max = |bytes: u64| bytes >> PAGE_SHIFT;
        self.count(|_| true) + count <= max(self.limits.space_bytes_max)
            && (!Self::is_data(page)
                || self.count(Self::is_data) + count <= max(self.limits.data_bytes_max))
    }

    pub fn may_lock(&self, count: u64) -> bool {
        self.locked() + count <= self.limits.locked_bytes_max >> PAGE_SHIFT
    }

    pub fn is_sealed(&self, start: u64, end: u64) -> bool {
        (start..end.min(PAGES))
            .any(|page| self.at(page).is_some_and(|page| page.flags.contains(VmaFlags::SEALED)))
    }

    pub fn unmap(&mut self, start: u64, end: u64) -> Result<(), i32> {
        if end > PAGES || start == end {
            return Err(errno::EINVAL);
        }
        if self.is_sealed(start, end) {
            return Err(errno::EPERM);
        }
        self.pages[start as usize..end as usize].fill(None);
        Ok(())
    }

    pub fn map(&mut self, start: u64, count: u64, mut page: Page) -> Result<(), i32> {
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

    pub fn protect(&mut self, start: u64, end: u64, prot: Prot) -> Result<(), i32> {
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
    pub fn each(&mut self, start: u64, end: u64, change: impl Fn(&mut Page)) -> Result<(), i32> {
        for number in start..end {
            let Some(Some((page, _))) = self.pages.get_mut(number as usize) else {
                return Err(errno::ENOMEM);
            };
            change(page);
        }
        Ok(())
    }

    pub fn lock(&mut self, start: u64, end: u64, locks: VmaFlags) -> Result<(), i32> {
        if self.limits.locked_bytes_max == 0 {
            return Err(errno::EPERM);
        }
        let is_locked =
            |&page: &u64| self.at(page).is_some_and(|page| page.flags.contains(VmaFlags::LOCKED));
        let already = (start..end).filter(is_locked).count() as u64;
        if !self.may_lock(end - start - already) {
            return Err(errno::ENOMEM);
        }
        self.each(start, end, |page| page.flags = (page.flags - VmaFlags::LOCKS) | locks)
    }

    pub fn lock_all(&mut self, which: LockAll) -> Result<(), i32> {
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
                page.flags = (page.flags - VmaFlags::LOCKS) | locks;
            }
        }
        Ok(())
    }

    pub fn advise(&mut self, start: u64, end: u64, advice: Advice) -> Result<(), i32> {
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

    pub fn seal(&mut self, start: u64, end: u64) -> Result<(), i32> {
        self.clone().each(start, end, |_| ())?;
        self.each(start, end, |page| page.flags |= VmaFlags::SEALED)
    }

    pub fn fork(&mut self) {
        for place in &mut self.pages {
            *place = place.filter(|(page, _)| !page.flags.contains(VmaFlags::DONT_FORK));
            if let Some((page, _)) = place {
                page.flags -= VmaFlags::LOCKS;
            }
        }
        (self.lost, self.future) = (0, VmaFlags::empty());
    }

    /// The highest place for so many pages.
    pub fn anywhere(&self, count: u64) -> Result<u64, i32> {
        let free = |start: &u64| (*start..start + count).all(|page| self.at(page).is_none());
        (0..=PAGES.saturating_sub(count))
            .rev()
            .find(|start| count <= PAGES && free(start))
            .ok_or(errno::ENOMEM)
    }
}

/// A request of `remap`, in pages.
#[derive(Clone, Copy)]
pub struct Ask {
    pub old: u64,
    pub old_count: u64,
    pub new_count: u64,
    pub flags: RemapFlags,
    pub new: u64,
}

impl Oracle {
    pub fn remap(&mut self, ask: Ask) -> Result<u64, i32> {
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

    pub fn check_one(&self, ask: Ask, page: Page) -> Result<(), i32> {
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

    pub fn move_to(&mut self, ask: Ask) -> Result<u64, i32> {
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

    pub fn move_all(&mut self, ask: Ask) -> Result<u64, i32> {
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

    pub fn carry(&mut self, ask: Ask, page: Page) {
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
