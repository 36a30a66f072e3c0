//! Files: room for them, temporary ones, and the kernel's page cache of them.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, Advice};

use crate::cleanup::{self, Guard, Undo};
use crate::model::Model;
use crate::problem::{Problem, Result};
use crate::progress::Progress;
use crate::size::Size;

/// Bytes read or written in one call.
pub const CHUNK: usize = 4 << 20;
/// Left free on the disk.
const HEADROOM: u64 = 64 << 20;
/// The file system that keeps its files in memory (statfs(2)).
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// Where temporary files go if the user doesn't say: `$TMPDIR`, or here; where that
/// can't be written to, /var/tmp. Not /tmp, which is often in memory.
pub fn default_dir() -> PathBuf {
    let named = env::var_os("TMPDIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let places = named.into_iter().chain([PathBuf::from("."), PathBuf::from("/var/tmp")]);
    let mut usable = places.filter(|dir| rustix::fs::access(dir, Access::WRITE_OK).is_ok());
    usable.next().unwrap_or_else(|| PathBuf::from("."))
}

/// Is the file in memory anyway, so that the page cache can't be dropped?
pub fn is_in_memory(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|fs| fs.f_type as u64 == TMPFS_MAGIC)
}

/// Bytes free for us in a directory, checked to be enough for a file.
pub fn check_room(dir: &Path, bytes: u64) -> Result<u64> {
    let fs = rustix::fs::statvfs(dir).map_err(|error| Problem::on("use", dir)(error.into()))?;
    let free = fs.f_bavail.saturating_mul(fs.f_frsize);
    if free < bytes.saturating_add(HEADROOM) {
        let (need, free) = (Size(bytes), Size(free));
        return Err(Problem::new(format!(
            "{} has {free} free and {need} is needed: give another --dir or a smaller --size",
            dir.display(),
        )));
    }
    Ok(free)
}

/// A temporary file, removed with its guard.
pub struct Temporary {
    /// Where it is.
    pub path: PathBuf,
    /// Open for reading and writing.
    pub file: File,
    guard: Guard,
}

impl Temporary {
    /// Makes an empty one in `dir`.
    pub fn new(dir: &Path, purpose: &str) -> Result<Temporary> {
        let path = dir.join(format!("faultless-{purpose}-{}.data", std::process::id()));
        let made = cleanup::make(|| {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create_new(true).open(&path)?;
            Ok((file, Undo::File(path.clone())))
        });
        let (file, guard) = made.map_err(Problem::on("make", &path))?;
        Ok(Temporary { path, file, guard })
    }

    /// Leaves it there.
    pub fn keep(self) {
        self.guard.keep();
    }

    /// Fills it as the model says, and waits until that is durable.
    pub fn fill(&mut self, bytes: u64, model: Model, progress: &Progress) -> Result<()> {
        self.fill_as_part(0, bytes, model, progress)
    }

    /// As [`fill`](Self::fill), with what the model says of the bytes from `start`.
    pub fn fill_as_part(
        &mut self,
        start: u64,
        bytes: u64,
        model: Model,
        progress: &Progress,
    ) -> Result<()> {
        let mut chunk = vec![0; CHUNK.min(bytes as usize)];
        let mut offset = 0;
        while offset < bytes {
            let chunk = &mut chunk[..(bytes - offset).min(CHUNK as u64) as usize];
            model.fill(start + offset, chunk);
            self.file.write_all(chunk).map_err(Problem::on("write", &self.path))?;
            offset += chunk.len() as u64;
            progress.advance(chunk.len() as u64);
        }
        self.file.sync_all().map_err(Problem::on("write", &self.path))
    }
}

/// Makes the file durable and asks the kernel to forget its cached pages, so that
/// whoever comes next reads from the disk.
pub fn drop_page_cache(file: &File) -> io::Result<()> {
    file.sync_all()?;
    Ok(rustix::fs::fadvise(file, 0, None, Advice::DontNeed)?)
}

/// Reads a whole file in order by plain read(2), in chunks of whole pages but for the
/// last one.
pub fn read_all(path: &Path, progress: &Progress, mut each: impl FnMut(u64, &[u8])) -> Result<u64> {
    let mut file = File::open(path).map_err(Problem::on("open", path))?;
    let mut chunk = vec![0; CHUNK];
    let mut offset = 0;
    loop {
        let mut len = 0;
        while len < CHUNK {
            match file.read(&mut chunk[len..]).map_err(Problem::on("read", path))? {
                0 => break,
                more => len += more,
            }
        }
        if len == 0 {
            return Ok(offset);
        }
        each(offset, &chunk[..len]);
        offset += len as u64;
        progress.advance(len as u64);
    }
}
