//! pread(2) past the page cache, and a cache in user space: what a program does that trusts
//! no mmap. Stores are written through. There are two such caches to choose from.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex};

use faultless_measure::model::{PAGE, PAGE_WORDS, WORD};
use faultless_measure::problem::{Problem, Result};

use super::Access;
use super::device::Page;
use super::parts::Parts;
use crate::case::Case;

/// What a cached page takes beside its bytes: the allocator's and the counters' words, its
/// entry in the cache.
const ENTRY_BYTES: u64 = 96;
/// Stores to pages of one of these take turns.
const STRIPES: usize = 256;

/// Pages by their number, as many as fit.
pub trait Cache: Sync {
    /// One that holds so many.
    fn of_pages(pages: usize) -> Self;

    /// A page; read first if it isn't there, once for all who ask meanwhile.
    fn get(&self, page: u64, read: impl FnOnce() -> io::Result<Arc<[u8]>>) -> Arc<[u8]>;

    /// From now on a page is so.
    fn put(&self, page: u64, bytes: Arc<[u8]>);
}

impl Cache for quick_cache::sync::Cache<u64, Arc<[u8]>> {
    fn of_pages(pages: usize) -> Self {
        Self::new(pages)
    }

    fn get(&self, page: u64, read: impl FnOnce() -> io::Result<Arc<[u8]>>) -> Arc<[u8]> {
        self.get_or_insert_with(&page, read).expect("it can be read")
    }

    fn put(&self, page: u64, bytes: Arc<[u8]>) {
        self.insert(page, bytes);
    }
}

impl Cache for moka::sync::Cache<u64, Arc<[u8]>> {
    fn of_pages(pages: usize) -> Self {
        Self::new(pages as u64)
    }

    fn get(&self, page: u64, read: impl FnOnce() -> io::Result<Arc<[u8]>>) -> Arc<[u8]> {
        self.try_get_with(page, read).expect("it can be read")
    }

    fn put(&self, page: u64, bytes: Arc<[u8]>) {
        self.insert(page, bytes);
    }
}

/// Files through such a cache.
pub struct Pread<'a, C> {
    files: &'a [File],
    parts: Parts,
    cache: C,
    stores: Vec<Mutex<()>>,
}

impl<'a, C: Cache> Pread<'a, C> {
    /// Of files opened by [`open_direct`](super::device::open_direct), with as many pages as
    /// the budget of the case holds.
    pub fn new(case: &Case, files: &'a [File]) -> Pread<'a, C> {
        let pages = (case.memory_bytes / (PAGE + ENTRY_BYTES)) as usize;
        let stores = (0..STRIPES).map(|_| Mutex::default()).collect();
        Pread { files, parts: Parts::of(case), cache: C::of_pages(pages), stores }
    }

    fn page(&self, word: u64) -> Arc<[u8]> {
        let read = || {
            let (file, word) = self.parts.split(word);
            let mut page = Page::ZERO;
            page.read(&self.files[file], word)?;
            Ok(Arc::from(&page.0[..]))
        };
        self.cache.get(word / PAGE_WORDS, read)
    }
}

impl<C: Cache> Access for Pread<'_, C> {
    fn load(&self, word: u64) -> u64 {
        let at = (word % PAGE_WORDS * WORD) as usize;
        u64::from_le_bytes(*self.page(word)[at..].first_chunk().expect("a whole word"))
    }

    fn increment(&self, word: u64) {
        let page = word / PAGE_WORDS;
        let _turn = self.stores[page as usize % STRIPES].lock().expect("nobody panics with it");
        let mut changed = Page::ZERO;
        changed.0.copy_from_slice(&self.page(word));
        let more = changed.word(word).wrapping_add(1);
        let at = (word % PAGE_WORDS * WORD) as usize;
        changed.0[at..at + WORD as usize].copy_from_slice(&more.to_le_bytes());
        let (file, first) = self.parts.split(page * PAGE_WORDS);
        let written = rustix::io::pwrite(&self.files[file], &changed.0, first * WORD);
        assert_eq!(written, Ok(PAGE as usize), "it can be written");
        self.cache.put(page, Arc::from(&changed.0[..]));
    }

    fn flush(&self) -> Result<()> {
        let failed = |error| Problem::new(format!("cannot flush: {error}"));
        self.files.iter().try_for_each(|file| file.sync_data().map_err(failed))
    }
}
