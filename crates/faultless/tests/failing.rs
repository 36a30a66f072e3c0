//! Storage that fails: every error is told where the bytes are asked for, nothing dirty
//! is lost, and all goes on once the storage works again.

mod wait;

use std::os::unix::fs::FileExt;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};

use faultless::testing::{Effect, Fault, FaultyPager, MemoryPager, Operation, Times};
use faultless::{Delivery, MapOptions, MapRaw, OnError, Vm};
use wait::wait_until;

const PAGE: usize = 4096;
const PAGES: usize = 64;
const BAD: usize = 5;
const DELIVERIES: [Delivery; 2] = [Delivery::Thread, Delivery::Inline];

type Faulty = Arc<FaultyPager<MemoryPager>>;

static PATTERN: LazyLock<Vec<u8>> =
    LazyLock::new(|| (0..PAGES * PAGE).map(|n| (n * 31 + n / 256) as u8 | 1).collect());

fn storage() -> Faulty {
    Arc::new(FaultyPager::new(MemoryPager::from_bytes(PATTERN.clone()), 1))
}

fn bad_page(operation: Operation) -> Fault {
    let (range, times) = ((BAD * PAGE) as u64..((BAD + 1) * PAGE) as u64, Times::UntilHealed);
    Fault { operation, range, effect: Effect::Errno(libc::EIO), times }
}

fn load(map: &MapRaw, at: usize) -> u8 {
    // SAFETY: callers stay within the map, and nobody stores meanwhile.
    unsafe { map.as_ptr().add(at).read_volatile() }
}

fn store(map: &MapRaw, at: usize, byte: u8) {
    // SAFETY: callers stay within a map for writing, and nobody reads meanwhile.
    unsafe { map.as_mut_ptr().add(at).write_volatile(byte) }
}

#[test]
fn a_page_that_cannot_be_read() {
    for delivery in DELIVERIES {
        for granule in [4 << 10, 64 << 10] {
            let (vm, storage) = (Vm::with_memory(1 << 20).unwrap(), storage());
            storage.inject(bad_page(Operation::Read));
            let options = MapOptions::new().delivery(delivery).granule(granule);
            let map = options.map_pager(&vm, storage.clone()).unwrap();
            let at = (BAD * PAGE) as u64;
            for error in [
                map.pin(at + 10, 4).unwrap_err(),
                map.pin(0, PAGES * PAGE / 2).unwrap_err(),
                map.pin_mut(at, 1).unwrap_err(),
                map.read_at(0, &mut [0; PAGES * PAGE]).unwrap_err(),
            ] {
                assert_eq!(error.errno(), libc::EIO, "{error}");
                let text = error.to_string();
                assert!(text.contains(&format!("byte {at}")), "names the offset: {text}");
                assert!(text.contains("faulty memory"), "names the storage: {text}");
            }
            for page in (0..PAGES).filter(|page| *page != BAD) {
                let (from, to) = (page * PAGE, (page + 1) * PAGE);
                assert!(map.pin(from as u64, PAGE).unwrap()[..] == PATTERN[from..to], "{page}");
                assert_eq!(load(&map, from + 9), PATTERN[from + 9], "{page}");
            }
            storage.heal_all();
            let pin = map.pin(at, PAGE).unwrap();
            assert!(pin[..] == PATTERN[BAD * PAGE..][..PAGE], "after healing");
            assert_eq!(load(&map, BAD * PAGE), PATTERN[BAD * PAGE]);
        }
    }
}

#[test]
fn zeros_for_a_page_that_cannot_be_read() {
    for delivery in DELIVERIES {
        let (vm, storage) = (Vm::with_memory(1 << 20).unwrap(), storage());
        storage.inject(bad_page(Operation::Read));
        let options = MapOptions::new().delivery(delivery).on_error(OnError::Zeros);
        let map = options.map_pager(&vm, storage.clone()).unwrap();
        assert!((BAD * PAGE..(BAD + 1) * PAGE).all(|at| load(&map, at) == 0), "{delivery:?}");
        assert_eq!(load(&map, (BAD + 1) * PAGE), PATTERN[(BAD + 1) * PAGE]);
        let error = map.check().unwrap_err();
        assert!(error.to_string().contains(&format!("byte {}", BAD * PAGE)), "{error}");
        map.check().unwrap();
        assert!(map.pin((BAD * PAGE) as u64, 1).is_err(), "a pin doesn't take zeros for bytes");
        map.flush().unwrap();
        assert!(storage.inner().bytes() == *PATTERN, "zeros are not written over good bytes");
        storage.heal_all();
        let since = Instant::now();
        while load(&map, BAD * PAGE) == 0 && since.elapsed() < Duration::from_secs(5) {
            map.release(0, (PAGES * PAGE) as u64).unwrap();
        }
        assert_eq!(load(&map, BAD * PAGE), PATTERN[BAD * PAGE], "after healing");
    }
}

