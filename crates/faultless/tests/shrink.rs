//! Files that somebody else cuts while they are mapped: errors, signals and zeros where
//! the bytes are gone, and nothing else.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use faultless::testing::{Effect, Fault, Operation};
use faultless::{Delivery, FaultyPager, MapOptions, MapRaw, MemoryPager, OnError, Pager, Vm};

const PAGE: usize = 4096;
const PAGES: usize = 16;
/// What is left of the file: five pages and a bit.
const LEFT: usize = 5 * PAGE + 100;
const DELIVERIES: [Delivery; 2] = [Delivery::Thread, Delivery::Inline];

static PATTERN: LazyLock<Vec<u8>> =
    LazyLock::new(|| (0..PAGES * PAGE).map(|n| (n * 31 + n / 256) as u8 | 1).collect());

fn file() -> File {
    let file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.write_all_at(&PATTERN, 0).unwrap();
    file
}

fn options(delivery: Delivery) -> MapOptions {
    // Without read-ahead each test knows which pages are in memory.
    MapOptions::new().delivery(delivery).read_ahead(faultless::Pattern::Random)
}

fn load(map: &MapRaw, at: usize) -> u8 {
    // SAFETY: callers stay within the addresses of the map, and nobody stores meanwhile.
    unsafe { map.as_ptr().add(at).read_volatile() }
}

fn check_rest(map: &MapRaw) {
    let mut bytes = vec![0; LEFT];
    assert_eq!(map.read_at(0, &mut bytes).unwrap(), LEFT);
    assert!(bytes == PATTERN[..LEFT], "bytes before the new end");
    assert!((0..LEFT).all(|at| load(map, at) == PATTERN[at]), "by pointer");
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    ByRefresh,
    ByReading,
}

#[test]
fn pins_and_reads_are_errors() {
    for delivery in DELIVERIES {
        for told in [Told::ByRefresh, Told::ByReading] {
            println!("{delivery:?}, {told:?}");
            let (vm, file) = (Vm::with_memory(1 << 20).unwrap(), file());
            let map = options(delivery).map_raw_mut(&vm, &file).unwrap();
            for page in [0, 3, 5, 7] {
                assert_eq!(load(&map, page * PAGE + 2), PATTERN[page * PAGE + 2]);
            }
            file.set_len(LEFT as u64).unwrap();
            if told == Told::ByRefresh {
                assert_eq!(map.refresh().unwrap(), LEFT as u64);
                let error = map.pin(7 * PAGE as u64, 1).unwrap_err();
                assert!(error.is_beyond_end(), "a page that was in memory: {error}");
            }
            let error = map.pin(9 * PAGE as u64, 1).unwrap_err();
            assert!(error.is_beyond_end(), "{error}");
            assert!(error.to_string().contains(&LEFT.to_string()), "says the length: {error}");
            let error = map.read_at(10 * PAGE as u64, &mut [0; 10]).unwrap_err();
            assert!(error.is_beyond_end(), "{error}");
            let error = map.write_at(10 * PAGE as u64, &[0; 10]).unwrap_err();
            assert!(error.is_beyond_end(), "{error}");
            let error = map.pin(LEFT as u64 - 1, 2).unwrap_err();
            assert!(error.is_beyond_end(), "across the new end: {error}");
            check_rest(&map);
            let _ = map.check(); // What the pins were told is kept for the map as well.
            map.flush().unwrap();
            assert_eq!(file.metadata().unwrap().len(), LEFT as u64, "a flush doesn't grow it");
        }
    }
}

#[test]
fn cut_by_another_process_and_extended_again() {
    for delivery in DELIVERIES {
        let vm = Vm::with_memory(1 << 20).unwrap();
        let named = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        std::fs::write(named.path(), &*PATTERN).unwrap();
        let map = options(delivery).map_raw_mut(&vm, named.as_file()).unwrap();
        assert_eq!(load(&map, 8 * PAGE), PATTERN[8 * PAGE]);
        let cut = ["-s", &LEFT.to_string(), named.path().to_str().unwrap()];
        assert!(Command::new("truncate").args(cut).status().unwrap().success());
        map.refresh().unwrap();
        assert!(map.pin(8 * PAGE as u64, 1).unwrap_err().is_beyond_end());
        map.resize((PAGES * PAGE) as u64).unwrap();
        let mut expected = PATTERN.clone();
        expected[LEFT..].fill(0);
        assert!((0..PAGES * PAGE).all(|at| load(&map, at) == expected[at]), "zeros where it grew");
        map.write_at(8 * PAGE as u64, b"again").unwrap();
        expected[8 * PAGE..][..5].copy_from_slice(b"again");
        map.flush().unwrap();
        assert!(std::fs::read(named.path()).unwrap() == expected);
    }
}

