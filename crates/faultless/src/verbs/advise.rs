//! What will become of a part of private memory (madvise(2)).

use std::ops::RangeBounds;

use faultless_engine::space;

use crate::copy::MapCopy;
use crate::error::Error;
use crate::memory::Memory;

/// What will become of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Advice {
    /// They are needed soon: what is in swap, or in the file, begins to come back, as far as
    /// the budget has room to spare (`MADV_WILLNEED`).
    WillNeed,
    /// They are not needed for long: what can leave memory does, to swap (`MADV_PAGEOUT`).
    PageOut,
    /// They are needed less than others: what leaves memory next is they (`MADV_COLD`).
    Cold,
    /// They are worth nothing: zeros from now on (`MADV_FREE`, which may come later on
    /// Linux). For anonymous memory only.
    Free,
}

impl Advice {
    fn of_space(self) -> space::Advice {
        match self {
            Advice::WillNeed => space::Advice::WillNeed,
            Advice::PageOut => space::Advice::PageOut,
            Advice::Cold => space::Advice::Cold,
            Advice::Free => space::Advice::Free,
        }
    }
}

impl Memory {
    /// Says what will become of the pages of a range, which begins with a page and is
    /// rounded up to whole ones (`madvise(2)`).
    ///
    /// # Errors
    ///
    /// EINVAL where the range doesn't begin with a page, ENOMEM where it leaves the memory;
    /// EINVAL where [`PageOut`](Advice::PageOut) or [`Free`](Advice::Free) meets locked
    /// pages: those before are done.
    pub fn advise(&mut self, range: impl RangeBounds<usize>, advice: Advice) -> Result<(), Error> {
        let extent = self.extent();
        let pages = extent.pages(range)?;
        Ok(self.vm().core().advise_range(extent.space, pages, advice.of_space())?)
    }

    /// The pages of a range are zeros again, and give memory and swap back at once
    /// (`MADV_DONTNEED`). The range begins with a page and is rounded up to whole ones:
    /// bytes behind its end go, too.
    ///
    /// # Errors
    ///
    /// EINVAL where the range doesn't begin with a page or pages are locked, ENOMEM where it
    /// leaves the memory.
    ///
    /// ```
    /// # fn main() -> faultless::Result<()> {
    /// let vm = faultless::Vm::with_memory(1 << 20)?;
    /// let mut memory = vm.anonymous(64 << 10)?;
    /// memory.fill(7);
    /// memory.discard(4096..8192)?;
    /// assert_eq!((memory[4095], memory[4096], memory[8192]), (7, 0, 7));
    /// # Ok(())
    /// # }
    /// ```
    pub fn discard(&mut self, range: impl RangeBounds<usize>) -> Result<(), Error> {
        let extent = self.extent();
        let pages = extent.pages(range)?;
        Ok(self.vm().core().dont_need(extent.space, pages)?)
    }

    /// All bytes are zeros again, and take no room.
    pub fn clear(&mut self) -> Result<(), Error> {
        self.discard(..)
    }
}

impl MapCopy {
    /// As [`Memory::advise`]; what was not stored to is the file's, and is read from there.
    pub fn advise(&mut self, range: impl RangeBounds<usize>, advice: Advice) -> Result<(), Error> {
        let extent = self.extent();
        let pages = extent.pages(range)?;
        Ok(self.mapping().vm.core().advise_range(extent.space, pages, advice.of_space())?)
    }

    /// Forgets what was stored to the pages of a range: their bytes are the file's again
    /// (`MADV_DONTNEED`). Ranges and errors are those of [`Memory::discard`]; all of the
    /// map is `..`.
    pub fn discard(&mut self, range: impl RangeBounds<usize>) -> Result<(), Error> {
        let extent = self.extent();
        let pages = extent.pages(range)?;
        Ok(self.mapping().vm.core().dont_need(extent.space, pages)?)
    }
}
