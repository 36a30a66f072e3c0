//! Lines 59 to 62: brk(2), fork(2), remap_file_pages(2).

use super::words::*;
use super::{Case, DISK, Play, both, not};
use crate::area::AreaFlags;
use crate::call::{Addr, Call, PAGE, ProcessId};
use crate::flags::{Advice, MapFlags, OpenFlags};
use crate::outcome::{Errno, Outcome};
use crate::system::World;

pub fn cases() -> Vec<Case> {
    vec![
        both(59, "brk: shrunk and grown, into a mapping, below its beginning", DISK, brk_moves),
        both(60, "fork: copied, shared, left out, wiped, not locked", DISK, forks),
        not(
            61,
            "vfork, CLONE_VM, exec, fork of threads",
            "a worker has one thread and its memory to itself; each first worker is forked \
             from a process with many",
        ),
        both(62, "remap_file_pages", DISK, remap),
        both(62, "remap_file_pages over areas of which one has had a guard", DISK, remap_guarded),
    ]
}

fn brk_moves(p: &mut Play<'_>) {
    let start = World::WIDE.brk;
    let at = |bytes| Addr::at(start + bytes);
    p.goes_to(Call::Brk { addr: Addr::at(0) }, at(0));
    p.goes_to(brk(pages(2) + 5), at(pages(2) + 5));
    p.works(store(at(pages(2)), 7));
    p.goes_to(brk(pages(1)), at(pages(1)));
    p.segv(at(pages(1)), 1);
    p.goes_to(brk(pages(3)), at(pages(3)));
    p.reads(at(pages(2)), &[0]);
    let map = |bytes, count| mmap(at(bytes), pages(count), RW, ANON | FIXED, crate::call::NO_FD, 0);
    p.works(map(pages(5), 1));
    // A page stays free before the next mapping.
    p.goes_to(brk(pages(5)), at(pages(3)));
    p.goes_to(brk(pages(4)), at(pages(4)));
    p.goes_to(Call::Brk { addr: Addr::at(start - 1) }, at(pages(4)));
    // What has been mapped in its place goes with it.
    p.works(map(pages(1), 1));
    p.goes_to(brk(0), at(0));
    p.segv(at(pages(1)), 1);
    p.goes_to(brk(pages(1)), at(pages(1)));
    p.works(munmap(at(0), PAGE));
    p.goes_to(brk(0), at(pages(1)));
}

fn forks(p: &mut Play<'_>) {
    p.works(anon(0, 3, RW));
    p.works(shared_anon(4, 1, RW));
    p.works(store(page(0), 7));
    p.works(store(page(1), 7));
    p.works(store(page(2), 7));
    p.works(madvise(page(1), PAGE, Advice::DONTFORK));
    p.works(madvise(page(2), PAGE, Advice::WIPEONFORK));
    p.works(mlock(page(0), PAGE));
    p.works(Call::Fork { child: ProcessId(1) });
    p.by(1);
    p.reads(page(0), &[7]);
    p.segv(page(1), 1);
    p.reads(page(2), &[0]);
    p.works(store(page(0), 8));
    p.works(store(page(4), 9));
    p.has_areas(3);
    p.has_no(AreaFlags::LOCKED);
    p.by(0);
    p.reads(page(0), &[7]);
    p.reads(page(4), &[9]);
    p.by(1);
    p.works(Call::Exit);
    p.says(load(page(0), 1), Outcome::NoProcess);
}

fn remap(p: &mut Play<'_>) {
    let remap = |prot, page_offset| Call::RemapFilePages {
        addr: page(0),
        len: PAGE,
        prot,
        page: page_offset,
        flags: MapFlags::empty(),
    };
    p.works(open(A, 1, OpenFlags::RDWR));
    p.works(file(0, 2, RW, SHARED, A));
    p.says(remap(R, 1), Errno::EINVAL);
    p.works(remap(NONE, 3));
    p.reads(page(0), &[World::byte(1, pages(3))]);
    p.works(store(page(0), 77));
    p.says(pread(A, pages(3), 1), Outcome::Bytes(vec![77]));
    p.works(file(0, 2, RW, PRIVATE, A));
    p.says(remap(NONE, 1), Errno::EINVAL);
    p.works(open(A, 1, RDONLY));
    p.works(file(0, 2, R, SHARED, A));
    p.says(remap(NONE, 1), Errno::EINVAL);
}

fn remap_guarded(p: &mut Play<'_>) {
    let remap = |count, to| Call::RemapFilePages {
        addr: page(0),
        len: pages(count),
        prot: NONE,
        page: to,
        flags: MapFlags::empty(),
    };
    p.works(open(A, 1, OpenFlags::RDWR));
    p.works(file(0, 3, RW, SHARED, A));
    p.works(remap(1, 5));
    p.has_areas(2);
    for guarded in [2, 0] {
        p.works(madvise(page(guarded), PAGE, Advice::GUARD_INSTALL));
        p.works(madvise(page(guarded), PAGE, Advice::GUARD_REMOVE));
        let says = if guarded == 2 { Errno::EINVAL.into() } else { Outcome::DONE };
        p.says(remap(2, 4), says);
    }
    p.reads(page(1), &[World::byte(1, pages(5))]);
}
