//! Lines 19 to 29: faults, and mappings of files that change.

use super::words::*;
use super::{Case, DISK, Play, TMPFS, both, not};
use crate::call::{Call, Data, FileId, PAGE, ProcessId};
use crate::flags::{Advice, FallocFlags, OpenFlags, Prot, SyncFlags};
use crate::outcome::{Errno, Outcome};
use crate::system::World;

pub fn cases() -> Vec<Case> {
    vec![
        both(19, "the codes of SIGSEGV", DISK, segv),
        both(20, "SIGBUS beyond the end; the page that holds the end", DISK, end),
        both(21, "what is stored behind the end never reaches the file", DISK, tail),
        both(22, "the file grows over a tail that was stored to: ext4", DISK, tail_on_disk),
        both(22, "the file grows over a tail that was stored to: tmpfs", TMPFS, tail_on_tmpfs),
        both(23, "a file is cut: private copies go, too", DISK, cut),
        both(24, "a hole: private copies stay", DISK, hole),
        both(25, "a private page follows the file until it is copied", DISK, copies),
        both(26, "SHARED is coherent with read and write, and between processes", DISK, coherent),
        not(26, "mtime and ctime move on a write fault", "the words of this crate have no clock"),
        both(27, "system calls on memory that can't be touched", DISK, system_calls),
        both(27, "a write that gets no byte makes the file longer (since 6.16)", DISK, no_byte),
        both(28, "a mapping outlives close, unlink and rename", DISK, outlives),
        both(29, "fallocate, copy_file_range and O_DIRECT against mappings", DISK, shifts),
        both(29, "COLLAPSE, INSERT and ZERO are not for tmpfs", TMPFS, no_shifts),
        not(29, "sendfile", "it reads as copy_file_range does, which is tested"),
    ]
}

/// Byte `index` of file 0 as it is at first.
fn original(index: u64) -> u8 {
    World::byte(0, index)
}

fn segv(p: &mut Play<'_>) {
    p.segv(page(0), 1);
    p.works(anon(0, 1, NONE));
    p.segv(byte(0, 9), 2);
    p.works(anon(0, 1, R));
    p.says(store(page(0), 1), Outcome::segv(2, page(0)));
    p.says(Call::Fetch { addr: page(0) }, Outcome::segv(2, page(0)));
    p.works(anon(0, 1, Prot::WRITE));
    p.reads(page(0), &[0]);
    p.works(anon(0, 1, RW));
    p.works(store(page(0), 0xc3));
    p.works(mprotect(page(0), PAGE, Prot::EXEC));
    p.works(Call::Fetch { addr: page(0) });
    if crate::model::keeps_exec_only() {
        p.segv(page(0), 4);
    }
}

fn end(p: &mut Play<'_>) {
    p.works(open(A, 0, OpenFlags::RDWR));
    p.works(file(0, 5, RW, SHARED, A));
    p.reads(byte(2, 10_000 - 2 * PAGE - 1), &[original(9_999), 0]);
    p.bus(page(3));
    p.says(store(byte(4, 5), 1), Outcome::bus(byte(4, 5)));
}

fn tail(p: &mut Play<'_>) {
    p.works(open(A, 0, OpenFlags::RDWR));
    p.works(file(0, 3, RW, SHARED, A));
    p.works(store(byte(2, PAGE - 1), 7));
    p.works(msync(page(0), pages(3), SyncFlags::SYNC));
    p.says(pread(A, 9_999, 10), Outcome::Bytes(vec![original(9_999)]));
}

fn tail_on_disk(p: &mut Play<'_>) {
    p.works(open(A, 0, OpenFlags::RDWR));
    p.works(file(0, 3, RW, SHARED, A));
    p.works(store(byte(2, PAGE - 1), 7));
    p.works(truncate(A, pages(3)));
    p.reads(byte(2, PAGE - 1), &[0]);
}

fn tail_on_tmpfs(p: &mut Play<'_>) {
    p.works(open(A, 0, OpenFlags::RDWR));
    p.works(file(0, 3, RW, SHARED, A));
    p.works(store(byte(2, PAGE - 1), 7));
    p.works(truncate(A, pages(3)));
    p.reads(byte(2, PAGE - 1), &[7]);
    p.works(truncate(A, 10_000));
    p.works(truncate(A, pages(3)));
    p.reads(byte(2, PAGE - 1), &[0]);
}

fn cut(p: &mut Play<'_>) {
    p.works(open(A, 0, OpenFlags::RDWR));
    p.works(file(0, 2, RW, PRIVATE, A));
    p.works(store(byte(0, PAGE - 1), 7));
    p.works(store(page(1), 8));
    p.works(truncate(A, 100));
    p.bus(page(1));
    p.reads(byte(0, PAGE - 1), &[7]);
    p.works(truncate(A, pages(2)));
    p.reads(page(1), &[0]);
}

fn hole(p: &mut Play<'_>) {
    p.works(open(A, 0, OpenFlags::RDWR));
    p.works(file(0, 2, RW, PRIVATE, A));
    p.works(file(4, 2, RW, SHARED, A));
    p.works(store(page(0), 7));
    p.works(punch(A, 0, pages(2)));
    p.reads(page(0), &[7, original(1)]);
    p.reads(page(1), &[0]);
    p.reads(page(4), &[0, 0]);
}

fn copies(p: &mut Play<'_>) {
    p.works(open(A, 0, OpenFlags::RDWR));
    p.works(file(0, 2, RW, PRIVATE, A));
    p.works(load(page(0), 1));
    p.works(store(byte(1, 1), 9));
    p.works(pwrite(A, 0, 7));
    p.works(pwrite(A, PAGE, 8));
    p.reads(page(0), &[7]);
    p.reads(page(1), &[original(PAGE), 9]);
    p.works(madvise(page(1), PAGE, Advice::DONTNEED));
    p.reads(page(1), &[8, original(PAGE + 1)]);
}

