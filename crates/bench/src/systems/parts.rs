//! Where a word is, when there are many files.

use faultless_measure::model::WORD;

use crate::case::Case;

/// Files of the same length, which is a power of two where there is more than one.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    shift: u32,
}

impl Parts {
    /// Those of a case.
    pub fn of(case: &Case) -> Parts {
        let words = case.bytes / case.files / WORD;
        match case.files {
            1 => Parts { shift: 63 },
            _ => {
                assert!(words.is_power_of_two(), "so that a file is found by a shift");
                Parts { shift: words.ilog2() }
            }
        }
    }

    /// Which file, and which word of it.
    #[inline]
    pub fn split(self, word: u64) -> (usize, u64) {
        ((word >> self.shift) as usize, word & ((1 << self.shift) - 1))
    }
}
