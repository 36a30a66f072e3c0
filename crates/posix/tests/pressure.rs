//! Memory that is short: locks hold, mincore(2) tells, and what can't be had is an error.

use faultless_posix::{
    Config, Errno, Locked, MapFlags, Mmap, Node, OpenFlags, Pid, Presence, Store, System, Trouble,
};

const PAGE: u64 = 4096;
const FRAMES: u32 = 16;
const RDWR: u32 = 3;
const FILE: u32 = 7;

fn system(config: Config) -> (System, Pid) {
    System::new(config)
}

/// Private and anonymous.
fn map(system: &mut System, pid: Pid, pages: u64, more: MapFlags) -> Result<u64, Errno> {
    let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | more;
    let call = Mmap { len: pages * PAGE, prot: RDWR, flags, ..Mmap::default() };
    system.mmap(pid, call).map(|at| at.0)
}

/// Stores the number of each page into it, up to the first that can't be reached.
fn fill(system: &mut System, pid: Pid, at: u64, pages: u64) -> Result<(), (u64, Trouble)> {
    for n in 0..pages {
        let stored = system.store(pid, at + n * PAGE, &(n + 1).to_le_bytes());
        stored.map_err(|signal| (n, signal.trouble))?;
        system.check_invariants();
    }
    Ok(())
}

/// The number that a page has.
fn number(system: &mut System, pid: Pid, at: u64, page: u64) -> u64 {
    let mut bytes = [0; 8];
    system.load(pid, at + page * PAGE, &mut bytes).unwrap();
    u64::from_le_bytes(bytes)
}

fn presence(system: &System, pid: Pid, at: u64, pages: u64) -> Vec<Presence> {
    system.mincore(pid, at, pages * PAGE).unwrap()
}

fn count(system: &System, pid: Pid, at: u64, pages: u64, wanted: Presence) -> usize {
    presence(system, pid, at, pages).iter().filter(|page| **page == wanted).count()
}

#[test]
fn locked_pages_stay_while_all_others_come_and_go() {
    let (mut system, pid) = system(Config::new(FRAMES));
    let locked = map(&mut system, pid, 8, MapFlags::empty()).unwrap();
    fill(&mut system, pid, locked, 8).unwrap();
    system.mlock(pid, locked, 8 * PAGE, 0).unwrap();
    let others = map(&mut system, pid, 64, MapFlags::empty()).unwrap();
    for _ in 0..3 {
        for n in 0..64 {
            system.store(pid, others + n * PAGE, &(n + 1).to_le_bytes()).unwrap();
            assert_eq!(count(&system, pid, locked, 8, Presence::Memory), 8);
        }
    }
    for n in 0..64 {
        assert_eq!(number(&mut system, pid, others, n), n + 1);
    }
    system.munlock(pid, locked, 8 * PAGE).unwrap();
    // What would fit in their place, and comes again and again.
    for _ in 0..8 {
        fill(&mut system, pid, others, u64::from(FRAMES) - 4).unwrap();
    }
    assert!(count(&system, pid, locked, 8, Presence::Swap) > 0, "unlocked pages leave");
    for n in 0..8 {
        assert_eq!(number(&mut system, pid, locked, n), n + 1);
    }
}

