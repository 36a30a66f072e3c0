//! The libraries that are loaded before a program's own: they are in the tool, and become
//! files as long as programs run.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, StatVfsMountFlags};

/// Takes the place of calls about mappings and files (`build.rs`).
pub static CALLS: Bytes = Bytes {
    name: "libfaultless.so",
    bytes: include_bytes!(concat!(env!("OUT_DIR"), "/libfaultless_preload.so")),
};

/// Takes the place of malloc and its family. To be loaded after that.
pub static BLOCKS: Bytes = Bytes {
    name: "libfaultless-heap.so",
    bytes: include_bytes!(concat!(env!("OUT_DIR"), "/libfaultless_preload_heap.so")),
};

/// A library's bytes.
pub struct Bytes {
    name: &'static str,
    bytes: &'static [u8],
}

/// What tells the loader to load it.
pub const VARIABLE: &str = "LD_PRELOAD";

/// A file with the library.
pub struct Library {
    path: PathBuf,
    /// The file itself, where it has no name of its own.
    _memory: Option<OwnedFd>,
}

impl Library {
    /// Makes the file in `dir`, or in memory where the loader couldn't use it there.
    pub fn write(library: &Bytes, dir: &Path) -> io::Result<Library> {
        let Bytes { name, bytes } = library;
        if is_fit(dir)? {
            let path = dir.join(name);
            std::fs::write(&path, bytes)?;
            return Ok(Library { path, _memory: None });
        }
        let memory = rustix::fs::memfd_create(*name, MemfdFlags::CLOEXEC)?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), memory.as_raw_fd());
        std::fs::write(&path, bytes)?;
        Ok(Library { path: path.into(), _memory: Some(memory) })
    }

    /// The variable's value: the library, and what was to be loaded before.
    pub fn before(&self, earlier: Option<OsString>) -> OsString {
        let mut value = self.path.clone().into_os_string();
        if let Some(earlier) = earlier.filter(|earlier| !earlier.is_empty()) {
            value.push(":");
            value.push(earlier);
        }
        value
    }
}

/// Does the loader take libraries from there? Their paths are separated by colons and
/// spaces, and the file system must let programs be run.
fn is_fit(dir: &Path) -> io::Result<bool> {
    let separates = |byte: &u8| matches!(byte, b':' | b' ' | b'\t' | b'\n');
    let path: &OsStr = dir.as_os_str();
    let mount = rustix::fs::statvfs(dir)?;
    Ok(!path.as_bytes().iter().any(separates) && !mount.f_flag.contains(StatVfsMountFlags::NOEXEC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_library_wherever_it_is_put() {
        let odd = tempfile::Builder::new().prefix("with space").tempdir().unwrap();
        let plain = tempfile::tempdir().unwrap();
        for dir in [odd.path(), plain.path()] {
            let library = Library::write(&CALLS, dir).unwrap();
            let value = library.before(None).into_string().unwrap();
            assert!(!value.contains(' '), "{value}");
            assert_eq!(&std::fs::read(value).unwrap()[..4], b"\x7fELF");
        }
    }

    #[test]
    fn what_was_to_be_loaded_before_still_is() {
        let dir = tempfile::tempdir().unwrap();
        let library = Library::write(&CALLS, dir.path()).unwrap();
        let ours = library.before(Some("".into())).into_string().unwrap();
        assert_eq!(library.before(Some("a.so:b.so".into())), *format!("{ours}:a.so:b.so"));
    }
}
