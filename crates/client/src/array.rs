//! [`Array`]: a list in memory of its own, for who may be inside of an allocator.

#![allow(unsafe_code)]

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use faultless_sys::Errno;

use crate::kernel;

/// Addresses for each list: what isn't used of them costs no memory.
const ROOM_BYTES: usize = 16 << 20;

/// A list whose memory comes straight from the kernel, all addresses at once. A program may
/// unmap something and map it again at the same place: whoever asks for addresses in between
/// is given those, and loses them.
pub(crate) struct Array<T: Copy> {
    start: NonNull<T>,
    len: usize,
    capacity: usize,
}

// SAFETY: 1. the memory belongs to the list alone, as a `Vec`'s does.
unsafe impl<T: Copy + Send> Send for Array<T> {}

impl<T: Copy> Array<T> {
    /// Without memory.
    pub const fn new() -> Array<T> {
        Array { start: NonNull::dangling(), len: 0, capacity: 0 }
    }

    /// Makes room for `more` without [`insert`](Self::insert) needing any. ENOMEM.
    pub fn reserve(&mut self, more: usize) -> Result<(), Errno> {
        if self.capacity == 0 {
            let start = kernel::private_memory(ROOM_BYTES)?;
            self.start = NonNull::new(start as *mut T).ok_or(Errno::NOMEM)?;
            self.capacity = ROOM_BYTES / size_of::<T>();
        }
        if self.len + more <= self.capacity { Ok(()) } else { Err(Errno::NOMEM) }
    }

    /// Puts `value` before what is at `index`. There must be room.
    pub fn insert(&mut self, index: usize, value: T) {
        assert!(self.len < self.capacity && index <= self.len, "no room at {index}");
        let before = self.len;
        self.len += 1;
        self.copy_within(index..before, index + 1);
        self[index] = value;
    }

    /// Takes out what is at `range`.
    pub fn remove(&mut self, range: std::ops::Range<usize>) {
        self.copy_within(range.end.., range.start);
        self.len -= range.len();
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

impl<T: Copy> Deref for Array<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: 1. `len` values from `start` on were written by `insert`, or are zeros that
        // the kernel gave and that `insert` is about to write over; 2. the memory is ours, or
        // dangling and `len` is 0.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Copy> DerefMut for Array<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and `self` is borrowed for changing.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_where_it_was_first() {
        let mut array = Array::new();
        array.reserve(1).unwrap();
        let start = array.as_ptr();
        while array.reserve(1).is_ok() {
            array.insert(array.len(), 7_u64);
        }
        assert_eq!((array.as_ptr(), array.len()), (start, ROOM_BYTES / 8));
    }

    #[test]
    fn it_does_as_a_vector() {
        let (mut array, mut vector) = (Array::new(), Vec::new());
        let mut random = fastrand::Rng::with_seed(7);
        for round in 0..3000_u64 {
            let at = random.usize(..=vector.len());
            if random.u8(..) < 170 {
                array.reserve(1).unwrap();
                array.insert(at, round);
                vector.insert(at, round);
            } else {
                let end = (at + random.usize(..3)).min(vector.len());
                array.remove(at..end);
                vector.drain(at..end);
            }
            assert_eq!(*array, *vector);
        }
        assert!(vector.len() > 600, "more than a page: {}", vector.len());
    }
}
