//! One page to stored bytes and back: lz4, or as it is, or nothing if it is zeros.

use std::io::{IoSlice, IoSliceMut};

use lz4_flex::block;
use xxhash_rust::xxh32::xxh32;

use crate::pager::PAGE_SIZE;

/// Bytes of a page, where arrays are meant.
pub(super) const PAGE: usize = PAGE_SIZE as usize;

/// Room on the disk comes in units of so many bytes.
pub(super) const UNIT: usize = 512;

/// A page.
pub(super) type Page = [u8; PAGE];

/// What is known of a page's stored bytes, besides where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// How many bytes: 0 for zeros, a whole page for bytes that don't compress.
    pub(super) len: u16,
    /// xxHash32 of the stored bytes.
    pub(super) sum: u32,
}

impl Stored {
    /// A page of zeros, which takes no room.
    pub(super) const ZEROS: Stored = Stored { len: 0, sum: 0 };

    /// How many units the bytes take.
    pub(super) fn units(self) -> usize {
        usize::from(self.len).div_ceil(UNIT)
    }
}

/// Appends the stored bytes of `page` to `out`, filled up to whole units.
pub(super) fn encode(page: &Page, out: &mut Vec<u8>) -> Stored {
    if page.iter().all(|byte| *byte == 0) {
        return Stored::ZEROS;
    }
    let start = out.len();
    out.resize(start + block::get_maximum_output_size(PAGE), 0);
    let packed = block::compress_into(page, &mut out[start..]);
    let len = match packed {
        // What takes all units anyway is read quicker as it is.
        Ok(len) if len <= PAGE - UNIT => len,
        _ => {
            out[start..start + PAGE].copy_from_slice(page);
            PAGE
        }
    };
    let sum = xxh32(&out[start..start + len], 0);
    out.truncate(start + len);
    out.resize(start + len.next_multiple_of(UNIT), 0);
    Stored { len: len as u16, sum }
}

/// The page whose stored bytes `bytes` begins with; `None` if they are not those
/// that were stored, or do not make a whole page.
pub(super) fn decode(stored: Stored, bytes: &[u8]) -> Option<Page> {
    let mut page = [0; PAGE];
    if stored == Stored::ZEROS {
        return Some(page);
    }
    let bytes = bytes.get(..usize::from(stored.len))?;
    if xxh32(bytes, 0) != stored.sum {
        return None;
    }
    if bytes.len() == PAGE {
        page.copy_from_slice(bytes);
        return Some(page);
    }
    let len = block::decompress_into(bytes, &mut page).ok()?;
    (len == PAGE).then_some(page)
}

/// Page `index` of the bytes in `bufs`, which has it.
pub(super) fn gather(bufs: &[IoSlice<'_>], index: usize) -> Page {
    let mut page = [0; PAGE];
    let mut skip = index * PAGE;
    let mut done = 0;
    for buf in bufs {
        let piece = &buf[skip.min(buf.len())..];
        skip = skip.saturating_sub(buf.len());
        let count = piece.len().min(PAGE - done);
        page[done..done + count].copy_from_slice(&piece[..count]);
        done += count;
    }
    debug_assert_eq!(done, PAGE);
    page
}

/// Makes `page` page `index` of the bytes in `bufs`, as far as they go.
pub(super) fn scatter(page: &Page, bufs: &mut [IoSliceMut<'_>], index: usize) {
    let mut skip = index * PAGE;
    let mut done = 0;
    for buf in bufs {
        let len = buf.len();
        let piece = &mut buf[skip.min(len)..];
        skip = skip.saturating_sub(len);
        let count = piece.len().min(PAGE - done);
        piece[..count].copy_from_slice(&page[done..done + count]);
        done += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that don't compress.
    fn noise() -> Page {
        let mut state = 1u32;
        std::array::from_fn(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
    }

    #[test]
    fn pages_come_back() {
        let text: Page = std::array::from_fn(|i| b"swap "[i % 5]);
        for (page, units) in [([0; PAGE], 0), ([7; PAGE], 1), (text, 1), (noise(), 8)] {
            let mut out = vec![0xaa; 3];
            let stored = encode(&page, &mut out);
            assert_eq!((stored.units(), out.len()), (units, 3 + units * UNIT));
            assert_eq!(decode(stored, &out[3..]), Some(page));
        }
    }

    #[test]
    fn other_bytes_are_not_taken_for_the_page() {
        for page in [[7; PAGE], noise()] {
            let mut out = Vec::new();
            let stored = encode(&page, &mut out);
            assert_eq!(decode(stored, &out[..usize::from(stored.len) - 1]), None);
            out[5] ^= 1;
            assert_eq!(decode(stored, &out), None);
        }
        // Stored well, and still not a whole page.
        let bytes = block::compress(&[1; 100]);
        let stored = Stored { len: bytes.len() as u16, sum: xxh32(&bytes, 0) };
        assert_eq!(decode(stored, &bytes), None);
    }

    #[test]
    fn pages_are_found_in_pieces_of_any_length() {
        let bytes: Vec<u8> = (0..3 * PAGE).map(|i| (i / 7) as u8).collect();
        let bufs: Vec<IoSlice<'_>> = bytes.chunks(1000).map(IoSlice::new).collect();
        let mut copy = vec![0; 3 * PAGE];
        let mut into: Vec<IoSliceMut<'_>> = copy.chunks_mut(777).map(IoSliceMut::new).collect();
        for index in 0..3 {
            let page = gather(&bufs, index);
            assert_eq!(page, bytes[index * PAGE..][..PAGE]);
            scatter(&page, &mut into, index);
        }
        assert_eq!(copy, bytes);
    }
}
