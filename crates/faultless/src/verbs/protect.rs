//! Other rights for a part of a mapping (mprotect(2)).

use std::ops::{BitOr, RangeBounds};

use faultless_addr::Prot;

use crate::copy::MapCopy;
use crate::error::Error;
use crate::memory::Memory;
use crate::raw::MapRaw;

/// What may be done with bytes. As on x86, bytes that may be written may be read.
///
/// ```
/// use faultless::Protection;
/// assert_eq!(Protection::NONE | Protection::READ, Protection::READ);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Protection(Prot);

impl Protection {
    /// Nothing.
    pub const NONE: Protection = Protection(Prot::empty());
    /// Loads.
    pub const READ: Protection = Protection(Prot::READ);
    /// Stores, and loads with them.
    pub const WRITE: Protection = Protection(Prot::WRITE);
    /// Loads and stores.
    pub const READ_WRITE: Protection = Protection(Prot::READ.union(Prot::WRITE));
    /// Instruction fetches, which every call refuses: pages come and go by
    /// `userfaultfd`, and the addresses that they come to are never executable.
    pub const EXEC: Protection = Protection(Prot::EXEC);

    fn rights(self) -> Result<Prot, Error> {
        match self.0.contains(Prot::EXEC) {
            false => Ok(self.0),
            true => Err(Error::Option {
                option: "the protection",
                value: "EXEC".into(),
                remedy: "memory of a Vm can't be executed: copy the code to memory of your own",
            }),
        }
    }
}

impl BitOr for Protection {
    type Output = Protection;

    fn bitor(self, other: Protection) -> Protection {
        Protection(self.0.union(other.0))
    }
}

impl Memory {
    /// Gives the pages of a range other rights (`mprotect(2)`). The range begins with a
    /// page and is rounded up to whole ones.
    ///
    /// When it returns, an access that the rights forbid is a SIGSEGV (`SEGV_ACCERR`) at its
    /// very address, for the program's own handler; by a system call it is EFAULT. The bytes
    /// stay, and are there again when rights are given back.
    ///
    /// # Errors
    ///
    /// EINVAL where the range doesn't begin with a page, ENOMEM where it leaves the memory;
    /// EINVAL for [`Protection::EXEC`].
    ///
    /// # Safety
    ///
    /// As long as rights are missing, no slice of the bytes may be used in a way that they
    /// forbid: a compiler may believe that what a reference leads to can be read, and
    /// written if it is mutable. Use the bytes by [`as_mut_ptr`](Self::as_mut_ptr).
    ///
    /// ```
    /// # fn main() -> faultless::Result<()> {
    /// use faultless::Protection;
    /// let vm = faultless::Vm::with_memory(1 << 20)?;
    /// let mut memory = vm.anonymous(64 << 10)?;
    /// memory[0] = 7;
    /// // SAFETY: the first page is only read until it may be written again.
    /// unsafe { memory.protect(..4096, Protection::READ)? };
    /// assert_eq!(memory[0], 7);
    /// // SAFETY: rights are given back.
    /// unsafe { memory.protect(.., Protection::READ_WRITE)? };
    /// memory[0] = 8;
    /// # Ok(())
    /// # }
    /// ```
    #[allow(unsafe_code)]
    pub unsafe fn protect(
        &mut self,
        range: impl RangeBounds<usize>,
        protection: Protection,
    ) -> Result<(), Error> {
        let extent = self.extent();
        let (pages, rights) = (extent.pages(range)?, protection.rights()?);
        Ok(self.vm().core().protect(extent.space, pages, rights)?)
    }
}

impl MapCopy {
    /// As [`Memory::protect`]. Copies and pages of the file stay as they are.
    ///
    /// # Errors
    ///
    /// As there. A file that may only be read may be stored to here: stores go to copies.
    ///
    /// # Safety
    ///
    /// As there.
    #[allow(unsafe_code)]
    pub unsafe fn protect(
        &mut self,
        range: impl RangeBounds<usize>,
        protection: Protection,
    ) -> Result<(), Error> {
        let extent = self.extent();
        let (pages, rights) = (extent.pages(range)?, protection.rights()?);
        Ok(self.mapping().vm.core().protect(extent.space, pages, rights)?)
    }
}

impl MapRaw {
    /// As [`Memory::protect`], for the addresses of the file, which all its maps in the
    /// `Vm` share: it is for all of them.
    ///
    /// Pins, `read_at` and `write_at` go by the same rights: they are refused (EACCES)
    /// where a pointer would meet SIGSEGV. Changes that were made before are written back
    /// as ever, and the file may be read ahead.
    ///
    /// # Errors
    ///
    /// As there; EACCES for [`WRITE`](Protection::WRITE) where this map is read-only; EBUSY
    /// where rights would go and a pin holds a page of the range, whoever's it is.
    pub fn protect(
        &self,
        range: impl RangeBounds<usize>,
        protection: Protection,
    ) -> Result<(), Error> {
        let (pages, rights) = (self.extent().pages(range)?, protection.rights()?);
        // No bytes: mprotect(2) says nothing of rights then.
        if rights.contains(Prot::WRITE) && !pages.is_empty() {
            self.check_writable()?;
        }
        let mapping = self.mapping();
        Ok(mapping.core()?.protect_object(mapping.handle, pages, rights)?)
    }
}
