//! Memory that becomes longer or shorter (mremap(2)).

use faultless_addr::PAGE_BYTES;
use faultless_runtime::Moving;

use crate::error::Error;
use crate::memory::Memory;

impl Memory {
    /// Makes it `len` bytes long, and answers where its first byte is then (`mremap(2)` with
    /// `MREMAP_MAYMOVE`): where it was, if the addresses behind it are free, else elsewhere.
    ///
    /// No byte is copied, and nothing is needed twice: pages keep their place in memory or
    /// in swap, and are meant at other addresses. New pages are zeros. Bytes between the
    /// old end and the end of its page are as they were left.
    ///
    /// # Errors
    ///
    /// Where it becomes longer: ENOMEM where budget and swap have no room for so many bytes
    /// more; EFAULT where parts of it have different rights or locks. EINVAL for no bytes at
    /// all. It is as it was then.
    ///
    /// ```
    /// # fn main() -> faultless::Result<()> {
    /// let vm = faultless::Vm::with_memory(1 << 20)?;
    /// let mut memory = vm.anonymous(64 << 10)?;
    /// memory[5] = 7;
    /// memory.resize(256 << 10)?;
    /// assert_eq!((memory.len(), memory[5], memory[200 << 10]), (256 << 10, 7, 0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn resize(&mut self, len: usize) -> Result<*mut u8, Error> {
        let bytes = (len as u64).checked_next_multiple_of(PAGE_BYTES).filter(|bytes| *bytes > 0);
        let Some(bytes) = bytes else {
            return Err(Error::Option {
                option: "the length of memory",
                value: format!("{len} bytes"),
                remedy: "give one byte at least, or drop it",
            });
        };
        let old = self.pages().len();
        let (more, less) = (bytes.saturating_sub(old), old.saturating_sub(bytes));
        self.vm().room.take(more)?;
        match self.move_to(bytes) {
            Ok(()) => {
                self.vm().room.give(less);
                self.set_len(len);
                Ok(self.as_mut_ptr())
            }
            Err(error) => {
                self.vm().room.give(more);
                Err(error)
            }
        }
    }

    /// What grows once grows again, so there is to be room for it.
    fn move_to(&mut self, bytes: u64) -> Result<(), Error> {
        let (space, range, moving) = (self.extent().space, self.pages(), Moving::WithRoom(bytes));
        let moved = self.vm().core().resize_private(space, range, bytes, moving)?;
        self.set_pages(moved);
        Ok(())
    }
}
