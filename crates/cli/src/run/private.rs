//! A run's private directory, and those of runs that were killed before they could remove
//! theirs.
//!
//! Who has one holds a lock on it, which ends with the process. So a directory that can be
//! locked is nobody's: the next run of the same user removes it. (On a file system without
//! locks what is left stays.)

use std::fs::{DirEntry, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

const PREFIX: &str = "faultless-";

/// A directory of this process's own, removed with it.
pub struct Private {
    dir: TempDir,
    /// Locked, where that can be.
    _lock: File,
}

impl Private {
    /// Makes it, in the system's directory for temporary files.
    pub fn create() -> io::Result<Private> {
        Private::create_in(&std::env::temp_dir())
    }

    fn create_in(parent: &Path) -> io::Result<Private> {
        remove_left(parent);
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)?;
        let lock = File::open(dir.path())?;
        if flock(&lock, FlockOperation::NonBlockingLockShared).is_ok() {
            // Others aren't looked at: one may be about to be locked.
            File::create_new(dir.path().join("lock"))?;
        }
        Ok(Private { dir, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Removes what runs have left that were killed; what can't be removed stays.
fn remove_left(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.flatten().filter(is_ours) {
        let path = entry.path();
        let Ok(dir) = File::open(&path) else { continue };
        if flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = std::fs::remove_dir_all(&path);
        }
    }
}

/// Was it made by a run of this user's, and locked?
fn is_ours(entry: &DirEntry) -> bool {
    let is_named = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
    is_named
        && entry.metadata().is_ok_and(|it| {
            it.is_dir() && it.uid() == rustix::process::geteuid().as_raw() && it.mode() & 0o77 == 0
        })
        && entry.path().join("lock").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_holds_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let held = Private::create_in(parent.path()).unwrap();
        let left = Private::create_in(parent.path()).unwrap();
        let left_path = left.dir.keep();
        drop(left._lock);
        let unlocked = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent.path()).unwrap();
        let of_others = parent.path().join("faultless-notes");
        std::fs::create_dir(&of_others).unwrap();
        std::fs::write(of_others.join("lock"), "not ours: anybody may read it").unwrap();

        let next = Private::create_in(parent.path()).unwrap();
        assert!(!left_path.exists(), "nobody holds it");
        for path in [held.path(), unlocked.path(), &of_others, next.path()] {
            assert!(path.exists(), "{}", path.display());
        }
    }
}
