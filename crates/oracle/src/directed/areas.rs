//! Lines 30 to 36: munmap(2), mprotect(2), and where areas begin and end.

use super::words::*;
use super::{Case, DISK, Play, both};
use crate::call::{Addr, NO_FD, PAGE};
use crate::flags::{Advice, MapFlags, OpenFlags, Prot};
use crate::outcome::{Errno, Outcome};
use crate::system::World;

const FEW_AREAS: World = World { areas_max: Some(10), ..World::WIDE };

pub fn cases() -> Vec<Case> {
    vec![
        both(30, "munmap: parameters; holes", DISK, unmap),
        both(31, "a split past vm.max_map_count", FEW_AREAS, too_many),
        both(32, "mprotect: parameters", DISK, protect),
        both(33, "mprotect over a hole: what is before it is done", DISK, protect_hole),
        both(34, "mprotect, DONTFORK and mlock split areas, and back", DISK, split),
        both(35, "neighbours are one area if all is the same", DISK, merge),
        both(36, "mseal", DISK, seal),
        both(36, "mseal: advice that loses bytes", DISK, seal_advice),
    ]
}

fn unmap(p: &mut Play<'_>) {
    p.says(munmap(page(0), 0), Errno::EINVAL);
    p.says(munmap(byte(0, 1), PAGE), Errno::EINVAL);
    p.says(munmap(page(0), u64::MAX), Errno::EINVAL);
    p.says(munmap(Addr::at(0x7fff_ffff_f000), PAGE), Errno::EINVAL);
    p.works(munmap(page(0), pages(4)));
    p.works(anon(0, 3, RW));
    p.works(munmap(page(1), 1));
    p.segv(byte(1, PAGE - 1), 1);
    p.has_areas(2);
}

fn too_many(p: &mut Play<'_>) {
    p.works(anon(0, 40, RW));
    for n in 0..4 {
        p.works(mprotect(page(1 + 2 * n), PAGE, R));
    }
    p.has_areas(9);
    p.works(munmap(page(30), PAGE));
    p.has_areas(10);
    p.says(munmap(page(20), PAGE), Errno::ENOMEM);
    p.says(mprotect(page(20), PAGE, R), Errno::ENOMEM);
    p.works(munmap(page(39), PAGE));
    p.has_areas(10);
}

fn protect(p: &mut Play<'_>) {
    p.works(mprotect(page(0), 0, R));
    p.says(mprotect(page(0), PAGE, R), Errno::ENOMEM);
    p.says(mprotect(page(0), u64::MAX - PAGE, R), Errno::ENOMEM);
    p.says(mprotect(byte(0, 1), PAGE, R), Errno::EINVAL);
    p.works(anon(0, 1, RW));
    p.says(mprotect(page(0), PAGE, Prot::from_bits_retain(0x40)), Errno::EINVAL);
    p.works(mprotect(page(0), PAGE, R | Prot::from_bits_retain(8)));
    p.says(mprotect(page(0), PAGE, R | Prot::GROWSDOWN), Errno::EINVAL);
    p.says(mprotect(page(0), PAGE, R | Prot::GROWSUP), Errno::EINVAL);
    p.says(mprotect(page(0), PAGE, Prot::GROWSUP | Prot::GROWSDOWN), Errno::EINVAL);
    p.works(mmap(page(9), pages(3), RW, ANON | MapFlags::GROWSDOWN | FIXED, NO_FD, 0));
    p.works(mprotect(page(10), PAGE, R | Prot::GROWSDOWN));
    p.says(store(page(9), 1), Outcome::segv(2, page(9)));
    p.works(open(A, 0, RDONLY));
    p.works(file(4, 1, R, SHARED, A));
    p.says(mprotect(page(4), PAGE, RW), Errno::EACCES);
}

fn protect_hole(p: &mut Play<'_>) {
    p.works(anon(0, 5, RW));
    p.works(munmap(page(2), PAGE));
    p.says(mprotect(page(0), pages(5), R), Errno::ENOMEM);
    p.says(store(page(1), 1), Outcome::segv(2, page(1)));
    p.works(store(page(3), 1));
    p.works(open(A, 0, RDONLY));
    p.works(anon(0, 1, R));
    p.works(file(1, 1, R, SHARED, A));
    p.works(anon(2, 1, R));
    p.says(mprotect(page(0), pages(3), RW), Errno::EACCES);
    p.works(store(page(0), 1));
    p.says(store(page(2), 1), Outcome::segv(2, page(2)));
}

