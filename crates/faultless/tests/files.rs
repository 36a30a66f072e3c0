//! Files of every kind and length, by every way to their bytes.

use std::fs::File;
use std::io::{BufRead, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use faultless::host::{Usable, examine};
use faultless::{Delivery, MapOptions, MapRaw, Vm};

const PAGE: usize = 4096;
const DELIVERIES: [Delivery; 2] = [Delivery::Thread, Delivery::Inline];
const DISK: &str = env!("CARGO_TARGET_TMPDIR");
const MEMORY: &str = "/dev/shm";

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 31 + n / 256 + 1) as u8).collect()
}

fn file_in(folder: &str, bytes: &[u8]) -> File {
    let file = tempfile::tempfile_in(folder).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

fn contents(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn vm() -> Vm {
    Vm::with_memory(1 << 20).unwrap()
}

fn load(map: &MapRaw, at: usize) -> u8 {
    // SAFETY: callers stay within the pages of the map, and nobody stores meanwhile.
    unsafe { map.as_ptr().add(at).read_volatile() }
}

fn store(map: &MapRaw, at: usize, byte: u8) {
    // SAFETY: callers stay within the pages of a map for writing, and nobody reads meanwhile.
    unsafe { map.as_mut_ptr().add(at).write_volatile(byte) }
}

fn loads(map: &MapRaw, from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|at| load(map, at)).collect()
}

/// The bytes of the map by each way equal `expected`.
fn check_every_way(map: &MapRaw, expected: &[u8]) {
    assert_eq!(map.len(), expected.len());
    assert!(loads(map, 0, expected.len()) == expected, "by pointer");
    assert!(map.pin(0, expected.len()).unwrap()[..] == *expected, "by pin");
    let mut copy = vec![0xaa; expected.len() + 10];
    assert_eq!(map.read_at(0, &mut copy).unwrap(), expected.len());
    assert!(copy[..expected.len()] == *expected, "by read_at");
    assert!(copy[expected.len()..].iter().all(|byte| *byte == 0xaa), "nothing beyond");
    assert!(map.reader().bytes().map(Result::unwrap).eq(expected.iter().copied()), "by reader");
}

#[test]
fn lengths_around_a_page() {
    for delivery in DELIVERIES {
        for len in [0, 1, 4095, 4096, 4097] {
            println!("{delivery:?}, {len} bytes");
            let (vm, bytes) = (vm(), pattern(len));
            let file = file_in(DISK, &bytes);
            let map = MapOptions::new().delivery(delivery).map_raw(&vm, &file).unwrap();
            check_every_way(&map, &bytes);
            let tail = loads(&map, len, len.next_multiple_of(PAGE) - len);
            assert!(tail.iter().all(|byte| *byte == 0), "zeros after the end");
            assert!(map.pin(0, len + 1).unwrap_err().is_beyond_end());
            assert!(map.pin(len as u64, 0).unwrap().is_empty());
        }
    }
}

#[test]
fn stores_after_the_end_never_reach_the_file() {
    for delivery in DELIVERIES {
        for len in [1, 4095, 4097] {
            let (vm, mut bytes) = (vm(), pattern(len));
            let file = file_in(DISK, &bytes);
            let map = MapOptions::new().delivery(delivery).map_raw_mut(&vm, &file).unwrap();
            for at in len - 1..len.next_multiple_of(PAGE) {
                store(&map, at, 0x77);
            }
            bytes[len - 1] = 0x77;
            map.flush().unwrap();
            assert!(contents(&file) == bytes, "{delivery:?}, {len} bytes: length or bytes differ");
            drop(map);
            assert!(contents(&file) == bytes, "{delivery:?}, {len} bytes: after the unmapping");
        }
    }
}

#[test]
fn any_part_of_a_file() {
    let bytes = pattern(5 * PAGE + 123);
    let file = file_in(DISK, &bytes);
    for delivery in DELIVERIES {
        for (offset, len) in [(1, 1), (1, 4096), (4095, 2), (4096, 4096), (777, 9999), (20602, 1)] {
            let vm = vm();
            let options = MapOptions::new().delivery(delivery).offset(offset as u64);
            let map = options.clone().len(len as u64).map_raw(&vm, &file).unwrap();
            check_every_way(&map, &bytes[offset..offset + len]);
            let rest = options.map_raw(&vm, &file).unwrap();
            check_every_way(&rest, &bytes[offset..]);
        }
    }
    let vm = vm();
    let (all, beyond) = (bytes.len() as u64, MapOptions::new().offset(100).len(bytes.len() as u64));
    let empty = MapOptions::new().offset(all).map_raw(&vm, &file).unwrap();
    check_every_way(&empty, &[]);
    let error = beyond.map_raw(&vm, &file).unwrap_err();
    assert!(error.is_beyond_end() && error.to_string().contains("20603"), "the end: {error}");
    let error = MapOptions::new().offset(all + 1).map_raw(&vm, &file).unwrap_err();
    assert!(error.is_beyond_end(), "{error}");
}

#[test]
fn a_file_in_memory() {
    for delivery in DELIVERIES {
        let (vm, mut bytes) = (vm(), pattern(3 * PAGE + 7));
        let file = file_in(MEMORY, &bytes);
        let map = MapOptions::new().delivery(delivery).map_raw_mut(&vm, &file).unwrap();
        check_every_way(&map, &bytes);
        map.write_at(4000, b"across a boundary".repeat(20).as_slice()).unwrap();
        bytes[4000..4340].copy_from_slice(&b"across a boundary".repeat(20));
        check_every_way(&map, &bytes);
        map.flush().unwrap();
        assert!(contents(&file) == bytes);
    }
}

#[test]
fn a_file_open_for_reading() {
    let vm = vm();
    let named = tempfile::NamedTempFile::new_in(DISK).unwrap();
    std::fs::write(named.path(), pattern(5000)).unwrap();
    let file = File::open(named.path()).unwrap();
    let map = MapOptions::new().map_raw(&vm, &file).unwrap();
    check_every_way(&map, &pattern(5000));
    assert!(map.pin_mut(0, 1).unwrap_err().to_string().contains("read-only"));
    for error in [
        map.pin_mut(0, 1).unwrap_err(),
        map.write_at(0, b"x").unwrap_err(),
        map.resize(1).unwrap_err(),
        map.punch_hole(0, 10).unwrap_err(),
        MapOptions::new().map_raw_mut(&vm, &file).unwrap_err(),
    ] {
        assert_eq!(error.errno(), libc::EACCES, "{error}");
    }
    let error = MapOptions::new().map_raw_mut(&vm, &file).unwrap_err().to_string();
    assert!(error.contains("reading and writing"), "says what to do: {error}");
    assert!(error.contains(named.path().to_str().unwrap()), "says which file: {error}");
    check_every_way(&map, &pattern(5000));
}

#[test]
fn what_has_no_pages() {
    let vm = vm();
    let (pipe, _other_end) = std::io::pipe().unwrap();
    let (socket, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
    // SAFETY: a call without arguments in memory.
    let terminal = unsafe { libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY) };
    assert!(terminal >= 0, "a terminal");
    // SAFETY: the descriptor was just opened and nobody else has it.
    let terminal = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(terminal) };
    let named = tempfile::NamedTempFile::new_in(DISK).unwrap();
    let path_only = File::options().read(true).custom_flags(libc::O_PATH).open(named.path());
    let write_only = File::options().write(true).open(named.path()).unwrap();
    let cases: [(OwnedFd, i32, &str); 7] = [
        (File::open(DISK).unwrap().into(), libc::ENODEV, "directory"),
        (pipe.into(), libc::ENODEV, "pipe"),
        (socket.into(), libc::ENODEV, "socket"),
        (File::open("/dev/null").unwrap().into(), libc::ENODEV, "character device"),
        (terminal, libc::ENODEV, "terminal"),
        (path_only.unwrap().into(), libc::EBADF, "O_PATH"),
        (write_only.into(), libc::EACCES, "writing only"),
    ];
    for (fd, errno, text) in cases {
        let error = MapOptions::new().map_raw(&vm, &fd.as_fd()).unwrap_err();
        assert_eq!(error.errno(), errno, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn the_kernel_reads_and_writes_a_mapping() {
    let faults = examine().into_iter().find(|it| it.subject.contains("userfaultfd")).unwrap();
    if faults.verdict != Usable::Fully {
        return println!("skipped: {}", faults.remedy.unwrap_or(faults.found));
    }
    let bytes = pattern(4 << 20); // Four times the budget.
    let (vm, file) = (vm(), file_in(DISK, &bytes));
    let map = MapOptions::new().delivery(Delivery::Thread).map_raw_mut(&vm, &file).unwrap();
    let copy = tempfile::tempfile_in(DISK).unwrap();
    let len = map.len();
    let mut done = 0;
    while done < len {
        // SAFETY: the bytes are within the map, which lives; nobody stores meanwhile.
        let from = unsafe { map.as_ptr().add(done) };
        // SAFETY: as above: the kernel reads `len - done` bytes of the map.
        let count = unsafe { libc::write(copy.as_raw_fd(), from.cast(), len - done) };
        assert!(count > 0, "write: {}", std::io::Error::last_os_error());
        done += count as usize;
    }
    assert!(contents(&copy) == bytes, "write(2) from the mapping");
    let turned: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
    let (source, mut done) = (file_in(DISK, &turned), 0);
    while done < len {
        // SAFETY: the bytes are within the map, which lives; nobody uses them meanwhile.
        let into = unsafe { map.as_mut_ptr().add(done) };
        let (fd, at) = (source.as_raw_fd(), done as i64);
        // SAFETY: as above: the kernel writes `len - done` bytes of the map.
        let count = unsafe { libc::pread(fd, into.cast(), len - done, at) };
        assert!(count > 0, "read: {}", std::io::Error::last_os_error());
        done += count as usize;
    }
    map.flush().unwrap();
    assert!(contents(&file) == turned, "read(2) into the mapping");
}

#[test]
fn growing_and_shrinking_in_place() {
    for delivery in DELIVERIES {
        let (vm, mut bytes) = (vm(), pattern(5000));
        let file = file_in(DISK, &bytes);
        let map = MapOptions::new().delivery(delivery).map_raw_mut(&vm, &file).unwrap();
        store(&map, 4999, 1);
        store(&map, 5000, 9); // Behind the end: to be forgotten.
        bytes[4999] = 1;
        let start = map.as_ptr();
        map.resize(100_000).unwrap();
        bytes.resize(100_000, 0);
        assert_eq!(map.as_ptr(), start);
        check_every_way(&map, &bytes);
        for at in [5000, 8191, 8192, 99_999] {
            store(&map, at, 5);
            bytes[at] = 5;
        }
        map.flush().unwrap();
        assert!(contents(&file) == bytes, "{delivery:?}: what was stored beyond the old end");
        for len in [50_000, 4096, 3, 0, 10_000] {
            map.resize(len).unwrap();
            bytes.resize(bytes.len().min(len as usize), 0);
            bytes.resize(len as usize, 0);
            check_every_way(&map, &bytes);
            assert!(contents(&file) == bytes, "{delivery:?}, {len} bytes");
        }
        let error = map.resize(1 << 40).unwrap_err();
        assert!(error.to_string().contains("reserve"), "{error}");
        assert_eq!(map.len(), 10_000);
        check_every_way(&map, &bytes);
    }
}

#[test]
fn a_map_follows_what_others_append() {
    let (vm, mut bytes) = (vm(), pattern(5000));
    let file = file_in(DISK, &bytes);
    let options = MapOptions::new().offset(1000).reserve(1 << 20);
    let map = options.map_raw(&vm, &file).unwrap();
    assert_eq!((map.file_offset(), map.reserved(), map.len()), (1000, (1 << 20) - 1000, 4000));
    check_every_way(&map, &bytes[1000..]);
    file.write_all_at(&pattern(10_000), 5000).unwrap();
    bytes.extend(pattern(10_000));
    map.grow(14_000).unwrap();
    check_every_way(&map, &bytes[1000..]);
    let error = map.grow(14_001).unwrap_err();
    assert!(error.is_beyond_end(), "{error}");
    // It never makes a map shorter.
    map.grow(10).unwrap();
    assert_eq!(map.len(), 14_000);
}

#[test]
fn holes() {
    for folder in [DISK, MEMORY] {
        let (vm, mut bytes) = (vm(), pattern(10 * PAGE));
        let file = file_in(folder, &bytes);
        let map = MapOptions::new().map_raw_mut(&vm, &file).unwrap();
        for (from, len) in [(4096, 8192), (100, 50), (20_000, 10_001), (40_959, 1), (0, 0)] {
            store(&map, from, 0xee);
            bytes[from] = 0xee;
            map.punch_hole(from as u64, len as u64).unwrap();
            bytes[from..from + len].fill(0);
            check_every_way(&map, &bytes);
            map.flush().unwrap();
            assert!(contents(&file) == bytes, "{folder}: {from}, {len}");
        }
        let held = map.pin(0, 10).unwrap();
        assert!(map.punch_hole(5, 1).unwrap_err().is_pinned());
        drop(held);
        assert!(map.punch_hole(0, 1 << 20).unwrap_err().is_beyond_end());
    }
}

#[test]
fn readers_seek_and_read_lines() {
    let text: String = (0..50_000).map(|n| format!("line {n}\n")).collect();
    let (vm, file) = (Vm::with_memory(256 << 10).unwrap(), file_in(DISK, text.as_bytes()));
    let map = MapOptions::new().offset(7).map_raw(&vm, &file).unwrap();
    let lines: Vec<_> = map.reader().lines().map(Result::unwrap).collect();
    assert!(lines.iter().map(String::as_str).eq(text[7..].lines()));
    let mut reader = map.reader();
    let end = text.len() as u64 - 7;
    let mut five = [0; 5];
    for (to, at) in [
        (SeekFrom::Start(65_530), 65_530),
        (SeekFrom::Current(-100), 65_435),
        (SeekFrom::End(-5), end - 5),
        (SeekFrom::Start(0), 0),
    ] {
        assert_eq!(reader.seek(to).unwrap(), at);
        reader.read_exact(&mut five).unwrap();
        assert_eq!(five, text.as_bytes()[at as usize + 7..][..5]);
    }
    assert_eq!(reader.seek(SeekFrom::End(10)).unwrap(), end + 10);
    assert_eq!(reader.read(&mut five).unwrap(), 0);
    reader.seek(SeekFrom::Current(-(end as i64) - 11)).unwrap_err();
}

#[test]
fn openings_of_one_file_share_its_pages() {
    let named = tempfile::NamedTempFile::new_in(DISK).unwrap();
    std::fs::write(named.path(), pattern(5 * PAGE)).unwrap();
    let open = || File::options().read(true).write(true).open(named.path()).unwrap();
    let vm = vm();
    let reading = MapOptions::new().map_raw(&vm, &File::open(named.path()).unwrap()).unwrap();
    let writing = MapOptions::new().map_raw_mut(&vm, &open()).unwrap();
    let part = MapOptions::new().offset(4090).len(10).map_raw_mut(&vm, &open()).unwrap();
    assert_eq!(reading.resident().unwrap().0, part.resident().unwrap().0);
    writing.write_at(4094, b"seen").unwrap();
    assert_eq!(loads(&part, 4, 4), b"seen");
    assert_eq!(loads(&reading, 4094, 4), b"seen");
    store(&part, 0, b'P');
    let expected = [b"P", &pattern(4094)[4091..], b"seen"].concat();
    assert_eq!(reading.pin(4090, 8).unwrap()[..], expected);
    assert!(reading.pin_mut(0, 1).is_err(), "rights belong to the map, not to the file");
    let other = MapOptions::new().delivery(Delivery::Inline).map_raw(&vm, &open()).unwrap_err();
    assert!(other.to_string().contains("delivery"), "{other}");
    drop((writing, part));
    let later = MapOptions::new().map_raw_mut(&vm, &open()).unwrap();
    assert_eq!(loads(&later, 4094, 4), b"seen");
    drop((reading, later));
    assert_eq!(std::fs::read(named.path()).unwrap()[4094..4098], *b"seen");
    let again = MapOptions::new().map_raw(&vm, &open()).unwrap();
    assert_eq!(again.pin(4094, 4).unwrap()[..], *b"seen");
}

extern "C" fn tell_and_end(number: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel gives a handler the signal's information.
    let (code, addr) = unsafe { ((*info).si_code, (*info).si_addr()) };
    // The access that brought us here was made between two uses of the standard output.
    println!("signal {number} code {code} at {addr:p}");
    std::process::exit(0);
}

/// In a process of its own: touches what it may not.
#[test]
#[ignore = "a child of the other tests"]
fn child_role() {
    let Ok(role) = std::env::var("FAULTLESS_ROLE") else { return };
    let delivery = if role.contains("thread") { Delivery::Thread } else { Delivery::Inline };
    // SAFETY: all-zero bytes are a sigaction; the handler has the signature of SA_SIGINFO.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = tell_and_end as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut()), 0);
    }
    let (vm, file) = (vm(), file_in(DISK, &pattern(2 * PAGE)));
    let options = MapOptions::new().delivery(delivery).no_reserve();
    let map = options.map_raw(&vm, &file).unwrap();
    assert_eq!(load(&map, 0), 1);
    let (at, stores) = match role.split_once(' ').unwrap().1 {
        "store to a resident page" => (123, true),
        "store to an absent page" => (PAGE + 77, true),
        "load past the range" => (2 * PAGE + 5, false),
        "store past the range" => (2 * PAGE + 9, true),
        other => panic!("no role {other}"),
    };
    map.release(PAGE as u64, PAGE as u64).unwrap();
    println!("\ntouching {:p}", map.as_ptr().wrapping_add(at));
    match stores {
        // SAFETY: an access that ends in the handler, which doesn't return.
        true => unsafe { map.as_mut_ptr().wrapping_add(at).write_volatile(1) },
        // SAFETY: as above.
        false => _ = unsafe { map.as_ptr().wrapping_add(at).read_volatile() },
    }
    panic!("went through");
}

#[test]
fn forbidden_accesses_are_segmentation_faults() {
    const ACCERR: &str = "code 2";
    const MAPERR: &str = "code 1";
    for delivery in ["thread", "inline"] {
        for (what, code) in [
            ("store to a resident page", ACCERR),
            ("store to an absent page", ACCERR),
            ("load past the range", MAPERR),
            ("store past the range", MAPERR),
        ] {
            let mut command = std::process::Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "child_role", "--ignored", "--nocapture"]);
            let output = command.env("FAULTLESS_ROLE", format!("{delivery} {what}")).output();
            let output = output.unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let line = |start| text.lines().find(|line| line.starts_with(start)).unwrap_or(&text);
            let addr = line("touching").trim_start_matches("touching ");
            let expected = format!("signal {} {code} at {addr}", libc::SIGSEGV);
            assert_eq!(line("signal"), expected, "{delivery}: {what}: {output:?}");
        }
    }
}
