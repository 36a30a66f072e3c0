//! How many frames are kept free ahead of need.
//!
//! Each of them is one page less in memory. A fault needs one at a time, and reclaim keeps up
//! with a few hundred; a read-ahead window needs as many as it is long, all at once. So few
//! are kept while pages are asked for one by one, and twice the longest window (or batch of
//! pages that was asked for) for as long as there are such.
//!
//! ```text
//!   free frames   0 ........ low ........ high .............. all
//!                 │          │            └ reclaim stops
//!                 │          └ reclaim begins, in the background
//!                 └ whoever needs a frame reclaims
//! ```

/// Of budgets that are small, a sixteenth is always kept up to this many frames.
const LEAST: u32 = 64;

/// After so many pages that were asked for alone, half of what windows needed is given up.
const ALONE_MAX: u32 = 256;

/// What recent requests say about the next ones.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reserve {
    /// Pages that were wanted at once lately, at most.
    batch: u32,
    /// Pages that were asked for alone since.
    alone: u32,
}

impl Reserve {
    /// So many pages are wanted at once, whether there is room for them or not.
    pub fn note_batch(&mut self, pages: u64) {
        self.batch = self.batch.max(u32::try_from(pages).unwrap_or(u32::MAX));
        self.alone = 0;
    }

    /// A page is asked for, and none beside it.
    pub fn note_alone(&mut self) {
        self.alone += 1;
        if self.alone >= ALONE_MAX {
            (self.batch, self.alone) = (self.batch / 2, 0);
        }
    }

    /// Below this many free frames of a budget, the background begins to reclaim.
    pub fn low(&self, budget: u32) -> u32 {
        let most = (budget / 16).max(1);
        least(budget).max(self.batch.saturating_mul(2)).min(most)
    }

    /// Free frames that are not for pages that nobody has asked for: whoever needs one at once
    /// is to find one.
    pub fn kept(&self, budget: u32) -> u32 {
        (self.low(budget).min(least(budget)) / 2).max(1)
    }
}

/// What single faults need, of a budget that is large enough.
fn least(budget: u32) -> u32 {
    LEAST.max(budget / 128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_kept_for_single_pages_and_many_for_windows() {
        let mut reserve = Reserve::default();
        assert_eq!([16, 256, 1024, 16384, 1 << 20].map(|n| reserve.low(n)), [1, 16, 64, 128, 8192]);
        reserve.note_batch(300);
        assert_eq!([16, 256, 1024, 16384, 1 << 20].map(|n| reserve.low(n)), [1, 16, 64, 600, 8192]);
        reserve.note_batch(100_000);
        assert_eq!([16384, 1 << 20].map(|n| reserve.low(n)), [1024, 1 << 16]);
        // Nearly all of them are for windows.
        assert_eq!([16, 256, 16384, 1 << 20].map(|n| reserve.kept(n)), [1, 8, 64, 4096]);
        // It is forgotten by and by.
        (0..ALONE_MAX).for_each(|_| reserve.note_alone());
        reserve.note_batch(4);
        assert_eq!(reserve.low(1 << 20), 1 << 16);
        (0..17 * ALONE_MAX).for_each(|_| reserve.note_alone());
        assert_eq!(reserve.low(1 << 20), 8192);
    }
}
