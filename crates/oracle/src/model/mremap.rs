//! mremap(2).

use crate::call::{Addr, PAGE, ProcessId};
use crate::flags::RemapFlags;
use crate::outcome::{Errno, Outcome};

use super::Model;
use super::allowed::{Allowed, Answer};
use super::page::{Backing, Lock, Page, Traits};
use super::place::{self, TASK_END};
use super::process::{Pages, is_aligned, number, round_up};

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub old: Addr,
    pub old_len: u64,
    pub new_len: u64,
    pub flags: RemapFlags,
    pub new: Addr,
}

/// The request in pages.
#[derive(Clone, Copy)]
struct Move {
    old: u64,
    old_pages: u64,
    new_pages: u64,
    flags: RemapFlags,
    new: u64,
}

impl Move {
    fn source(self) -> Pages {
        self.old..self.old + self.old_pages
    }

    fn added(self) -> u64 {
        self.new_pages.saturating_sub(self.old_pages)
    }

    fn has_target(self) -> bool {
        self.flags.intersects(RemapFlags::FIXED | RemapFlags::DONTUNMAP)
    }
}

impl Model {
    pub(super) fn mremap(&mut self, process: ProcessId, request: Request) -> Answer {
        let start = self.remap(process, request)?;
        Ok(Allowed::Only(Outcome::Address(Addr::at(start * PAGE))))
    }

    fn remap(&mut self, p: ProcessId, request: Request) -> Result<u64, Errno> {
        let ask = check(request)?;
        let traits = self.process(p).traits(ask.old).ok_or(Errno::EFAULT)?;
        if ask.flags.contains(RemapFlags::FIXED) && ask.old_pages == ask.new_pages {
            return self.move_all(p, ask);
        }
        if traits.is_sealed() {
            return Err(Errno::EPERM);
        }
        self.check_area(p, ask, traits)?;
        match ask.has_target() {
            true => self.move_to(p, ask),
            false => self.resize(p, ask, traits),
        }
    }

    /// Where the area that `start` is of ends.
    fn area_end(&self, process: ProcessId, start: u64) -> u64 {
        let process = self.process(process);
        let mut end = start + 1;
        while let (Some(last), Some(next)) = (process.traits(end - 1), process.traits(end)) {
            if last.ends_before(next) || last.birth != next.birth {
                break;
            }
            end += 1;
        }
        end
    }

    fn check_area(&self, p: ProcessId, ask: Move, traits: Traits) -> Result<(), Errno> {
        if ask.old_pages == 0 && !traits.is_shared() {
            return Err(Errno::EINVAL);
        }
        if ask.added() == 0 && !ask.has_target() {
            return Ok(());
        }
        let end = self.area_end(p, ask.old);
        let kept = ask.old_pages.min(ask.new_pages);
        if ask.old + kept > end {
            return Err(Errno::EFAULT);
        }
        if ask.added() == 0 {
            return Ok(());
        }
        let process = self.process(p);
        if traits.lock != Lock::No && !self.may_lock(process, ask.added()) {
            return Err(Errno::EAGAIN);
        }
        match process.may_add(traits, ask.added()) {
            true => Ok(()),
            false => Err(Errno::ENOMEM),
        }
    }

    /// No address is given: it shrinks or grows in place, or goes elsewhere to grow.
    fn resize(&mut self, p: ProcessId, ask: Move, traits: Traits) -> Result<u64, Errno> {
        if ask.added() == 0 {
            self.unmap(p, ask.old + ask.new_pages..ask.old + ask.old_pages)?;
            return Ok(ask.old);
        }
        let end = ask.old + ask.old_pages;
        let more = end..ask.old + ask.new_pages;
        let ends_here = ask.old_pages > 0 && self.area_end(p, ask.old) == end;
        let inside = place::is_inside(&self.world, end, ask.added());
        if ends_here && inside && !self.process(p).any(more.clone()) {
            for number in more.clone() {
                let page = Page::new(traits.after(number - ask.old));
                self.process_mut(p).pages.insert(number, page);
            }
            self.bring_locked(p, traits, more);
            return Ok(ask.old);
        }
        if !ask.flags.contains(RemapFlags::MAYMOVE) {
            return Err(Errno::ENOMEM);
        }
        let to = place::choose(&self.world, self.process(p), 0, ask.new_pages)?;
        self.carry(p, Move { new: to, ..ask }, traits);
        Ok(to)
    }

