//! The files below a directory, each mapped once, and kept mapped while it may be asked for
//! again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use faultless::{MapOptions, MapRaw, Pinned, Vm};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Files that stay mapped though nobody is being sent them.
const IDLE_MAX: usize = 256;

/// The first second of the year 10000, in which HTTP's dates end.
const DATES_END: u64 = 253_402_300_800;

/// Why a file is not sent.
#[derive(Debug)]
pub enum Refusal {
    /// It is, or may be, outside of the root, or not for us to read.
    Outside,
    /// There is none.
    Missing,
    /// Others change it, while earlier answers still have pages of what it was.
    Changing,
    /// The system said no.
    Failed(io::Error),
}

/// Which bytes a file has, as far as the system tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// The file: device and inode.
    id: (u64, u64),
    /// Its length.
    pub len: u64,
    /// When it was last changed: seconds and nanoseconds.
    modified: (i64, u64),
}

/// A mapped file.
pub struct Mapped {
    map: MapRaw,
    file: File,
    /// What it was when it was mapped. All answers are of this version.
    pub version: Version,
    /// The media type that its name suggests.
    pub content_type: String,
}

/// The files below a directory.
pub struct Files {
    vm: Vm,
    root: OwnedFd,
    /// By device and inode. All maps of a file show the same pages, so there is one map only,
    /// of one version. The lock is held while a file is mapped or unmapped, which is done
    /// here and nowhere else, by threads that may wait.
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    maps: HashMap<(u64, u64), Kept>,
    /// Counts calls, to know what was used last.
    clock: u64,
}

struct Kept {
    mapped: Arc<Mapped>,
    used: u64,
}

impl Version {
    fn of(file: &File) -> io::Result<Version> {
        let stat = rustix::fs::fstat(file)?;
        Ok(Version {
            id: (stat.st_dev, stat.st_ino),
            len: stat.st_size.max(0) as u64,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
        })
    }

    /// A strong validator, with its quotes.
    pub fn etag(&self) -> String {
        let (seconds, nanoseconds) = self.modified;
        format!("\"{:x}-{:x}-{seconds:x}.{nanoseconds:x}\"", self.id.1, self.len)
    }

    /// In whole seconds; none where HTTP has no such date.
    pub fn last_modified(&self) -> Option<SystemTime> {
        let seconds = u64::try_from(self.modified.0).ok().filter(|seconds| *seconds < DATES_END)?;
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }
}

impl Mapped {
    /// A file and a map of all of it.
    pub fn new(map: MapRaw, file: File, name: &Path) -> Result<Mapped, Refusal> {
        let version = Version::of(&file)?;
        if map.len() as u64 != version.len {
            return Err(Refusal::Changing);
        }
        let content_type = mime_guess::from_path(name).first_or_octet_stream().to_string();
        Ok(Mapped { map, file, version, content_type })
    }

    /// Brings a range in and holds it.
    ///
    /// # Errors
    ///
    /// Where it can't be read, or is no longer there, or where the file has changed.
    pub fn pin(&self, range: &Range<u64>) -> io::Result<Pinned> {
        let pinned = self.map.pin(range.start, (range.end - range.start) as usize)?;
        // Asked last: what is pinned was read before.
        match Version::of(&self.file)? == self.version {
            true => Ok(pinned),
            false => Err(io::Error::other("it was changed while it was sent")),
        }
    }

    /// Begins to read a range that will be wanted.
    pub fn prefetch(&self, range: &Range<u64>) {
        // Whoever pins it is told why it can't be read.
        let _ = self.map.prefetch([(range.start, range.end - range.start)]);
    }

    /// What people call the file.
    pub fn name(&self) -> &str {
        self.map.name()
    }
}

impl Files {
    /// The files below `root`.
    pub fn new(vm: Vm, root: &Path) -> io::Result<Files> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(root, flags, Mode::empty())?;
        Ok(Files { vm, root, table: Mutex::default() })
    }

    /// The file at `path`, mapped. May wait for the disk.
    pub fn open(&self, path: &Path) -> Result<Arc<Mapped>, Refusal> {
        let file = self.open_beneath(path)?;
        let version = Version::of(&file)?;
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.clock += 1;
        let used = table.clock;
        if let Entry::Occupied(mut entry) = table.maps.entry(version.id) {
            if entry.get().mapped.version == version {
                entry.get_mut().used = used;
                return Ok(entry.get().mapped.clone());
            }
            // Pages of the old version that are still held would be taken for the new one's.
            match Arc::get_mut(&mut entry.get_mut().mapped) {
                Some(_) => drop(entry.remove()),
                None => return Err(Refusal::Changing),
            }
        }
        let map = MapOptions::new().map_raw(&self.vm, &file).map_err(io::Error::from)?;
        let mapped = Arc::new(Mapped::new(map, file, path)?);
        // By its own version: the file may have changed meanwhile, its identity not.
        table.maps.insert(version.id, Kept { mapped: mapped.clone(), used });
        table.forget_idle();
        Ok(mapped)
    }

    /// A regular file, reached without leaving the root, not even by a symbolic link. The
    /// kernel sees to that, so that nobody can change the way meanwhile.
    fn open_beneath(&self, path: &Path) -> Result<File, Refusal> {
        // A pipe without a writer is not waited for.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let file = rustix::fs::openat2(&self.root, path, flags, Mode::empty(), within)?;
        match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
            FileType::RegularFile => Ok(file.into()),
            _ => Err(Refusal::Missing),
        }
    }
}

impl Table {
    /// Unmaps what nobody is being sent, the longest unused first, until few are left.
    fn forget_idle(&mut self) {
        while self.maps.len() > IDLE_MAX {
            let idle = self.maps.iter_mut().filter_map(|(id, kept)| {
                Arc::get_mut(&mut kept.mapped).is_some().then_some((kept.used, *id))
            });
            match idle.min() {
                Some((_, id)) => drop(self.maps.remove(&id)),
                None => return,
            }
        }
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Refusal {
        match errno {
            Errno::XDEV | Errno::ACCESS | Errno::PERM => Refusal::Outside,
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::NXIO => {
                Refusal::Missing
            }
            // Somebody moved a directory on the way.
            Errno::AGAIN => Refusal::Changing,
            errno => Refusal::Failed(errno.into()),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::Failed(error)
    }
}
