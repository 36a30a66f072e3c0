//! What a `FilePager` reads, writes and leaves alone.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::AsFd;
use std::path::Path;

use crate::common::{PAGE, Pages, create, disk, pattern, read, write};
use faultless_pager::{Direction, FilePager, IoMode, Pager, Rights, Shrunk};

const MODES: [IoMode; 2] = [IoMode::Direct, IoMode::Buffered];

/// File systems of which we know that they take `O_DIRECT`.
fn takes_direct(dir: &Path) -> bool {
    const EXT4: u64 = 0xef53;
    const XFS: u64 = 0x5846_5342;
    let magic = rustix::fs::statfs(dir).unwrap().f_type as u64;
    magic == EXT4 || magic == XFS
}

/// Is the page at `offset` in the kernel's page cache?
fn is_cached(file: &File, offset: u64) -> bool {
    let mut byte = [0];
    let flags = rustix::io::ReadWriteFlags::NOWAIT;
    let bufs = &mut [IoSliceMut::new(&mut byte)];
    rustix::io::preadv2(file, bufs, offset, flags).is_ok()
}

fn drop_cache(file: &File) {
    file.sync_all().unwrap();
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

/// Descriptors of this process that are open on `path`.
fn descriptors_on(path: &Path) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    links
        .filter(|link| std::fs::read_link(link.as_ref().unwrap().path()).is_ok_and(|to| to == path))
        .count()
}

#[test]
fn sizes_around_a_page_are_read_and_written_whole() {
    for (mode, size) in MODES.iter().flat_map(|m| [0, 1, 4095, 4096, 4097].map(|s| (*m, s))) {
        let dir = disk();
        let path = dir.path().join("f");
        let file = create(&path, &pattern(size));
        let pager = FilePager::with_mode(&file, Rights::ReadWrite, mode).unwrap();
        assert_eq!(pager.size().unwrap(), size as u64);
        assert_eq!(read(&pager, 0, 2 * PAGE).unwrap(), pattern(size), "{mode:?} {size}");
        assert_eq!(read(&pager, 2 * PAGE as u64, PAGE).unwrap(), [0u8; 0]);

        write(&pager, 0, size, 0x5a).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), vec![0x5a; size], "{mode:?} {size}");
        assert_eq!(read(&pager, 0, 2 * PAGE).unwrap(), vec![0x5a; size]);
        pager.sync().unwrap();
    }
}

#[test]
fn whole_pages_pass_by_the_page_cache() {
    let dir = disk();
    let file = create(&dir.path().join("f"), &pattern(4 * PAGE));
    let direct = FilePager::new(&file, Rights::ReadWrite).unwrap();
    if !takes_direct(dir.path()) {
        eprintln!("not tested: {} may not take O_DIRECT", dir.path().display());
        return;
    }
    assert_eq!(direct.mode(), IoMode::Direct);

    drop_cache(&file);
    assert_eq!(read(&direct, 0, PAGE).unwrap(), pattern(PAGE));
    assert!(!is_cached(&file, 0), "a direct read filled the page cache");
    write(&direct, 0, PAGE, 1).unwrap();
    assert!(!is_cached(&file, 0), "a direct write filled the page cache");

    // The same by the other way, so that the two checks above can fail.
    let buffered = FilePager::with_mode(&file, Rights::ReadWrite, IoMode::Buffered).unwrap();
    assert_eq!(buffered.mode(), IoMode::Buffered);
    assert_eq!(read(&buffered, 0, PAGE).unwrap(), [1; PAGE]);
    assert!(is_cached(&file, 0));
}

#[test]
fn memory_off_a_page_boundary_is_served_without_giving_up_on_direct() {
    let dir = disk();
    let file = create(&dir.path().join("f"), &pattern(2 * PAGE));
    let pager = FilePager::new(&file, Rights::ReadWrite).unwrap();
    let before = pager.mode();
    let mut pages = Pages::filled(2 * PAGE, 0);
    let odd = &mut pages.bytes_mut()[3..3 + PAGE];
    assert_eq!(pager.read(PAGE as u64, &mut [IoSliceMut::new(odd)]).unwrap(), PAGE);
    assert_eq!(odd, &pattern(2 * PAGE)[PAGE..]);
    odd.fill(9);
    pager.write(0, &[IoSlice::new(odd)]).unwrap();
    assert_eq!(read(&pager, 0, PAGE).unwrap(), [9; PAGE]);
    assert_eq!(pager.mode(), before);
}