    /// An address is given, or the old pages stay mapped.
    fn move_to(&mut self, p: ProcessId, ask: Move) -> Result<u64, Errno> {
        if ask.flags.contains(RemapFlags::FIXED) {
            self.unmap(p, ask.new..ask.new + ask.new_pages)?;
        }
        // With an old size of 0 the target may have been where the source was.
        let traits = self.process(p).traits(ask.old).ok_or(Errno::EFAULT)?;
        if ask.new_pages < ask.old_pages {
            self.unmap(p, ask.old + ask.new_pages..ask.old + ask.old_pages)?;
        }
        let old_pages = ask.old_pages.min(ask.new_pages);
        let dontunmap = ask.flags.contains(RemapFlags::DONTUNMAP);
        if dontunmap && !self.process(p).may_add(traits, old_pages) {
            return Err(Errno::ENOMEM);
        }
        let new = match ask.flags.contains(RemapFlags::FIXED) {
            true => ask.new,
            false => place::choose(&self.world, self.process(p), ask.new * PAGE, ask.new_pages)?,
        };
        if dontunmap {
            self.unlock_around(p, ask.old);
        }
        self.carry(p, Move { new, old_pages, ..ask }, traits);
        Ok(new)
    }

    /// The same size at another address: area by area, the gaps between them kept.
    fn move_all(&mut self, p: ProcessId, ask: Move) -> Result<u64, Errno> {
        let mut at = ask.old;
        while at < ask.old + ask.old_pages {
            let Some(traits) = self.process(p).traits(at) else {
                at += 1;
                continue;
            };
            let end = self.area_end(p, at).min(ask.old + ask.old_pages);
            // A private map of `/dev/zero` has a way of its own to find addresses, and
            // goes alone or not at all.
            let is_alone = at == ask.old && end == ask.old + ask.old_pages;
            if traits.backing == Backing::ZeroDevice && !is_alone {
                return Err(Errno::EFAULT);
            }
            if traits.is_sealed() {
                return Err(Errno::EPERM);
            }
            let pages = end - at;
            let new = ask.new + (at - ask.old);
            let part = Move { old: at, old_pages: pages, new_pages: pages, new, ..ask };
            self.move_to(p, part)?;
            at = end;
        }
        Ok(ask.new)
    }

    /// The pages go, with what they hold, and more come behind them.
    fn carry(&mut self, p: ProcessId, ask: Move, traits: Traits) {
        let birth = self.birth();
        let process = self.process_mut(p);
        let mut moved = Vec::new();
        for (index, number) in ask.source().enumerate() {
            let page = process.pages.remove(&number).expect("the area was looked at");
            if ask.flags.contains(RemapFlags::DONTUNMAP) {
                let mut stays = Page::new(page.traits);
                stays.traits.birth = birth;
                process.pages.insert(number, stays);
            }
            moved.push((index as u64, page));
        }
        for index in ask.old_pages..ask.new_pages {
            moved.push((index, Page::new(traits.after(index))));
        }
        let birth = self.birth();
        let process = self.process_mut(p);
        for (index, mut page) in moved {
            page.traits.birth = birth;
            page.traits.lock = traits.lock;
            process.pages.insert(ask.new + index, page);
        }
        self.bring_locked(p, traits, ask.new + ask.old_pages..ask.new + ask.new_pages);
    }

    /// With DONTUNMAP the whole area that the old pages are of is not locked any more,
    /// and still counted.
    fn unlock_around(&mut self, p: ProcessId, number: u64) {
        let end = self.area_end(p, number);
        let mut start = number;
        while start > 0 && self.process(p).traits(start - 1).is_some() {
            if self.area_end(p, start - 1) != end {
                break;
            }
            start -= 1;
        }
        let process = self.process_mut(p);
        for (_, page) in process.pages.range_mut(start..end) {
            if std::mem::replace(&mut page.traits.lock, Lock::No) != Lock::No {
                process.locked_lost += 1;
            }
        }
    }

    fn bring_locked(&mut self, process: ProcessId, traits: Traits, more: Pages) {
        if traits.lock != Lock::No {
            self.populate_quietly(process, more);
        }
    }
}

/// The parameters by themselves.
fn check(request: Request) -> Result<Move, Errno> {
    let Request { old, old_len, new_len, flags, new } = request;
    let known = RemapFlags::MAYMOVE | RemapFlags::FIXED | RemapFlags::DONTUNMAP;
    let old_len_up = round_up(old_len);
    let new_len_up = round_up(new_len);
    if !known.contains(flags) || !is_aligned(old) || new_len_up == 0 || new_len_up > TASK_END {
        return Err(Errno::EINVAL);
    }
    let ask = Move {
        old: number(old),
        old_pages: old_len_up / PAGE,
        new_pages: new_len_up / PAGE,
        flags,
        new: number(new),
    };
    if !ask.has_target() {
        return Ok(ask);
    }
    let overlaps = ask.old + ask.old_pages > ask.new && ask.new + ask.new_pages > ask.old;
    if new.bytes > TASK_END - new_len_up
        || !is_aligned(new)
        || !flags.contains(RemapFlags::MAYMOVE)
        || flags.contains(RemapFlags::DONTUNMAP) && ask.old_pages != ask.new_pages
        || overlaps
    {
        return Err(Errno::EINVAL);
    }
    Ok(ask)
}