#[test]
fn a_lock_on_more_than_fits_is_enomem_and_so_is_what_needs_a_frame() {
    let (mut system, pid) = system(Config::new(FRAMES));
    system.create_file(FILE, Store::Disk, &[9; 3 * PAGE as usize]);
    system.open(pid, 0, Node::File(FILE), OpenFlags::RDWR).unwrap();
    let at = map(&mut system, pid, 2 * u64::from(FRAMES), MapFlags::empty()).unwrap();
    let other = map(&mut system, pid, 1, MapFlags::empty()).unwrap();
    let len = 2 * u64::from(FRAMES) * PAGE;
    assert_eq!(system.mlock(pid, at, len, 0), Err(Errno::ENOMEM));
    system.check_invariants();

    let refused = system.store(pid, other, &[1]).unwrap_err();
    assert_eq!((refused.trouble, refused.addr), (Trouble::NoMemory, other));
    assert_eq!(system.pread(pid, 0, 10, 0), Err(Errno::ENOMEM));
    assert_eq!(system.pwrite(pid, 0, &[1; 10], 5 * PAGE), Err(Errno::ENOMEM));
    assert_eq!(system.pipe_from(pid, other, 10), Err(Errno::ENOMEM));
    const POPULATE_WRITE: i32 = 23;
    assert_eq!(system.madvise(pid, other, PAGE, POPULATE_WRITE), Err(Errno::ENOMEM));
    // mmap(2) says nothing of pages that it could not bring in.
    let populated = map(&mut system, pid, 4, MapFlags::POPULATE).unwrap();
    assert_eq!(count(&system, pid, populated, 4, Presence::Absent), 4);

    system.munlock(pid, at, len).unwrap();
    system.store(pid, other, &[1]).unwrap();
    let read = system.pread(pid, 0, 4 * PAGE, 0).unwrap();
    assert_eq!(read.len() as u64, 3 * PAGE);
    assert!(read.iter().all(|byte| *byte == 9));
    system.check_invariants();
}

#[test]
fn a_write_ends_where_memory_does_and_so_does_the_file() {
    let (mut system, pid) = system(Config::new(FRAMES));
    system.create_file(FILE, Store::Tmpfs, &[]);
    system.open(pid, 0, Node::File(FILE), OpenFlags::RDWR).unwrap();
    let all_but_one = u64::from(FRAMES) - 1;
    let at = map(&mut system, pid, all_but_one, MapFlags::empty()).unwrap();
    system.mlock(pid, at, all_but_one * PAGE, 0).unwrap();
    // One frame is enough for a long write: its pages pass through it.
    let written = system.pwrite(pid, 0, &[5; 3 * PAGE as usize], 0);
    assert_eq!(written, Ok(3 * PAGE));
    let last = map(&mut system, pid, 1, MapFlags::empty()).unwrap();
    system.mlock(pid, last, PAGE, 0).unwrap();
    assert_eq!(system.pwrite(pid, 0, &[6; 10], 3 * PAGE - 5), Err(Errno::ENOMEM));
    system.munlockall(pid);
    let read = system.pread(pid, 0, 9 * PAGE, 0).unwrap();
    assert_eq!(read.len() as u64, 3 * PAGE);
    assert!(read.iter().all(|byte| *byte == 5));
}

#[test]
fn locked_pages_go_last_where_the_system_is_made_so() {
    let (mut system, pid) = system(Config { locked: Locked::Last, ..Config::new(FRAMES) });
    let pages = 3 * u64::from(FRAMES);
    let at = map(&mut system, pid, pages, MapFlags::empty()).unwrap();
    system.mlock(pid, at, pages * PAGE, 0).unwrap();
    fill(&mut system, pid, at, pages).unwrap();
    for n in 0..pages {
        assert_eq!(number(&mut system, pid, at, n), n + 1);
    }
}

#[test]
fn a_copy_where_there_is_one_frame_is_the_page_itself() {
    let (mut system, pid) = system(Config::new(FRAMES));
    system.create_file(FILE, Store::Disk, &[4; 2 * PAGE as usize]);
    system.open(pid, 0, Node::File(FILE), OpenFlags::RDWR).unwrap();
    let call = Mmap { len: 2 * PAGE, prot: RDWR, flags: MapFlags::PRIVATE, ..Mmap::default() };
    let copied = system.mmap(pid, call).unwrap().0;
    let all_but_one = u64::from(FRAMES) - 1;
    let at = map(&mut system, pid, all_but_one, MapFlags::empty()).unwrap();
    system.mlock(pid, at, all_but_one * PAGE, 0).unwrap();
    let mut byte = [0];
    system.load(pid, copied, &mut byte).unwrap();
    assert_eq!(byte, [4]);
    system.store(pid, copied, &[5]).unwrap();
    system.load(pid, copied, &mut byte).unwrap();
    assert_eq!(byte, [5]);
    system.munlock(pid, at, PAGE).unwrap();
    assert_eq!(system.pread(pid, 0, 1, 0).unwrap(), [4], "the file is as it was");
    system.load(pid, copied, &mut byte).unwrap();
    assert_eq!(byte, [5]);
    system.check_invariants();
}