fn split(p: &mut Play<'_>) {
    p.works(anon(0, 9, RW));
    for n in 0..9 {
        p.works(store(page(n), 1));
    }
    let whole = || mremap(page(0), pages(9), pages(10), MAYMOVE, Addr::at(0));
    let back = |p: &mut Play<'_>| {
        p.goes_to(whole(), page(0));
        p.works(munmap(page(9), PAGE));
        p.has_areas(1);
    };
    p.works(mprotect(page(3), pages(3), R));
    p.has_areas(3);
    p.says(whole(), Errno::EFAULT);
    p.works(mprotect(page(3), pages(3), RW));
    back(p);
    p.works(mlock(page(3), pages(3)));
    p.has_areas(3);
    p.works(munlock(page(3), pages(3)));
    back(p);
    p.works(madvise(page(3), pages(3), Advice::DONTFORK));
    p.has_areas(3);
    p.works(madvise(page(3), pages(3), Advice::DOFORK));
    back(p);
}

fn merge(p: &mut Play<'_>) {
    p.works(open(A, 1, OpenFlags::RDWR));
    let part = |n, offset| mmap(page(n), PAGE, R, SHARED | FIXED, A, pages(offset));
    let both_grow = || mremap(page(0), pages(2), pages(3), MAYMOVE, Addr::at(0));
    p.works(part(0, 0));
    p.works(part(1, 1));
    p.goes_to(both_grow(), page(0));
    p.works(munmap(page(2), PAGE));
    p.works(part(1, 2));
    p.says(both_grow(), Errno::EFAULT);
    // Memory that was never written has nothing that could keep neighbours apart.
    p.works(anon(10, 1, RW));
    p.works(anon(11, 1, RW));
    p.goes_to(mremap(page(10), pages(2), pages(3), MAYMOVE, Addr::at(0)), page(10));
    // What was written and then moved remembers where it comes from.
    p.works(anon(20, 1, RW));
    p.works(store(page(20), 1));
    p.works(anon(30, 1, RW));
    p.works(store(page(30), 1));
    p.goes_to(mremap(page(30), PAGE, PAGE, TO, page(21)), page(21));
    p.says(mremap(page(20), pages(2), pages(3), MAYMOVE, Addr::at(0)), Errno::EFAULT);
}

fn seal(p: &mut Play<'_>) {
    p.works(anon(0, 4, RW));
    p.says(mseal(page(2), pages(4)), Errno::ENOMEM);
    p.works(mseal(page(1), PAGE));
    p.works(mseal(page(1), PAGE));
    p.says(munmap(page(0), pages(4)), Errno::EPERM);
    p.says(mprotect(page(1), PAGE, R), Errno::EPERM);
    p.says(mremap(page(1), PAGE, pages(2), MAYMOVE, Addr::at(0)), Errno::EPERM);
    p.says(mremap(page(0), PAGE, PAGE, TO, page(1)), Errno::EPERM);
    p.says(anon(0, 4, R), Errno::EPERM);
    p.works(store(page(1), 7));
    p.works(munmap(page(0), PAGE));
    // Before the sealed page mprotect(2) is done, munmap(2) is not.
    p.works(anon(0, 1, RW));
    p.says(mprotect(page(0), pages(3), R), Errno::EPERM);
    p.says(store(page(0), 1), Outcome::segv(2, page(0)));
}

fn seal_advice(p: &mut Play<'_>) {
    p.works(open(A, 0, OpenFlags::RDWR));
    p.works(anon(0, 1, R));
    p.works(anon(1, 1, RW));
    p.works(file(2, 1, R, PRIVATE, A));
    p.works(mseal(page(0), pages(3)));
    p.says(madvise(page(0), PAGE, Advice::DONTNEED), Errno::EPERM);
    p.works(madvise(page(1), PAGE, Advice::DONTNEED));
    p.works(madvise(page(2), PAGE, Advice::DONTNEED));
    p.works(madvise(page(0), PAGE, Advice::WILLNEED));
}
