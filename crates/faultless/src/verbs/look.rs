//! What is in memory (mincore(2)), and where what is (/proc/PID/maps, smaps).

use std::collections::HashMap;
use std::ops::RangeBounds;
use std::sync::Arc;

use faultless_addr::ObjectId;
use faultless_linux::{INLINE, THREAD};
use faultless_pager::FileId;
use faultless_runtime::{FileOf, Inside};

use crate::copy::MapCopy;
use crate::error::Error;
use crate::mapping::Mapping;
use crate::memory::Memory;
use crate::raw::MapRaw;
use crate::vm::Vm;

impl Memory {
    /// For every page with a byte of the range: is it in memory now (`mincore(2)`)? One that
    /// was never stored to nor read is not: there is nothing to hold.
    pub fn residency(&self, range: impl RangeBounds<usize>) -> Result<Vec<bool>, Error> {
        let extent = self.extent();
        Ok(self.vm().core().residency(extent.space, extent.touched(range)?)?)
    }
}

impl MapCopy {
    /// For every page with a byte of the range: is it in memory now, whether a copy or the
    /// file's (`mincore(2)`)?
    pub fn residency(&self, range: impl RangeBounds<usize>) -> Result<Vec<bool>, Error> {
        let extent = self.extent();
        Ok(self.mapping().vm.core().residency(extent.space, extent.touched(range)?)?)
    }
}

impl MapRaw {
    /// For every page with a byte of the range: is it in memory of the `Vm` now
    /// (`mincore(2)`)?
    pub fn residency(&self, range: impl RangeBounds<usize>) -> Result<Vec<bool>, Error> {
        let extent = self.extent();
        Ok(self.mapping().core()?.residency(extent.space, extent.touched(range)?)?)
    }
}

impl Vm {
    /// All areas of the `Vm`, with the addresses that programs use, as `/proc/PID/maps` has
    /// them: to the system they are a few large areas without names.
    ///
    /// ```
    /// # fn main() -> faultless::Result<()> {
    /// let vm = faultless::Vm::with_memory(1 << 20)?;
    /// let memory = vm.anonymous(64 << 10)?;
    /// let line = format!("{:08x}-", memory.as_ptr() as usize);
    /// assert!(vm.maps()?.starts_with(&line));
    /// # Ok(())
    /// # }
    /// ```
    pub fn maps(&self) -> Result<String, Error> {
        let _inside = Inside::enter();
        Ok(self.inner.core().maps(&[THREAD, INLINE], self.files())?)
    }

    /// All areas, each with what of it is in memory and in swap, as `/proc/PID/smaps` has
    /// them. To the system itself they are a few large areas, of which its own smaps can't
    /// say what is in the budget.
    ///
    /// `Rss` counts every page that takes a frame: also one that is kept for its next touch
    /// without being shown, which `Referenced` doesn't count. `Shared_…` are pages at several
    /// addresses of this process; whether a page is shared with a forked child is not known
    /// here. `Swap` is what is in swap and not in memory; `Locked`, `Private_Dirty` and the
    /// others mean what they mean to the kernel. What there isn't (huge pages, KSM) is 0.
    ///
    /// ```
    /// # fn main() -> faultless::Result<()> {
    /// let vm = faultless::Vm::with_memory(1 << 20)?;
    /// let mut memory = vm.anonymous(64 << 10)?;
    /// memory[..8192].fill(1);
    /// let smaps = vm.smaps()?;
    /// assert!(smaps.contains("Size:                 64 kB"));
    /// assert!(smaps.contains("Private_Dirty:         8 kB"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn smaps(&self) -> Result<String, Error> {
        let _inside = Inside::enter();
        Ok(self.inner.core().smaps(&[THREAD, INLINE], self.files())?)
    }

    /// Which file is which object.
    fn files(&self) -> impl Fn(ObjectId) -> FileOf {
        let files = self.inner.catalog.files();
        let of_object = |(id, mapping): &(FileId, Arc<Mapping>)| {
            let device = (rustix::fs::major(id.dev), rustix::fs::minor(id.dev));
            (mapping.object(), FileOf { device, inode: id.ino })
        };
        let known: HashMap<_, _> = files.iter().map(of_object).collect();
        // Its files stay as long as somebody asks: no number is used again meanwhile.
        move |object| {
            let _ = &files;
            known.get(&object).cloned().unwrap_or_default()
        }
    }
}
