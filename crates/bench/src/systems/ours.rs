//! Faultless: by pointer, by pin, by batch.

use std::fs::File;
use std::ops::Range;

use faultless::{Delivery, MapOptions, MapRaw, Stats, Vm};
use faultless_measure::model::{PAGE, PAGE_WORDS, WORD};
use faultless_measure::problem::Result;
use faultless_measure::touch::{Words, Writes};

use super::parts::Parts;
use super::{Access, Batches};
use crate::case::Case;
use crate::content::tie;
use crate::shape::line_words;
use crate::system::System;

/// Maps the files under a budget.
pub fn map(case: &Case, system: &System, files: &[File]) -> Result<(Vm, Vec<MapRaw>)> {
    let vm = Vm::with_memory(case.memory_bytes)?;
    let delivery = match system {
        System::Thread => Delivery::Thread,
        _ => Delivery::Inline,
    };
    let options = MapOptions::new()
        .len(case.bytes / case.files)
        .delivery(delivery)
        .read_ahead(case.workload.definition().pattern());
    let make = |file| match case.write_percent {
        0 => options.map_raw(&vm, file),
        _ => options.map_raw_mut(&vm, file),
    };
    let maps = files.iter().map(make).collect::<std::result::Result<Vec<_>, _>>()?;
    Ok((vm, maps))
}

/// Words by plain pointers.
pub struct Pointers<'a> {
    vm: &'a Vm,
    maps: &'a [MapRaw],
    words: Vec<Words<'a>>,
    parts: Parts,
    batches: Batches,
}

impl<'a> Pointers<'a> {
    /// Of these maps; with a prefetch of each batch or not, as the system says.
    pub fn new(case: &Case, vm: &'a Vm, maps: &'a [MapRaw], system: &System) -> Pointers<'a> {
        let writes = if case.write_percent > 0 { Writes::Allowed } else { Writes::Refused };
        let batches = match system {
            System::Prefetch => Batches::Yes,
            _ => Batches::No,
        };
        let words = maps.iter().map(|map| Words::of_map(map, writes)).collect();
        Pointers { vm, maps, words, parts: Parts::of(case), batches }
    }
}

impl Access for Pointers<'_> {
    #[inline]
    fn load(&self, word: u64) -> u64 {
        let (file, word) = self.parts.split(word);
        self.words[file].load(word)
    }

    fn increment(&self, word: u64) {
        let (file, word) = self.parts.split(word);
        self.words[file].increment(word);
    }

    fn load_many(&self, words: &[u64], values: &mut [u64]) {
        if self.batches == Batches::Yes {
            assert_eq!(self.maps.len(), 1, "a batch is of one file");
            let pages = words.iter().map(|word| (word / PAGE_WORDS * PAGE, PAGE));
            self.maps[0].prefetch(pages).expect("a prefetch begins");
        }
        for (word, value) in words.iter().zip(values) {
            *value = self.load(*word);
        }
    }

    fn batches(&self) -> Batches {
        self.batches
    }

    fn flush(&self) -> Result<()> {
        Ok(self.maps.iter().try_for_each(MapRaw::flush)?)
    }

    fn stats(&self) -> Option<Stats> {
        Some(self.vm.stats())
    }
}

/// Words by pins.
pub struct Pins<'a> {
    vm: &'a Vm,
    maps: &'a [MapRaw],
    parts: Parts,
    batches: Batches,
}

impl<'a> Pins<'a> {
    /// Of these maps; one at a time or a batch, as the system says.
    pub fn new(case: &Case, vm: &'a Vm, maps: &'a [MapRaw], system: &System) -> Pins<'a> {
        let batches = match system {
            System::PinMany => Batches::Yes,
            _ => Batches::No,
        };
        Pins { vm, maps, parts: Parts::of(case), batches }
    }
}

impl Access for Pins<'_> {
    fn load(&self, word: u64) -> u64 {
        let (file, word) = self.parts.split(word);
        let pinned = self.maps[file].pin_ref(word * WORD, WORD as usize).expect("it can be read");
        value(&pinned, 0)
    }

    fn increment(&self, word: u64) {
        let (file, word) = self.parts.split(word);
        let pinned = self.maps[file].pin_mut(word * WORD, WORD as usize);
        let mut pinned = pinned.expect("it can be written");
        let more = value(&pinned, 0).wrapping_add(1);
        pinned.copy_from_slice(&more.to_le_bytes());
    }

    fn load_many(&self, words: &[u64], values: &mut [u64]) {
        if self.batches == Batches::No {
            return words.iter().zip(values).for_each(|(word, value)| *value = self.load(*word));
        }
        assert_eq!(self.maps.len(), 1, "a batch is of one file");
        let ranges = words.iter().map(|word| (word * WORD, WORD as usize));
        let pins = self.maps[0].pin_many(ranges).expect("they can be read");
        pins.iter().zip(values).for_each(|(pinned, into)| *into = value(pinned, 0));
    }

    fn batches(&self) -> Batches {
        self.batches
    }

    fn sweep(&self, pages: Range<u64>) -> u64 {
        // No more at a time than a small budget lets pins have.
        let frames = self.vm.memory() / PAGE;
        let window = (frames / 8).max(1);
        let windows = pages.clone().step_by(window as usize);
        windows
            .map(|start| self.sweep_pinned(start..(start + window).min(pages.end)))
            .fold(0, u64::wrapping_add)
    }

    fn flush(&self) -> Result<()> {
        Ok(self.maps.iter().try_for_each(MapRaw::flush)?)
    }

    fn stats(&self) -> Option<Stats> {
        Some(self.vm.stats())
    }
}

impl Pins<'_> {
    fn sweep_pinned(&self, pages: Range<u64>) -> u64 {
        let (file, first) = self.parts.split(pages.start * PAGE_WORDS);
        let len = ((pages.end - pages.start) * PAGE) as usize;
        let pinned = self.maps[file].pin_ref(first * WORD, len).expect("they can be read");
        let start = pages.start * PAGE;
        let words = pages.flat_map(line_words);
        words
            .map(|word| tie(word, value(&pinned, (word * WORD - start) as usize)))
            .fold(0, u64::wrapping_add)
    }
}

fn value(bytes: &[u8], at: usize) -> u64 {
    let word = bytes[at..].first_chunk().expect("a whole word");
    u64::from_le_bytes(*word)
}
