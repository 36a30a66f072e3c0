//! Where pages are when they are not in memory: bytes that are read and written in part
//! when the seed says so, and of which a crash takes what has not been made durable.

use faultless_addr::{PAGE_BYTES, PAGE_SIZE, PageIndex};

/// What a disk writes whole, or not at all.
const SECTOR: usize = 512;

/// One file, or the swap area.
pub struct Backing {
    /// What a read sees.
    pub bytes: Vec<u8>,
    /// What is there after a crash, at least.
    durable: Vec<u8>,
}

impl Backing {
    /// `pages` pages that differ from each other and from zeros.
    pub fn file(pages: u64, salt: u8) -> Backing {
        let mut bytes = vec![0; (pages * PAGE_BYTES) as usize];
        for (n, byte) in bytes.iter_mut().enumerate() {
            *byte = salt ^ (n / PAGE_SIZE) as u8 ^ ((n / 256) as u8).rotate_left(3);
        }
        Backing { durable: bytes.clone(), bytes }
    }

    /// All zeros.
    pub fn zeros(pages: u64) -> Backing {
        let bytes = vec![0; (pages * PAGE_BYTES) as usize];
        Backing { durable: bytes.clone(), bytes }
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

    /// A write that is torn: some sectors get there.
    pub fn tear(&mut self, page: PageIndex, from: &[u8], rng: &mut fastrand::Rng) {
        let start = page.offset() as usize;
        if let Some(to) = self.bytes.get_mut(start..start + PAGE_SIZE) {
            mix(to, from, rng);
        }
    }

    /// Another length, which is durable.
    pub fn resize(&mut self, len: usize) {
        self.bytes.resize(len, 0);
        self.durable.resize(len, 0);
    }

    /// What has been written survives a crash.
    pub fn sync(&mut self) {
        self.durable.clone_from(&self.bytes);
    }

    /// A crash: of what was written since the last sync, any sectors are there.
    pub fn crash(&mut self, rng: &mut fastrand::Rng) {
        let Backing { bytes, durable } = self;
        match rng.u32(..3) {
            0 => {}
            1 => durable.clone_from(bytes),
            _ => mix(durable, bytes, rng),
        }
        self.bytes.clone_from(&self.durable);
    }
}

fn mix(to: &mut [u8], from: &[u8], rng: &mut fastrand::Rng) {
    for (to, from) in to.chunks_mut(SECTOR).zip(from.chunks(SECTOR)) {
        if rng.bool() {
            to.copy_from_slice(from);
        }
    }
}
