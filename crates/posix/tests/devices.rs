//! Devices: what a driver maps at once, and what it is asked for page by page.

use faultless_posix::{
    Asked, Config, Device, DeviceMemory, Errno, MapFlags, Mapping, Mmap, Node, OpenFlags, Pid,
    Presence, Signal, SyncFlags, System, Trouble, Tty,
};

const PAGE: u64 = 4096;
const FD: i32 = 3;

/// Maps its memory as it is, at once.
struct AtOnce;

impl Device for AtOnce {
    fn mmap(&mut self, asked: Asked, _: &DeviceMemory<'_>) -> Result<Mapping, Errno> {
        Ok(Mapping::AtOnce { first: asked.first })
    }
}

/// Maps its memory back to front, each page when it is touched; not the first.
struct Backwards;

impl Device for Backwards {
    fn mmap(&mut self, _: Asked, _: &DeviceMemory<'_>) -> Result<Mapping, Errno> {
        Ok(Mapping::OnFault)
    }

    fn fault(&mut self, page: u64, memory: &DeviceMemory<'_>) -> Option<u64> {
        memory.pages().checked_sub(page + 1).filter(|_| page > 0)
    }
}

fn system(driver: impl Device + 'static) -> (System, Pid, Node) {
    let mut config = Config::new(8);
    config.device_frames = 4;
    let (mut system, pid) = System::new(config);
    let node = system.add_device(4, Box::new(driver));
    system.open(pid, FD, node, OpenFlags::RDWR).unwrap();
    (system, pid, node)
}

fn call(len: u64, offset: u64, flags: MapFlags) -> Mmap {
    Mmap { len, prot: 3, flags, fd: FD, offset, ..Mmap::default() }
}

fn map(system: &mut System, pid: Pid, flags: MapFlags) -> u64 {
    system.mmap(pid, call(4 * PAGE, 0, flags)).unwrap().0
}

fn translations(system: &System, pid: Pid) -> Vec<u32> {
    let space = faultless_addr::SpaceId(pid.0);
    system.machine().translations(space).map(|it| it.frame.0).collect()
}

fn byte(system: &mut System, pid: Pid, at: u64) -> Result<u8, Signal> {
    let mut byte = [0];
    system.load(pid, at, &mut byte).map(|()| byte[0])
}

#[test]
fn at_once_all_entries_are_there_and_no_access_is_a_fault() {
    let (mut system, pid, _) = system(AtOnce);
    let at = map(&mut system, pid, MapFlags::SHARED);
    assert_eq!(translations(&system, pid), [8, 9, 10, 11], "frames behind the budget of 8");
    system.store(pid, at + PAGE, b"x").unwrap();
    let faults = system.machine().stats().faults;
    assert_eq!(faults, 0);
    assert_eq!(system.device_memory(0)[PAGE as usize], b'x');
    assert_eq!(system.engine().stats().frames_used, 0, "the budget is untouched");
    assert_eq!(system.engine().stats().pages_dirty, 0, "nothing to write back");
    system.check_invariants();
}

#[test]
fn the_last_munmap_and_the_end_take_entries_away_and_the_memory_stays() {
    let (mut system, pid, _) = system(AtOnce);
    let at = map(&mut system, pid, MapFlags::SHARED);
    system.store(pid, at + 3 * PAGE, b"y").unwrap();
    system.munmap(pid, at + PAGE, PAGE).unwrap();
    assert_eq!(translations(&system, pid), [8, 10, 11]);
    assert_eq!(byte(&mut system, pid, at + PAGE).unwrap_err().trouble, Trouble::MapErr);
    let child = system.fork(pid).unwrap();
    assert_eq!(translations(&system, child), [8, 10, 11], "fork copies the entries");
    system.exit(pid);
    assert_eq!(byte(&mut system, child, at + 3 * PAGE), Ok(b'y'));
    system.exit(child);
    assert_eq!(system.device_memory(0)[3 * PAGE as usize], b'y');
    system.check_invariants();
}