#[test]
fn scattered_pieces_more_than_one_call_takes() {
    const PIECES: usize = 1030;
    let dir = disk();
    let file = create(&dir.path().join("f"), &pattern(PIECES * PAGE + 7));
    for mode in MODES {
        let pager = FilePager::with_mode(&file, Rights::ReadWrite, mode).unwrap();
        let mut memory = Pages::filled((PIECES + 1) * PAGE, 0);
        let mut bufs: Vec<_> = memory.bytes_mut().chunks_mut(PAGE).map(IoSliceMut::new).collect();
        assert_eq!(pager.read(0, &mut bufs).unwrap(), PIECES * PAGE + 7);
        assert!(bufs.iter().all(|buf| buf.len() == PAGE), "the caller's slices changed");
        assert_eq!(memory.bytes()[..PIECES * PAGE + 7], pattern(PIECES * PAGE + 7));

        let bufs: Vec<_> =
            memory.bytes()[..PIECES * PAGE + 7].chunks(PAGE).map(IoSlice::new).collect();
        pager.write(0, &bufs).unwrap();
        assert_eq!(pager.mode(), if takes_direct(dir.path()) { mode } else { pager.mode() });
    }
}

#[test]
fn a_buffered_tail_and_direct_pages_agree() {
    let dir = disk();
    let path = dir.path().join("f");
    let size = 2 * PAGE + 100;
    let file = create(&path, &pattern(size));
    let pager = FilePager::new(&file, Rights::ReadWrite).unwrap();
    for round in 1..=20u8 {
        write(&pager, 0, size, round).unwrap();
        assert_eq!(read(&pager, 0, 3 * PAGE).unwrap(), vec![round; size], "direct read");
        write(&pager, 2 * PAGE as u64, 100, round + 100).unwrap();
        assert_eq!(read(&pager, 2 * PAGE as u64, PAGE).unwrap(), vec![round + 100; 100]);
        assert_eq!(std::fs::read(&path).unwrap()[size - 100..], vec![round + 100; 100]);
    }
}

#[test]
fn a_write_never_extends_the_file_that_was_truncated_under_us() {
    for (mode, size) in MODES.iter().flat_map(|m| [0, 5000, 8192].map(|s| (*m, s))) {
        let dir = disk();
        let path = dir.path().join("f");
        let file = create(&path, &pattern(4 * PAGE));
        let pager = FilePager::with_mode(&file, Rights::ReadWrite, mode).unwrap();
        file.set_len(size).unwrap();
        let error = write(&pager, 0, 4 * PAGE, 3).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
        let expected = Shrunk { offset: 0, len: 4 * PAGE as u64, size, written: size };
        assert_eq!(Shrunk::of(&error), Some(expected));
        assert_eq!(std::fs::read(&path).unwrap(), vec![3; size as usize], "{mode:?} {size}");

        let error = write(&pager, 3 * PAGE as u64, PAGE, 3).unwrap_err();
        assert_eq!(Shrunk::of(&error).unwrap().written, 0);
        assert_eq!(pager.size().unwrap(), size);
        assert_eq!(read(&pager, 0, 4 * PAGE).unwrap(), vec![3; size as usize]);
    }
}

#[test]
fn it_outlives_close_rename_and_unlink() {
    let dir = disk();
    let path = dir.path().join("f");
    let file = create(&path, &pattern(PAGE));
    let pager = FilePager::new(&file, Rights::ReadWrite).unwrap();
    assert_eq!(pager.name(), path.to_str().unwrap());
    drop(file);
    let moved = dir.path().join("g");
    std::fs::rename(&path, &moved).unwrap();
    std::fs::remove_file(&moved).unwrap();
    assert_eq!(read(&pager, 0, PAGE).unwrap(), pattern(PAGE));
    write(&pager, 0, PAGE, 8).unwrap();
    assert_eq!(read(&pager, 0, PAGE).unwrap(), [8; PAGE]);

    let gone = create(&path, b"x");
    std::fs::remove_file(&path).unwrap();
    let pager = FilePager::new(&gone, Rights::ReadWrite).unwrap();
    assert_eq!(pager.mode() == IoMode::Direct, takes_direct(dir.path()));
    assert_eq!(read(&pager, 0, PAGE).unwrap(), b"x");
}

#[test]
fn dropping_it_closes_its_descriptors() {
    let dir = disk();
    let path = dir.path().join("f").canonicalize().unwrap_or(dir.path().join("f"));
    let file = create(&path, b"x");
    let reader = File::open(&path).unwrap();
    let pager = FilePager::new(&reader, Rights::ReadOnly).unwrap();
    pager.grant_write(&file).unwrap();
    drop(reader);
    assert!(descriptors_on(&path) >= 3);
    drop(pager);
    assert_eq!(descriptors_on(&path), 1);
}

