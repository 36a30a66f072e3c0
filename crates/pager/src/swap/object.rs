//! One object's pages in a swap area that is others', too.
//!
//! ```text
//!   page            0     1     2     3     4
//!   slot            7     8     –     9     2        – was never written: zeros
//!   area      │ 4 │   │     │     │ 0 │ 1 │ 3 │      others' slots lie between
//! ```
//!
//! A page gets its slot when it is first written, one beside its neighbours' where that
//! can be, and keeps it until it is punched. Before a slot is given up, reads and writes of
//! it have ended: they would meet its next holder's bytes.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use crate::pager::{PAGE_SIZE, Pager, Shrunk};
use crate::transfer::{first_mut, is_page_multiple, rest, rest_mut, total};

/// Who gives out the slots of a swap area.
pub trait Slots: Send + Sync {
    /// The area; none if there is none (any more).
    fn area(&self) -> Option<Arc<dyn Pager>>;

    /// Up to `wanted` free slots that lie together; none where the area is full.
    fn take(&self, wanted: u32) -> Option<Range<u32>>;

    /// A slot that was taken is free again.
    fn give_back(&self, slot: u32);

    /// The area's own room is used up: gives back what nobody needs of it.
    fn make_room(&self);
}

#[derive(Default)]
struct Table {
    slots: BTreeMap<u64, u32>,
    /// How many read or write each page just now.
    busy: BTreeMap<u64, u32>,
}

/// Memory of a fixed length that begins as zeros, in slots of a swap area.
///
/// Where there is no slot, or no room on the disk, a write is `ENOSPC`; what the area holds
/// of its pages then is not said. Whole pages only.
pub struct ObjectSwap<S: Slots> {
    name: String,
    size: u64,
    slots: S,
    /// Never held during a call of the area.
    table: Mutex<Table>,
    /// Pages are busy no more.
    idle: Condvar,
}

/// Pages that are being read or written.
struct Busy<'a, S: Slots> {
    of: &'a ObjectSwap<S>,
    pages: Range<u64>,
}

impl<S: Slots> Drop for Busy<'_, S> {
    fn drop(&mut self) {
        let mut table = self.of.lock();
        for page in self.pages.clone() {
            match table.busy.get_mut(&page) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(table.busy.remove(&page)),
            }
        }
        self.of.idle.notify_all();
    }
}

/// Pages that lie together, in the object and in the area.
struct Run {
    page: u64,
    /// None: zeros that nobody has written.
    slot: Option<u32>,
    pages: u64,
}