#[test]
fn rights_change_in_the_entries() {
    let (mut system, pid, _) = system(AtOnce);
    let at = map(&mut system, pid, MapFlags::SHARED);
    system.mprotect(pid, at, PAGE, 1).unwrap();
    let refused = system.store(pid, at, b"z").unwrap_err();
    assert_eq!(refused, Signal { trouble: Trouble::AccErr, addr: at });
    system.mprotect(pid, at, PAGE, 0).unwrap();
    assert_eq!(translations(&system, pid), [9, 10, 11]);
    system.mprotect(pid, at, PAGE, 3).unwrap();
    assert_eq!(translations(&system, pid), [8, 9, 10, 11]);
    let faults = system.machine().stats().faults;
    system.store(pid, at, b"z").unwrap();
    assert_eq!(system.machine().stats().faults, faults);
    system.check_invariants();
}

#[test]
fn pressure_leaves_devices_alone() {
    let (mut system, pid, _) = system(AtOnce);
    map(&mut system, pid, MapFlags::SHARED);
    let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS;
    let much = system.mmap(pid, Mmap { len: 32 * PAGE, prot: 3, flags, ..Mmap::default() });
    let much = much.unwrap().0;
    for page in 0..32 {
        system.store(pid, much + page * PAGE, &[page as u8]).unwrap();
    }
    assert!(system.io().swap.written > 0, "there was pressure");
    let of_device = translations(&system, pid).into_iter().filter(|no| *no >= 8).count();
    assert_eq!(of_device, 4);
    for _ in 0..8 {
        system.press(8);
    }
    let of_device = translations(&system, pid).into_iter().filter(|no| *no >= 8).count();
    assert_eq!(of_device, 4);
    system.check_invariants();
}

#[test]
fn a_private_store_goes_to_a_copy_in_the_budget() {
    for flags in [MapFlags::PRIVATE, MapFlags::PRIVATE | MapFlags::POPULATE] {
        let (mut system, pid, _) = system(AtOnce);
        let at = map(&mut system, pid, flags);
        assert_eq!(translations(&system, pid), [8, 9, 10, 11]);
        system.store(pid, at, b"p").unwrap();
        assert_eq!((byte(&mut system, pid, at), system.device_memory(0)[0]), (Ok(b'p'), 0));
        assert_eq!(system.engine().stats().frames_used, 1);
        system.check_invariants();
    }
}

#[test]
fn on_fault_the_driver_says_which_page() {
    let (mut system, pid, _) = system(Backwards);
    let at = map(&mut system, pid, MapFlags::SHARED);
    assert_eq!(translations(&system, pid), []);
    system.store(pid, at + PAGE, b"1").unwrap();
    assert_eq!(translations(&system, pid), [10]);
    assert_eq!(system.device_memory(0)[2 * PAGE as usize], b'1');
    let refused = byte(&mut system, pid, at).unwrap_err();
    assert_eq!(refused, Signal { trouble: Trouble::Bus, addr: at }, "it has no first page");
    assert_eq!(system.engine().stats().frames_used, 0);
    let child = system.fork(pid).unwrap();
    assert_eq!(byte(&mut system, child, at + PAGE), Ok(b'1'));
    system.munmap(pid, at, 4 * PAGE).unwrap();
    assert_eq!((translations(&system, pid), translations(&system, child)), (vec![], vec![10]));
    system.check_invariants();
}

#[test]
fn what_drivers_can_not_map_is_refused() {
    let (mut system, pid, _) = system(AtOnce);
    let shared = MapFlags::SHARED;
    for (len, offset) in [(5 * PAGE, 0), (PAGE, 4 * PAGE), (2 * PAGE, 3 * PAGE)] {
        let beyond = system.mmap(pid, call(len, offset, shared));
        assert_eq!(beyond, Err(Errno::EINVAL), "{len} bytes at {offset}");
    }
    let tty = system.add_device(0, Box::new(Tty));
    for (fd, node) in [(4, tty), (5, Node::Pipe), (6, Node::Directory)] {
        system.open(pid, fd, node, OpenFlags::empty()).unwrap();
        let call = Mmap { fd, prot: 1, ..call(PAGE, 0, shared) };
        assert_eq!(system.mmap(pid, call), Err(Errno::ENODEV), "{node:?}");
    }
    assert_eq!(system.areas(pid).count(), 0);
}

