//! What processes have in memory and in swap, alone and together (proc_pid_smaps(5)).

use faultless_posix::{Config, MapFlags, Mmap, Pid, System};

const PAGE: u64 = 4096;

fn map(system: &mut System, pid: Pid, pages: u64, sharing: MapFlags) -> u64 {
    let flags = sharing | MapFlags::ANONYMOUS;
    let call = Mmap { len: pages * PAGE, prot: 3, flags, ..Mmap::default() };
    system.mmap(pid, call).unwrap().0
}

fn store(system: &mut System, pid: Pid, at: u64, pages: u64) {
    (0..pages).for_each(|n| system.store(pid, at + n * PAGE, &[1]).unwrap());
}

/// Shared and private pages, dirty and clean, and their bytes in proportion.
fn told(system: &System, pid: Pid, at: u64) -> ([u64; 4], u64) {
    let usage = system.usage(pid, at, 8 * PAGE);
    let private = (usage.private_dirty, usage.private_clean);
    let shared = (usage.shared_dirty, usage.shared_clean);
    ([shared.0, shared.1, private.0, private.1], usage.proportional_bytes)
}

#[test]
fn private_pages_are_shared_after_a_fork_until_one_is_stored_to() {
    let (mut system, parent) = System::new(Config::new(64));
    let at = map(&mut system, parent, 8, MapFlags::PRIVATE);
    store(&mut system, parent, at, 4);
    assert_eq!(told(&system, parent, at), ([0, 0, 4, 0], 4 * PAGE));
    let child = system.fork(parent).unwrap();
    assert_eq!(told(&system, parent, at), ([4, 0, 0, 0], 2 * PAGE));
    // Of the child's four, one is a copy now, and the parent has that page alone.
    store(&mut system, child, at, 1);
    for pid in [parent, child] {
        assert_eq!(told(&system, pid, at), ([3, 0, 1, 0], PAGE + 3 * PAGE / 2));
        assert_eq!(system.usage(pid, at, 8 * PAGE).anonymous, 4);
    }
}

#[test]
fn shared_pages_are_counted_where_they_have_been_touched() {
    let (mut system, parent) = System::new(Config::new(64));
    let at = map(&mut system, parent, 8, MapFlags::SHARED);
    let child = system.fork(parent).unwrap();
    store(&mut system, parent, at, 8);
    store(&mut system, child, at, 2);
    assert_eq!(told(&system, parent, at), ([2, 0, 6, 0], 7 * PAGE));
    assert_eq!(told(&system, child, at), ([2, 0, 0, 0], PAGE));
    assert_eq!(system.usage(child, at, 8 * PAGE).anonymous, 0, "they are an object's");
}

#[test]
fn what_is_in_swap_is_divided_as_well() {
    let (mut system, parent) = System::new(Config::new(16));
    let at = map(&mut system, parent, 8, MapFlags::PRIVATE);
    store(&mut system, parent, at, 8);
    let child = system.fork(parent).unwrap();
    (0..8).for_each(|_| system.press(16));
    let usage = system.usage(child, at, 8 * PAGE);
    assert_eq!((usage.swap, usage.proportional_swap_bytes), (8, 4 * PAGE));
    assert_eq!(usage.resident(), 0);
    // Read back by one: in memory for both, and in swap no more.
    system.load(parent, at, &mut [0]).unwrap();
    let (ours, theirs) = (system.usage(parent, at, PAGE), system.usage(child, at, PAGE));
    assert_eq!((ours, theirs.swap, theirs.shared_clean), (ours, 0, 1));
    assert_eq!((ours.shared_clean, ours.referenced, theirs.referenced), (1, 1, 0));
}
