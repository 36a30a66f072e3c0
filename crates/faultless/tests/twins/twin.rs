//! What exists in both worlds: files, shared maps of them, private maps and memory.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use faultless::{Delivery, MapCopy, MapRaw, Memory};

use super::PAGE;
use super::kernel::Area;
use super::tail::Tail;

/// Pages of addresses of a file's shared maps.
pub const HOME_PAGES: usize = 64;

/// A file, twice.
pub struct TwinFile {
    pub ours: File,
    pub ours_for_reading: File,
    pub kernel: File,
    pub kernel_for_reading: File,
    pub size: usize,
    pub tail: Tail,
    /// As long as the file is mapped.
    pub home: Option<Home>,
}

/// The addresses that all shared maps of a file have.
pub struct Home {
    pub ours: usize,
    pub kernel: Area,
    /// PROT bits of each page.
    pub rights: Vec<i32>,
    pub views: Vec<View>,
    /// Private maps of the file: they keep it mapped, too.
    pub copies: usize,
    pub writable: bool,
    pub delivery: Delivery,
}

/// A shared map.
pub struct View {
    pub raw: MapRaw,
    pub offset: usize,
    pub len: usize,
    pub writable: bool,
}

/// Private memory.
pub struct Private {
    pub kind: Kind,
    pub kernel: Area,
    /// PROT bits of each page.
    pub rights: Vec<i32>,
    pub delivery: Delivery,
}

pub enum Kind {
    Memory(Memory),
    Copy(Copied),
}

/// A private map of a file.
pub struct Copied {
    pub map: MapCopy,
    pub file: usize,
    /// The page of the file that is its first.
    pub first: usize,
    /// Bytes of its first page that are before its first byte.
    pub lead: usize,
    pub pages: Vec<CopiedPage>,
}

/// A page of a private map.
#[derive(Default)]
pub struct CopiedPage {
    /// It has been stored to, and is a copy in both worlds.
    pub own: bool,
    /// What the file's page was whenever it was read here.
    pub seen: Vec<Seen>,
}

/// What a page of a file once was.
pub struct Seen {
    pub bytes: Vec<u8>,
    pub tail: Tail,
}

fn reopened(file: &File) -> File {
    use std::os::fd::AsRawFd as _;
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap()
}

impl TwinFile {
    pub fn new(dir: &Path, bytes: &[u8]) -> TwinFile {
        let [ours, kernel] = [(); 2].map(|()| {
            let file = tempfile::tempfile_in(dir).unwrap();
            file.write_all_at(bytes, 0).unwrap();
            file
        });
        let (ours_for_reading, kernel_for_reading) = (reopened(&ours), reopened(&kernel));
        let (size, tail) = (bytes.len(), Tail::default());
        TwinFile { ours, ours_for_reading, kernel, kernel_for_reading, size, tail, home: None }
    }

    /// A page of the kernel's file, as its maps see it, but for what is behind its end.
    pub fn seen(&self, page: usize) -> Seen {
        let mut bytes = vec![0; PAGE];
        let at = page * PAGE;
        let len = self.size.saturating_sub(at).min(PAGE);
        self.kernel.read_exact_at(&mut bytes[..len], at as u64).unwrap();
        let tail = if len < PAGE { self.tail.clone() } else { Tail::default() };
        Seen { bytes, tail }
    }

    /// A write was under way when somebody cut the file to `size`, and has made it longer
    /// again: not longer than it was, and with nothing but what was in it and in its maps.
    pub fn check_regrown(&self, size: usize, regrown: usize) -> Result<(), String> {
        if regrown > self.size {
            return Err(format!("cut from {} to {size}, it is {regrown} bytes long", self.size));
        }
        let [ours, before] = [&self.ours, &self.kernel].map(|file| {
            let mut bytes = vec![0; regrown - size];
            file.read_exact_at(&mut bytes, size as u64).unwrap();
            bytes
        });
        let mut pairs = ours.iter().zip(&before);
        match pairs.position(|(ours, before)| ours != before && *ours != 0) {
            None => Ok(()),
            Some(at) => Err(format!("byte {} of what has grown again is another", size + at)),
        }
    }

    /// Compares what is in the two files.
    pub fn compare(&self, start: usize, end: usize) -> Result<(), String> {
        let sizes = [&self.ours, &self.kernel].map(|file| file.metadata().unwrap().len() as usize);
        if sizes != [self.size; 2] {
            return Err(format!("files of {sizes:?} bytes, not {}", self.size));
        }
        let end = end.min(self.size);
        let [ours, kernel] = [&self.ours, &self.kernel].map(|file| {
            let mut bytes = vec![0; end.saturating_sub(start)];
            file.read_exact_at(&mut bytes, start as u64).unwrap();
            bytes
        });
        match ours.iter().zip(&kernel).position(|(ours, kernel)| ours != kernel) {
            None => Ok(()),
            Some(at) => Err(format!(
                "byte {} of the file is {}, the kernel's {}",
                start + at,
                ours[at],
                kernel[at]
            )),
        }
    }
}

impl Copied {
    /// A page that is the file's is read now.
    pub fn note(&mut self, page: usize, file: &TwinFile) {
        let seen = file.seen(self.first + page);
        let all = &mut self.pages[page].seen;
        if all.last().is_none_or(|last| last.bytes != seen.bytes || last.tail != seen.tail) {
            all.push(seen);
        }
    }
}

impl Seen {
    /// Can `ours` be this page, but for what has been stored to it since?
    pub fn is(&self, page: usize, ours: &[u8], stored: &[usize]) -> bool {
        (0..PAGE).all(|at| {
            ours[at] == self.bytes[at]
                || stored.contains(&at)
                || self.tail.permits(page * PAGE + at, ours[at])
        })
    }
}

impl Private {
    pub fn ours(&self) -> usize {
        match &self.kind {
            Kind::Memory(memory) => memory.as_ptr() as usize,
            Kind::Copy(copied) => copied.map.as_ptr() as usize - copied.lead,
        }
    }

    /// Bytes before the first, in its page, and bytes that it has.
    pub fn extent(&self) -> (usize, usize) {
        match &self.kind {
            Kind::Memory(memory) => (0, memory.len()),
            Kind::Copy(copied) => (copied.lead, copied.map.len()),
        }
    }

    pub fn copied(&mut self) -> Option<&mut Copied> {
        match &mut self.kind {
            Kind::Memory(_) => None,
            Kind::Copy(copied) => Some(copied),
        }
    }
}