#[test]
fn changes_that_are_lost_are_told() {
    for delivery in DELIVERIES {
        let (vm, file) = (Vm::with_memory(1 << 20).unwrap(), file());
        let map = options(delivery).map_raw_mut(&vm, &file).unwrap();
        map.write_at(10, b"kept").unwrap();
        map.write_at(9 * PAGE as u64, b"lost").unwrap();
        file.set_len(LEFT as u64).unwrap();
        let error = map.flush().unwrap_err();
        assert!(error.is_beyond_end(), "{error}");
        assert!(error.to_string().contains("shortened"), "{error}");
        map.flush().unwrap();
        assert_eq!(file.metadata().unwrap().len(), LEFT as u64);
        let mut kept = [0; 4];
        file.read_exact_at(&mut kept, 10).unwrap();
        assert_eq!(kept, *b"kept");
        assert_eq!(map.resident().unwrap().1, 0, "nothing is left dirty");
    }
}

#[test]
fn a_pin_outlives_the_cut() {
    for delivery in DELIVERIES {
        let (vm, file) = (Vm::with_memory(1 << 20).unwrap(), file());
        let map = options(delivery).map_raw(&vm, &file).unwrap();
        let pin = map.pin(8 * PAGE as u64, 2 * PAGE).unwrap();
        file.set_len(0).unwrap();
        map.refresh().unwrap();
        assert!(pin[..] == PATTERN[8 * PAGE..10 * PAGE], "pinned bytes stay");
        drop(pin);
        assert!(map.pin(8 * PAGE as u64, 1).unwrap_err().is_beyond_end());
    }
}

#[test]
fn growth_by_others_is_seen() {
    for delivery in DELIVERIES {
        let (vm, file) = (Vm::with_memory(1 << 20).unwrap(), file());
        file.set_len(LEFT as u64).unwrap();
        let map = options(delivery).map_raw_mut(&vm, &file).unwrap();
        check_rest(&map);
        file.write_all_at(&PATTERN, 0).unwrap();
        assert_eq!(map.refresh().unwrap(), (PAGES * PAGE) as u64);
        let later = options(delivery).map_raw(&vm, &file).unwrap();
        assert_eq!(later.len(), PAGES * PAGE, "a later map has the file's length");
        assert!((0..PAGES * PAGE).all(|at| load(&later, at) == PATTERN[at]));
        assert!(later.pin(0, PAGES * PAGE).unwrap()[..] == *PATTERN);
    }
}

#[test]
fn growth_by_others_and_changes_of_ours_both_stay() {
    for delivery in DELIVERIES {
        for told in [Told::ByRefresh, Told::ByReading] {
            let (vm, file) = (Vm::with_memory(1 << 20).unwrap(), file());
            file.set_len(LEFT as u64).unwrap();
            let map = options(delivery).map_raw_mut(&vm, &file).unwrap();
            let mut expected = PATTERN.clone();
            map.write_at(LEFT as u64 - 10, b"ours").unwrap();
            expected[LEFT - 10..][..4].copy_from_slice(b"ours");
            // Others append in the page that we have changed.
            file.write_all_at(&PATTERN[LEFT..], LEFT as u64).unwrap();
            match told {
                Told::ByRefresh => assert_eq!(map.refresh().unwrap(), (PAGES * PAGE) as u64),
                // The keeper looks now and then.
                Told::ByReading => std::thread::sleep(std::time::Duration::from_millis(500)),
            }
            map.flush().unwrap();
            let mut bytes = vec![0; PAGES * PAGE];
            file.read_exact_at(&mut bytes, 0).unwrap();
            let wrong = (0..bytes.len()).find(|at| bytes[*at] != expected[*at]);
            assert_eq!(wrong, None, "{delivery:?}, {told:?}: somebody's bytes are lost");
        }
    }
}

