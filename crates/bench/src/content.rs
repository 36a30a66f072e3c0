//! The files, and what must be read from them.

use std::io::Seek as _;
use std::path::Path;

use faultless_measure::disk::{self, Temporary};
use faultless_measure::model::{Model, PAGE, PAGE_WORDS, WORD};
use faultless_measure::problem::{Problem, Result};
use faultless_measure::progress::Progress;

use crate::case::Case;
use crate::job::{Amount, FileSet};
use crate::sequence::{COUNTER, Sequence, counter_of, is_store};
use crate::shape::{Shape, Tree, line_words};

/// What files hold at first.
const MODEL: Model = Model { rounds: 0 };
/// Accesses computed at a time.
const BLOCK: usize = 1024;

/// A word's part of a sum: the value, tied to its place.
pub fn tie(word: u64, value: u64) -> u64 {
    value.wrapping_mul(2 * word + 1)
}

/// Files of known content, and what has been added to them.
pub struct Content {
    files: Vec<Temporary>,
    set: FileSet,
    file_bytes: u64,
    /// How often each page's counter has been added to.
    added: Vec<u32>,
}

impl Content {
    /// Makes `files` files of `bytes` in all.
    pub fn make(dir: &Path, bytes: u64, files: u64) -> Result<Content> {
        disk::check_room(dir, bytes)?;
        let file_bytes = bytes / files;
        let progress = Progress::bytes("writing files", bytes);
        let make = |index: u64| {
            let mut file = Temporary::new(dir, &FileSet::purpose(index))?;
            file.fill_as_part(index * file_bytes, file_bytes, MODEL, &progress)?;
            Ok(file)
        };
        let files = (0..files).map(make).collect::<Result<Vec<_>>>()?;
        let set = FileSet { dir: dir.to_owned(), pid: std::process::id() };
        Ok(Content { files, set, file_bytes, added: vec![0; (bytes / PAGE) as usize] })
    }

    /// Writes everything anew, where a run has ended in the middle of its stores.
    pub fn renew(&mut self) -> Result<()> {
        for (index, temporary) in (0..).zip(&mut self.files) {
            temporary.file.rewind().map_err(Problem::on("rewind", &temporary.path))?;
            let start = index * self.file_bytes;
            temporary.fill_as_part(start, self.file_bytes, MODEL, &Progress::hidden())?;
        }
        self.added.fill(0);
        Ok(())
    }

    /// Where the files are.
    pub fn set(&self) -> &FileSet {
        &self.set
    }

    /// Does it serve a case?
    pub fn suits(&self, case: &Case) -> bool {
        self.files.len() as u64 == case.files
            && case.bytes <= self.file_bytes * case.files
            && (case.files == 1 || case.bytes == self.file_bytes * case.files)
    }

    /// Notes the stores of a run of `case`, and compares every word of the files with what
    /// it must be now. Nothing to be done for a case without stores.
    pub fn verify_stores(&mut self, case: &Case) -> Result<()> {
        if case.write_percent == 0 {
            return Ok(());
        }
        let shape = case.workload.definition().shape(case);
        if let Shape::Accesses(sequence) = &shape {
            each_word(&**sequence, case.warm + case.timed, |nth, word| {
                if is_store(nth, case.seed, case.write_percent) {
                    self.added[(word / PAGE_WORDS) as usize] += 1;
                }
            });
        }
        self.verify()
    }

    fn verify(&self) -> Result<()> {
        for (index, temporary) in (0..).zip(&self.files) {
            let path = &temporary.path;
            disk::drop_page_cache(&temporary.file).map_err(Problem::on("flush", path))?;
            let start = index * self.file_bytes;
            let mut wrong = None;
            let read = disk::read_all(path, &Progress::hidden(), |offset, chunk| {
                let (words, _) = chunk.as_chunks::<8>();
                for (word, found) in ((start + offset) / WORD..).zip(words) {
                    if u64::from_le_bytes(*found) != self.word(word) {
                        wrong.get_or_insert(word);
                    }
                }
            })?;
            if let Some(word) = wrong {
                let at = word * WORD - start;
                let path = path.display();
                return Err(Problem::new(format!("WRONG: {path} at offset {at}, after stores")));
            }
            if read != self.file_bytes {
                let path = path.display();
                return Err(Problem::new(format!("WRONG: {path} has {read} bytes now")));
            }
        }
        Ok(())
    }

    fn word(&self, word: u64) -> u64 {
        let first = MODEL.word(word);
        match word % PAGE_WORDS {
            COUNTER => first.wrapping_add(u64::from(self.added[(word / PAGE_WORDS) as usize])),
            _ => first,
        }
    }
}

/// The sum that whoever did `amount` of a case must come to.
pub fn expected_sum(case: &Case, amount: Amount) -> u64 {
    let tied = |word: u64| tie(word, MODEL.word(word));
    match case.workload.definition().shape(case) {
        Shape::Accesses(sequence) => {
            let mut sum = 0u64;
            each_word(&*sequence, amount.accesses, |nth, word| {
                if !is_store(nth, case.seed, case.write_percent) {
                    sum = sum.wrapping_add(tied(word));
                }
            });
            sum
        }
        Shape::Scan => {
            let pages = (0..case.warm).chain(0..amount.accesses - case.warm);
            pages.flat_map(line_words).map(tied).fold(0, u64::wrapping_add)
        }
        Shape::HotAndScan { hot, cycle, scanned, .. } => {
            let sum_of = |count| {
                let mut sum = 0u64;
                each_word(&*hot, count, |_, word| sum = sum.wrapping_add(tied(word)));
                sum
            };
            let (cycles, rest) = (amount.accesses / cycle, amount.accesses % cycle);
            let pages = scanned.clone().cycle().take(amount.scanned as usize);
            let scan = pages.flat_map(line_words).map(tied).fold(0, u64::wrapping_add);
            sum_of(cycle).wrapping_mul(cycles).wrapping_add(sum_of(rest)).wrapping_add(scan)
        }
        Shape::Walks(tree) => {
            let walks = (0..amount.accesses).map(|nth| walk_sum(&tree, nth));
            walks.fold(0, u64::wrapping_add)
        }
    }
}

fn walk_sum(tree: &Tree, nth: u64) -> u64 {
    let mut word = tree.root(nth);
    let mut sum = tie(word, MODEL.word(word));
    for level in 1..tree.levels.len() {
        word = tree.word(nth, level, MODEL.word(word));
        sum = sum.wrapping_add(tie(word, MODEL.word(word)));
    }
    sum
}

/// The words of the first `count` accesses, each with its number.
pub fn each_word(sequence: &dyn Sequence, count: u64, mut each: impl FnMut(u64, u64)) {
    let mut words = [0; BLOCK];
    for from in (0..count).step_by(BLOCK) {
        let words = &mut words[..(count - from).min(BLOCK as u64) as usize];
        sequence.fill(from, words);
        (from..).zip(&*words).for_each(|(nth, word)| each(nth, *word));
    }
}

/// The words that a peer is told of: those of stores as they are stored to.
pub fn accessed_words(case: &Case, sequence: &dyn Sequence) -> Vec<(u64, bool)> {
    let mut all = Vec::new();
    each_word(sequence, case.warm + case.timed, |nth, word| {
        let stores = is_store(nth, case.seed, case.write_percent);
        all.push((if stores { counter_of(word) } else { word }, stores));
    });
    all
}
