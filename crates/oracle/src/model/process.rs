//! A process: its pages, its descriptors, its break and its limits.

use std::collections::BTreeMap;
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

    /// Runs of pages in a range that are surely of one area each, or of none.
    pub fn runs(&self, range: Pages) -> Vec<(Pages, Option<Traits>)> {
        let mut runs: Vec<(Pages, Option<Traits>)> = Vec::new();
        for number in range {
            let traits = self.traits(number);
            let continues = |(last, first): &(Pages, Option<Traits>)| match (first, traits) {
                (None, None) => true,
                (Some(first), Some(traits)) => {
                    !first.after(number - 1 - last.start).ends_before(traits)
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

    /// Is any page of a range mapped?
    pub fn any(&self, range: Pages) -> bool {
        self.pages.range(range).next().is_some()
    }

    /// Pages that RLIMIT_AS counts.
    pub fn space(&self) -> u64 {
        self.pages.len() as u64
    }

    /// Pages that are locked.
    pub fn locked(&self) -> u64 {
        self.pages.values().filter(|page| page.traits.lock != Lock::No).count() as u64
    }

    /// May so many pages with these traits be added?
    pub fn may_add(&self, traits: Traits, pages: u64) -> bool {
        self.may_have(self.space() + pages, traits, pages)
    }

    /// The same, with `space` pages in all afterwards.
    pub fn may_have(&self, space: u64, traits: Traits, added: u64) -> bool {
        let fits = |pages: u64, max: Option<u64>| max.is_none_or(|max| pages <= max / PAGE);
        let data = self.pages.values().filter(|page| page.traits.is_data()).count() as u64;
        fits(space, self.space_max) && (!traits.is_data() || fits(data + added, self.data_max))
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
