//! The library as programs have it: pins, faults with and without I/O, eviction, tables.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use faultless::{Delivery, MapOptions, MapRaw, Pattern, Protection, Vm};
use faultless_measure::model::{PAGE, PAGE_WORDS};
use faultless_measure::problem::{Problem, Result};
use faultless_measure::touch::{Words, Writes};
use rustix::time::{ClockId, clock_gettime};

use super::instructions::{Sections, TIMES};
use super::{Figure, PAGES, each, shuffled};
use crate::sequence::COUNTER;
use crate::systems::device::{Page, open_direct};

pub const PIN_HIT: &str = "library: pin of a page in memory and its end, ns";
const PIN_OWNED: &str = "library: the same of a pin that may outlive its map, ns";
pub const MINOR_INLINE: &str = "library: fault without I/O, inline, ns";
pub const MINOR_THREAD: &str = "library: fault without I/O, handler thread, ns";
pub const EVICT_CLEAN: &str = "library: clean pages released, ns a page";
pub const BYTES_PER_FRAME: &str = "library: tables, bytes a frame";
const EVICT_DIRTY: &str = "library: processor time of write-back and release, ns a page";
const BEYOND_INLINE: &str = "library: fault with I/O, inline, less the pread in it, ns";
const BEYOND_THREAD: &str = "library: fault with I/O, handler thread, less the pread in it, ns";
const MINOR_COUNTED: &str = "library: fault without I/O, inline, instructions";
const MAJOR_COUNTED: &str = "library: fault with I/O, inline, instructions";
const PIN_COUNTED: &str = "library: pin of a page in memory and its end, instructions";
const PIN_OWNED_COUNTED: &str = "library: the same of a pin that may outlive its map, instructions";
const EVICT_COUNTED: &str = "library: clean pages released, instructions a page";
const FLUSH_COUNTED: &str = "library: flush of scattered pages, instructions a page";

/// Pages that are stored to.
const DIRTY: usize = 1024;
/// A load shows as many pages as are in memory around its own, in groups of so many.
const SHOWN: u64 = 16;
/// Faults with I/O.
const MAJOR: usize = 1024;

/// All of it.
pub fn costs(path: &Path, delivery: Delivery) -> Result<Vec<Figure>> {
    let file = File::options().read(true).write(true).open(path);
    let file = file.map_err(Problem::on("open", path))?;
    // All of the file fits, and the map is for reading: as for most programs.
    let vm = Vm::with_memory(2 * PAGES * PAGE)?;
    let map =
        MapOptions::new().delivery(delivery).read_ahead(Pattern::Random).map_raw(&vm, &file)?;
    let (minor, beyond) = match delivery {
        Delivery::Inline => (MINOR_INLINE, BEYOND_INLINE),
        Delivery::Thread => (MINOR_THREAD, BEYOND_THREAD),
    };
    let mut figures = vec![(minor.to_owned(), minor_fault(&file, delivery)?)];
    figures.push((beyond.to_owned(), beyond_read(&map, path)?));
    if delivery == Delivery::Inline {
        (0..PAGES).for_each(|page| touch(Words::of_map(&map, Writes::Refused), page));
        let stats = vm.stats();
        let each = stats.bookkeeping_bytes as f64 / stats.frames_total as f64;
        figures.push((BYTES_PER_FRAME.to_owned(), each));
        figures.push((PIN_HIT.to_owned(), pin_hit(|| map.pin_ref(0, 8).map(drop))?));
        figures.push((PIN_OWNED.to_owned(), pin_hit(|| map.pin(0, 8).map(drop))?));
        figures.push((EVICT_CLEAN.to_owned(), release_clean(&map)?));
        drop(map);
        let map = MapOptions::new().delivery(delivery).map_raw_mut(&vm, &file)?;
        figures.push((EVICT_DIRTY.to_owned(), write_back(&map)?));
    }
    Ok(figures)
}