impl<S: Slots> ObjectSwap<S> {
    /// `size` bytes, rounded up to pages, that are called `name`.
    pub fn new(name: &str, size: u64, slots: S) -> ObjectSwap<S> {
        let size = size.next_multiple_of(PAGE_SIZE);
        let (name, table) = (name.to_owned(), Mutex::default());
        ObjectSwap { name, size, slots, table, idle: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The whole pages that `len` bytes at `offset` are, as far as there are any.
    fn pages(&self, offset: u64, len: u64) -> io::Result<Range<u64>> {
        if !is_page_multiple(offset) || !is_page_multiple(len) {
            return Err(Errno::INVAL.into());
        }
        let first = offset.min(self.size);
        Ok(first / PAGE_SIZE..(first + Shrunk::fitting(first, len, self.size)) / PAGE_SIZE)
    }

    fn make_busy(&self, pages: &Range<u64>) -> Busy<'_, S> {
        let mut table = self.lock();
        pages.clone().for_each(|page| *table.busy.entry(page).or_default() += 1);
        Busy { of: self, pages: pages.clone() }
    }

    /// Gives every page of `pages` that has none a slot; the new ones are in `new`.
    fn place(&self, pages: Range<u64>, new: &mut BTreeMap<u64, u32>) -> io::Result<()> {
        let missing: Vec<u64> = {
            let table = self.lock();
            pages.filter(|page| !table.slots.contains_key(page)).collect()
        };
        let mut left = &missing[..];
        while !left.is_empty() {
            let some = self.slots.take(left.len() as u32).ok_or(Errno::NOSPC)?;
            let (now, later) = left.split_at(some.len());
            new.extend(now.iter().copied().zip(some));
            left = later;
        }
        Ok(())
    }

    fn write_runs(&self, pages: Range<u64>, bufs: &[IoSlice<'_>]) -> io::Result<()> {
        let mut new = BTreeMap::new();
        let placed = self.place(pages.clone(), &mut new);
        let runs = runs(&self.lock().slots, &new, pages.clone());
        let result = placed.and_then(|()| {
            let area = self.slots.area().ok_or(Errno::NOSPC)?;
            runs.iter().try_for_each(|run| {
                let slot = u64::from(run.slot.expect("every page has been given a slot"));
                let from = (run.page - pages.start) * PAGE_SIZE;
                let mut done = 0;
                while done < run.pages * PAGE_SIZE {
                    let piece = rest(bufs, from + done, run.pages * PAGE_SIZE - done);
                    area.write(slot * PAGE_SIZE + done, &piece)?;
                    done += total(&piece);
                }
                Ok(())
            })
        });
        match &result {
            Ok(()) => self.lock().slots.append(&mut new),
            Err(_) => new.into_values().for_each(|slot| self.slots.give_back(slot)),
        }
        result
    }

    /// Waits until nobody reads or writes any of `pages`, which nobody begins to while the
    /// answer lives.
    fn lock_idle(&self, pages: &Range<u64>) -> MutexGuard<'_, Table> {
        let mut table = self.lock();
        while table.busy.range(pages.clone()).next().is_some() {
            table = self.idle.wait(table).unwrap_or_else(PoisonError::into_inner);
        }
        table
    }
}

/// The runs of `pages`, whose slots are in one table or the other.
fn runs(old: &BTreeMap<u64, u32>, new: &BTreeMap<u64, u32>, pages: Range<u64>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for page in pages {
        let slot = old.get(&page).or_else(|| new.get(&page)).copied();
        match runs.last_mut() {
            Some(run) if run.slot.map(|slot| slot + run.pages as u32) == slot => run.pages += 1,
            _ => runs.push(Run { page, slot, pages: 1 }),
        }
    }
    runs
}

impl<S: Slots> Pager for ObjectSwap<S> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let pages = self.pages(offset, total(bufs))?;
        let _busy = self.make_busy(&pages);
        let runs = runs(&self.lock().slots, &BTreeMap::new(), pages.clone());
        for run in runs {
            let mut after = rest_mut(bufs, (run.page - pages.start) * PAGE_SIZE);
            let mut into = first_mut(&mut after, run.pages * PAGE_SIZE);
            let Some(slot) = run.slot else {
                into.iter_mut().for_each(|buf| buf.fill(0));
                continue;
            };
            let area = self.slots.area().ok_or(Errno::IO)?;
            let read = area.read(u64::from(slot) * PAGE_SIZE, &mut into)?;
            if (read as u64) < run.pages * PAGE_SIZE {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        // No more than the bytes of `bufs`, which are in memory.
        Ok(((pages.end - pages.start) * PAGE_SIZE) as usize)
    }

    fn write(&self, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<()> {
        let len = total(bufs);
        let pages = self.pages(offset, len)?;
        let _busy = self.make_busy(&pages);
        let full = |error: &io::Error| error.raw_os_error() == Some(Errno::NOSPC.raw_os_error());
        let written = self.write_runs(pages.clone(), bufs).or_else(|error| {
            if !full(&error) {
                return Err(error);
            }
            self.slots.make_room();
            self.write_runs(pages.clone(), bufs)
        });
        let count = (pages.end - pages.start) * PAGE_SIZE;
        if written.is_ok() && count < len {
            return Err(Shrunk { offset, len, size: self.size, written: count }.into());
        }
        written
    }

    /// Nobody reads it after a crash.
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    /// `EINVAL`, as for a map of `/dev/zero`: it keeps its length.
    fn resize(&self, size: u64) -> io::Result<()> {
        if size == self.size { Ok(()) } else { Err(Errno::INVAL.into()) }
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let pages = self.pages(offset, len)?;
        let mut table = self.lock_idle(&pages);
        let held: Vec<u64> = table.slots.range(pages).map(|(page, _)| *page).collect();
        let slots: Vec<u32> = held.iter().filter_map(|page| table.slots.remove(page)).collect();
        drop(table);
        slots.into_iter().for_each(|slot| self.slots.give_back(slot));
        Ok(())
    }

    fn in_swap(&self, offset: u64, len: u64) -> Vec<u64> {
        let pages = offset / PAGE_SIZE..(offset + len).div_ceil(PAGE_SIZE);
        self.lock().slots.range(pages).map(|(page, _)| *page).collect()
    }

    /// A node of 11 pages is half full at worst.
    fn bookkeeping_bytes(&self) -> usize {
        self.lock().slots.len() * 2 * size_of::<(u64, u32)>()
    }
}

impl<S: Slots> Drop for ObjectSwap<S> {
    fn drop(&mut self) {
        let table = self.table.get_mut().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut table.slots).into_values().for_each(|slot| self.slots.give_back(slot));
    }
}
