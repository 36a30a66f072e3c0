//! Lines 37 to 44: mremap(2).

use super::words::*;
use super::{Case, DISK, ORDINARY, Play, both};
use crate::call::{Addr, NO_FD, PAGE, Resource};
use crate::flags::{MapFlags, OpenFlags, RemapFlags};
use crate::outcome::Errno;
use crate::system::World;

const KEEP: RemapFlags = RemapFlags::MAYMOVE.union(RemapFlags::DONTUNMAP);

pub fn cases() -> Vec<Case> {
    vec![
        both(37, "mremap: parameters", DISK, parameters),
        both(38, "an old size of 0", DISK, duplicate),
        both(39, "nothing there; more than the area", DISK, outside),
        both(40, "growing in place, shrinking", DISK, in_place),
        both(41, "the same size to another place, over several areas (6.17)", DISK, several),
        both(42, "DONTUNMAP", DISK, keep),
        both(42, "DONTUNMAP of a part unlocks the whole area", DISK, keep_locked),
        both(42, "and goes on counting it", ORDINARY, keep_counted),
        both(43, "shared anonymous memory beyond its object", DISK, beyond),
        both(44, "locked memory up to the limit", ORDINARY, locked),
    ]
}

fn parameters(p: &mut Play<'_>) {
    let flags = RemapFlags::from_bits_retain;
    p.works(anon(0, 4, RW));
    p.says(mremap(byte(0, 1), PAGE, PAGE, MAYMOVE, page(8)), Errno::EINVAL);
    p.says(mremap(page(0), PAGE, 0, MAYMOVE, page(8)), Errno::EINVAL);
    p.says(mremap(page(0), PAGE, PAGE, flags(8), page(8)), Errno::EINVAL);
    p.says(mremap(page(0), PAGE, PAGE, RemapFlags::FIXED, page(8)), Errno::EINVAL);
    p.says(mremap(page(0), pages(2), pages(2), TO, page(1)), Errno::EINVAL);
    p.says(mremap(page(0), PAGE, PAGE, TO, byte(8, 1)), Errno::EINVAL);
    p.says(mremap(page(0), PAGE, PAGE, TO, Addr::at(!(PAGE - 1))), Errno::EINVAL);
    p.goes_to(mremap(page(0), PAGE, PAGE, RemapFlags::empty(), page(8)), page(0));
}

fn duplicate(p: &mut Play<'_>) {
    p.works(shared_anon(0, 2, RW));
    p.works(store(page(1), 7));
    p.says(mremap(page(0), 0, pages(2), RemapFlags::empty(), page(8)), Errno::ENOMEM);
    p.goes_to(mremap(page(0), 0, pages(2), TO, page(8)), page(8));
    p.works(store(page(8), 6));
    p.reads(page(0), &[6]);
    p.reads(page(9), &[7]);
    // Over the first page of the source: that is gone before it is copied.
    p.says(mremap(page(8), 0, PAGE, TO, page(8)), Errno::EFAULT);
    p.segv(page(8), 1);
    p.works(anon(0, 2, RW));
    p.says(mremap(page(0), 0, pages(2), MAYMOVE, page(8)), Errno::EINVAL);
}

fn outside(p: &mut Play<'_>) {
    p.says(mremap(page(0), PAGE, pages(2), MAYMOVE, page(8)), Errno::EFAULT);
    p.works(anon(0, 2, RW));
    p.works(anon(2, 2, R));
    p.says(mremap(page(0), pages(3), pages(4), MAYMOVE, page(8)), Errno::EFAULT);
    p.says(mremap(page(2), pages(3), pages(4), MAYMOVE, page(8)), Errno::EFAULT);
    p.says(mremap(page(0), pages(4), pages(3), TO, page(8)), Errno::EFAULT);
    p.goes_to(mremap(page(0), pages(4), pages(2), TO, page(8)), page(8));
    p.segv(page(2), 1);
}

fn in_place(p: &mut Play<'_>) {
    p.works(anon(0, 2, RW));
    p.works(anon(4, 1, R));
    p.works(store(page(0), 7));
    p.says(mremap(page(0), pages(2), pages(5), RemapFlags::empty(), page(8)), Errno::ENOMEM);
    p.says(mremap(page(0), PAGE, pages(2), RemapFlags::empty(), page(8)), Errno::ENOMEM);
    p.goes_to(mremap(page(0), pages(2), pages(4), RemapFlags::empty(), page(8)), page(0));
    p.reads(page(3), &[0]);
    p.goes_to(mremap(page(0), pages(5), pages(1), RemapFlags::empty(), page(8)), page(0));
    p.has_areas(1);
    p.works(anon(1, 1, R));
    let top = Addr::at(World::WIDE.end() - pages(2));
    p.goes_to(mremap(page(0), PAGE, pages(2), MAYMOVE, page(8)), top);
    p.reads(top, &[7]);
    p.segv(page(0), 1);
}