/// What of it is counted in instructions, too: those of the thread that does it, inline.
pub fn instructions(path: &Path, sections: &mut Sections) -> Result<()> {
    let file = File::options().read(true).write(true).open(path);
    let file = file.map_err(Problem::on("open", path))?;
    let vm = Vm::with_memory(2 * PAGES * PAGE)?;
    let options = MapOptions::new().delivery(Delivery::Inline).read_ahead(Pattern::Random);
    let map = options.map_raw(&vm, &file)?;
    let words = Words::of_map(&map, Writes::Refused);
    let pages = alone();
    // The first ones make what all others find.
    let (first, others) = pages.split_at(TIMES as usize);
    let counted = &others[..TIMES as usize];
    first.iter().for_each(|page| touch(words, *page));
    let touch_all = || counted.iter().for_each(|page| touch(words, *page));
    sections.count(MAJOR_COUNTED, TIMES, touch_all);
    map.protect(.., Protection::NONE)?;
    map.protect(.., Protection::READ)?;
    first.iter().for_each(|page| touch(words, *page));
    sections.count(MINOR_COUNTED, TIMES, touch_all);
    let at = counted[0] * PAGE;
    sections.count_pins(PIN_COUNTED, || map.pin_ref(at, 8).map(drop))?;
    sections.count_pins(PIN_OWNED_COUNTED, || map.pin(at, 8).map(drop))?;
    let (resident, _) = map.resident()?;
    let mut released = Ok(());
    sections.count(EVICT_COUNTED, resident.into(), || {
        released = map.release(0, map.len() as u64);
    });
    released?;
    drop(map);
    let map = options.map_raw_mut(&vm, &file)?;
    let words = Words::of_map(&map, Writes::Allowed);
    let store_all = || {
        for page in counted {
            let word = page * PAGE_WORDS + COUNTER;
            words.store(word, words.load(word));
        }
    };
    store_all();
    map.flush()?;
    store_all();
    let mut flushed = Ok(());
    sections.count(FLUSH_COUNTED, TIMES, || flushed = map.flush());
    Ok(flushed?)
}

fn touch(words: Words<'_>, page: u64) {
    std::hint::black_box(words.load(page * PAGE_WORDS));
}

/// Faults that find their page in memory but unmapped, for its rights were taken and given
/// back. Strewn as those of the bare round trip beside it, each with nothing in memory around
/// it: a load shows that, too.
fn minor_fault(file: &File, delivery: Delivery) -> Result<f64> {
    let vm = Vm::with_memory(2 * PAGES * PAGE)?;
    let map =
        MapOptions::new().delivery(delivery).read_ahead(Pattern::Random).map_raw(&vm, file)?;
    let words = Words::of_map(&map, Writes::Refused);
    let pages = alone();
    pages.iter().for_each(|page| touch(words, *page));
    map.protect(.., Protection::NONE)?;
    map.protect(.., Protection::READ)?;
    let (count, before) = (pages.len() as u64, vm.stats());
    let cost = each(count, || pages.into_iter().for_each(|page| touch(words, page)));
    let after = vm.stats();
    match (after.faults_minor - before.faults_minor, after.faults_major - before.faults_major) {
        (minor, 0) if minor == count => Ok(cost),
        (minor, major) => {
            Err(Problem::new(format!("{minor} of {count} faults were without I/O, {major} with")))
        }
    }
}

/// Pages in no order that a load of one doesn't show another of.
fn alone() -> Vec<u64> {
    shuffled(PAGES / SHOWN).into_iter().map(|group| group * SHOWN).collect()
}

/// Faults that read, turn by turn with plain reads of other pages.
fn beyond_read(map: &MapRaw, path: &Path) -> Result<f64> {
    let file = open_direct(path, false).map_err(Problem::on("open", path))?;
    let words = Words::of_map(map, Writes::Refused);
    let pages = shuffled(PAGES);
    let (faulted, read) = pages[..2 * MAJOR].split_at(MAJOR);
    let (mut faults, mut reads) = (Duration::ZERO, Duration::ZERO);
    let mut page = Page::ZERO;
    for (to_fault, to_read) in faulted.iter().zip(read) {
        let since = Instant::now();
        touch(words, *to_fault);
        faults += since.elapsed();
        let since = Instant::now();
        page.read(&file, to_read * PAGE_WORDS).map_err(Problem::on("read", path))?;
        reads += since.elapsed();
    }
    Ok((faults.as_nanos() as f64 - reads.as_nanos() as f64) / MAJOR as f64)
}

fn pin_hit(pin: impl Fn() -> std::result::Result<(), faultless::Error>) -> Result<f64> {
    let times = 200_000;
    pin()?;
    let mut failed = Ok(());
    let cost = each(times, || {
        for _ in 0..times {
            failed = pin();
        }
    });
    failed?;
    Ok(cost)
}

fn release_clean(map: &MapRaw) -> Result<f64> {
    let words = Words::of_map(map, Writes::Refused);
    // Every other page, so that none has a neighbour.
    (0..PAGES).step_by(2).for_each(|page| touch(words, page));
    let (before, _) = map.resident()?;
    let since = Instant::now();
    map.release(0, map.len() as u64)?;
    let ns = since.elapsed().as_nanos() as f64;
    let (after, _) = map.resident()?;
    Ok(ns / f64::from((before - after).max(1)))
}

fn write_back(map: &MapRaw) -> Result<f64> {
    let words = Words::of_map(map, Writes::Allowed);
    for page in &shuffled(PAGES)[..DIRTY] {
        // What is there already: the file stays as it was.
        let word = page * PAGE_WORDS + COUNTER;
        words.store(word, words.load(word));
    }
    let before = processor_ns();
    map.flush()?;
    map.release(0, map.len() as u64)?;
    Ok((processor_ns() - before) / DIRTY as f64)
}

/// Time of this process, all threads together.
fn processor_ns() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