#[test]
fn zeros_and_a_kept_error() {
    for delivery in DELIVERIES {
        let (vm, file) = (Vm::with_memory(1 << 20).unwrap(), file());
        let options = options(delivery).on_error(OnError::Zeros);
        let map = options.map_raw_mut(&vm, &file).unwrap();
        let other = options.map_raw_mut(&vm, &file).unwrap();
        assert_eq!(load(&map, 0), PATTERN[0]);
        map.check().unwrap();
        file.set_len(LEFT as u64).unwrap();
        let gone = 9 * PAGE..11 * PAGE;
        assert!(gone.clone().all(|at| load(&map, at) == 0), "{delivery:?}: zeros");
        let error = map.check().unwrap_err();
        assert!(error.is_beyond_end(), "{error}");
        map.check().unwrap();
        let error = other.flush().unwrap_err();
        assert!(error.is_beyond_end(), "the other map is told as well: {error}");
        other.flush().unwrap();
        assert!(map.pin(gone.start as u64, 1).is_err(), "a pin doesn't take zeros for bytes");
        // SAFETY: within the addresses of the map; nobody reads meanwhile.
        unsafe { map.as_mut_ptr().add(gone.start).write_volatile(7) };
        assert!(map.flush().is_err(), "a store to bytes that are gone");
        assert_eq!(file.metadata().unwrap().len(), LEFT as u64);
        check_rest(&map);
        // Once the zeros stayed when there was something again, and took stores that were lost.
        map.resize((PAGES * PAGE) as u64).unwrap();
        assert!(map.pin(gone.start as u64, 1).is_ok(), "{delivery:?}: it can be pinned");
        // SAFETY: as above.
        unsafe { map.as_mut_ptr().add(gone.start).write_volatile(9) };
        map.flush().unwrap();
        let mut stored = [0];
        file.read_exact_at(&mut stored, gone.start as u64).unwrap();
        assert_eq!(stored, [9], "{delivery:?}");
    }
}

extern "C" fn tell_and_end(number: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel gives a handler the signal's information.
    let addr = unsafe { (*info).si_addr() };
    // The access that brought us here was made between two uses of the standard output.
    println!("signal {number} at {addr:p}");
    std::process::exit(0);
}

fn install_handler() {
    // SAFETY: all-zero bytes are a sigaction; the handler has the signature of SA_SIGINFO.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = tell_and_end as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()), 0);
    }
}

#[test]
#[ignore = "a child of the other tests"]
fn child_role() {
    let Ok(role) = std::env::var("FAULTLESS_ROLE") else { return };
    let has = |word| role.split(' ').any(|it| it == word);
    let delivery = if has("thread") { Delivery::Thread } else { Delivery::Inline };
    if has("before") {
        install_handler();
    }
    let (vm, file) = (Vm::with_memory(1 << 20).unwrap(), file());
    let map = options(delivery).map_raw_mut(&vm, &file).unwrap();
    assert_eq!(load(&map, 0), PATTERN[0]);
    if has("resident") {
        assert_eq!(load(&map, 9 * PAGE), PATTERN[9 * PAGE]);
    }
    if has("after") {
        install_handler();
    }
    file.set_len(LEFT as u64).unwrap();
    if has("refresh") {
        map.refresh().unwrap();
    }
    assert_eq!(load(&map, 1), PATTERN[1]);
    let at = map.as_mut_ptr().wrapping_add(9 * PAGE + 1234);
    println!("\ntouching {at:p}");
    match has("store") {
        // SAFETY: an access that ends in the handler, which doesn't return.
        true => unsafe { at.write_volatile(1) },
        // SAFETY: as above.
        false => _ = unsafe { at.read_volatile() },
    }
    panic!("went through");
}

#[test]
fn pointers_get_sigbus_where_they_point() {
    for delivery in ["thread", "inline"] {
        for handler in ["before", "after"] {
            for what in ["load", "store", "load refresh", "load refresh resident"] {
                let role = format!("{delivery} {handler} {what}");
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.args(["--exact", "child_role", "--ignored", "--nocapture"]);
                let output = command.env("FAULTLESS_ROLE", &role).output().unwrap();
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let line =
                    |start| text.lines().find(|line| line.starts_with(start)).unwrap_or(&text);
                let addr = line("touching").trim_start_matches("touching ");
                let expected = format!("signal {} at {addr}", libc::SIGBUS);
                assert_eq!(line("signal"), expected, "{role}: {output:?}");
            }
        }
    }
}

/// Storage whose `resize` and `punch` take a while to return after they are done.
struct SlowToResize(MemoryPager);

impl Pager for SlowToResize {
    fn name(&self) -> String {
        "storage that is slow to resize".into()
    }

    fn size(&self) -> std::io::Result<u64> {
        self.0.size()
    }

