//! How many slots are read together: more where that has paid.
//!
//! ```text
//!   touched of what was read ahead     slots of the next read
//!   none, slot is beside the last      2
//!   none                               1, but at least half of the last window
//!   none, for the 32nd time            8: is there anything near that pays?
//!   n                                  n + 2, rounded up to a power of two
//! ```
//!
//! Source: `swapin_nr_pages` of Linux (mm/swap_state.c), which has no probes: accesses
//! that stay near each other without being in order never get it to read ahead.

use super::SwapSlot;

/// Slots of a window at most: 128 KiB.
const MOST: u32 = 32;

/// After so many reads of one slot alone a probe is made, of so many slots.
const PROBE_EVERY: u32 = 32;
const PROBE: u32 = 8;

/// The window of reads from a swap area.
#[derive(Clone, Copy, Debug, Default)]
pub struct SwapWindow {
    /// Pages read ahead that were touched since the last read.
    hits: u32,
    size: u32,
    /// Reads of one slot, one after the other.
    alone: u32,
    /// Where the last read without hits was.
    last: Option<SwapSlot>,
}

impl SwapWindow {
    /// A page that was read ahead is touched.
    pub fn hit(&mut self) {
        self.hits += 1;
    }

    /// How many slots to read around `slot`, a power of two.
    pub fn next(&mut self, slot: SwapSlot) -> u32 {
        let hits = core::mem::take(&mut self.hits);
        let wanted = match hits {
            0 => {
                let last = self.last.replace(slot);
                1 + u32::from(last.is_some_and(|last| last.0.abs_diff(slot.0) == 1))
            }
            hits => (hits + 2).next_power_of_two(),
        };
        self.size = wanted.min(MOST).max(self.size / 2);
        self.alone = if self.size == 1 { self.alone + 1 } else { 0 };
        match self.alone.is_multiple_of(PROBE_EVERY) && self.alone > 0 {
            true => PROBE,
            false => self.size,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scattered_reads_are_of_one_slot_but_for_probes() {
        let mut window = SwapWindow::default();
        let total: u32 = (0..128).map(|n| window.next(SwapSlot(n * 7))).sum();
        assert_eq!(total, 124 + 4 * 8);
    }

    #[test]
    fn a_probe_that_pays_makes_the_window_larger() {
        let mut window = SwapWindow::default();
        (1..32).for_each(|n| assert_eq!(window.next(SwapSlot(n * 7)), 1));
        assert_eq!(window.next(SwapSlot(1000)), 8);
        (0..5).for_each(|_| window.hit());
        assert_eq!(window.next(SwapSlot(2000)), 8);
    }

    #[test]
    fn a_sequence_is_found_grows_to_the_most_and_shrinks_by_halves() {
        let mut window = SwapWindow::default();
        let mut at = 0;
        let mut sizes = std::vec::Vec::new();
        for _ in 0..8 {
            let size = window.next(SwapSlot(at));
            (1..size).for_each(|_| window.hit());
            sizes.push(size);
            at += size;
        }
        assert_eq!(sizes, [1, 2, 4, 8, 16, 32, 32, 32]);
        let sizes: std::vec::Vec<_> = (0..6).map(|n| window.next(SwapSlot(1000 * n))).collect();
        assert_eq!(sizes, [32, 16, 8, 4, 2, 1]);
    }
}