fn coherent(p: &mut Play<'_>) {
    p.works(open(A, 0, OpenFlags::RDWR));
    p.works(open(B, 0, OpenFlags::RDWR));
    p.works(file(0, 1, RW, SHARED, A));
    p.works(store(page(0), 7));
    p.says(pread(B, 0, 1), Outcome::Bytes(vec![7]));
    p.works(pwrite(B, 1, 8));
    p.reads(page(0), &[7, 8]);
    p.works(Call::Fork { child: ProcessId(1) });
    p.by(1);
    p.works(file(8, 1, RW, SHARED, B));
    p.works(store(byte(8, 2), 9));
    p.by(0);
    p.reads(page(0), &[7, 8, 9]);
}

fn system_calls(p: &mut Play<'_>) {
    let read = |addr, len| Call::ReadInto { fd: A, addr, len, offset: 0 };
    p.works(open(A, 1, OpenFlags::RDWR));
    p.works(open(B, 0, OpenFlags::RDWR));
    p.works(anon(0, 2, RW));
    p.works(anon(1, 1, R));
    p.works(anon(3, 1, NONE));
    p.says(read(page(1), 8), Errno::EFAULT);
    p.says(read(page(3), 8), Errno::EFAULT);
    p.says(read(page(9), 8), Errno::EFAULT);
    p.says(read(byte(0, PAGE - 100), 300), Outcome::Value(100));
    p.works(file(5, 4, RW, PRIVATE, B));
    p.says(read(page(8), 8), Errno::EFAULT);
    p.says(Call::PipeFrom { addr: page(3), len: 8 }, Errno::EFAULT);
    // A pipe takes whole pages or nothing, a file every byte there is.
    p.says(Call::PipeFrom { addr: byte(7, 100), len: PAGE }, Errno::EFAULT);
    p.works(Call::PipeFrom { addr: byte(6, 100), len: pages(2) });
    let write = |addr, len| Call::WriteFrom { fd: A, addr, len, offset: 0 };
    p.says(write(byte(7, 100), PAGE), Outcome::Value(PAGE - 100));
    p.says(write(page(8), 8), Errno::EFAULT);
}

fn no_byte(p: &mut Play<'_>) {
    p.works(open(A, 0, OpenFlags::RDWR));
    let write = Call::WriteFrom { fd: A, addr: page(0), len: 8, offset: 20_000 };
    p.says(write, Errno::EFAULT);
    p.says(pread(A, 19_998, 9), Outcome::Bytes(vec![0, 0]));
}

fn outlives(p: &mut Play<'_>) {
    p.works(open(A, 0, OpenFlags::RDWR));
    p.works(open(B, 1, OpenFlags::RDWR));
    p.works(file(0, 1, RW, SHARED, A));
    p.works(file(1, 1, RW, SHARED, B));
    p.works(Call::Close { fd: A });
    p.works(Call::Rename { from: FileId(1), to: FileId(0) });
    p.works(store(page(1), 8));
    p.reads(page(0), &[original(0)]);
    p.works(open(A, 0, RDONLY));
    p.says(pread(A, 0, 1), Outcome::Bytes(vec![8]));
    p.works(Call::Unlink { file: FileId(0) });
    p.says(open(A, 0, RDONLY), Errno::ENOENT);
    p.reads(page(1), &[8]);
    p.has_areas(2);
}

fn shifts(p: &mut Play<'_>) {
    p.works(open(A, 1, OpenFlags::RDWR));
    p.works(open(B, 0, OpenFlags::RDWR));
    p.works(file(0, 8, RW, SHARED, A));
    p.works(file(10, 8, RW, PRIVATE, A));
    for n in 0..8 {
        p.works(pwrite(A, pages(n), n as u8 + 1));
    }
    p.works(store(byte(12, 1), 99));
    p.works(fallocate(A, FallocFlags::COLLAPSE, PAGE, PAGE));
    p.reads(page(1), &[3]);
    p.reads(byte(12, 0), &[4]);
    p.bus(page(7));
    p.works(fallocate(A, FallocFlags::INSERT, PAGE, PAGE));
    p.reads(page(1), &[0]);
    p.reads(page(2), &[3]);
    p.works(fallocate(A, FallocFlags::ZERO, 0, pages(1)));
    p.reads(page(0), &[0]);
    let (from_offset, to_offset) = (0, pages(3));
    p.works(Call::CopyRange { from: B, from_offset, to: A, to_offset, len: 10 });
    p.reads(page(3), &[original(0), original(1)]);
    p.works(open(B, 1, OpenFlags::RDWR | OpenFlags::DIRECT));
    p.works(store(page(2), 55));
    p.works(anon(20, 1, RW));
    p.says(
        Call::ReadInto { fd: B, addr: page(20), len: PAGE, offset: pages(2) },
        Outcome::Value(PAGE),
    );
    p.reads(page(20), &[55]);
    let data = Data { first: 66, step: 0, len: PAGE as u32 };
    p.works(Call::Store { addr: page(20), data });
    p.says(
        Call::WriteFrom { fd: B, addr: page(20), len: PAGE, offset: pages(2) },
        Outcome::Value(PAGE),
    );
    p.reads(page(2), &[66]);
}

fn no_shifts(p: &mut Play<'_>) {
    p.works(open(A, 1, OpenFlags::RDWR));
    for flags in [FallocFlags::COLLAPSE, FallocFlags::INSERT, FallocFlags::ZERO] {
        p.says(fallocate(A, flags, PAGE, PAGE), Errno::EOPNOTSUPP);
    }
}
