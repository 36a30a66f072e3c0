//! Where pages are when they are not in memory: bytes that can be read and written
//! in part, and that fail when the seed says so.

use faultless_addr::{PAGE_BYTES, PAGE_SIZE, PageIndex};

/// One file, or the swap area.
pub struct Backing {
    pub bytes: Vec<u8>,
}

impl Backing {
    /// `pages` pages that differ from each other and from zeros.
    pub fn file(pages: u64, salt: u8) -> Backing {
        let mut bytes = vec![0; (pages * PAGE_BYTES) as usize];
        for (n, byte) in bytes.iter_mut().enumerate() {
            *byte = salt ^ (n / PAGE_SIZE) as u8 ^ ((n / 256) as u8).rotate_left(3);
        }
        Backing { bytes }
    }

    /// All zeros.
    pub fn zeros(pages: u64) -> Backing {
        Backing { bytes: vec![0; (pages * PAGE_BYTES) as usize] }
    }

    /// A page, unless it lies beyond the end.
    pub fn page(&self, page: PageIndex) -> Option<&[u8]> {
        let start = page.offset() as usize;
        self.bytes.get(start..start + PAGE_SIZE)
    }

    /// Writes a page, unless it lies beyond the end.
    pub fn write(&mut self, page: PageIndex, from: &[u8]) {
        let start = page.offset() as usize;
        if let Some(to) = self.bytes.get_mut(start..start + PAGE_SIZE) {
            to.copy_from_slice(from);
        }
    }
}
