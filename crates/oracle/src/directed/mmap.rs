//! Lines 1 to 18: mmap(2).

use super::words::*;
use super::{Case, DISK, ORDINARY, Play, TMPFS, both, not};
use crate::call::{Addr, Call, NO_FD, Node, PAGE, Region, Resource};
use crate::flags::{MapFlags, OpenFlags, Prot};
use crate::outcome::{Errno, Outcome};
use crate::system::World;

pub fn cases() -> Vec<Case> {
    vec![
        both(1, "lengths of 0, too long, that wrap; offsets", DISK, lengths),
        both(2, "neither SHARED nor PRIVATE; descriptors that can't be mapped", DISK, descriptors),
        both(3, "rights of the descriptor", DISK, rights),
        both(4, "SHARED and writable on O_APPEND", DISK, append),
        both(5, "PROT_EXEC where nothing may be executed: a pipe is such a place", DISK, noexec),
        both(6, "hints; as high as there is room", DISK, hints),
        both(6, "a place by its name, wherever it is", DISK, named),
        both(6, "MAP_32BIT where nothing is free below 2 GiB", DISK, low),
        both(7, "FIXED: not aligned, too high, in place of what is there", DISK, fixed),
        both(7, "FIXED at 0 by an ordinary user", ORDINARY, fixed_at_null),
        both(8, "FIXED_NOREPLACE", DISK, noreplace),
        both(9, "SHARED_VALIDATE and flags that aren't known", DISK, validate),
        both(10, "MAP_SYNC on a disk without DAX", DISK, sync_on_disk),
        both(10, "MAP_SYNC on tmpfs", TMPFS, sync_on_tmpfs),
        both(11, "GROWSDOWN", DISK, grows_down),
        both(12, "POPULATE and LOCKED past the end of the file", DISK, populate),
        both(13, "HUGETLB without a pool; DROPPABLE", DISK, huge),
        both(14, "ANONYMOUS ignores descriptor and offset; other flags", DISK, ignored),
        both(15, "RLIMIT_AS and RLIMIT_DATA", DISK, limits),
        not(16, "overcommit", "the three modes are the machine's, and not ours to change"),
        both(17, "/dev/zero SHARED is anonymous, but keeps its offset", DISK, zero_device),
        both(18, "F_SEAL_WRITE", DISK, seal),
    ]
}

fn lengths(p: &mut Play<'_>) {
    let map = |len, offset| mmap(page(0), len, R, PRIVATE | FIXED, A, offset);
    p.works(open(A, 0, OpenFlags::RDWR));
    p.says(map(0, 0), Errno::EINVAL);
    p.says(map(u64::MAX, 0), Errno::ENOMEM);
    p.says(map(1 << 60, 0), Errno::ENOMEM);
    p.says(map(PAGE, u64::MAX - (PAGE - 1)), Errno::EOVERFLOW);
    p.says(map(PAGE, 100), Errno::EINVAL);
    p.works(map(1, 0));
    p.has_areas(1);
}

fn descriptors(p: &mut Play<'_>) {
    let map = |flags| mmap(page(0), PAGE, R, flags | FIXED, A, 0);
    p.says(map(PRIVATE), Errno::EBADF);
    p.works(open(A, 0, OpenFlags::PATH));
    p.says(map(PRIVATE), Errno::EBADF);
    p.works(open(A, 0, OpenFlags::RDWR));
    p.says(map(MapFlags::empty()), Errno::EINVAL);
    p.says(map(MapFlags::ANONYMOUS), Errno::EINVAL);
    for node in [Node::Directory, Node::Pipe] {
        p.works(open_node(A, node, RDONLY));
        p.says(map(PRIVATE), Errno::ENODEV);
        p.says(map(SHARED), Errno::ENODEV);
    }
}

fn rights(p: &mut Play<'_>) {
    p.works(open(A, 0, RDONLY));
    p.says(file(0, 1, RW, SHARED, A), Errno::EACCES);
    p.works(file(0, 1, RW, PRIVATE, A));
    p.works(store(page(0), 7));
    p.works(file(1, 1, R, SHARED, A));
    p.works(open(B, 0, OpenFlags::WRONLY));
    for prot in [NONE, R, Prot::WRITE] {
        p.says(file(2, 1, prot, SHARED, B), Errno::EACCES);
        p.says(file(2, 1, prot, PRIVATE, B), Errno::EACCES);
    }
}

fn append(p: &mut Play<'_>) {
    p.works(open(A, 0, OpenFlags::RDWR | OpenFlags::APPEND));
    p.works(file(0, 1, RW, SHARED, A));
    p.works(store(page(0), 7));
    p.says(pread(A, 0, 1), Outcome::Bytes(vec![7]));
}

fn noexec(p: &mut Play<'_>) {
    p.works(open_node(A, Node::Pipe, RDONLY));
    p.says(file(0, 1, Prot::EXEC, PRIVATE, A), Errno::EPERM);
    p.says(file(0, 1, R, PRIVATE, A), Errno::ENODEV);
}

