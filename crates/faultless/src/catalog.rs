//! Which file is which object: two openings of one file share its pages.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use faultless_pager::FileId;
use faultless_runtime::Inside;

use crate::mapping::Mapping;

/// The files that are mapped, and those that are just being closed.
#[derive(Default)]
pub(crate) struct Catalog {
    files: Mutex<HashMap<FileId, Weak<Mapping>>>,
}

/// The catalog, locked: nobody opens or forgets a file meanwhile.
pub(crate) struct Open<'a> {
    files: MutexGuard<'a, HashMap<FileId, Weak<Mapping>>>,
    /// A fork waits for who has the lock.
    _inside: Inside,
}

/// How often is looked whether a file that is being closed is closed.
const LOOK: Duration = Duration::from_millis(1);

impl Catalog {
    /// The mapping of a file, if there is one. Waits while the file is being closed,
    /// because its last changes may be on their way to the disk.
    pub fn look_up(&self, file: FileId) -> (Option<Arc<Mapping>>, Open<'_>) {
        loop {
            let open = self.open();
            match open.files.get(&file).map(Weak::upgrade) {
                None => return (None, open),
                Some(Some(mapping)) => return (Some(mapping), open),
                Some(None) => drop(open),
            }
            // Neither locked nor inside: who closes it may be held up by a fork.
            std::thread::sleep(LOOK);
        }
    }

    fn open(&self) -> Open<'_> {
        let inside = Inside::enter();
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        Open { files, _inside: inside }
    }

    /// The files that are mapped now.
    pub fn files(&self) -> Vec<(FileId, Arc<Mapping>)> {
        let open = self.open();
        open.files.iter().filter_map(|(id, mapping)| Some((*id, mapping.upgrade()?))).collect()
    }

    /// The file has been closed.
    pub fn forget(&self, file: FileId) {
        self.open().files.remove(&file);
    }

    /// In a forked child, whose only thread this is: what was mapped is the parent's.
    pub fn forget_all(&self) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Open<'_> {
    /// The file is mapped now.
    pub fn insert(&mut self, file: FileId, mapping: &Arc<Mapping>) {
        self.files.insert(file, Arc::downgrade(mapping));
    }
}
