//! Lines 45 to 48: msync(2) and mincore(2).

use super::words::*;
use super::{Case, DISK, Play, both, not};
use crate::call::{Call, PAGE, Vector};
use crate::flags::{Advice, OpenFlags, SyncFlags};
use crate::outcome::{Errno, Outcome};
use crate::system::World;

pub fn cases() -> Vec<Case> {
    vec![
        both(45, "msync: parameters, holes, locked pages", DISK, sync),
        not(46, "what MS_SYNC wrote is durable", "it would take a machine that loses power"),
        both(46, "PRIVATE is never written back", DISK, never_written),
        both(47, "mincore: parameters, holes, a bad vector", DISK, parameters),
        both(48, "mincore after DONTNEED and after a load", DISK, residency),
    ]
}

fn sync(p: &mut Play<'_>) {
    p.works(anon(0, 3, RW));
    p.says(msync(page(0), PAGE, SyncFlags::ASYNC | SyncFlags::SYNC), Errno::EINVAL);
    p.says(msync(page(0), PAGE, SyncFlags::from_bits_retain(8)), Errno::EINVAL);
    p.says(msync(byte(0, 1), PAGE, SyncFlags::SYNC), Errno::EINVAL);
    p.works(msync(page(0), PAGE, SyncFlags::empty()));
    p.works(msync(page(0), 0, SyncFlags::SYNC));
    p.says(msync(page(0), u64::MAX - pages(1), SyncFlags::SYNC), Errno::ENOMEM);
    p.works(munmap(page(1), PAGE));
    for flags in [SyncFlags::SYNC, SyncFlags::ASYNC, SyncFlags::empty()] {
        p.says(msync(page(0), pages(3), flags), Errno::ENOMEM);
    }
    p.works(mlock(page(2), PAGE));
    p.says(msync(page(2), PAGE, SyncFlags::INVALIDATE), Errno::EBUSY);
    // The lock behind the hole is found first.
    p.says(msync(page(0), pages(3), SyncFlags::INVALIDATE), Errno::EBUSY);
}

fn never_written(p: &mut Play<'_>) {
    p.works(open(A, 0, OpenFlags::RDWR));
    p.works(file(0, 1, RW, PRIVATE, A));
    p.works(store(page(0), World::byte(0, 0) + 1));
    p.works(msync(page(0), PAGE, SyncFlags::SYNC));
    p.says(pread(A, 0, 1), Outcome::Bytes(vec![World::byte(0, 0)]));
}

fn parameters(p: &mut Play<'_>) {
    let bad = |len| Call::Mincore { addr: page(0), len, vector: Vector::Bad };
    p.works(anon(0, 2, RW));
    p.says(mincore(byte(0, 1), PAGE), Errno::EINVAL);
    p.says(mincore(page(0), pages(3)), Errno::ENOMEM);
    p.says(mincore(page(5), PAGE), Errno::ENOMEM);
    p.says(bad(PAGE), Errno::EFAULT);
    p.works(bad(0));
    p.says(mincore(page(0), 1), Outcome::Vector(vec![false]));
}

fn residency(p: &mut Play<'_>) {
    let is = |p: &mut Play<'_>, bits: &[bool]| {
        p.says(mincore(page(0), pages(bits.len() as u64)), Outcome::Vector(bits.to_vec()));
    };
    p.works(anon(0, 3, RW));
    is(p, &[false, false, false]);
    p.works(store(page(0), 7));
    p.works(load(page(1), 1));
    is(p, &[true, true, false]);
    p.works(madvise(page(0), pages(3), Advice::DONTNEED));
    is(p, &[false, false, false]);
    p.works(shared_anon(0, 2, RW));
    p.works(load(page(1), 1));
    is(p, &[false, true]);
    // What is in memory for others is in memory.
    p.works(madvise(page(0), pages(2), Advice::DONTNEED));
    is(p, &[false, true]);
}