/// Seed 1082 of the differential runs: the page's neighbours in swap took the second frame.
#[test]
fn a_copy_of_a_page_that_comes_back_from_swap_takes_no_more_than_two() {
    let (mut system, pid) = system(Config::new(FRAMES));
    let at = map(&mut system, pid, 8, MapFlags::empty()).unwrap();
    fill(&mut system, pid, at, 8).unwrap();
    let child = system.fork(pid).unwrap();
    let locked = u64::from(FRAMES) - 2;
    let held = map(&mut system, pid, locked, MapFlags::empty()).unwrap();
    system.mlock(pid, held, locked * PAGE, 0).unwrap();
    for n in 0..8 {
        system.store(child, at + n * PAGE, &(n + 50).to_le_bytes()).unwrap();
        system.check_invariants();
    }
    for n in 0..8 {
        assert_eq!(number(&mut system, child, at, n), n + 50);
        assert_eq!(number(&mut system, pid, at, n), n + 1);
    }
}

#[test]
fn mincore_tells_what_is_in_swap() {
    let (mut system, pid) = system(Config::new(FRAMES));
    let at = map(&mut system, pid, 40, MapFlags::empty()).unwrap();
    fill(&mut system, pid, at, 32).unwrap();
    let pages = presence(&system, pid, at, 40);
    assert_eq!(pages[32..], [Presence::Absent; 8]);
    let in_swap = pages.iter().filter(|page| **page == Presence::Swap).count();
    assert!(in_swap >= 16, "{in_swap} of 32 pages cannot be in 16 frames");
    let first = pages.iter().position(|page| *page == Presence::Swap).unwrap() as u64;
    assert_eq!(number(&mut system, pid, at, first), first + 1);
    assert_eq!(presence(&system, pid, at + first * PAGE, 1), [Presence::Memory]);
}

#[test]
fn mincore_tells_what_of_a_file_in_memory_is_in_swap() {
    let (mut system, pid) = system(Config::new(FRAMES));
    system.create_file(FILE, Store::Tmpfs, &[3; 2 * PAGE as usize]);
    system.open(pid, 0, Node::File(FILE), OpenFlags::RDWR).unwrap();
    system.ftruncate(pid, 0, 3 * PAGE).unwrap();
    let call = Mmap { len: 3 * PAGE, prot: RDWR, flags: MapFlags::SHARED, ..Mmap::default() };
    let at = system.mmap(pid, call).unwrap().0;
    let mut byte = [0];
    system.load(pid, at, &mut byte).unwrap();
    let before = presence(&system, pid, at, 3);
    assert_eq!((before[0], before[2]), (Presence::Memory, Presence::Absent));
    let others = map(&mut system, pid, 32, MapFlags::empty()).unwrap();
    fill(&mut system, pid, others, 32).unwrap();
    fill(&mut system, pid, others, 32).unwrap();
    let after = presence(&system, pid, at, 3);
    assert_eq!(after, [Presence::Swap, Presence::Swap, Presence::Absent]);
}

#[test]
fn full_swap_ends_who_stores_and_loses_nothing() {
    let config = Config { swap_slots: 8, ..Config::new(FRAMES) };
    let (mut system, pid) = system(config);
    let at = map(&mut system, pid, 64, MapFlags::empty()).unwrap();
    let (stored, trouble) = fill(&mut system, pid, at, 64).unwrap_err();
    assert_eq!(trouble, Trouble::NoMemory);
    assert_eq!(stored, u64::from(FRAMES) + 8, "every frame and every slot holds a page");
    // Half of what there is can be read and forgotten; then there is room again.
    for n in 0..stored / 2 {
        let there = presence(&system, pid, at + n * PAGE, 1) == [Presence::Memory];
        if there {
            assert_eq!(number(&mut system, pid, at, n), n + 1);
        }
    }
    system.munmap(pid, at, PAGE).unwrap();
    system.munmap(pid, at + PAGE, PAGE).unwrap();
    for n in 2..stored {
        assert_eq!(number(&mut system, pid, at, n), n + 1);
    }
    system.store(pid, at + stored * PAGE, &[1]).unwrap();
    system.check_invariants();
}
