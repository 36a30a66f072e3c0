//! Page-aligned memory and files for the tests of pagers.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::path::Path;

use faultless_pager::Pager;

pub const PAGE: usize = 4096;

/// Memory that `O_DIRECT` takes, without unsafe code: a longer vector, used
/// from the first page boundary on.
pub struct Pages {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl Pages {
    pub fn filled(len: usize, byte: u8) -> Pages {
        let memory = vec![byte; len + PAGE];
        let start = memory.as_ptr().addr().wrapping_neg() % PAGE;
        Pages { memory, start, len }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

/// A directory on the disk that the build is on: `/tmp` may be memory.
pub fn disk() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Bytes that tell their place.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 ^ (i / PAGE) as u8).collect()
}

pub fn create(path: &Path, bytes: &[u8]) -> File {
    let mut file = File::options().read(true).write(true).create_new(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
    file.sync_all().unwrap();
    file
}

/// Reads up to `len` bytes into page-aligned memory that held something else.
pub fn read(pager: &impl Pager, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut pages = Pages::filled(len, 0xee);
    let count = pager.read(offset, &mut [IoSliceMut::new(pages.bytes_mut())])?;
    Ok(pages.bytes()[..count].to_vec())
}

/// Writes `len` times `byte` from page-aligned memory.
pub fn write(pager: &impl Pager, offset: u64, len: usize, byte: u8) -> io::Result<()> {
    pager.write(offset, &[IoSlice::new(Pages::filled(len, byte).bytes())])
}