#[test]
fn a_read_that_ends_early() {
    let (vm, storage) = (Vm::with_memory(1 << 20).unwrap(), storage());
    let short = Effect::Short(PAGE + 100);
    storage.inject(Fault::next(Operation::Read, 0..u64::MAX, short, 3));
    let map = MapOptions::new().map_pager(&vm, storage.clone()).unwrap();
    let mut bytes = vec![0; PAGES * PAGE];
    while map.read_at(0, &mut bytes).is_err() {}
    assert!(bytes == *PATTERN);
}

static STORAGE: OnceLock<Faulty> = OnceLock::new();
static SIGNALS: AtomicU32 = AtomicU32::new(0);
static ADDRESS: OnceLock<usize> = OnceLock::new();

/// Repairs the storage and returns: the access is tried again.
extern "C" fn repair(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel gives a handler the signal's information.
    let addr = unsafe { (*info).si_addr() } as usize;
    // Plain loads and stores bring us here: no lock is held that this could want.
    if SIGNALS.fetch_add(1, Ordering::Relaxed) == 0 {
        println!("signal at {:#x} of {:#x}", addr, ADDRESS.get().unwrap());
    }
    STORAGE.get().unwrap().heal_all();
    std::thread::sleep(Duration::from_millis(10));
}

#[test]
#[ignore = "a child of the other tests"]
fn child_role() {
    let Ok(role) = std::env::var("FAULTLESS_ROLE") else { return };
    if role == "no space" {
        return no_space();
    }
    let delivery = if role == "thread" { Delivery::Thread } else { Delivery::Inline };
    // SAFETY: all-zero bytes are a sigaction; the handler has the signature of SA_SIGINFO.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = repair as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
        assert_eq!(libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()), 0);
    }
    let (vm, storage) = (Vm::with_memory(1 << 20).unwrap(), storage());
    STORAGE.set(storage.clone()).ok().unwrap();
    storage.inject(bad_page(Operation::Read));
    let map = MapOptions::new().delivery(delivery).map_pager(&vm, storage).unwrap();
    let at = BAD * PAGE + 321;
    ADDRESS.set(map.as_ptr() as usize + at).unwrap();
    println!();
    assert_eq!(load(&map, at), PATTERN[at]);
    assert!((0..PAGES * PAGE).all(|at| load(&map, at) == PATTERN[at]));
    println!("all read");
}

fn child(role: &str) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child_role", "--ignored", "--nocapture"]);
    let output = command.env("FAULTLESS_ROLE", role).output().unwrap();
    assert!(output.status.success(), "{role}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn pointers_get_sigbus_and_a_retry_finds_the_page() {
    for role in ["thread", "inline"] {
        let text = child(role);
        let line = text.lines().find_map(|line| line.strip_prefix("signal at ")).unwrap();
        let (seen, expected) = line.split_once(" of ").unwrap();
        assert_eq!(seen, expected, "{role}");
        assert!(text.contains("all read"), "{role}: {text}");
    }
}

#[test]
fn writes_that_fail_lose_nothing() {
    for delivery in DELIVERIES {
        // 16 pages of memory for 64: what is stored must make room and can't.
        let (vm, storage) = (Vm::with_memory(Vm::MEMORY_MIN).unwrap(), storage());
        let map = MapOptions::new().delivery(delivery).map_pager(&vm, storage.clone()).unwrap();
        storage.inject(Fault::always(Operation::Write, Effect::Errno(libc::ENOSPC)));
        let mut expected = PATTERN.clone();
        for page in [1, 20, 21, 63] {
            store(&map, page * PAGE + 50, 0);
            expected[page * PAGE + 50] = 0;
        }
        for round in 0..3 {
            for at in (0..PAGES * PAGE).step_by(PAGE) {
                assert_eq!(map.pin(at as u64, 64).unwrap()[50], expected[at + 50], "{round}");
                assert_eq!(load(&map, at), expected[at]);
            }
            let error = map.flush().unwrap_err();
            assert_eq!(error.errno(), libc::ENOSPC, "{error}");
            assert!(error.to_string().contains("write"), "{error}");
            assert_eq!(map.resident().unwrap().1, 4, "all stay dirty");
            assert!(storage.inner().bytes() == *PATTERN, "nothing was written");
        }
        storage.heal_all();
        // An error of the time before may still be told, once.
        let _ = map.flush();
        map.flush().unwrap();
        assert_eq!(map.resident().unwrap().1, 0);
        assert!(storage.inner().bytes() == expected, "{delivery:?}: a store was lost");
    }
}

