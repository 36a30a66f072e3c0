//! `File`: what is behind an object of the engine: the bytes of a file, a memfd, shared
//! anonymous memory, or swap.
//!
//! The bytes here are those that a pager has; pages in the engine's page cache may be
//! newer. Whoever changes them here flushes those pages before, and discards them after.

use std::collections::{BTreeMap, BTreeSet};

use faultless_addr::{PAGE_BYTES, PAGE_SIZE};

/// On what a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// A file system on a disk, which clears what lies behind a file's end (ext4).
    Disk,
    /// A file system in memory (tmpfs).
    Tmpfs,
    /// A memfd.
    Memory,
    /// Memory that has no name: shared anonymous memory, or `/dev/zero` mapped shared.
    Nameless,
    /// The device of this number: its bytes are in its own memory.
    Device(u32),
}

/// The bytes behind one object.
#[derive(Debug)]
pub struct File {
    pub store: Store,
    /// Under which number it was created, whatever its names are now.
    pub inode: u32,
    /// In bytes.
    pub size: u64,
    /// F_SEAL_WRITE.
    pub sealed: bool,
    /// Pages that have bytes; the others are zeros.
    pages: BTreeMap<u64, Box<[u8]>>,
    /// In memory a page exists once it was touched, zeros or not.
    pub touched: BTreeSet<u64>,
}

impl File {
    /// `size` bytes of zeros.
    pub fn new(store: Store, size: u64) -> File {
        let (pages, touched) = Default::default();
        File { store, inode: 0, size, sealed: false, pages, touched }
    }

    /// Is it on a disk? Otherwise its pages are nowhere but in memory.
    pub fn is_on_disk(&self) -> bool {
        self.store == Store::Disk
    }

    /// A pager's read.
    pub fn page(&self, page: u64) -> Option<&[u8]> {
        self.pages.get(&page).map(|bytes| &**bytes)
    }

    /// A pager's write. On a disk, what lies behind the end is not kept.
    pub fn write_page(&mut self, page: u64, bytes: &[u8]) {
        let mut bytes: Box<[u8]> = bytes.into();
        if self.is_on_disk() {
            let held = self.size.saturating_sub(page * PAGE_BYTES).min(PAGE_BYTES);
            bytes[held as usize..].fill(0);
        }
        self.pages.insert(page, bytes);
    }

    /// Bytes before anybody has looked: no page is cached.
    pub fn fill(&mut self, bytes: &[u8]) {
        for (page, piece) in bytes.chunks(PAGE_SIZE).enumerate() {
            let mut whole = vec![0; PAGE_SIZE];
            whole[..piece.len()].copy_from_slice(piece);
            self.pages.insert(page as u64, whole.into());
            self.touched.insert(page as u64);
        }
        self.size = bytes.len() as u64;
    }

    /// Another size. What is behind a nearer end goes; a disk's file system clears what
    /// was behind the old end, and one in memory doesn't.
    pub fn resize(&mut self, size: u64) {
        let old = std::mem::replace(&mut self.size, size);
        if size <= old {
            self.pages.split_off(&size.div_ceil(PAGE_BYTES));
            self.touched.split_off(&size.div_ceil(PAGE_BYTES));
            self.zero(size, size.next_multiple_of(PAGE_BYTES));
        } else if self.is_on_disk() {
            self.zero(old, old.next_multiple_of(PAGE_BYTES).min(size));
        }
    }

    /// Zeros; whole pages go.
    pub fn zero(&mut self, from: u64, to: u64) {
        for (page, range) in pieces(from, to) {
            if range.len() == PAGE_SIZE {
                self.pages.remove(&page);
                self.touched.remove(&page);
            } else if let Some(bytes) = self.pages.get_mut(&page) {
                bytes[range].fill(0);
            }
        }
    }

    /// Whole pages from `from` on are now from `to` on; those between are gone.
    pub fn shift(&mut self, from: u64, to: u64) {
        let behind = self.pages.split_off(&from);
        let touched = self.touched.split_off(&from);
        self.pages.split_off(&to);
        self.touched.split_off(&to);
        self.pages.extend(behind.into_iter().map(|(page, bytes)| (page - from + to, bytes)));
        self.touched.extend(touched.into_iter().map(|page| page - from + to));
    }
}

/// A range of bytes as pieces of pages: the page, and which of its bytes.
pub fn pieces(from: u64, to: u64) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
    let mut at = from;
    std::iter::from_fn(move || {
        let (page, start) = (at / PAGE_BYTES, (at % PAGE_BYTES) as usize);
        let len = (PAGE_SIZE - start).min(to.saturating_sub(at) as usize);
        at = at.checked_add(len as u64)?;
        (len > 0).then_some((page, start..start + len))
    })
}
