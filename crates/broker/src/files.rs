//! Which file is which object, and when it is one no more.
//!
//! A file is *served* while some client maps it. Afterwards its clean pages stay, for whoever
//! maps it next, as long as there are not too many such files and nobody else changes it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use faultless_addr::PageRange;
use faultless_protocol::{FileId, Reason};
use rustix::fs::SealFlags;
use rustix::io::Errno;

use crate::board::Board;
use crate::served::{Served, SharedCore, Stamp};

/// Files that nobody maps, whose pages stay.
const IDLE_MAX: usize = 128;

/// All files of a broker.
pub(crate) struct Files {
    core: Arc<SharedCore>,
    pub board: Board,
    /// Files shorter than this are the kernel's.
    min: u64,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    by_id: BTreeMap<FileId, Entry>,
    /// Files without users, the longest unused first.
    idle: VecDeque<FileId>,
    /// Files that some client maps by the kernel: they stay the kernel's.
    kernels: BTreeSet<FileId>,
}

struct Entry {
    served: Arc<Served>,
    users: usize,
    /// A descriptor of its own, to look at.
    file: Arc<OwnedFd>,
    /// How it was when the last user left.
    stamp: Option<Stamp>,
}

/// As long as it lives, the file is served.
pub(crate) struct Use {
    files: Arc<Files>,
    served: Arc<Served>,
}

impl Files {
    pub fn new(core: Arc<SharedCore>, min: u64) -> Result<Files, Errno> {
        Ok(Files { core, board: Board::new()?, min, entries: Mutex::default() })
    }

    /// The file of a descriptor, to be mapped up to byte `end`; or why it is the kernel's.
    pub fn open(
        self: &Arc<Self>,
        file: BorrowedFd<'_>,
        end: u64,
    ) -> Result<Result<Use, Reason>, Errno> {
        let stat = rustix::fs::fstat(file)?;
        let id = FileId { device: stat.st_dev, inode: stat.st_ino };
        let mut entries = self.lock();
        if let Some(used) = self.use_again(&mut entries, id) {
            return Ok(Ok(used));
        }
        let reason = match () {
            () if (stat.st_size as u64) < self.min => Some(Reason::Short),
            () if may_be_sealed(file) => Some(Reason::Sealed),
            () if entries.kernels.contains(&id) => Some(Reason::KernelsFile),
            () => None,
        };
        if let Some(reason) = reason {
            entries.kernels.insert(id);
            return Ok(Err(reason));
        }
        let own = Arc::new(rustix::io::fcntl_dupfd_cloexec(file, 0)?);
        let served = Arc::new(Served::open(&self.core, id, file, end)?);
        let entry = Entry { served: served.clone(), users: 1, file: own, stamp: None };
        entries.by_id.insert(id, entry);
        self.board.add(id);
        Ok(Ok(Use { files: self.clone(), served }))
    }

    /// A file that nobody maps is the kernel's from now on; false if somebody does.
    pub fn leave_to_kernel(&self, id: FileId) -> bool {
        let mut entries = self.lock();
        if entries.by_id.get(&id).is_some_and(|entry| entry.users > 0) {
            return false;
        }
        // Its pages may have stayed; nobody has changed them since.
        let entry = entries.by_id.remove(&id);
        entries.idle.retain(|idle| *idle != id);
        entries.kernels.insert(id);
        drop(entries);
        entry.into_iter().for_each(|entry| entry.served.close());
        true
    }

    fn use_again(self: &Arc<Self>, entries: &mut Entries, id: FileId) -> Option<Use> {
        let entry = entries.by_id.get_mut(&id)?;
        entry.users += 1;
        let (served, first) = (entry.served.clone(), entry.users == 1);
        if first {
            let now = served.stamp(entry.file.as_fd());
            if now.is_none() || now != entry.stamp.take() {
                served.forget_clean();
            }
            entries.idle.retain(|idle| *idle != id);
            self.board.add(id);
        }
        Some(Use { files: self.clone(), served })
    }

    /// The served file of a descriptor.
    pub fn find(self: &Arc<Self>, file: BorrowedFd<'_>) -> Result<Option<Use>, Errno> {
        let stat = rustix::fs::fstat(file)?;
        let id = FileId { device: stat.st_dev, inode: stat.st_ino };
        let mut entries = self.lock();
        let in_use = entries.by_id.get(&id).is_some_and(|entry| entry.users > 0);
        Ok(if in_use { self.use_again(&mut entries, id) } else { None })
    }

    /// Files that are served, and files whose pages stay.
    pub fn count(&self) -> (usize, usize) {
        let entries = self.lock();
        (entries.by_id.len() - entries.idle.len(), entries.idle.len())
    }

    /// Others may have changed the length of files.
    pub fn follow_sizes(&self) {
        let served = |entry: &Entry| (entry.users > 0).then(|| entry.served.clone());
        let all: Vec<_> = self.lock().by_id.values().filter_map(served).collect();
        all.iter().for_each(|served| served.follow_size());
    }

    /// Writes everything, and forgets all files.
    pub fn close_all(&self) {
        let entries = std::mem::take(&mut *self.lock());
        entries.by_id.values().for_each(|entry| entry.served.close());
    }

    /// A user has left.
    fn leave(&self, served: &Arc<Served>) {
        let id = served.id;
        {
            let mut entries = self.lock();
            let Some(entry) = entries.by_id.get_mut(&id) else { return };
            if entry.users > 1 {
                entry.users -= 1;
                return;
            }
        }
        // The last one: what it stored is the file's before anybody else reads that.
        if served.clean(PageRange::all()).is_err() {
            faultless_runtime::say(format_args!("a file could not be written back"));
        }
        let mut entries = self.lock();
        let Some(entry) = entries.by_id.get_mut(&id) else { return };
        entry.users -= 1;
        if entry.users > 0 {
            return;
        }
        entry.stamp = served.stamp(entry.file.as_fd());
        entries.idle.push_back(id);
        self.board.remove(id);
        let oldest = match entries.idle.len() > IDLE_MAX {
            true => entries.idle.pop_front().and_then(|id| entries.by_id.remove(&id)),
            false => None,
        };
        drop(entries);
        if let Some(oldest) = oldest {
            oldest.served.close();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Is it a memfd with seals, or that may get some? They are the kernel's to keep, and its
/// bytes are in memory anyway. (Files on tmpfs have one seal: that they get none.)
fn may_be_sealed(file: BorrowedFd<'_>) -> bool {
    rustix::fs::fcntl_get_seals(file).is_ok_and(|seals| seals != SealFlags::SEAL)
}

impl Use {
    /// One user more.
    pub fn again(&self) -> Use {
        let mut entries = self.files.lock();
        if let Some(entry) = entries.by_id.get_mut(&self.served.id) {
            entry.users += 1;
        }
        Use { files: self.files.clone(), served: self.served.clone() }
    }
}

impl std::ops::Deref for Use {
    type Target = Served;

    fn deref(&self) -> &Served {
        &self.served
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let served = self.served.clone();
        self.files.leave(&served);
    }
}
