//! `loader-maps`: what strace shows of the dynamic loader (text D), call by call.

use faultless_addr::{SpaceId, VirtAddr};
use faultless_posix::{MapFlags, Mmap, OpenFlags, Pid, Trouble};
use faultless_software::Rights;

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{EXEC, FD, PAGE, READ, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "loader-maps",
    summary: "the loader maps its cache and a library, as strace shows it",
    claims: &["D4", "E18", "A8"],
    rows: &[Row::Elf, Row::VmArea],
    frames: 16,
    software,
    linux: None,
};

/// Where libc liked to be.
const LIKES: u64 = 0x38_6ee0_0000;

/// A file of libc's length.
fn library() -> Vec<u8> {
    let mut bytes = vec![0x90; 1_926_760];
    bytes[..4].copy_from_slice(b"\x7fELF");
    bytes
}

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("open, fstat, mmap and close of ld.so.cache");
    let cache = stage.file("/etc/ld.so.cache", &vec![b'c'; 42_238]);
    stage.open(a, FD, cache, OpenFlags::empty())?;
    let call =
        Mmap { len: 42_238, prot: READ, flags: MapFlags::PRIVATE, fd: FD, ..Mmap::default() };
    let at = stage.mmap(a, call)?.0;
    stage.close(a, FD)?;
    let pages = stage.area(a, at).map(|area| area.range.pages());
    stage.equal("42238 bytes are pages", pages, Some(11))?;

    stage.step("open and read of libc: the first 832 bytes tell what to map");
    let libc = stage.file("/lib64/libc.so.6", &library());
    stage.open(a, FD, libc, OpenFlags::empty())?;
    let head = stage.pread(a, FD, 832, 0)?;
    stage.same("it begins with", &head[..4], b"\x7fELF")?;

    stage.step("mmap of libc, executable, at the address where it likes to be");
    let flags = MapFlags::PRIVATE | MapFlags::DENYWRITE;
    let call = Mmap { addr: LIKES, len: 3_750_152, prot: READ | EXEC, flags, fd: FD, offset: 0 };
    let at = stage.mmap(a, call)?.0;
    stage.equal("it is there", format!("{at:x}"), format!("{LIKES:x}"))?;
    let read = stage.io().files.read;
    stage.check("of 471 pages few have been read", read < 10)?;

    stage.step("a function of libc is called");
    let function = at + 200 * PAGE;
    stage.fetch(a, function)?;
    let entry = stage.machine().translation(SpaceId(a.0), VirtAddr(function));
    let executes = entry.is_some_and(|entry| entry.rights.contains(Rights::EXECUTE));
    stage.check("its entry lets instructions be fetched", executes)?;
    let store = stage.store(a, function, b"x");
    stage.ends("whoever stores there", store, Trouble::AccErr, function)?;

    stage.step("the map is longer than the file: its other half is nothing yet");
    let beyond = at + 1_926_760u64.next_multiple_of(PAGE);
    let access = stage.bytes(a, beyond, 1);
    stage.ends("whoever looks there", access, Trouble::Bus, beyond)
}
