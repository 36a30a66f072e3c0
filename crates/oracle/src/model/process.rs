//! A process: its pages, its descriptors, its break and its limits.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::call::{Addr, Fd, PAGE, Resource};
use crate::flags::{OpenFlags, Prot};
use crate::outcome::Errno;
use crate::system::LOCKED_BYTES_MAX;

use super::object::ObjectId;
use super::page::{Lock, Page, Traits};

/// What a descriptor names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    Object(ObjectId),
    Directory,
    Pipe,
    Zero,
}

/// An open file.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    pub open: Open,
    pub flags: OpenFlags,
    /// Counts calls of open(2).
    pub opened: u64,
}

impl Descriptor {
    pub fn reads(self) -> bool {
        !self.flags.intersects(OpenFlags::WRONLY | OpenFlags::PATH)
    }

    pub fn writes(self) -> bool {
        self.flags.intersects(OpenFlags::WRONLY | OpenFlags::RDWR)
            && !self.flags.contains(OpenFlags::PATH)
    }
}

/// A process.
#[derive(Clone, Debug)]
pub struct Process {
    /// By number: address / 4096.
    pub pages: BTreeMap<u64, Page>,
    pub descriptors: BTreeMap<Fd, Descriptor>,
    /// The break, in bytes.
    pub brk: u64,
    /// mlockall(MCL_FUTURE): how new pages are locked.
    pub future: Lock,
    /// RLIMIT_AS, RLIMIT_DATA and RLIMIT_MEMLOCK, in bytes.
    pub space_max: Option<u64>,
    pub data_max: Option<u64>,
    pub locked_max: u64,
    /// Pages that are not locked any more and that RLIMIT_MEMLOCK goes on counting.
    pub locked_lost: u64,
}

/// Does an area begin here?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begins {
    Surely,
    /// That is the kernel's own affair.
    Perhaps,
}

/// A range of page numbers.
pub type Pages = Range<u64>;

impl Process {
    pub fn new(brk: u64) -> Process {
        Process {
            pages: BTreeMap::new(),
            descriptors: BTreeMap::new(),
            brk,
            future: Lock::No,
            space_max: None,
            data_max: None,
            locked_max: LOCKED_BYTES_MAX,
            locked_lost: 0,
        }
    }

    /// An open descriptor; `None` also for one that O_PATH opened.
    pub fn descriptor(&self, fd: Fd) -> Result<Descriptor, Errno> {
        let found = self.descriptors.get(&fd).copied();
        found.filter(|found| !found.flags.contains(OpenFlags::PATH)).ok_or(Errno::EBADF)
    }

    pub fn traits(&self, number: u64) -> Option<Traits> {
        self.pages.get(&number).map(|page| page.traits)
    }

    /// Runs of pages in a range that are of one area each, or of none.
    pub fn runs(&self, range: Pages) -> Vec<(Pages, Option<Traits>)> {
        let mut runs: Vec<(Pages, Option<Traits>)> = Vec::new();
        for number in range {
            let traits = self.traits(number);
            let continues = |(last, first): &(Pages, Option<Traits>)| match (first, traits) {
                (None, None) => true,
                (Some(first), Some(traits)) => {
                    let before = first.after(number - 1 - last.start);
                    !before.ends_before(traits) && before.birth == traits.birth
                }
                _ => false,
            };
            match runs.last_mut().filter(|run| continues(run)) {
                Some((last, _)) => last.end = number + 1,
                None => runs.push((number..number + 1, traits)),
            }
        }
        runs
    }

    /// Pages with which something else begins than the page before: surely, or by birth.
    fn begins(&self) -> impl Iterator<Item = (u64, Begins)> {
        let mut last: Option<(u64, Traits)> = None;
        self.pages.iter().filter_map(move |(number, page)| {
            let before = last.replace((*number, page.traits)).filter(|(n, _)| n + 1 == *number);
            match before {
                Some((_, before)) if before.ends_before(page.traits) => Some(Begins::Surely),
                Some((_, before)) if before.birth != page.traits.birth => Some(Begins::Perhaps),
                Some(_) => None,
                None => Some(Begins::Surely),
            }
            .map(|begins| (*number, begins))
        })
    }

