//! Which file is which object: two openings of one file share its pages.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use faultless_pager::FileId;

use crate::mapping::Mapping;

/// The files that are mapped, and those that are just being closed.
#[derive(Default)]
pub(crate) struct Catalog {
    files: Mutex<HashMap<FileId, Weak<Mapping>>>,
    closed: Condvar,
}

/// The catalog, locked: nobody opens or forgets a file meanwhile.
pub(crate) struct Open<'a> {
    files: MutexGuard<'a, HashMap<FileId, Weak<Mapping>>>,
}

impl Catalog {
    /// The mapping of a file, if there is one. Waits while the file is being closed,
    /// because its last changes may be on their way to the disk.
    pub fn look_up(&self, file: FileId) -> (Option<Arc<Mapping>>, Open<'_>) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match files.get(&file) {
                None => return (None, Open { files }),
                Some(mapping) => {
                    if let Some(mapping) = mapping.upgrade() {
                        return (Some(mapping), Open { files });
                    }
                }
            }
            files = self.closed.wait(files).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The files that are mapped now.
    pub fn files(&self) -> Vec<(FileId, Arc<Mapping>)> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.iter().filter_map(|(id, mapping)| Some((*id, mapping.upgrade()?))).collect()
    }

    /// The file has been closed.
    pub fn forget(&self, file: FileId) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).remove(&file);
        self.closed.notify_all();
    }
}

impl Open<'_> {
    /// The file is mapped now.
    pub fn insert(&mut self, file: FileId, mapping: &Arc<Mapping>) {
        self.files.insert(file, Arc::downgrade(mapping));
    }
}
