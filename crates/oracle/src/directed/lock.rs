//! Lines 57 and 58: mlock(2) and its kin.

use super::words::*;
use super::{Case, DISK, ORDINARY, Play, ROOT, both};
use crate::call::{NO_FD, PAGE, Resource};
use crate::flags::{LockAllFlags, LockFlags, MapFlags, OpenFlags, Prot};
use crate::outcome::{Errno, Outcome};

pub fn cases() -> Vec<Case> {
    vec![
        both(57, "holes, past the end, PROT_NONE; lengths", DISK, lock),
        both(57, "locking copies private pages that may be written", DISK, copies),
        both(58, "parameters of mlock2 and mlockall", ROOT, parameters),
        both(58, "an ordinary user and the limit", ORDINARY, limits),
        both(58, "MCL_FUTURE", ORDINARY, future),
    ]
}

fn lock(p: &mut Play<'_>) {
    p.works(open(A, 0, OpenFlags::RDWR));
    p.works(anon(0, 3, RW));
    p.works(mlock(page(0), 0));
    p.works(mlock(byte(0, 100), PAGE));
    p.says(mincore(page(0), pages(3)), Outcome::Vector(vec![true, true, false]));
    p.works(munmap(page(1), PAGE));
    p.says(mlock(page(0), pages(3)), Errno::ENOMEM);
    p.says(munlock(page(1), PAGE), Errno::ENOMEM);
    p.works(file(4, 4, RW, SHARED, A));
    p.says(mlock(page(4), pages(4)), Errno::ENOMEM);
    p.works(anon(8, 1, NONE));
    p.says(mlock(page(8), PAGE), Errno::ENOMEM);
    // It is locked nevertheless.
    p.works(mprotect(page(8), PAGE, RW));
    p.says(mincore(page(8), PAGE), Outcome::Vector(vec![true]));
    p.works(anon(9, 1, NONE));
    p.works(mlock2(page(9), PAGE, LockFlags::ONFAULT));
    if crate::model::keeps_exec_only() {
        p.works(anon(10, 1, Prot::EXEC));
        p.says(mlock(page(10), PAGE), Errno::ENOMEM);
    }
}

fn copies(p: &mut Play<'_>) {
    p.works(open(A, 1, OpenFlags::RDWR));
    p.works(file(0, 1, RW, PRIVATE, A));
    p.works(file(1, 1, R, PRIVATE, A));
    p.works(mlock(page(0), pages(2)));
    let before = crate::system::World::byte(1, 0);
    p.works(pwrite(A, 0, before + 1));
    p.reads(page(0), &[before]);
    p.reads(page(1), &[before + 1]);
}

fn parameters(p: &mut Play<'_>) {
    p.says(mlock2(page(0), PAGE, LockFlags::from_bits_retain(2)), Errno::EINVAL);
    p.says(mlockall(LockAllFlags::empty()), Errno::EINVAL);
    p.says(mlockall(LockAllFlags::ONFAULT), Errno::EINVAL);
    p.says(mlockall(LockAllFlags::from_bits_retain(8)), Errno::EINVAL);
    p.works(anon(0, 2, RW));
    p.works(mlockall(LockAllFlags::CURRENT));
    p.says(mincore(page(0), pages(2)), Outcome::Vector(vec![true; 2]));
    p.works(crate::call::Call::Munlockall);
}

fn limits(p: &mut Play<'_>) {
    p.works(limit(Resource::Locked, pages(2)));
    p.works(anon(0, 4, RW));
    p.says(mlock(page(0), pages(3)), Errno::ENOMEM);
    p.works(mlock(page(0), pages(2)));
    p.works(mlock(page(1), PAGE));
    p.says(mlock(page(2), PAGE), Errno::ENOMEM);
    let locked = mmap(page(8), PAGE, RW, ANON | FIXED | MapFlags::LOCKED, NO_FD, 0);
    p.says(locked.clone(), Errno::EAGAIN);
    p.works(limit(Resource::Locked, 0));
    p.says(mlock(page(0), PAGE), Errno::EPERM);
    p.says(locked, Errno::EPERM);
    p.works(munlock(page(0), pages(4)));
}

fn future(p: &mut Play<'_>) {
    p.works(limit(Resource::Locked, pages(2)));
    p.works(mlockall(LockAllFlags::FUTURE));
    p.works(anon(0, 2, RW));
    p.says(mincore(page(0), pages(2)), Outcome::Vector(vec![true; 2]));
    p.says(anon(2, 1, RW), Errno::EAGAIN);
    // Even in place of what is locked already.
    p.says(anon(0, 1, RW), Errno::EAGAIN);
    p.says(mlockall(LockAllFlags::CURRENT), Errno::ENOMEM);
    p.works(crate::call::Call::Munlockall);
    p.works(anon(2, 1, RW));
    p.works(mlockall(LockAllFlags::FUTURE | LockAllFlags::ONFAULT));
    p.works(munmap(page(0), pages(2)));
    p.works(mmap(page(8), PAGE, RW, ANON | FIXED | MapFlags::LOCKED, NO_FD, 0));
    p.says(mincore(page(8), PAGE), Outcome::Vector(vec![false]));
}
