//! Which mapping is where.
//!
//! Shared maps of one file have the same addresses, so a page can be of several mappings: in
//! layers, of which munmap takes one.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, Once, PoisonError};

use rangemap::RangeMap;

use crate::error::{Failed, Result};
use crate::mapping::{Mapping, PAGE};

static TABLE: LazyLock<Mutex<RangeMap<usize, Layers>>> = LazyLock::new(Mutex::default);

/// The mappings of a page, the last one on top; never none.
#[derive(Clone, Debug)]
struct Layers(Vec<Arc<Mapping>>);

impl PartialEq for Layers {
    fn eq(&self, other: &Layers) -> bool {
        let same = |(a, b): (&Arc<Mapping>, &Arc<Mapping>)| Arc::ptr_eq(a, b);
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(same)
    }
}

impl Eq for Layers {}

/// A part of a range, and whose it is.
#[derive(Debug)]
pub struct Piece {
    pub mapping: Arc<Mapping>,
    pub range: Range<usize>,
}

/// Adds a mapping: all its pages, or those that it has newly.
pub fn add(mapping: &Arc<Mapping>, pages: Range<usize>) {
    let mut table = lock();
    let below: Vec<_> = table
        .overlapping(&pages)
        .map(|(range, layers)| {
            let part = range.start.max(pages.start)..range.end.min(pages.end);
            (part, layers.clone())
        })
        .collect();
    table.insert(pages, Layers(vec![mapping.clone()]));
    for (part, mut layers) in below {
        layers.0.push(mapping.clone());
        table.insert(part, layers);
    }
}

/// Takes one layer away from each page of a range: that of a mapping which has just these
/// pages, if there is one, else the last. Answers what was there.
pub fn take(pages: &Range<usize>) -> Vec<Piece> {
    let mut table = lock();
    let found: Vec<_> = table
        .overlapping(pages)
        .map(|(range, layers)| {
            (range.start.max(pages.start)..range.end.min(pages.end), layers.clone())
        })
        .collect();
    let mut taken = Vec::new();
    for (range, mut layers) in found {
        let exact = layers.0.iter().rposition(|mapping| mapping.pages() == *pages);
        let mapping = layers.0.remove(exact.unwrap_or(layers.0.len() - 1));
        match layers.0.is_empty() {
            true => table.remove(range.clone()),
            false => table.insert(range.clone(), layers),
        }
        taken.push(Piece { mapping, range });
    }
    taken
}

/// Is a page of it mapped?
pub fn has(mapping: &Arc<Mapping>) -> bool {
    let table = lock();
    let is_there = |layers: &Layers| layers.0.iter().any(|other| Arc::ptr_eq(other, mapping));
    table.overlapping(&mapping.pages()).any(|(_, layers)| is_there(layers))
}

/// The mapping that has a byte.
pub fn at(addr: usize) -> Result<Arc<Mapping>> {
    let table = lock();
    let layers = table.get(&addr);
    let mapping = layers.and_then(|layers| layers.0.last());
    mapping.cloned().ok_or_else(|| not_mapped(addr))
}

/// Whose the pages of a range are, and whether all of them are somebody's.
pub fn pieces(pages: &Range<usize>) -> (Vec<Piece>, Result<()>) {
    let table = lock();
    let mut complete = Ok(());
    let mut at = pages.start;
    let pieces = table
        .overlapping(pages)
        .map(|(found, layers)| {
            let range = found.start.max(pages.start)..found.end.min(pages.end);
            if range.start > at {
                complete = Err(not_mapped(at));
            }
            at = range.end;
            let mapping = layers.0.last().expect("there is never none").clone();
            Piece { mapping, range }
        })
        .collect();
    if at < pages.end {
        complete = Err(not_mapped(at));
    }
    (pieces, complete)
}

/// The whole pages that a call means: `EINVAL` where it begins in a page that isn't a
/// mapping's first, and where it leaves the addresses there are.
pub fn whole_pages(addr: usize, len: usize) -> Result<Range<usize>> {
    let is_start = || at(addr).is_ok_and(|mapping| mapping.start() == addr);
    if !addr.is_multiple_of(PAGE) && !is_start() {
        let why = format!("{addr:#x} is neither the beginning of a page nor of a mapping");
        return Err(Failed::new(libc::EINVAL, why));
    }
    let end = addr.checked_add(len).and_then(|end| end.checked_next_multiple_of(PAGE));
    let end = end.ok_or_else(|| Failed::new(libc::ENOMEM, "the range leaves the addresses"))?;
    Ok(addr - addr % PAGE..end)
}

fn not_mapped(addr: usize) -> Failed {
    Failed::new(libc::ENOMEM, format!("nothing of Faultless's is mapped at {addr:#x}"))
}

type Guard = MutexGuard<'static, RangeMap<usize, Layers>>;

fn lock() -> Guard {
    static ONCE: Once = Once::new();
    ONCE.call_once(keep_over_forks);
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    /// Held by who forks.
    static HELD: RefCell<Option<Guard>> = const { RefCell::new(None) };
}

/// A child has the table as it was between two calls, and its lock free.
fn keep_over_forks() {
    extern "C" fn before() {
        let guard = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
        HELD.with(|held| *held.borrow_mut() = Some(guard));
    }
    extern "C" fn after() {
        HELD.with(|held| drop(held.borrow_mut().take()));
    }
    // SAFETY: 1. the functions live as long as the program; 2. in the child they touch memory
    // of the thread that has forked only. Refused for want of memory, it is as without.
    unsafe { libc::pthread_atfork(Some(before), Some(after), Some(after)) };
}
