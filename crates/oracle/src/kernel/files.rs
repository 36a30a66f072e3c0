//! The world's files, in a directory that goes with the kernel.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use tempfile::TempDir;

use crate::call::FileId;
use crate::system::{Store, World};

/// The directory and what is in it.
#[derive(Debug)]
pub struct Files {
    dir: TempDir,
    /// Which inode is which file.
    inodes: Vec<u64>,
}

impl Files {
    /// Makes the files that the world has.
    pub fn new(world: &World) -> io::Result<Files> {
        let dir = match world.store {
            Store::Disk => TempDir::with_prefix("faultless-oracle-")?,
            Store::Tmpfs => TempDir::with_prefix_in("faultless-oracle-", "/dev/shm")?,
        };
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777))?;
        let mut inodes = Vec::new();
        for (number, size) in world.files.iter().enumerate() {
            let path = path(dir.path(), FileId(number as u8));
            let bytes: Vec<u8> = (0..*size).map(|i| World::byte(number, i)).collect();
            fs::write(&path, bytes)?;
            fs::set_permissions(&path, Permissions::from_mode(0o666))?;
            inodes.push(fs::metadata(&path)?.ino());
        }
        Ok(Files { dir, inodes })
    }

    /// The directory's path, as system calls take it.
    pub fn dir(&self) -> Vec<u8> {
        terminated(self.dir.path())
    }

    /// A file's path, as system calls take it.
    pub fn path(&self, file: FileId) -> Vec<u8> {
        terminated(&path(self.dir.path(), file))
    }

    /// Which file has this inode.
    pub fn of_inode(&self, inode: u64) -> Option<FileId> {
        self.inodes.iter().position(|known| *known == inode).map(|number| FileId(number as u8))
    }
}

/// The name of the file system that a directory is on.
pub fn file_system(dir: &Path) -> Option<String> {
    let device = fs::metadata(dir).ok()?.dev();
    let number = format!("{}:{}", libc::major(device), libc::minor(device));
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some(&number))?;
    mount.split(" - ").nth(1)?.split(' ').next().map(str::to_owned)
}

fn path(dir: &Path, file: FileId) -> std::path::PathBuf {
    dir.join(format!("file{}", file.0))
}

fn terminated(path: &Path) -> Vec<u8> {
    let mut bytes = path.as_os_str().as_encoded_bytes().to_vec();
    bytes.push(0);
    bytes
}
