//! The directed cases about files and how they were opened.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;

use super::PAGE;
use super::areas::same;
use super::bench::{Bench, Seen};
use super::kernel::{Area, READ_WRITE, errno};

const READ: i32 = libc::PROT_READ;

/// What mapping a descriptor comes to.
fn map_both(b: &Bench, file: &File, prot: i32) -> (Result<(), i32>, Result<(), i32>) {
    let ours = match prot {
        READ => b.options().map_raw(b.world.vm, file),
        _ => b.options().map_raw_mut(b.world.vm, file),
    };
    let kernel = Area::of_file(file, 0, 1, prot, libc::MAP_SHARED);
    (ours.map(drop).map_err(|error| error.errno()), kernel.map(drop))
}

pub fn what_cannot_be_mapped(b: &mut Bench) -> Seen {
    let (directory, path) = (
        File::open("/").unwrap(),
        OpenOptions::new().read(true).custom_flags(libc::O_PATH).open("/proc/self/exe").unwrap(),
    );
    let (ours, kernel) = map_both(b, &directory, READ);
    same("a directory", ours, kernel)?;
    let (ours, kernel) = map_both(b, &path, READ);
    same("O_PATH", ours, kernel)?;
    let (pipe, _end) = std::io::pipe().unwrap();
    let pipe = File::from(std::os::fd::OwnedFd::from(pipe));
    let (ours, kernel) = map_both(b, &pipe, READ);
    same("a pipe", ours, kernel)
}

pub fn rights_of_descriptors(b: &mut Bench) -> Seen {
    let (ours, kernel) = map_both(b, &b.world.files[0].ours_for_reading, READ_WRITE);
    same("for writing, of a descriptor for reading", ours, kernel)?;
    let path = tempfile::NamedTempFile::new_in(super::world::directory()).unwrap();
    path.as_file().set_len(PAGE as u64).unwrap();
    let only = OpenOptions::new().write(true).open(path.path()).unwrap();
    let (ours, kernel) = map_both(b, &only, READ);
    same("of a descriptor for writing", ours, kernel)?;
    let private = b.copy();
    b.touch(private, 0..4)
}

/// Opened again, so that all that is written by it is appended.
fn to_append(file: &File) -> File {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    OpenOptions::new().read(true).append(true).open(path).unwrap()
}

pub fn append(b: &mut Bench) -> Seen {
    let [ours, kernel] = [&b.world.files[0].ours, &b.world.files[0].kernel].map(to_append);
    let map = b.options().map_raw_mut(b.world.vm, &ours).map_err(|error| error.to_string())?;
    let area = Area::of_file(&kernel, 0, 1, READ_WRITE, libc::MAP_SHARED)
        .map_err(|errno| format!("the kernel doesn't map it: {errno}"))?;
    for start in [map.as_ptr() as usize, area.start] {
        super::access::store(start + 9, 8, 0x1234).map_err(|fault| format!("{fault:?}"))?;
    }
    map.flush().map_err(|error| error.to_string())?;
    b.file().compare(0, usize::MAX)
}

/// A page of memory that can be sealed.
fn sealable() -> File {
    // SAFETY: the name is a string; the descriptor is nobody else's.
    let file = unsafe {
        let fd = libc::memfd_create(c"faultless-twins".as_ptr(), libc::MFD_ALLOW_SEALING);
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        File::from(OwnedFd::from_raw_fd(fd))
    };
    file.set_len(PAGE as u64).unwrap();
    file
}

/// No more writes to a file.
fn seal(file: &File) -> Result<(), i32> {
    // SAFETY: no memory is handed over.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_WRITE) } {
        0 => Ok(()),
        _ => Err(errno()),
    }
}

pub fn sealed(b: &mut Bench) -> Seen {
    let file = sealable();
    same("it can be sealed", seal(&file), Ok(()))?;
    for prot in [READ, READ_WRITE] {
        let (ours, kernel) = map_both(b, &file, prot);
        same("what is sealed", ours, kernel)?;
    }
    let map = b.options().map_raw(b.world.vm, &file).map_err(|error| error.to_string())?;
    let area = Area::of_file(&file, 0, 1, READ, libc::MAP_SHARED)
        .map_err(|errno| format!("the kernel doesn't map it: {errno}"))?;
    let ours = map.protect(.., faultless::Protection::WRITE).map_err(|error| error.errno());
    same("WRITE of what is sealed", ours, area.protect(0, PAGE, libc::PROT_WRITE))
}

pub fn sealed_later(b: &mut Bench) -> Seen {
    let [ours, kernel] = [(); 2].map(|()| sealable());
    let map = b.options().map_raw_mut(b.world.vm, &ours).map_err(|error| error.to_string())?;
    let area = Area::of_file(&kernel, 0, 1, READ_WRITE, libc::MAP_SHARED);
    same("the kernel's seal", seal(&kernel), Err(libc::EBUSY))?;
    drop(area);
    map.write_at(5, b"not to be had").map_err(|error| error.to_string())?;
    same("ours", seal(&ours), Ok(()))?;
    same("a flush then", map.flush().map_err(|error| error.errno()), Err(libc::EPERM))
}
