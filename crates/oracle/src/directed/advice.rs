//! Lines 49 to 56: madvise(2).

use super::play::Says;
use super::words::*;
use super::{Case, DISK, Play, both, not};
use crate::call::{Call, PAGE, ProcessId};
use crate::flags::{Advice, MapFlags, OpenFlags, Prot};
use crate::outcome::{Errno, Outcome};
use crate::system::World;

pub fn cases() -> Vec<Case> {
    vec![
        both(49, "madvise: parameters; every mapped part is done", DISK, parameters),
        both(50, "advice on locked pages", DISK, locked),
        both(51, "FREE: what was there or zeros, until written", DISK, free),
        both(52, "REMOVE", DISK, remove),
        both(53, "POPULATE_READ, POPULATE_WRITE", DISK, populate),
        both(54, "WIPEONFORK, KEEPONFORK", DISK, wipe),
        both(55, "GUARD_INSTALL, GUARD_REMOVE", DISK, guard),
        both(56, "marks: MERGEABLE, HUGEPAGE, DONTDUMP; COLLAPSE of a little", DISK, marks),
        not(
            56,
            "HWPOISON, process_madvise",
            "one ends real memory; the other reads as madvise does",
        ),
    ]
}

fn parameters(p: &mut Play<'_>) {
    p.works(anon(0, 3, RW));
    p.says(madvise(byte(0, 1), PAGE, Advice::NORMAL), Errno::EINVAL);
    p.says(madvise(page(0), PAGE, Advice(77)), Errno::EINVAL);
    p.says(madvise(page(0), 0, Advice(77)), Errno::EINVAL);
    p.says(madvise(byte(0, 1), 0, Advice::NORMAL), Errno::EINVAL);
    p.works(madvise(page(0), 0, Advice::DONTNEED));
    p.works(store(page(0), 7));
    p.works(store(page(2), 7));
    p.works(munmap(page(1), PAGE));
    p.says(madvise(page(0), pages(3), Advice::DONTNEED), Errno::ENOMEM);
    p.reads(page(0), &[0]);
    p.reads(page(2), &[0]);
}

fn locked(p: &mut Play<'_>) {
    p.works(anon(0, 1, RW));
    p.works(mlock(page(0), PAGE));
    p.works(store(page(0), 7));
    for advice in [Advice::DONTNEED, Advice::FREE, Advice::COLD, Advice::PAGEOUT] {
        p.says(madvise(page(0), PAGE, advice), Errno::EINVAL);
    }
    p.reads(page(0), &[7]);
    p.works(madvise(page(0), PAGE, Advice::DONTNEED_LOCKED));
    p.reads(page(0), &[0]);
    p.says(madvise(page(0), PAGE, Advice::GUARD_INSTALL), Errno::EINVAL);
}

fn free(p: &mut Play<'_>) {
    p.works(open(A, 0, OpenFlags::RDWR));
    p.works(file(4, 1, RW, PRIVATE, A));
    p.works(shared_anon(5, 1, RW));
    p.works(anon(0, 1, RW));
    p.works(store(page(0), 7));
    p.works(store(byte(0, 1), 8));
    p.works(madvise(page(0), PAGE, Advice::FREE));
    p.says(load(page(0), 1), Says::OneOf([7, 0].map(|byte| Outcome::Bytes(vec![byte])).into()));
    p.works(store(page(0), 9));
    p.reads(page(0), &[9]);
    p.says(madvise(page(4), PAGE, Advice::FREE), Errno::EINVAL);
    p.says(madvise(page(5), PAGE, Advice::FREE), Errno::EINVAL);
}

fn remove(p: &mut Play<'_>) {
    p.works(open(A, 0, OpenFlags::RDWR));
    p.works(open(B, 0, RDONLY));
    p.works(anon(0, 1, RW));
    p.says(madvise(page(0), PAGE, Advice::REMOVE), Errno::EINVAL);
    p.works(file(0, 1, RW, PRIVATE, A));
    p.says(madvise(page(0), PAGE, Advice::REMOVE), Errno::EACCES);
    p.works(file(0, 1, R, SHARED, B));
    p.says(madvise(page(0), PAGE, Advice::REMOVE), Errno::EACCES);
    p.works(file(0, 1, R, SHARED, A));
    p.works(madvise(page(0), PAGE, Advice::REMOVE));
    p.reads(page(0), &[0]);
    p.says(pread(A, PAGE - 1, 2), Outcome::Bytes(vec![0, World::byte(0, PAGE)]));
}

