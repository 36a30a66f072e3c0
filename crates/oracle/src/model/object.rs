//! An object: bytes that several mappings may show: a file, a memfd, or shared
//! anonymous memory.

use std::collections::{BTreeMap, BTreeSet};

use crate::call::{FileId, PAGE};
use crate::system::Store;

use super::bytes::Loose;

/// Counts a model's objects; the world's files come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectId(pub u32);

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File(FileId, Store),
    /// A memfd.
    Memory,
    /// Shared anonymous memory, or a shared map of `/dev/zero`.
    Anonymous,
}

/// Bytes that several mappings may show.
#[derive(Clone, Debug)]
pub struct Object {
    pub kind: Kind,
    /// In bytes.
    pub size: u64,
    /// Pages that somebody has touched; the others are zeros, or on the disk.
    pub pages: BTreeMap<u64, Loose>,
    /// Pages that are in memory or not. MADV_PAGEOUT may have dropped them, if they were
    /// never written; or fallocate(2) has made room for them.
    pub doubtful: BTreeSet<u64>,
    /// F_SEAL_WRITE.
    pub sealed: bool,
}

impl Object {
    pub fn new(kind: Kind, size: u64) -> Object {
        Object { kind, size, pages: BTreeMap::new(), doubtful: BTreeSet::new(), sealed: false }
    }

    /// Is it on a disk? Otherwise its pages are nowhere but in memory.
    pub fn is_on_disk(&self) -> bool {
        matches!(self.kind, Kind::File(_, Store::Disk))
    }

    /// Does this page hold bytes of the object?
    pub fn has(&self, page: u64) -> bool {
        page < self.size.div_ceil(PAGE)
    }

    /// The bytes of a page, which is in memory from now on.
    pub fn page(&mut self, page: u64) -> &mut Loose {
        self.doubtful.remove(&page);
        self.pages.entry(page).or_insert_with(Loose::page)
    }

    /// Bytes up to the end, without a trace of having been read.
    pub fn read(&self, offset: u64, len: u64) -> Loose {
        let end = self.size.min(offset.saturating_add(len));
        let mut read = Loose::default();
        for (page, from, len) in pieces(offset, end) {
            match self.pages.get(&page) {
                Some(bytes) => read.push(&bytes.part(from, len)),
                None => read.push(&Loose::exactly(vec![0; len as usize])),
            }
        }
        read
    }

    /// A write by a system call: it makes the object longer.
    pub fn write(&mut self, offset: u64, bytes: &Loose) {
        let end = offset + bytes.len();
        if !bytes.is_empty() && end > self.size {
            self.grow(end);
        }
        let mut done = 0;
        for (page, from, len) in pieces(offset, end) {
            self.page(page).write(from, &bytes.part(done, len));
            done += len;
        }
    }

    /// What is left of a write that got no further than this: since Linux 6.16 the page
    /// is made before the bytes are looked for, and the object ends there if it was shorter.
    pub fn begin_write(&mut self, offset: u64) {
        if offset > self.size {
            self.grow(offset);
        }
        self.page(offset / PAGE);
    }

    /// A store through a shared mapping: it may go behind the end, in the last page.
    pub fn store(&mut self, page: u64, from: u64, bytes: &Loose) {
        let behind = self.size.saturating_sub(page * PAGE).min(PAGE);
        let is_on_disk = self.is_on_disk();
        let there = self.page(page);
        there.write(from, bytes);
        if is_on_disk && behind < PAGE {
            // Writing it to the disk, which may be any time, clears what is behind the end.
            there.loosen(behind);
        }
    }

    /// Room for pages. In memory they are there at once, and seen to be after the second time.
    pub fn reserve(&mut self, from: u64, to: u64) {
        for (page, ..) in pieces(from, to) {
            if !self.pages.contains_key(&page) {
                self.doubtful.insert(page);
            }
        }
    }

    /// A greater size. A disk's file system clears what was behind the old end.
    pub fn grow(&mut self, size: u64) {
        let old = std::mem::replace(&mut self.size, size);
        if self.is_on_disk() {
            self.zero(old, old.next_multiple_of(PAGE).min(size));
        }
    }

    /// A size that is not greater: what was behind it goes.
    pub fn cut(&mut self, size: u64) {
        self.size = size;
        self.pages.split_off(&size.div_ceil(PAGE));
        self.doubtful.split_off(&size.div_ceil(PAGE));
        self.zero(size, size.next_multiple_of(PAGE));
    }

    /// A hole, or zeros. A disk's file system leaves what is behind the end as it is.
    pub fn empty(&mut self, from: u64, to: u64) {
        let to = if self.is_on_disk() { to.min(self.size) } else { to };
        self.zero(from, to);
    }

    /// Zeros; whole pages in memory go.
    pub fn zero(&mut self, from: u64, to: u64) {
        for (page, from, len) in pieces(from, to) {
            if len == PAGE {
                self.pages.remove(&page);
                self.doubtful.remove(&page);
            } else if let Some(bytes) = self.pages.get_mut(&page) {
                bytes.clear(from, from + len);
            }
        }
    }
}

/// A range as pieces of pages: page, first byte in it, length.
pub fn pieces(from: u64, to: u64) -> impl Iterator<Item = (u64, u64, u64)> {
    let mut at = from;
    std::iter::from_fn(move || {
        let piece = (at / PAGE, at % PAGE, (PAGE - at % PAGE).min(to.saturating_sub(at)));
        at += piece.2;
        (piece.2 > 0).then_some(piece)
    })
}
