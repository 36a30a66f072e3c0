//! The kernel's mmap.

use std::fs::File;
use std::io;

use faultless::Pattern;
use faultless_measure::model::PAGE_WORDS;
use faultless_measure::problem::{Problem, Result};
use faultless_measure::touch::{KernelMap, Words, Writes};

use super::parts::Parts;
use super::{Access, Batches};
use crate::case::Case;
use crate::shape::Shape;
use crate::system::System;

/// Maps the files and gives the advice that suits the workload.
pub fn map(case: &Case, files: &[File]) -> Result<Vec<KernelMap>> {
    let failed = |error: io::Error| Problem::new(format!("cannot map: {error}"));
    let writes = if case.write_percent > 0 { Writes::Allowed } else { Writes::Refused };
    let definition = case.workload.definition();
    let make = |file: &File| -> io::Result<KernelMap> {
        let map = KernelMap::new(file, case.bytes / case.files, writes)?;
        match definition.shape(case) {
            // What the kernel can be told and Faultless can't: a pattern for each part.
            Shape::HotAndScan { scanned, .. } => {
                map.advise_pages(0..scanned.start, Pattern::Random)?;
                map.advise_pages(scanned, Pattern::Sequential)?;
            }
            _ => map.advise(definition.pattern())?,
        }
        Ok(map)
    };
    files.iter().map(|file| make(file).map_err(failed)).collect()
}

/// Words by plain pointers.
pub struct Kernel<'a> {
    maps: &'a [KernelMap],
    words: Vec<Words<'a>>,
    parts: Parts,
    batches: Batches,
}

impl<'a> Kernel<'a> {
    /// Of these maps; told of each batch or not, as the system says.
    pub fn new(case: &Case, maps: &'a [KernelMap], system: &System) -> Kernel<'a> {
        let batches = match system {
            System::KernelWillNeed => Batches::Yes,
            _ => Batches::No,
        };
        let words = maps.iter().map(KernelMap::words).collect();
        Kernel { maps, words, parts: Parts::of(case), batches }
    }
}

impl Access for Kernel<'_> {
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
            for (file, word) in words.iter().map(|word| self.parts.split(*word)) {
                self.maps[file].will_need(word / PAGE_WORDS).expect("advice is taken");
            }
        }
        for (word, value) in words.iter().zip(values) {
            *value = self.load(*word);
        }
    }

    fn batches(&self) -> Batches {
        self.batches
    }

    fn flush(&self) -> Result<()> {
        let failed = |error: io::Error| Problem::new(format!("cannot flush: {error}"));
        self.maps.iter().try_for_each(|map| map.flush().map_err(failed))
    }
}
