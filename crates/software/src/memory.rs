//! Physical memory: frames of bytes that many may read and write without `unsafe`.
//!
//! ```text
//!   frame  0        1              frames      frames + 1
//!        ┌────────┬────────┬─ … ─┬───────────┬───────────┬─ … ─┐
//!        │ the engine's: FrameNo │ the machine's own: page tables│
//!        └────────┴────────┴─ … ─┴───────────┴───────────┴─ … ─┘
//! ```

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use faultless_addr::{FrameNo, PAGE_SIZE};

/// Bytes of a word, the unit in which memory is kept.
const WORD: usize = size_of::<u64>();

/// Words in a frame, and entries in a page table.
pub const WORDS: usize = PAGE_SIZE / WORD;

/// One frame, aligned as a page is, so that direct I/O can go straight into it.
///
/// A word holds its eight bytes in the order of their addresses. Words are atomic
/// because that is how safe Rust changes memory behind a shared reference; the
/// machine's lock is what makes an access single, so their order is `Relaxed`.
#[repr(C, align(4096))]
struct Frame([AtomicU64; WORDS]);

/// All frames. Clones are the same memory.
#[derive(Clone)]
pub struct Memory(Arc<[Frame]>);

impl Memory {
    /// `frames` frames of zeros.
    pub fn new(frames: u32) -> Memory {
        Memory((0..frames).map(|_| Frame([const { AtomicU64::new(0) }; WORDS])).collect())
    }

    /// Copies the bytes of `frame` from `offset` on.
    pub fn read(&self, frame: FrameNo, offset: usize, into: &mut [u8]) {
        for part in parts(offset, into.len()) {
            let bytes = self.word(frame, part.word).load(Ordering::Relaxed).to_ne_bytes();
            into[part.buffer].copy_from_slice(&bytes[part.within]);
        }
    }

    /// Changes the bytes of `frame` from `offset` on.
    pub fn write(&self, frame: FrameNo, offset: usize, from: &[u8]) {
        for part in parts(offset, from.len()) {
            let word = self.word(frame, part.word);
            let mut bytes = word.load(Ordering::Relaxed).to_ne_bytes();
            bytes[part.within].copy_from_slice(&from[part.buffer]);
            word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        }
    }

    /// Makes every byte of `frame` this one.
    pub fn fill(&self, frame: FrameNo, byte: u8) {
        for word in &self.0[frame.index()].0 {
            word.store(u64::from_ne_bytes([byte; WORD]), Ordering::Relaxed);
        }
    }

    /// Makes frame `to` equal to frame `from`.
    pub fn copy(&self, from: FrameNo, to: FrameNo) {
        for (from, to) in self.0[from.index()].0.iter().zip(&self.0[to.index()].0) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Word `index` of `frame` as a little-endian number, which is how a page table
    /// holds its entries.
    pub fn number(&self, frame: FrameNo, index: usize) -> u64 {
        u64::from_le(self.word(frame, index).load(Ordering::Relaxed))
    }

    /// Changes word `index` of `frame`, little-endian.
    pub fn set_number(&self, frame: FrameNo, index: usize, number: u64) {
        self.word(frame, index).store(number.to_le(), Ordering::Relaxed);
    }

    /// Where `count` frames from `first` on are, for code outside that may use pointers.
    ///
    /// The pointer is good for reading and writing all of them, because:
    ///
    /// 1. it is made from the slice of these frames, not from one word, so it may
    ///    reach every byte of theirs;
    /// 2. every byte is inside an atomic, so it may change behind the shared
    ///    reference that it comes from;
    /// 3. they never move while a clone of this memory lives.
    ///
    /// That nobody else touches them meanwhile is the driver's promise to
    /// [`Machine`](faultless_machine::Machine).
    pub fn pointer(&self, first: FrameNo, count: usize) -> *mut u8 {
        self.0[first.index()..][..count].as_ptr().cast_mut().cast()
    }

    fn word(&self, frame: FrameNo, index: usize) -> &AtomicU64 {
        &self.0[frame.index()].0[index]
    }
}

/// Bytes that are in one word.
struct Part {
    /// Which word of the frame.
    word: usize,
    /// Which of its bytes.
    within: Range<usize>,
    /// Where they are in the caller's buffer.
    buffer: Range<usize>,
}

/// Takes bytes `offset..offset + len` of a frame apart into words.
fn parts(offset: usize, len: usize) -> impl Iterator<Item = Part> {
    let end = offset + len;
    assert!(end <= PAGE_SIZE, "bytes {offset}..{end} are not in one frame");
    (offset / WORD..end.div_ceil(WORD)).map(move |word| {
        let start = word * WORD;
        let (first, last) = (start.max(offset), (start + WORD).min(end));
        Part { word, within: first - start..last - start, buffer: first - offset..last - offset }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: FrameNo = FrameNo(1);

    #[test]
    fn bytes_are_where_they_were_put_and_neighbours_stay() {
        for (offset, len) in [(0, 0), (0, 8), (3, 2), (5, 9), (7, 1), (8, 17), (4088, 8)] {
            let memory = Memory::new(3);
            memory.fill(FRAME, 0xee);
            let bytes: Vec<u8> = (1..=len as u8).collect();
            memory.write(FRAME, offset, &bytes);
            let mut all = [0; PAGE_SIZE];
            memory.read(FRAME, 0, &mut all);
            assert_eq!(all[offset..offset + len], bytes);
            assert!(all[..offset].iter().chain(&all[offset + len..]).all(|byte| *byte == 0xee));
            let mut back = vec![0; len];
            memory.read(FRAME, offset, &mut back);
            assert_eq!(back, bytes);
            assert_eq!(memory.number(FrameNo(0), 511) | memory.number(FrameNo(2), 0), 0);
        }
    }

    #[test]
    fn numbers_are_little_endian() {
        let memory = Memory::new(2);
        memory.set_number(FRAME, 2, 0x0102_0304_0506_0708);
        let mut bytes = [0; 8];
        memory.read(FRAME, 16, &mut bytes);
        assert_eq!(bytes, [8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(memory.number(FRAME, 2), 0x0102_0304_0506_0708);
    }

    #[test]
    fn frames_are_aligned_and_next_to_each_other() {
        let memory = Memory::new(3);
        let start = memory.pointer(FrameNo(0), 3).addr();
        assert!(start.is_multiple_of(PAGE_SIZE));
        assert_eq!(memory.pointer(FrameNo(2), 1).addr(), start + 2 * PAGE_SIZE);
    }

    #[test]
    #[should_panic(expected = "not in one frame")]
    fn a_read_past_the_frame_is_refused() {
        Memory::new(2).read(FrameNo(0), 4090, &mut [0; 8]);
    }
}