    fn read(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> std::io::Result<usize> {
        self.0.read(offset, bufs)
    }

    fn write(&self, offset: u64, bufs: &[IoSlice<'_>]) -> std::io::Result<()> {
        self.0.write(offset, bufs)
    }

    fn sync(&self) -> std::io::Result<()> {
        self.0.sync()
    }

    fn resize(&self, size: u64) -> std::io::Result<()> {
        self.0.resize(size)?;
        // The keeper looks at sizes every 200 ms.
        std::thread::sleep(Duration::from_millis(700));
        Ok(())
    }

    fn punch(&self, offset: u64, len: u64) -> std::io::Result<()> {
        self.0.punch(offset, len)?;
        std::thread::sleep(Duration::from_millis(300));
        Ok(())
    }
}

#[test]
fn ones_own_cut_is_no_error() {
    for delivery in DELIVERIES {
        // In one round the keeper sees the length first, in the other it finds that a
        // write of what is gone doesn't fit any more.
        for write_after in [Duration::from_secs(3600), Duration::from_millis(100)] {
            let vm = Vm::builder().memory(1 << 20).write_after(write_after).build().unwrap();
            let storage = Arc::new(SlowToResize(MemoryPager::from_bytes(PATTERN.clone())));
            let map = options(delivery).map_pager(&vm, storage.clone()).unwrap();
            map.write_at(10, b"kept").unwrap();
            map.write_at(LEFT as u64 - 4, b"tail").unwrap();
            map.write_at(9 * PAGE as u64, b"cut on purpose").unwrap();
            map.resize(LEFT as u64).unwrap();
            map.check().unwrap();
            map.flush().unwrap();
            let mut expected = PATTERN[..LEFT].to_vec();
            expected[10..14].copy_from_slice(b"kept");
            expected[LEFT - 4..].copy_from_slice(b"tail");
            assert!(storage.0.bytes() == expected, "{delivery:?}");
            // From here on a cut by others is one again.
            map.write_at(10, b"lost").unwrap();
            storage.0.resize(0).unwrap();
            assert!(map.flush().unwrap_err().is_beyond_end());
        }
    }
}

#[test]
fn a_cut_that_fails_changes_nothing() {
    let vm = Vm::with_memory(1 << 20).unwrap();
    let storage = Arc::new(FaultyPager::new(MemoryPager::from_bytes(PATTERN.clone()), 1));
    let map = MapOptions::new().map_pager(&vm, storage.clone()).unwrap();
    map.write_at(9 * PAGE as u64, b"kept").unwrap();
    storage.inject(Fault::always(Operation::Resize, Effect::Errno(libc::EIO)));
    let error = map.resize(LEFT as u64).unwrap_err();
    assert!(error.to_string().contains("resize"), "{error}");
    map.flush().unwrap();
    assert_eq!(storage.inner().bytes()[9 * PAGE..][..4], *b"kept");
    // The length is looked at as before.
    storage.inner().resize(LEFT as u64).unwrap();
    assert_eq!(map.refresh().unwrap(), LEFT as u64);
    assert!(map.pin(9 * PAGE as u64, 1).unwrap_err().is_beyond_end());
}

#[test]
fn stores_while_ones_own_resize_is_under_way_stay() {
    for delivery in DELIVERIES {
        for size in [3 * PAGE + 100, LEFT + PAGE] {
            let vm = Vm::with_memory(1 << 20).unwrap();
            let storage = Arc::new(SlowToResize(MemoryPager::from_bytes(PATTERN[..LEFT].to_vec())));
            let map = options(delivery).map_pager(&vm, storage.clone()).unwrap();
            // In the page that holds the end that is nearer.
            let at = size.min(LEFT) - 50;
            assert_eq!(load(&map, at), PATTERN[at]);
            std::thread::scope(|scope| {
                let resized = scope.spawn(|| map.resize(size as u64).unwrap());
                while storage.0.size().unwrap() != size as u64 {
                    std::thread::yield_now();
                }
                // SAFETY: within the map before and after; nobody else uses the byte.
                unsafe { map.as_mut_ptr().add(at).write_volatile(0) };
                resized.join().unwrap();
            });
            map.flush().unwrap();
            let mut expected = PATTERN[..size.min(LEFT)].to_vec();
            expected.resize(size, 0);
            expected[at] = 0;
            assert!(storage.0.bytes() == expected, "{delivery:?}, {size}: the store is lost");
        }
    }
}

#[test]
fn stores_beside_a_hole_while_it_is_punched_stay() {
    for delivery in DELIVERIES {
        let vm = Vm::with_memory(1 << 20).unwrap();
        let storage = Arc::new(SlowToResize(MemoryPager::from_bytes(PATTERN.clone())));
        let map = options(delivery).map_pager(&vm, storage.clone()).unwrap();
        let hole = PAGE + 100..4 * PAGE + 50;
        let beside = [hole.start - 1, hole.end];
        std::thread::scope(|scope| {
            let punched =
                scope.spawn(|| map.punch_hole(hole.start as u64, hole.len() as u64).unwrap());
            while storage.0.bytes()[2 * PAGE] != 0 {
                std::thread::yield_now();
            }
            for at in beside {
                // SAFETY: within the map; nobody else uses the byte.
                unsafe { map.as_mut_ptr().add(at).write_volatile(0) };
            }
            punched.join().unwrap();
        });
        let mut expected = PATTERN.clone();
        expected[hole.start - 1..=hole.end].fill(0);
        assert!(map.pin(0, PAGES * PAGE).unwrap()[..] == expected, "{delivery:?}");
        map.flush().unwrap();
        assert!(storage.0.bytes() == expected, "{delivery:?}");
    }
}