fn populate(p: &mut Play<'_>) {
    p.works(open(A, 0, OpenFlags::RDWR));
    p.works(anon(0, 1, NONE));
    p.says(madvise(page(0), PAGE, Advice::POPULATE_READ), Errno::EINVAL);
    p.works(anon(0, 1, Prot::WRITE));
    p.says(madvise(page(0), PAGE, Advice::POPULATE_READ), Errno::EINVAL);
    p.works(anon(0, 1, R));
    p.says(madvise(page(0), PAGE, Advice::POPULATE_WRITE), Errno::EINVAL);
    p.works(file(0, 5, RW, PRIVATE, A));
    p.says(madvise(page(0), pages(5), Advice::POPULATE_WRITE), Errno::EFAULT);
    // Pages before the end have been copied.
    p.works(pwrite(A, 0, World::byte(0, 0) + 1));
    p.reads(page(0), &[World::byte(0, 0)]);
    p.says(madvise(page(8), PAGE, Advice::POPULATE_READ), Errno::ENOMEM);
}

fn wipe(p: &mut Play<'_>) {
    p.works(open(A, 0, OpenFlags::RDWR));
    p.works(file(4, 1, RW, PRIVATE, A));
    p.works(shared_anon(5, 1, RW));
    p.says(madvise(page(4), PAGE, Advice::WIPEONFORK), Errno::EINVAL);
    p.says(madvise(page(5), PAGE, Advice::WIPEONFORK), Errno::EINVAL);
    p.works(anon(0, 2, RW));
    p.works(store(page(0), 7));
    p.works(store(page(1), 8));
    p.works(madvise(page(0), pages(2), Advice::WIPEONFORK));
    p.works(madvise(page(1), PAGE, Advice::KEEPONFORK));
    p.works(anon(2, 1, RW));
    p.works(madvise(page(2), PAGE, Advice::GUARD_INSTALL));
    p.works(madvise(page(2), PAGE, Advice::WIPEONFORK));
    p.works(Call::Fork { child: ProcessId(1) });
    p.by(1);
    p.reads(page(0), &[0]);
    p.reads(page(1), &[8]);
    p.reads(page(2), &[0]);
}

fn guard(p: &mut Play<'_>) {
    p.works(open(A, 0, OpenFlags::RDWR));
    p.works(file(0, 2, RW, SHARED, A));
    p.works(anon(4, 1, RW));
    p.works(store(page(4), 7));
    for n in [0, 4] {
        p.works(madvise(page(n), PAGE, Advice::GUARD_INSTALL));
        p.segv(page(n), 1);
    }
    p.says(Call::ReadInto { fd: A, addr: page(4), len: 1, offset: 0 }, Errno::EFAULT);
    p.goes_to(mremap(page(4), PAGE, PAGE, TO, page(6)), page(6));
    p.segv(page(6), 1);
    p.goes_to(mremap(page(6), PAGE, PAGE, TO, page(4)), page(4));
    p.says(mincore(page(4), PAGE), Outcome::Vector(vec![false]));
    p.says(mlock(page(4), PAGE), Errno::ENOMEM);
    p.works(munlock(page(4), PAGE));
    p.works(Call::Fork { child: ProcessId(1) });
    for n in [0, 4] {
        p.works(madvise(page(n), PAGE, Advice::GUARD_REMOVE));
    }
    p.reads(page(0), &[World::byte(0, 0)]);
    p.reads(page(4), &[0]);
    p.by(1);
    p.segv(page(4), 1);
    p.works(madvise(page(4), PAGE, Advice::DONTNEED));
    p.segv(page(4), 1);
}

fn marks(p: &mut Play<'_>) {
    p.works(anon(0, 6, RW));
    let advice = [
        Advice::MERGEABLE,
        Advice::HUGEPAGE,
        Advice::NOHUGEPAGE,
        Advice::DONTDUMP,
        Advice::SEQUENTIAL,
        Advice::RANDOM,
    ];
    for (n, advice) in advice.into_iter().enumerate() {
        p.works(madvise(page(n as u64), PAGE, advice));
    }
    p.has_areas(6);
    for advice in [Advice::UNMERGEABLE, Advice::NOHUGEPAGE, Advice::DODUMP, Advice::NORMAL] {
        p.works(madvise(page(0), pages(6), advice));
    }
    p.has_areas(1);
    p.says(madvise(page(0), pages(6), Advice::COLLAPSE), Errno::EINVAL);
    // What can't be merged is not, and nobody is told.
    p.works(shared_anon(9, 2, RW));
    p.works(madvise(page(9), PAGE, Advice::MERGEABLE));
    p.has_areas(2);
    p.works(mmap(page(8), PAGE, RW, MapFlags::DROPPABLE | MapFlags::ANONYMOUS | FIXED, A, 0));
    for advice in [Advice::KEEPONFORK, Advice::DODUMP] {
        p.says(madvise(page(8), PAGE, advice), Errno::EINVAL);
    }
}
