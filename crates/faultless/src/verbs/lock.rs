//! Private memory that stays in memory, or comes before it is touched (mlock(2)).

use std::ops::RangeBounds;

use crate::copy::MapCopy;
use crate::error::Error;
use crate::memory::Memory;

macro_rules! lock_verbs {
    ($mapping:ty, $core:ident => $enter:expr) => {
        impl $mapping {
            /// Brings every page with a byte of the range in, and has them stay in memory
            /// until [`unlock`](Self::unlock) (`mlock(2)`). They count against the budget,
            /// together with pins: both leave an eighth of it to faults, and four pages at
            /// least. Copies are made at once of what may be stored to.
            ///
            /// Whoever resizes what is locked keeps it locked. Pages whose rights are taken
            /// away altogether may leave until they are given back.
            ///
            /// # Errors
            ///
            /// ENOMEM where the budget has no room for so many pages, a page can't be had,
            /// or the rights forbid every access; then nothing is locked that wasn't before.
            /// ENOMEM where the range leaves the mapping.
            pub fn lock(&mut self, range: impl RangeBounds<usize>) -> Result<(), Error> {
                let extent = self.extent();
                let (pages, $core) = (extent.touched(range)?, &*self);
                Ok($enter.lock(extent.space, pages)?)
            }

            /// Every page with a byte of the range may leave again (`munlock(2)`).
            pub fn unlock(&mut self, range: impl RangeBounds<usize>) -> Result<(), Error> {
                let extent = self.extent();
                let (pages, $core) = (extent.touched(range)?, &*self);
                Ok($enter.unlock(extent.space, pages)?)
            }

            /// Brings every page with a byte of the range in, without holding it there
            /// (`MADV_POPULATE_WRITE`): more than the budget leaves again.
            ///
            /// # Errors
            ///
            /// ENOMEM where a page can't be had, or the rights forbid every access.
            pub fn populate(&mut self, range: impl RangeBounds<usize>) -> Result<(), Error> {
                let extent = self.extent();
                let (pages, $core) = (extent.touched(range)?, &*self);
                Ok($enter.populate(extent.space, pages)?)
            }
        }
    };
}

lock_verbs!(Memory, it => it.vm().core());
lock_verbs!(MapCopy, it => it.mapping().core());
