//! What was stored behind the end of a file, in its last page: such bytes are as they were
//! stored, or zeros, and nobody says when.

use std::collections::BTreeMap;

use super::PAGE;

#[derive(Clone, Default, PartialEq)]
pub struct Tail {
    /// What has been stored to each byte, by its offset in the file. Bytes behind the end
    /// that aren't here are zeros.
    stored: BTreeMap<usize, Vec<u8>>,
}

impl Tail {
    /// Bytes are stored to the file's shared pages.
    pub fn store(&mut self, size: usize, at: usize, bytes: &[u8]) {
        for (at, byte) in (at..).zip(bytes).filter(|(at, _)| *at >= size) {
            self.stored.entry(at).or_insert_with(|| vec![0]).push(*byte);
        }
    }

    /// May a byte be this?
    pub fn permits(&self, at: usize, byte: u8) -> bool {
        self.stored.get(&at).is_some_and(|stored| stored.contains(&byte))
    }

    /// The file has another length.
    pub fn resize(&mut self, old: usize, new: usize) {
        if new < old {
            self.stored.clear();
        }
        let last = new.next_multiple_of(PAGE);
        self.stored.retain(|at, _| (new..last).contains(at));
    }
}