/// What is written whole need not be read.
#[test]
fn a_page_that_cannot_be_read_can_be_written() {
    for delivery in DELIVERIES {
        let (vm, storage) = (Vm::with_memory(Vm::MEMORY_MIN).unwrap(), storage());
        let map = MapOptions::new().delivery(delivery).map_pager(&vm, storage.clone()).unwrap();
        storage.inject(Fault::always(Operation::Read, Effect::Errno(libc::EIO)));
        let at = (BAD * PAGE) as u64;
        assert_eq!(map.write_at(at, &[7; 100]).unwrap_err().errno(), libc::EIO);
        // Nor is a part of it stored, where there are others that would have to be read.
        assert_eq!(map.write_at(at - 1, &[7; PAGE + 1]).unwrap_err().errno(), libc::EIO);
        assert_eq!(map.resident().unwrap().1, 0);
        assert_eq!(map.check().unwrap_err().errno(), libc::EIO);
        let bytes: Vec<u8> = (0..3 * PAGE).map(|n| (n / 7) as u8).collect();
        map.write_at(at, &bytes).unwrap();
        assert_eq!(map.pin(at, 3 * PAGE).unwrap()[..], bytes);
        assert_eq!(load(&map, BAD * PAGE + 700), 100);
        assert_eq!(map.resident().unwrap(), (3, 3), "and is in no other page's place");
        map.flush().unwrap();
        assert_eq!(storage.inner().bytes()[BAD * PAGE..][..3 * PAGE], bytes);
        storage.heal_all();
        assert_eq!(map.pin(at - 1, 1).unwrap()[0], PATTERN[BAD * PAGE - 1]);
    }
}

/// Pages that there is room for don't stay because others beside them do.
#[test]
fn where_storage_is_full_what_has_room_leaves() {
    const FULL: std::ops::Range<usize> = 4..8;
    for delivery in DELIVERIES {
        let (vm, storage) = (Vm::with_memory(Vm::MEMORY_MIN).unwrap(), storage());
        let map = MapOptions::new().delivery(delivery).map_pager(&vm, storage.clone()).unwrap();
        let range = (FULL.start * PAGE) as u64..(FULL.end * PAGE) as u64;
        let fault = Fault::always(Operation::Write, Effect::Errno(libc::ENOSPC));
        storage.inject(Fault { range, ..fault });
        (2..12).for_each(|page| store(&map, page * PAGE, 0));
        for page in (0..3).flat_map(|_| 12..PAGES) {
            assert_eq!(load(&map, page * PAGE), PATTERN[page * PAGE]);
        }
        assert_eq!(map.resident().unwrap().1 as usize, FULL.len(), "{delivery:?}");
        let bytes = storage.inner().bytes();
        let stored: Vec<usize> = (0..PAGES).filter(|page| bytes[page * PAGE] == 0).collect();
        assert_eq!(stored, [2, 3, 8, 9, 10, 11]);
        storage.heal_all();
        let _ = map.flush();
        map.flush().unwrap();
        assert!((2..12).all(|page| storage.inner().bytes()[page * PAGE] == 0));
    }
}

#[test]
fn a_sync_that_fails_is_told() {
    let (vm, storage) = (Vm::with_memory(1 << 20).unwrap(), storage());
    let map = MapOptions::new().map_pager(&vm, storage.clone()).unwrap();
    map.write_at(0, b"changed").unwrap();
    storage.inject(Fault::always(Operation::Sync, Effect::Errno(libc::EIO)));
    let error = map.flush().unwrap_err();
    assert!(error.to_string().contains("sync"), "{error}");
    storage.heal_all();
    map.flush().unwrap();
    assert_eq!(storage.inner().bytes()[..7], *b"changed");
}

#[test]
fn with_every_frame_dirty_a_pin_is_an_error() {
    let (vm, storage) = (Vm::with_memory(Vm::MEMORY_MIN).unwrap(), storage());
    let map = MapOptions::new().map_pager(&vm, storage.clone()).unwrap();
    storage.inject(Fault::always(Operation::Write, Effect::Errno(libc::EIO)));
    let (mut expected, since) = (PATTERN.clone(), Instant::now());
    let error = loop {
        let page = expected.iter().step_by(PAGE).take_while(|byte| **byte == 0).count();
        assert!(page < PAGES, "more pages are dirty than there are frames");
        match map.write_at((page * PAGE) as u64, &[0]) {
            Ok(()) => expected[page * PAGE] = 0,
            Err(error) => break error,
        }
    };
    println!("{error}, after {:?}", since.elapsed());
    assert_eq!(error.errno(), libc::ENOMEM, "{error}");
    assert!(error.to_string().contains("dirty"), "{error}");
    storage.heal_all();
    let _ = map.flush();
    map.flush().unwrap();
    assert!(storage.inner().bytes() == expected, "a store was lost");
    map.write_at((PAGES - 1) as u64 * PAGE as u64, &[0]).unwrap();
}

