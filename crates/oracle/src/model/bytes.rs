//! Bytes of which some may read as zero instead: the one thing that Linux leaves open
//! about memory.
//!
//! Two promises are loose. After MADV_FREE a page holds what it held, or zeros, until
//! it is written. And what is stored behind a file's end, in its last page, stays until
//! the page is written back to the disk, whenever that is.

use std::fmt;

use crate::call::PAGE;
use crate::outcome::Outcome;

/// Bytes, and which of them may be zero instead.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Loose {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// For each: may it read as zero as well?
    pub or_zero: Vec<bool>,
}

impl fmt::Debug for Loose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let loose = self.or_zero.iter().filter(|may| **may).count();
        write!(f, "{:?}, {loose} of them zero instead", Outcome::Bytes(self.bytes.clone()))
    }
}

impl Loose {
    /// Just these bytes.
    pub fn exactly(bytes: Vec<u8>) -> Loose {
        let or_zero = vec![false; bytes.len()];
        Loose { bytes, or_zero }
    }

    /// A page of zeros.
    pub fn page() -> Loose {
        Loose::exactly(vec![0; PAGE as usize])
    }

    /// How many bytes.
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// None?
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// A part.
    pub fn part(&self, from: u64, len: u64) -> Loose {
        let range = from as usize..(from + len) as usize;
        Loose { bytes: self.bytes[range.clone()].to_vec(), or_zero: self.or_zero[range].to_vec() }
    }

    /// Puts `other` in place of what is at `at`.
    pub fn write(&mut self, at: u64, other: &Loose) {
        let range = at as usize..(at + other.len()) as usize;
        self.bytes[range.clone()].copy_from_slice(&other.bytes);
        self.or_zero[range].copy_from_slice(&other.or_zero);
    }

    /// Puts `other` behind the end.
    pub fn push(&mut self, other: &Loose) {
        self.bytes.extend(&other.bytes);
        self.or_zero.extend(&other.or_zero);
    }

    /// Zeros from `from` up to `to`.
    pub fn clear(&mut self, from: u64, to: u64) {
        self.bytes[from as usize..to as usize].fill(0);
        self.or_zero[from as usize..to as usize].fill(false);
    }

    /// From `from` on, each byte may be zero from now on.
    pub fn loosen(&mut self, from: u64) {
        self.or_zero[from as usize..].fill(true);
    }

    /// May these be the bytes?
    pub fn allows(&self, seen: &[u8]) -> bool {
        let fits =
            |(i, byte): (usize, &u8)| *byte == self.bytes[i] || self.or_zero[i] && *byte == 0;
        seen.len() == self.bytes.len() && seen.iter().enumerate().all(fits)
    }
}
