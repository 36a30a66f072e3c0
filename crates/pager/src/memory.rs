//! Bytes in this process, as a backing.

use std::io::{self, IoSlice, IoSliceMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::pager::{Pager, Shrunk};
use crate::transfer::total;

/// A backing in memory, for tests and scratch. Nothing of it is durable.
///
/// ```
/// use faultless_pager::{MemoryPager, Pager};
/// use std::io::IoSlice;
///
/// let pager = MemoryPager::new(8192);
/// pager.write(4096, &[IoSlice::new(b"page one")])?;
/// assert_eq!(&pager.bytes()[4096..4104], b"page one");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct MemoryPager {
    /// Held for the time of one copy only.
    bytes: Mutex<Vec<u8>>,
}

impl MemoryPager {
    /// A backing of `size` zeros.
    pub fn new(size: usize) -> MemoryPager {
        MemoryPager::from_bytes(vec![0; size])
    }

    /// A backing that holds `bytes`.
    pub fn from_bytes(bytes: Vec<u8>) -> MemoryPager {
        MemoryPager { bytes: Mutex::new(bytes) }
    }

    /// A copy of what it holds now.
    pub fn bytes(&self) -> Vec<u8> {
        self.lock().clone()
    }

    /// A panic elsewhere can't leave the bytes half changed: they have no
    /// invariant to break.
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pager for MemoryPager {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.lock().len() as u64)
    }

    fn read(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let bytes = self.lock();
        let mut rest = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).unwrap_or(&[]);
        let mut done = 0;
        for buf in bufs {
            let count = buf.len().min(rest.len());
            buf[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            done += count;
        }
        Ok(done)
    }

    fn write(&self, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<()> {
        let mut bytes = self.lock();
        let size = bytes.len() as u64;
        let len = total(bufs);
        let written = Shrunk::fitting(offset, len, size);
        // The offset is at most the length here, unless there is nothing to write.
        let mut rest =
            usize::try_from(offset).ok().and_then(|at| bytes.get_mut(at..)).unwrap_or_default();
        for buf in bufs {
            let count = buf.len().min(rest.len());
            let (head, tail) = rest.split_at_mut(count);
            head.copy_from_slice(&buf[..count]);
            rest = tail;
        }
        if written < len {
            return Err(Shrunk { offset, len, size, written }.into());
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn resize(&self, size: u64) -> io::Result<()> {
        let size = usize::try_from(size).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut bytes = self.lock();
        let more = size.saturating_sub(bytes.len());
        bytes.try_reserve(more).map_err(|_| io::ErrorKind::OutOfMemory)?;
        bytes.resize(size, 0);
        Ok(())
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut bytes = self.lock();
        let size = bytes.len() as u64;
        let end = offset.saturating_add(len).min(size);
        // Both are at most the length of a vector.
        bytes[offset.min(end) as usize..end as usize].fill(0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stop_at_the_end() {
        let pager = MemoryPager::from_bytes((0..10).collect());
        let (mut a, mut b) = ([0; 4], [0; 4]);
        let mut bufs = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
        assert_eq!(pager.read(4, &mut bufs).unwrap(), 6);
        assert_eq!((a, &b[..2]), ([4, 5, 6, 7], &[8, 9][..]));
        assert_eq!(pager.read(10, &mut [IoSliceMut::new(&mut a)]).unwrap(), 0);
        assert_eq!(pager.read(u64::MAX, &mut [IoSliceMut::new(&mut a)]).unwrap(), 0);
    }

    #[test]
    fn writes_never_grow_it() {
        let pager = MemoryPager::new(6);
        let error = pager.write(4, &[IoSlice::new(b"abc"), IoSlice::new(b"d")]).unwrap_err();
        let shrunk = Shrunk { offset: 4, len: 4, size: 6, written: 2 };
        assert_eq!(Shrunk::of(&error), Some(shrunk));
        assert_eq!(pager.bytes(), b"\0\0\0\0ab");
        let error = pager.write(9, &[IoSlice::new(b"x")]).unwrap_err();
        assert_eq!(Shrunk::of(&error).unwrap().written, 0);
    }

    #[test]
    fn resized_bytes_are_zeros_and_punched_ones_too() {
        let pager = MemoryPager::from_bytes(vec![1; 4]);
        pager.resize(2).unwrap();
        pager.resize(5).unwrap();
        assert_eq!(pager.bytes(), [1, 1, 0, 0, 0]);
        pager.punch(1, u64::MAX).unwrap();
        assert_eq!(pager.bytes(), [1, 0, 0, 0, 0]);
        pager.punch(9, 1).unwrap();
        assert_eq!(pager.size().unwrap(), 5);
    }
}