/// What Linux 6.18 answers for the area `[vvar]`, which has the flags `pf io de dd`, but for
/// REMOVE, which needs a file: that of a character device can't be punched.
#[test]
fn advice_and_locks_as_linux_has_them_for_areas_mapped_at_once() {
    let (mut system, pid, _) = system(AtOnce);
    let at = map(&mut system, pid, MapFlags::SHARED);
    let refused = [4, 8, 11, 17, 18, 20, 21, 22, 23, 24, 25, 102, 103];
    for advice in refused {
        let answer = system.madvise(pid, at, PAGE, advice);
        assert_eq!(answer, Err(Errno::EINVAL), "advice {advice}");
    }
    assert_eq!(system.madvise(pid, at, PAGE, 9), Err(Errno::ENODEV));
    for advice in [0, 3, 12, 16, 19] {
        assert_eq!(system.madvise(pid, at, PAGE, advice), Ok(()), "advice {advice}");
    }
    assert_eq!(system.mlock(pid, at, PAGE, 0), Ok(()));
    let remap = |new_len, flags| faultless_engine::space::RemapRequest {
        old: faultless_addr::VirtAddr(at),
        old_len: 4 * PAGE,
        new_len,
        flags: faultless_engine::space::RemapFlags::from_bits_retain(flags),
        new: faultless_addr::VirtAddr(0),
    };
    assert_eq!(system.mremap(pid, remap(8 * PAGE, 1)), Err(Errno::EFAULT));
    assert_eq!(system.mremap(pid, remap(4 * PAGE, 5)), Err(Errno::EINVAL));
    assert_eq!(translations(&system, pid), [8, 9, 10, 11], "nothing of that touched it");
}

#[test]
fn a_move_takes_entries_along() {
    let (mut system, pid, _) = system(AtOnce);
    let at = map(&mut system, pid, MapFlags::SHARED);
    system.store(pid, at, b"m").unwrap();
    let to = at - (1 << 20);
    let request = faultless_engine::space::RemapRequest {
        old: faultless_addr::VirtAddr(at),
        old_len: 4 * PAGE,
        new_len: 4 * PAGE,
        flags: faultless_engine::space::RemapFlags::from_bits_retain(3),
        new: faultless_addr::VirtAddr(to),
    };
    system.mremap(pid, request).unwrap();
    assert_eq!(translations(&system, pid), [8, 9, 10, 11]);
    assert_eq!(byte(&mut system, pid, to), Ok(b'm'));
    system.check_invariants();
}

#[test]
fn its_pages_are_in_no_page_cache_and_it_can_not_be_synced() {
    let (mut system, pid, _) = system(AtOnce);
    let at = map(&mut system, pid, MapFlags::SHARED);
    assert_eq!(system.mincore(pid, at, 2 * PAGE), Ok(vec![Presence::Absent; 2]));
    assert_eq!(system.msync(pid, at, PAGE, SyncFlags::SYNC), Err(Errno::EINVAL));
    assert_eq!(system.msync(pid, at, PAGE, SyncFlags::ASYNC), Ok(()));
    assert_eq!(system.pread(pid, FD, 10, 0), Err(Errno::EINVAL));
    assert_eq!(system.pwrite(pid, FD, b"x", 0), Err(Errno::EINVAL));
    assert_eq!(system.ftruncate(pid, FD, 0), Err(Errno::EINVAL));
    assert_eq!(system.fsync(pid, FD), Err(Errno::EINVAL));
    system.close(pid, FD).unwrap();
    assert_eq!(byte(&mut system, pid, at), Ok(0), "the area keeps the device");
}