    /// Where areas begin, as far as the model knows.
    pub fn seams(&self) -> Vec<u64> {
        self.begins().map(|(number, _)| number * PAGE).collect()
    }

    pub fn has_open_seams(&self) -> bool {
        self.begins().any(|(_, begins)| begins == Begins::Perhaps)
    }

    /// See [`super::Model::follow_seams`].
    pub fn follow_seams(&mut self, starts: &[u64], births: &mut u64) -> Result<(), u64> {
        let known: BTreeMap<u64, Begins> = self.begins().collect();
        let seen: BTreeSet<u64> = starts.iter().map(|start| start / PAGE).collect();
        let missing = known
            .iter()
            .find(|(number, begins)| **begins == Begins::Surely && !seen.contains(number));
        let extra = seen.iter().find(|number| !known.contains_key(number));
        if let Some(number) = missing.map(|(number, _)| number).or(extra) {
            return Err(number * PAGE);
        }
        for (number, page) in &mut self.pages {
            if seen.contains(number) {
                *births += 1;
            }
            page.traits.birth = *births;
        }
        let guarded = self.pages.iter().filter(|(_, page)| page.had_guard);
        for number in guarded.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.mark_guarded(number);
        }
        Ok(())
    }

    /// The area that a page is of has, or has had, a guard.
    pub fn mark_guarded(&mut self, number: u64) {
        let birth = self.traits(number).map(|traits| traits.birth);
        let same = |page: &Page| Some(page.traits.birth) == birth;
        for (_, page) in self.pages.range_mut(number..).take_while(|(_, page)| same(page)) {
            page.had_guard = true;
        }
        for (_, page) in self.pages.range_mut(..number).rev().take_while(|(_, page)| same(page)) {
            page.had_guard = true;
        }
    }

    /// Is any page of a range mapped?
    pub fn any(&self, range: Pages) -> bool {
        self.pages.range(range).next().is_some()
    }

    /// Pages that RLIMIT_AS counts.
    pub fn space(&self) -> u64 {
        self.pages.len() as u64
    }

    /// Pages that RLIMIT_MEMLOCK counts.
    pub fn locked(&self) -> u64 {
        let locked = self.pages.values().filter(|page| page.traits.lock != Lock::No);
        locked.count() as u64 + self.locked_lost
    }

    /// A call has changed these pages: what was surely one area before may be cut out
    /// of what is around it, but is not joined with anything surely.
    pub fn rebirth(&mut self, range: Pages, births: &mut u64) {
        let mut last = None;
        for (_, page) in self.pages.range_mut(range) {
            if last != Some(page.traits.birth) {
                last = Some(page.traits.birth);
                *births += 1;
            }
            page.traits.birth = *births;
        }
    }

    /// May so many pages with these traits be added?
    pub fn may_add(&self, traits: Traits, pages: u64) -> bool {
        let fits = |pages: u64, max: Option<u64>| max.is_none_or(|max| pages <= max / PAGE);
        let data = self.pages.values().filter(|page| page.traits.is_data()).count() as u64;
        fits(self.space() + pages, self.space_max)
            && (!traits.is_data() || fits(data + pages, self.data_max))
    }

    pub fn set_limit(&mut self, resource: Resource, limit: Option<u64>) {
        match resource {
            Resource::Space => self.space_max = limit,
            Resource::Data => self.data_max = limit,
            Resource::Locked => {
                self.locked_max = limit.unwrap_or(LOCKED_BYTES_MAX).min(LOCKED_BYTES_MAX);
            }
        }
    }
}

/// The page an address is in.
pub fn number(addr: Addr) -> u64 {
    addr.bytes / PAGE
}

/// Is it the first byte of a page?
pub fn is_aligned(addr: Addr) -> bool {
    addr.bytes.is_multiple_of(PAGE)
}

/// Rounds up to whole pages; 0 where that is too many.
pub fn round_up(len: u64) -> u64 {
    len.wrapping_add(PAGE - 1) & !(PAGE - 1)
}

/// READ, WRITE and EXEC.
pub const RIGHTS: Prot = Prot::READ.union(Prot::WRITE).union(Prot::EXEC);