fn hints(p: &mut Play<'_>) {
    let hint = |addr| mmap(addr, PAGE, RW, ANON, NO_FD, 0);
    let from_top = |n| Addr::at(World::WIDE.end() - n * PAGE);
    p.goes_to(hint(byte(3, 100)), page(3));
    p.goes_to(hint(page(3)), from_top(1));
    p.goes_to(hint(Addr::at(0)), from_top(2));
    p.goes_to(hint(Addr::at(1)), from_top(3));
    p.goes_to(hint(Addr::at(u64::MAX - PAGE)), from_top(4));
    p.works(munmap(from_top(3), pages(2)));
    p.goes_to(mmap(Addr::at(0), pages(3), RW, ANON, NO_FD, 0), from_top(7));
    p.goes_to(mmap(Addr::at(0), pages(2), RW, ANON, NO_FD, 0), from_top(3));
}

fn low(p: &mut Play<'_>) {
    let low = |addr, flags| mmap(addr, PAGE, RW, ANON | MapFlags::BIT32 | flags, NO_FD, 0);
    p.says(low(Addr::at(0), MapFlags::empty()), Errno::ENOMEM);
    p.says(low(page(3), MapFlags::empty()), Errno::ENOMEM);
    p.goes_to(low(page(3), FIXED), page(3));
    p.goes_to(low(page(4), MapFlags::FIXED_NOREPLACE), page(4));
    p.says(low(page(4), MapFlags::FIXED_NOREPLACE), Errno::EEXIST);
    p.works(open(A, 0, OpenFlags::RDWR));
    p.works(file(0, 1, RW, VALIDATE | MapFlags::BIT32, A));
    p.works(file(1, 1, RW, VALIDATE | MapFlags::ABOVE4G, A));
}

fn named(p: &mut Play<'_>) {
    let region = Region(0);
    let (addr, prot, flags) = (Addr::at(0), RW, ANON);
    let name = Some(region);
    p.works(Call::Mmap { addr, len: pages(2), prot, flags, fd: NO_FD, offset: 0, name });
    p.works(store(Addr::within(region, PAGE), 5));
    p.reads(Addr::within(region, PAGE - 1), &[0, 5, 0]);
    p.works(munmap(Addr::within(region, PAGE), PAGE));
    p.segv(Addr::within(region, PAGE + 9), 1);
}

fn fixed(p: &mut Play<'_>) {
    let map = |addr| mmap(addr, PAGE, RW, ANON | FIXED, NO_FD, 0);
    p.says(map(byte(0, 1)), Errno::EINVAL);
    p.says(map(Addr::at(0x7fff_ffff_f000)), Errno::ENOMEM);
    p.says(map(Addr::at(1 << 63)), Errno::ENOMEM);
    p.works(anon(0, 3, RW));
    p.works(store(page(1), 7));
    p.works(anon(1, 1, R));
    p.reads(page(1), &[0]);
    p.has_areas(3);
}

fn fixed_at_null(p: &mut Play<'_>) {
    p.says(mmap(Addr::at(0), PAGE, RW, ANON | FIXED, NO_FD, 0), Errno::EPERM);
}

fn noreplace(p: &mut Play<'_>) {
    let map = |n, count, flags| mmap(page(n), pages(count), RW, ANON | flags, NO_FD, 0);
    p.works(map(2, 1, MapFlags::FIXED_NOREPLACE));
    p.says(map(0, 3, MapFlags::FIXED_NOREPLACE), Errno::EEXIST);
    p.says(map(2, 1, MapFlags::FIXED_NOREPLACE | FIXED), Errno::EEXIST);
    p.goes_to(map(0, 2, MapFlags::FIXED_NOREPLACE), page(0));
}

fn validate(p: &mut Play<'_>) {
    let unknown = MapFlags::from_bits_retain(1 << 25);
    p.works(open(A, 0, OpenFlags::RDWR));
    p.works(file(0, 1, RW, VALIDATE, A));
    p.says(file(0, 1, RW, VALIDATE | unknown, A), Errno::EOPNOTSUPP);
    p.says(mmap(page(4), PAGE, RW, VALIDATE | MapFlags::FIXED_NOREPLACE, A, 0), Errno::EOPNOTSUPP);
    p.works(file(0, 1, RW, SHARED | unknown, A));
    p.works(mmap(page(4), PAGE, RW, SHARED | MapFlags::FIXED_NOREPLACE, A, 0));
    p.says(mmap(page(0), PAGE, RW, VALIDATE | MapFlags::ANONYMOUS, NO_FD, 0), Errno::EINVAL);
}

fn sync_on_disk(p: &mut Play<'_>) {
    p.works(open(A, 0, OpenFlags::RDWR));
    for kind in [VALIDATE, SHARED, PRIVATE] {
        p.says(file(0, 1, RW, kind | MapFlags::SYNC, A), Errno::EOPNOTSUPP);
    }
}

fn sync_on_tmpfs(p: &mut Play<'_>) {
    p.works(open(A, 0, OpenFlags::RDWR));
    p.says(file(0, 1, RW, VALIDATE | MapFlags::SYNC, A), Errno::EOPNOTSUPP);
    p.works(file(0, 1, RW, SHARED | MapFlags::SYNC, A));
}