fn limit_file_size(bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: a live structure; SIGXFSZ is only ignored.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
    }
}

/// A real file that can't be written beyond a limit, in a process of its own.
fn no_space() {
    let file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.write_all_at(&PATTERN, 0).unwrap();
    let vm = Vm::with_memory(1 << 20).unwrap();
    let maps = [(); 3].map(|()| MapOptions::new().map_raw_mut(&vm, &file).unwrap());
    let mut expected = PATTERN.clone();
    limit_file_size(10 * PAGE as u64);
    for at in [3, 20 * PAGE, 40 * PAGE] {
        maps[0].write_at(at as u64, &[0]).unwrap();
        expected[at] = 0;
    }
    for map in &maps {
        let error = map.flush().unwrap_err();
        assert_eq!(error.errno(), libc::EFBIG, "{error}");
    }
    assert_eq!(maps[0].resident().unwrap().1, 2);
    limit_file_size(libc::RLIM_INFINITY);
    for map in &maps {
        // Errors of the others' attempts may still be told, once.
        let _ = map.flush();
        map.flush().unwrap();
    }
    let mut bytes = vec![0; PAGES * PAGE];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert!(bytes == expected, "a store was lost");
    println!("\nevery map was told");
}

#[test]
fn every_map_of_a_file_is_told() {
    assert!(child("no space").contains("every map was told"));
}

/// A map with changes that nothing but a flush writes soon, on storage that holds writes.
fn held_changes(delivery: Delivery, bytes: &mut [u8]) -> (MapRaw, Faulty) {
    let vm = Vm::builder().memory(1 << 20).write_after(Duration::from_secs(3600)).build().unwrap();
    let storage = storage();
    let map = MapOptions::new().delivery(delivery).map_pager(&vm, storage.clone()).unwrap();
    for page in [1, 2, 3, 30] {
        store(&map, page * PAGE + 7, 0);
        bytes[page * PAGE + 7] = 0;
    }
    storage.inject(Fault::always(Operation::Write, Effect::Hold));
    (map, storage)
}

#[test]
fn a_flush_that_nobody_waits_for() {
    for delivery in DELIVERIES {
        let mut expected = PATTERN.clone();
        let (map, storage) = held_changes(delivery, &mut expected);
        let since = Instant::now();
        map.flush_async().unwrap();
        println!("{delivery:?}: returned after {:?}", since.elapsed());
        assert!(since.elapsed() < Duration::from_secs(5), "it doesn't wait");
        wait_until("the write begins", || storage.struck(Operation::Write) > 0);
        assert_eq!(map.resident().unwrap().1, 4, "nothing is written yet");
        assert!(storage.inner().bytes() == *PATTERN);
        assert_eq!(load(&map, 50 * PAGE), PATTERN[50 * PAGE], "others go on");
        map.flush_async().unwrap();
        storage.heal_all();
        wait_until("the changes are written", || map.resident().unwrap().1 == 0);
        assert!(storage.inner().bytes() == expected, "{delivery:?}");
        assert_eq!(storage.calls(Operation::Sync), 0, "durable by `flush` only");
        map.check().unwrap();
    }
}

#[test]
fn a_flush_that_nobody_waits_for_meets_the_end_of_the_map() {
    for delivery in DELIVERIES {
        let mut expected = PATTERN.clone();
        let (map, storage) = held_changes(delivery, &mut expected);
        map.flush_async().unwrap();
        wait_until("the write begins", || storage.struck(Operation::Write) > 0);
        map.flush_async().unwrap();
        let end = std::thread::spawn(move || drop(map));
        std::thread::sleep(Duration::from_millis(50));
        assert!(!end.is_finished(), "the map's end waits for its changes");
        storage.heal_all();
        end.join().unwrap();
        assert!(storage.inner().bytes() == expected, "{delivery:?}");
    }
}

#[test]
fn errors_of_a_flush_that_nobody_waits_for() {
    let (vm, storage) = (Vm::with_memory(1 << 20).unwrap(), storage());
    let map = MapOptions::new().map_pager(&vm, storage.clone()).unwrap();
    storage.inject(Fault::always(Operation::Write, Effect::Errno(libc::ENOSPC)));
    map.write_at(9, b"kept").unwrap();
    map.flush_async().unwrap();
    wait_until("the write fails", || vm.stats().write_errors > 0);
    assert_eq!(map.check().unwrap_err().errno(), libc::ENOSPC);
    map.check().unwrap();
    storage.heal_all();
    map.flush().unwrap();
    assert_eq!(storage.inner().bytes()[9..13], *b"kept");
}
