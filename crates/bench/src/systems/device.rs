//! The device itself: pread(2) past all caches.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use faultless_measure::model::{PAGE, PAGE_WORDS, WORD};
use rustix::fs::OFlags;

use super::Access;
use super::parts::Parts;
use crate::case::Case;
use crate::content::tie;
use crate::shape::line_words;

/// A page where O_DIRECT can put it.
#[derive(Clone)]
#[repr(align(4096))]
pub struct Page(pub [u8; PAGE as usize]);

impl Page {
    /// Of zeros.
    pub const ZERO: Page = Page([0; PAGE as usize]);

    /// A word of it.
    pub fn word(&self, word: u64) -> u64 {
        let at = (word % PAGE_WORDS * WORD) as usize;
        u64::from_le_bytes(*self.0[at..].first_chunk().expect("a whole word"))
    }

    /// Reads the page that holds a word of a file.
    pub fn read(&mut self, file: &File, word: u64) -> io::Result<()> {
        let read = rustix::io::pread(file, &mut self.0, word / PAGE_WORDS * PAGE)?;
        if read == PAGE as usize { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// Opens a file past the page cache, where its file system has that.
pub fn open_direct(path: &Path, write: bool) -> io::Result<File> {
    let direct = OFlags::DIRECT.bits() as i32;
    let open = |flags| OpenOptions::new().read(true).write(write).custom_flags(flags).open(path);
    open(direct).or_else(|_| open(0))
}

thread_local! {
    static BUFFER: RefCell<Vec<Page>> = const { RefCell::new(Vec::new()) };
}

/// Every access is a read.
pub struct Device<'a> {
    files: &'a [File],
    parts: Parts,
}

impl<'a> Device<'a> {
    /// Of files opened by [`open_direct`].
    pub fn new(case: &Case, files: &'a [File]) -> Device<'a> {
        Device { files, parts: Parts::of(case) }
    }
}

impl Access for Device<'_> {
    fn load(&self, word: u64) -> u64 {
        let (file, word) = self.parts.split(word);
        let mut page = Page::ZERO;
        page.read(&self.files[file], word).expect("it can be read");
        page.word(word)
    }

    fn increment(&self, _: u64) {
        unreachable!("no case stores to the device")
    }

    fn sweep(&self, pages: Range<u64>) -> u64 {
        BUFFER.with_borrow_mut(|buffer| {
            buffer.resize((pages.end - pages.start) as usize, Page::ZERO);
            let (file, first) = self.parts.split(pages.start * PAGE_WORDS);
            let mut slices: Vec<IoSliceMut> =
                buffer.iter_mut().map(|page| IoSliceMut::new(&mut page.0)).collect();
            let read = rustix::io::preadv(&self.files[file], &mut slices, first * WORD);
            assert_eq!(read, Ok(buffer.len() * PAGE as usize), "it can be read");
            let words = pages.clone().flat_map(line_words);
            let page = |word: u64| &buffer[(word / PAGE_WORDS - pages.start) as usize];
            words.map(|word| tie(word, page(word).word(word))).fold(0, u64::wrapping_add)
        })
    }
}