fn several(p: &mut Play<'_>) {
    p.works(anon(0, 2, RW));
    p.works(anon(2, 1, R));
    p.works(shared_anon(5, 1, RW));
    p.works(anon(20, 6, RW));
    p.works(store(page(1), 7));
    p.works(store(page(5), 8));
    p.works(store(page(24), 9));
    p.goes_to(mremap(page(0), pages(6), pages(6), TO, page(20)), page(20));
    p.reads(page(21), &[7]);
    p.reads(page(25), &[8]);
    // What was there stays where the moved areas leave a gap.
    p.reads(page(24), &[9]);
    p.segv(page(0), 1);
    // Nothing may be missing where it begins.
    p.says(mremap(page(4), pages(20), pages(20), TO, page(60)), Errno::EFAULT);
    p.works(mseal(page(22), PAGE));
    p.says(mremap(page(20), pages(6), pages(6), TO, page(60)), Errno::EPERM);
    p.reads(page(61), &[7]);
    p.reads(page(25), &[8]);
}

fn keep(p: &mut Play<'_>) {
    p.works(anon(0, 2, RW));
    p.works(store(page(0), 7));
    p.says(mremap(page(0), PAGE, PAGE, RemapFlags::DONTUNMAP, page(8)), Errno::EINVAL);
    p.says(mremap(page(0), PAGE, pages(2), KEEP, page(8)), Errno::EINVAL);
    p.goes_to(mremap(page(0), pages(2), pages(2), KEEP, page(8)), page(8));
    p.reads(page(0), &[0]);
    p.reads(page(8), &[7]);
    p.works(shared_anon(20, 1, RW));
    p.works(store(page(20), 5));
    p.goes_to(mremap(page(20), PAGE, PAGE, KEEP | RemapFlags::FIXED, page(30)), page(30));
    p.reads(page(20), &[5]);
    p.works(open(A, 0, OpenFlags::RDWR));
    p.works(file(40, 1, RW, PRIVATE, A));
    p.works(store(byte(40, 1), 5));
    p.goes_to(mremap(page(40), PAGE, PAGE, KEEP | RemapFlags::FIXED, page(50)), page(50));
    p.reads(page(40), &[World::byte(0, 0), World::byte(0, 1)]);
    p.reads(byte(50, 1), &[5]);
    // Sizes are compared in pages.
    p.goes_to(mremap(page(40), 1, PAGE, KEEP | RemapFlags::FIXED, page(60)), page(60));
}

fn keep_locked(p: &mut Play<'_>) {
    p.works(mmap(page(0), pages(3), RW, ANON | FIXED | MapFlags::LOCKED, NO_FD, 0));
    p.goes_to(mremap(page(1), PAGE, PAGE, KEEP | RemapFlags::FIXED, page(8)), page(8));
    p.has_areas(2);
    p.works(munlock(page(8), PAGE));
    p.works(madvise(page(0), pages(3), crate::flags::Advice::DONTNEED));
}

fn keep_counted(p: &mut Play<'_>) {
    p.works(limit(Resource::Locked, pages(4)));
    p.works(mmap(page(0), pages(3), RW, ANON | FIXED | MapFlags::LOCKED, NO_FD, 0));
    p.works(mremap(page(1), PAGE, PAGE, KEEP | RemapFlags::FIXED, page(8)));
    p.works(munmap(page(0), pages(10)));
    // Nothing is locked any more, and three pages are counted.
    p.says(mmap(page(0), pages(2), RW, ANON | FIXED | MapFlags::LOCKED, NO_FD, 0), Errno::EAGAIN);
    p.works(mmap(page(0), PAGE, RW, ANON | FIXED | MapFlags::LOCKED, NO_FD, 0));
}

fn beyond(p: &mut Play<'_>) {
    p.works(shared_anon(0, 1, RW));
    p.goes_to(mremap(page(0), PAGE, pages(2), RemapFlags::empty(), page(8)), page(0));
    p.bus(page(1));
    p.works(store(page(0), 1));
}

fn locked(p: &mut Play<'_>) {
    p.works(limit(Resource::Locked, pages(3)));
    p.works(anon(0, 2, RW));
    p.works(mlock(page(0), pages(2)));
    p.says(mremap(page(0), pages(2), pages(4), MAYMOVE, page(8)), Errno::EAGAIN);
    p.goes_to(mremap(page(0), pages(2), pages(3), MAYMOVE, page(8)), page(0));
    p.says(mincore(page(0), pages(3)), crate::outcome::Outcome::Vector(vec![true; 3]));
    p.goes_to(mremap(page(0), pages(3), pages(3), TO, page(8)), page(8));
}
