//! `flags-and-errors`: what mmap, munmap and msync refuse, and with which errno (texts A,
//! B).

use faultless_posix::{Errno, MapFlags, Mmap, OpenFlags, Pid, SyncFlags};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{FD, PAGE, READ, READ_WRITE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "flags-and-errors",
    summary: "mmap, munmap and msync answer errors by errno; MAP_SHARED_VALIDATE knows its flags",
    claims: &["A11", "A14", "B4"],
    rows: &[Row::Calls],
    frames: 16,
    software,
    linux: None,
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("flags that nobody knows");
    let file = stage.file("/data", b"bytes");
    stage.open(a, FD, file, OpenFlags::empty())?;
    let call = Mmap { len: PAGE, prot: READ, flags: MapFlags::SHARED, fd: FD, ..Mmap::default() };
    let unknown = MapFlags::from_bits_retain(0x200);
    let answer = stage.mmap(a, Mmap { flags: MapFlags::SHARED_VALIDATE | unknown, ..call });
    stage.refused("by MAP_SHARED_VALIDATE", answer, Errno::EOPNOTSUPP)?;
    let answer = stage.mmap(a, Mmap { flags: MapFlags::SHARED | unknown, ..call });
    stage.check("MAP_SHARED ignores them", answer.is_ok())?;

    stage.step("what mmap refuses");
    let shared = MapFlags::SHARED;
    let cases = [
        ("no bytes", Mmap { len: 0, ..call }, Errno::EINVAL),
        ("neither shared nor private", Mmap { flags: MapFlags::empty(), ..call }, Errno::EINVAL),
        ("an offset within a page", Mmap { offset: 100, ..call }, Errno::EINVAL),
        ("a descriptor that isn't open", Mmap { fd: 99, ..call }, Errno::EBADF),
        (
            "stores to a file open for reading",
            Mmap { prot: READ_WRITE, flags: shared, ..call },
            Errno::EACCES,
        ),
        ("more than there are addresses", Mmap { len: 1 << 60, ..call }, Errno::ENOMEM),
    ];
    for (what, call, errno) in cases {
        let answer = stage.mmap(a, call);
        stage.refused(what, answer, errno)?;
    }
    let private = stage.mmap(a, Mmap { prot: READ_WRITE, flags: MapFlags::PRIVATE, ..call });
    stage.check("private stores to a file open for reading are fine", private.is_ok())?;

    stage.step("what munmap and msync refuse");
    let at = stage.mmap(a, call)?.0;
    let answer = stage.munmap(a, at + 1, PAGE);
    stage.refused("munmap within a page", answer, Errno::EINVAL)?;
    let answer = stage.munmap(a, at, 0);
    stage.refused("munmap of nothing", answer, Errno::EINVAL)?;
    let both = SyncFlags::SYNC | SyncFlags::ASYNC;
    let answer = stage.msync(a, at, PAGE, both);
    stage.refused("msync, now and later", answer, Errno::EINVAL)?;
    let answer = stage.msync(a, 0x1000_0000, PAGE, SyncFlags::SYNC);
    stage.refused("msync where nothing is", answer, Errno::ENOMEM)
}
