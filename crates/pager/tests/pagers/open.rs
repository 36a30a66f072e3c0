//! Which descriptors a `FilePager` takes, and what it says of the others.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use crate::common::{PAGE, create, disk, pattern, read, write};
use faultless_pager::{FilePager, OpenError, Pager, Rights};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;

/// Opening `file` fails with this errno and says these words, also as an
/// `io::Error`.
fn check_refused(file: &impl AsFd, rights: Rights, errno: Errno, words: &[&str]) {
    let Err(error) = FilePager::new(file, rights) else { panic!("it was opened: {words:?}") };
    assert_eq!(error.errno(), errno.raw_os_error(), "{error}");
    let kind = error.kind();
    let error = io::Error::from(error);
    assert_eq!(error.kind(), kind);
    for word in words {
        assert!(error.to_string().contains(word), "no {word:?} in: {error}");
    }
    let inner = error.get_ref().unwrap().downcast_ref::<OpenError>().unwrap();
    assert_eq!(inner.errno(), errno.raw_os_error());
}

#[test]
fn a_directory() {
    let dir = disk();
    let file = File::open(dir.path()).unwrap();
    let words = [dir.path().to_str().unwrap(), "is a directory", "open a file inside it"];
    check_refused(&file, Rights::ReadOnly, Errno::NODEV, &words);
}

#[test]
fn a_pipe() {
    let (reader, writer) = io::pipe().unwrap();
    for end in [reader.as_fd(), writer.as_fd()] {
        check_refused(&end, Rights::ReadOnly, Errno::NODEV, &["is a pipe", "copy them to a file"]);
    }
}

#[test]
fn a_socket() {
    let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    check_refused(
        &socket,
        Rights::ReadWrite,
        Errno::NODEV,
        &["is a socket", "copy them to a file"],
    );
}

#[test]
fn a_terminal() {
    let Ok(terminal) = File::options().read(true).write(true).open("/dev/ptmx") else {
        eprintln!("not tested: no /dev/ptmx");
        return;
    };
    check_refused(&terminal, Rights::ReadOnly, Errno::NODEV, &["is a terminal", "redirect a file"]);
}

#[test]
fn a_character_device() {
    let zero = File::open("/dev/zero").unwrap();
    let words = ["/dev/zero is a character device", "copy what it gives"];
    check_refused(&zero, Rights::ReadOnly, Errno::NODEV, &words);
}

#[test]
fn an_eventfd() {
    use rustix::event::{EventfdFlags, eventfd};
    let eventfd = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    check_refused(&eventfd, Rights::ReadOnly, Errno::NODEV, &["neither a file nor a block device"]);
}

#[test]
fn a_descriptor_without_the_rights() {
    let dir = disk();
    let path = dir.path().join("f");
    create(&path, b"x");
    let write_only = File::options().write(true).open(&path).unwrap();
    for rights in [Rights::ReadOnly, Rights::ReadWrite] {
        let words = ["open for writing only", "open it for reading and writing"];
        check_refused(&write_only, rights, Errno::ACCESS, &words);
    }
    let read_only = File::open(&path).unwrap();
    let words = ["open for reading only", "private mapping"];
    check_refused(&read_only, Rights::ReadWrite, Errno::ACCESS, &words);
    let named = rustix::fs::open(&path, OFlags::PATH, Mode::empty()).unwrap();
    check_refused(&named, Rights::ReadOnly, Errno::BADF, &["O_PATH"]);
}

#[test]
fn a_sealed_memfd() {
    let memfd = rustix::fs::memfd_create("m", MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::fs::ftruncate(&memfd, PAGE as u64).unwrap();
    let pager = FilePager::new(&memfd, Rights::ReadWrite).unwrap();
    write(&pager, 0, PAGE, 1).unwrap();
    rustix::fs::fcntl_add_seals(&memfd, SealFlags::WRITE).unwrap();
    check_refused(&memfd, Rights::ReadWrite, Errno::PERM, &["sealed"]);
    let pager = FilePager::new(&memfd, Rights::ReadOnly).unwrap();
    assert_eq!(read(&pager, 0, PAGE).unwrap(), [1; PAGE]);
}

#[test]
fn without_rights_nothing_changes() {
    let dir = disk();
    let path = dir.path().join("f");
    let file = create(&path, &pattern(PAGE));
    let pager = FilePager::new(&file, Rights::ReadOnly).unwrap();
    assert_eq!(pager.rights(), Rights::ReadOnly);
    let refusals =
        [write(&pager, 0, PAGE, 1), pager.resize(0), pager.punch(0, 4096)].map(Result::unwrap_err);
    for error in refusals {
        assert_eq!(error.raw_os_error(), Some(Errno::BADF.raw_os_error()));
    }
    assert_eq!(std::fs::read(&path).unwrap(), pattern(PAGE));
    pager.sync().unwrap();
}

#[test]
fn rights_to_write_come_later_from_the_same_file_only() {
    let dir = disk();
    let path = dir.path().join("f");
    let other = create(&dir.path().join("other"), b"y");
    let writer = create(&path, &pattern(PAGE));
    let reader = File::open(&path).unwrap();
    let pager = FilePager::new(&reader, Rights::ReadOnly).unwrap();

    let error = pager.grant_write(&reader).unwrap_err();
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error}");
    let error = pager.grant_write(&other).unwrap_err();
    assert!(matches!(error, OpenError::OtherFile { .. }), "{error}");
    assert_eq!(pager.rights(), Rights::ReadOnly);

    pager.grant_write(&writer).unwrap();
    drop((reader, writer));
    assert_eq!(pager.rights(), Rights::ReadWrite);
    write(&pager, 0, PAGE, 5).unwrap();
    assert_eq!(read(&pager, 0, PAGE).unwrap(), [5; PAGE]);

    // Granted is granted, but each descriptor is judged by itself.
    let reader = File::open(&path).unwrap();
    assert!(pager.grant_write(&reader).is_err());
    assert_eq!(pager.rights(), Rights::ReadWrite);
}

#[test]
fn identity_is_the_files_not_the_descriptors() {
    let dir = disk();
    let path = dir.path().join("f");
    let file = create(&path, b"x");
    let linked = dir.path().join("link");
    std::fs::hard_link(&path, &linked).unwrap();
    let other = create(&dir.path().join("other"), b"x");
    let id = |file: &File| FilePager::new(file, Rights::ReadOnly).unwrap().identity();
    assert_eq!(id(&file), id(&File::open(&linked).unwrap()));
    assert_ne!(id(&file), id(&other));
}