fn grows_down(p: &mut Play<'_>) {
    let down = MapFlags::GROWSDOWN | FIXED;
    p.works(open(A, 0, OpenFlags::RDWR));
    p.says(mmap(page(0), PAGE, RW, SHARED_ANON | down, NO_FD, 0), Errno::EINVAL);
    p.says(mmap(page(0), PAGE, RW, PRIVATE | down, A, 0), Errno::EINVAL);
    p.works(mmap(page(900), PAGE, RW, ANON | down, NO_FD, 0));
    p.works(store(page(890), 7));
    p.reads(page(889), &[0]);
    p.has_areas(1);
    // It keeps 256 pages away from what may be touched, but not from what may not.
    p.works(anon(600, 1, R));
    p.works(load(page(857), 1));
    p.segv(page(856), 1);
    p.works(mprotect(page(600), PAGE, NONE));
    p.works(load(page(856), 1));
}

fn populate(p: &mut Play<'_>) {
    p.works(open(A, 0, OpenFlags::RDWR));
    for flags in [MapFlags::POPULATE, MapFlags::LOCKED] {
        p.works(file(0, 6, RW, PRIVATE | flags, A));
        p.bus(page(3));
    }
    p.says(mincore(page(0), pages(3)), Outcome::Vector(vec![true; 3]));
}

fn huge(p: &mut Play<'_>) {
    let huge = MapFlags::HUGETLB | ANON;
    p.says(mmap(Addr::at(0), 2 << 20, RW, huge, NO_FD, 0), Errno::ENOMEM);
    p.says(mmap(page(1), 2 << 20, RW, huge | FIXED, NO_FD, 0), Errno::EINVAL);
    p.works(mmap(page(0), PAGE, RW, MapFlags::DROPPABLE | MapFlags::ANONYMOUS | FIXED, NO_FD, 0));
    p.has_areas(1);
    p.works(open(A, 0, OpenFlags::RDWR));
    p.says(file(1, 1, RW, MapFlags::DROPPABLE, A), Errno::EINVAL);
}

fn ignored(p: &mut Play<'_>) {
    p.works(mmap(page(0), PAGE, RW, ANON | FIXED, A, 4 * PAGE));
    p.works(mmap(page(1), PAGE, RW, SHARED_ANON | FIXED, A, 4 * PAGE));
    p.reads(page(1), &[0]);
    p.works(open(A, 0, OpenFlags::RDWR));
    p.works(file(2, 1, RW, PRIVATE | MapFlags::DENYWRITE | MapFlags::EXECUTABLE, A));
    p.works(mmap(page(3), PAGE, R, SHARED | FIXED, A, 1 << 40));
    p.bus(page(3));
}

fn limits(p: &mut Play<'_>) {
    p.works(limit(Resource::Space, pages(4)));
    p.works(anon(0, 3, RW));
    p.says(anon(8, 2, RW), Errno::ENOMEM);
    p.works(anon(8, 1, NONE));
    p.works(Call::Setrlimit { resource: Resource::Space, limit: None });
    p.works(limit(Resource::Data, pages(4)));
    p.says(anon(16, 2, RW), Errno::ENOMEM);
    p.works(anon(16, 2, R));
    p.says(mprotect(page(16), pages(2), RW), Errno::ENOMEM);
    p.works(shared_anon(24, 2, RW));
    // What is replaced is taken off, though it was not counted.
    p.works(anon(24, 2, RW));
}

fn zero_device(p: &mut Play<'_>) {
    p.works(open_node(A, Node::Zero, OpenFlags::RDWR));
    p.works(file(0, 2, RW, SHARED, A));
    p.works(store(page(0), 7));
    p.works(Call::Fork { child: crate::call::ProcessId(1) });
    p.by(1);
    p.works(store(page(1), 8));
    p.by(0);
    p.reads(byte(0, PAGE - 1), &[0, 8]);
    p.works(file(4, 1, RW, PRIVATE, A));
    p.reads(page(4), &[0]);
    // The object is as long as the mapping and begins at 0, the mapping begins at 1.
    p.works(mmap(page(8), pages(2), RW, SHARED | FIXED, A, PAGE));
    p.reads(page(8), &[0]);
    p.bus(page(9));
}

fn seal(p: &mut Play<'_>) {
    p.works(open_node(A, Node::Memory(PAGE), OpenFlags::RDWR));
    p.works(file(0, 1, RW, SHARED, A));
    p.says(Call::SealWrites { fd: A }, Errno::EBUSY);
    p.works(munmap(page(0), PAGE));
    p.works(Call::SealWrites { fd: A });
    p.says(file(0, 1, RW, SHARED, A), Errno::EPERM);
    p.works(file(0, 1, R, SHARED, A));
    p.says(mprotect(page(0), PAGE, RW), Errno::EACCES);
    p.works(file(1, 1, RW, PRIVATE, A));
    p.says(pwrite(A, 0, 7), Errno::EPERM);
}
