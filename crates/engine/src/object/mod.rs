//! Objects: whatever has pages. A file, or memory that begins as zeros.
//!
//! An object owns the index of its cached pages, the windows that show them, its
//! size and what is known about how it is read. (`struct address_space` in Linux,
//! `uvm_object` in BSD.)

pub mod cache;
pub mod readahead;
pub mod reverse;

use faultless_addr::{PageIndex, PageRange};

use self::cache::PageCache;
use self::readahead::ReadAhead;
use self::reverse::ReverseMap;
use crate::frame::Site;

/// Where an object's pages come from when they aren't in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// A pager reads and writes them.
    Pager,
    /// They begin as zeros and have nowhere to be written to.
    Zeros,
    /// They are frames of a device, which its driver lends. What is not lent is SIGBUS.
    Device,
}

/// When dirty pages are written to the backing, besides when somebody asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// After a while, and when memory is short: the backing is to have what is stored.
    InTime,
    /// Only when memory is short: nobody looks at the backing once the object is gone.
    UnderPressure,
}

/// May pages of the object become dirty?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// No: stores are refused.
    ReadOnly,
    /// Yes.
    ReadWrite,
}

/// What a plain access gets where a page can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// A signal.
    Signal,
    /// Zeros, and an error that the next `check` or flush reports.
    Zeros,
}

/// Which call went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Reading pages.
    Read,
    /// Writing pages.
    Write,
    /// Making written pages durable.
    Sync,
    /// The backing became shorter than a page that was asked for or was dirty.
    Shrunk,
}

/// An error that is kept until every mapping of the object has heard of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptError {
    /// What went wrong.
    pub failure: Failure,
    /// The first page it happened to.
    pub page: PageIndex,
    /// The operating system's number for it.
    pub errno: i32,
}

/// Which errors of an object a mapping has been told (Linux's `errseq_t`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorsSeen(u32);

/// How an object is to be treated.
#[derive(Clone, Copy, Debug)]
pub struct ObjectOptions {
    /// Length in bytes.
    pub size: u64,
    /// Where pages come from.
    pub backing: Backing,
    /// May it be written?
    pub rights: Rights,
    /// What plain accesses get instead of a page that can't be had.
    pub on_error: OnError,
    /// Pages that come into memory together: a power of two.
    pub granule: u32,
    /// The most frames that it may hold; `u32::MAX` for no limit of its own.
    pub limit: u32,
    /// When dirty pages are written.
    pub writes: Writes,
}

impl ObjectOptions {
    /// A file of `size` bytes, the defaults for the rest.
    pub fn file(size: u64, rights: Rights) -> ObjectOptions {
        ObjectOptions {
            size,
            backing: Backing::Pager,
            rights,
            on_error: OnError::Signal,
            granule: 1,
            limit: u32::MAX,
            writes: Writes::InTime,
        }
    }

    /// `size` bytes that live no longer than the object, and that a pager has room for.
    pub fn scratch(size: u64) -> ObjectOptions {
        let writes = Writes::UnderPressure;
        ObjectOptions { writes, ..ObjectOptions::file(size, Rights::ReadWrite) }
    }

    /// A device's `size` bytes.
    pub fn device(size: u64) -> ObjectOptions {
        ObjectOptions { backing: Backing::Device, ..ObjectOptions::file(size, Rights::ReadWrite) }
    }

    /// `size` bytes that begin as zeros.
    pub fn zeros(size: u64) -> ObjectOptions {
        ObjectOptions { backing: Backing::Zeros, ..ObjectOptions::file(size, Rights::ReadWrite) }
    }
}

/// One object.
pub struct Object {
    pub(crate) options: ObjectOptions,
    pub(crate) cache: PageCache,
    pub(crate) windows: ReverseMap,
    pub(crate) ahead: ReadAhead,
    /// Where a page of it was last missing, and which: what was read ahead is looked for
    /// next to it.
    pub(crate) looked_at: (Site, PageIndex),
    /// Frames that it holds.
    pub(crate) resident: u32,
    /// Those of them that are dirty.
    pub(crate) dirty: u32,
    /// Those that are being written.
    pub(crate) writing: u32,
    /// Those whose pages are no more.
    pub(crate) doomed: u32,
    /// Those that pins hold or have set aside.
    pub(crate) pinned: u32,
    /// Where to look next for a page to evict under the object's own limit.
    pub(crate) hand: PageIndex,
    /// The last write failed.
    pub(crate) write_failed: bool,
    /// Pages whose backing a user is just changing: no write of them begins.
    pub(crate) changing: Option<PageRange>,
    /// The last look at the backing's length that was begun, and the last that doesn't
    /// count any more.
    pub(crate) look: u32,
    pub(crate) look_over: u32,
    /// It was its process's parent's: where it is shown shared is an error here.
    pub(crate) withdrawn: bool,
    error: Option<KeptError>,
    error_count: u32,
}

impl Object {
    pub(crate) fn new(options: ObjectOptions) -> Object {
        assert!(options.granule.is_power_of_two(), "a granule is a power of two");
        Object {
            options,
            cache: PageCache::default(),
            windows: ReverseMap::default(),
            ahead: ReadAhead::default(),
            looked_at: (Site::NONE, PageIndex(0)),
            resident: 0,
            dirty: 0,
            writing: 0,
            doomed: 0,
            pinned: 0,
            hand: PageIndex(0),
            write_failed: false,
            changing: None,
            look: 0,
            look_over: 0,
            withdrawn: false,
            error: None,
            error_count: 0,
        }
    }

    /// Every page that holds a byte of it.
    pub fn pages(&self) -> PageRange {
        faultless_addr::ByteRange::new(0, self.options.size).pages()
    }

    /// May no write of this page begin?
    pub(crate) fn holds(&self, page: PageIndex) -> bool {
        self.changing.is_some_and(|pages| pages.contains(page))
    }

    /// The pages that come into memory together with `page`.
    pub(crate) fn granule_of(&self, page: PageIndex) -> PageRange {
        let size = u64::from(self.options.granule);
        PageRange::from_len(PageIndex(page.0 & !(size - 1)), size).intersect(self.pages())
    }

    pub(crate) fn keep_error(&mut self, error: KeptError) {
        self.error = Some(error);
        self.error_count = self.error_count.wrapping_add(1);
    }

    /// The last error, unless whoever holds `seen` knows it already.
    pub(crate) fn unseen_error(&self, seen: &mut ErrorsSeen) -> Option<KeptError> {
        let new = seen.0 != self.error_count;
        seen.0 = self.error_count;
        self.error.filter(|_| new)
    }

    pub(crate) fn last_error(&self) -> Option<KeptError> {
        self.error
    }

    pub(crate) fn errors_seen(&self) -> ErrorsSeen {
        ErrorsSeen(self.error_count)
    }
}
