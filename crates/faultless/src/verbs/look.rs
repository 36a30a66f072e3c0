//! What is in memory (mincore(2)), and where what is (/proc/PID/maps).

use std::collections::HashMap;
use std::ops::RangeBounds;

use faultless_linux::{INLINE, THREAD};
use faultless_runtime::{FileOf, Inside};

use crate::copy::MapCopy;
use crate::error::Error;
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
        Ok(self.mapping().core().residency(extent.space, extent.touched(range)?)?)
    }
}

impl MapRaw {
    /// For every page with a byte of the range: is it in memory of the `Vm` now
    /// (`mincore(2)`)?
    pub fn residency(&self, range: impl RangeBounds<usize>) -> Result<Vec<bool>, Error> {
        let extent = self.extent();
        Ok(self.mapping().core().residency(extent.space, extent.touched(range)?)?)
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
        let files = self.inner.catalog.files();
        let of_object = |(id, mapping): &(faultless_pager::FileId, _)| {
            let mapping: &std::sync::Arc<crate::mapping::Mapping> = mapping;
            let device = (rustix::fs::major(id.dev), rustix::fs::minor(id.dev));
            (mapping.object(), FileOf { device, inode: id.ino })
        };
        let known: HashMap<_, _> = files.iter().map(of_object).collect();
        let file = |object| known.get(&object).cloned().unwrap_or_default();
        Ok(self.inner.core().maps(&[THREAD, INLINE], file)?)
    }
}