#[test]
fn resize_and_punch() {
    for mode in MODES {
        let dir = disk();
        let file = create(&dir.path().join("f"), &vec![7; 4 * PAGE]);
        let pager = FilePager::with_mode(&file, Rights::ReadWrite, mode).unwrap();
        let blocks = || rustix::fs::fstat(&file).unwrap().st_blocks;
        let before = blocks();
        pager.punch(PAGE as u64, 2 * PAGE as u64).unwrap();
        pager.punch(100, 0).unwrap();
        let mut expected = vec![7; 4 * PAGE];
        expected[PAGE..3 * PAGE].fill(0);
        assert_eq!(read(&pager, 0, 4 * PAGE).unwrap(), expected);
        assert!(blocks() < before, "the hole still takes room");
        assert_eq!(pager.size().unwrap(), 4 * PAGE as u64);

        pager.resize(10).unwrap();
        pager.resize(20).unwrap();
        assert_eq!(read(&pager, 0, PAGE).unwrap(), [[7; 10], [0; 10]].concat());
    }
}

#[test]
fn tmpfs_is_buffered_and_works_all_the_same() {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("not tested: no /dev/shm");
        return;
    };
    let file = create(&dir.path().join("f"), &pattern(PAGE + 1));
    let pager = FilePager::new(&file, Rights::ReadWrite).unwrap();
    assert_eq!(pager.mode(), IoMode::Buffered);
    assert!(pager.direct(Direction::Read, 0, PAGE as u64).is_none());
    assert_eq!(read(&pager, 0, 2 * PAGE).unwrap(), pattern(PAGE + 1));
    write(&pager, 0, PAGE + 1, 2).unwrap();
    pager.punch(0, PAGE as u64).unwrap();
    assert_eq!(read(&pager, 0, 2 * PAGE).unwrap(), [vec![0; PAGE], vec![2]].concat());
}

#[test]
fn append_and_direct_descriptors_are_opened_anew() {
    let dir = disk();
    let path = dir.path().join("f");
    create(&path, &pattern(PAGE + 10));
    let appending = File::options().read(true).append(true).open(&path).unwrap();
    let pager = FilePager::with_mode(&appending, Rights::ReadWrite, IoMode::Buffered).unwrap();
    write(&pager, 0, PAGE, 4).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), PAGE as u64 + 10, "the write appended");
    assert_eq!(read(&pager, 0, PAGE).unwrap(), [4; PAGE]);

    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::DIRECT;
    let Ok(direct) = rustix::fs::open(&path, flags, rustix::fs::Mode::empty()) else { return };
    let pager = FilePager::new(&direct, Rights::ReadWrite).unwrap();
    write(&pager, PAGE as u64, 10, 6).unwrap();
    assert_eq!(read(&pager, PAGE as u64, PAGE).unwrap(), [6; 10]);
}

#[test]
fn the_driver_gets_the_descriptor_for_whole_pages_it_may_touch() {
    use Direction::{Read, Write};
    let dir = disk();
    let path = dir.path().join("f");
    let file = create(&path, &pattern(3 * PAGE + 1));
    if !takes_direct(dir.path()) {
        return;
    }
    let read_only = FilePager::new(&file, Rights::ReadOnly).unwrap();
    let page = PAGE as u64;
    assert!(read_only.direct(Write, 0, page).is_none());
    let pager = FilePager::new(&file, Rights::ReadWrite).unwrap();
    let allowed = |direction, offset, len| pager.direct(direction, offset, len).is_some();
    assert!(allowed(Read, 0, page) && allowed(Read, page, 2 * page));
    assert!(allowed(Read, 3 * page, page), "the tail may be read");
    assert!(!allowed(Write, 3 * page, page), "a whole page at the tail would extend the file");
    assert!(allowed(Write, page, 2 * page));
    assert!(!allowed(Write, u64::MAX - page + 1, page));
    assert!(!allowed(Read, 1, page) && !allowed(Read, 0, page - 1) && !allowed(Read, 0, 0));

    let mut pages = Pages::filled(PAGE, 0);
    let direct = pager.direct(Read, 3 * page, page).unwrap();
    let bufs = &mut [IoSliceMut::new(pages.bytes_mut())];
    assert_eq!(rustix::io::preadv(direct.fd.as_fd(), bufs, 3 * page).unwrap(), 1);

    file.set_len(page).unwrap();
    assert!(allowed(Write, page, page), "known only at the next look");
    pager.size().unwrap();
    assert!(!allowed(Write, page, page));
}
