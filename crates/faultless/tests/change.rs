//! Lengths and holes that meet a write, or a look at the length, at the worst moment: after
//! it has looked where the storage ends, and before it does what follows from it.

use std::io::{self, IoSlice, IoSliceMut};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use faultless::{Delivery, MapOptions, MapRaw, Pager, Vm};

const PAGE: usize = 4096;
const LEN: usize = 16 * PAGE;
/// What a cut leaves: five pages and a bit.
const LEFT: usize = 5 * PAGE + 100;
const DELIVERIES: [Delivery; 2] = [Delivery::Thread, Delivery::Inline];
/// Long enough for who isn't held up.
const A_WHILE: Duration = Duration::from_millis(150);

/// What is held up, if it comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Gate {
    Open,
    /// Writes that have looked at the length.
    Writes,
    /// The keeper's looks at the length.
    Looks,
}

/// Storage like a file of the kernel: a write behind its end makes it longer. (A pager looks
/// at the length before, but others can cut it in between.)
struct Growing {
    bytes: Mutex<Vec<u8>>,
    /// And how many are held up by it.
    gate: Mutex<(Gate, usize)>,
    changed: Condvar,
}

impl Growing {
    fn new() -> Arc<Growing> {
        let bytes = Mutex::new((0..LEN).map(pattern).collect());
        Arc::new(Growing { bytes, gate: Mutex::new((Gate::Open, 0)), changed: Condvar::new() })
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap()
    }

    fn set_gate(&self, gate: Gate) {
        self.gate.lock().unwrap().0 = gate;
        self.changed.notify_all();
    }

    fn wait_until_somebody_is_held_up(&self) {
        let gate = self.gate.lock().unwrap();
        drop(self.changed.wait_while(gate, |(_, held)| *held == 0).unwrap());
    }

    fn pass(&self, by: Gate) {
        let mut gate = self.gate.lock().unwrap();
        gate.1 += usize::from(gate.0 == by);
        self.changed.notify_all();
        let mut gate = self.changed.wait_while(gate, |(gate, _)| *gate == by).unwrap();
        gate.1 = 0;
    }
}

fn pattern(at: usize) -> u8 {
    (at * 31 + at / 256) as u8 | 1
}

impl Pager for Growing {
    fn name(&self) -> String {
        "storage that grows".into()
    }

    fn size(&self) -> io::Result<u64> {
        let size = self.bytes().len() as u64;
        if std::thread::current().name().is_none() && thread_name() == "faultless-keep" {
            self.pass(Gate::Looks);
        }
        Ok(size)
    }

    fn read(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let bytes = self.bytes();
        let mut rest = bytes.get(offset as usize..).unwrap_or_default();
        let mut done = 0;
        for buf in bufs {
            done += io::Read::read(&mut rest, buf)?;
        }
        Ok(done)
    }

    fn write(&self, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<()> {
        self.pass(Gate::Writes);
        let mut at = offset as usize;
        for buf in bufs {
            let mut bytes = self.bytes();
            let len = bytes.len().max(at + buf.len());
            bytes.resize(len, 0);
            bytes[at..at + buf.len()].copy_from_slice(buf);
            at += buf.len();
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn resize(&self, size: u64) -> io::Result<()> {
        self.bytes().resize(size as usize, 0);
        Ok(())
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.bytes()[offset as usize..][..len as usize].fill(0);
        Ok(())
    }
}

/// What the kernel calls this thread.
fn thread_name() -> String {
    std::fs::read_to_string("/proc/thread-self/comm").unwrap().trim().to_string()
}

fn vm() -> Vm {
    Vm::builder().memory(1 << 20).write_after(Duration::from_secs(3600)).build().unwrap()
}

fn map(vm: &Vm, storage: &Arc<Growing>, delivery: Delivery) -> MapRaw {
    let options = MapOptions::new().delivery(delivery).reserve(2 * LEN as u64);
    options.map_pager(vm, storage.clone()).unwrap()
}

fn load(map: &MapRaw, at: usize) -> u8 {
    // SAFETY: callers stay within the map, and nobody stores meanwhile.
    unsafe { map.as_ptr().add(at).read_volatile() }
}

fn store(map: &MapRaw, at: usize, byte: u8) {
    // SAFETY: as for `load`.
    unsafe { map.as_mut_ptr().add(at).write_volatile(byte) };
}

/// What is done while a write of page 9 is under way.
fn during_a_write(storage: &Growing, map: &MapRaw, verb: impl FnOnce() + Send) {
    store(map, 9 * PAGE, 0xaa);
    storage.set_gate(Gate::Writes);
    std::thread::scope(|scope| {
        scope.spawn(|| drop(map.flush()));
        storage.wait_until_somebody_is_held_up();
        let verb = scope.spawn(verb);
        std::thread::sleep(A_WHILE);
        storage.set_gate(Gate::Open);
        verb.join().unwrap();
    });
}

#[test]
fn a_write_under_way_doesn_t_undo_ones_own_cut() {
    for delivery in DELIVERIES {
        let (vm, storage) = (vm(), Growing::new());
        let map = map(&vm, &storage, delivery);
        during_a_write(&storage, &map, || map.resize(LEFT as u64).unwrap());
        assert_eq!(storage.bytes().len(), LEFT, "{delivery:?}: the storage has grown again");
        map.resize(LEN as u64).unwrap();
        assert_eq!(load(&map, 9 * PAGE), 0, "{delivery:?}");
    }
}

#[test]
fn a_write_under_way_doesn_t_fill_a_hole() {
    for delivery in DELIVERIES {
        let (vm, storage) = (vm(), Growing::new());
        let map = map(&vm, &storage, delivery);
        during_a_write(&storage, &map, || map.punch_hole(9 * PAGE as u64, PAGE as u64).unwrap());
        assert!(storage.bytes()[9 * PAGE..10 * PAGE].iter().all(|byte| *byte == 0), "{delivery:?}");
        assert_eq!(load(&map, 9 * PAGE), 0, "{delivery:?}");
    }
}

#[test]
fn after_a_refresh_no_write_from_before_makes_the_storage_longer() {
    for delivery in DELIVERIES {
        let (vm, storage) = (vm(), Growing::new());
        let map = map(&vm, &storage, delivery);
        let seen = std::sync::atomic::AtomicU64::new(0);
        during_a_write(&storage, &map, || {
            storage.resize(LEFT as u64).unwrap();
            seen.store(map.refresh().unwrap(), std::sync::atomic::Ordering::Relaxed);
        });
        let len = storage.bytes().len();
        assert_eq!(seen.into_inner(), len as u64, "{delivery:?}: it has grown since");
        assert_eq!(len, 10 * PAGE, "{delivery:?}: the write had looked before the cut");
        storage.resize(LEFT as u64).unwrap();
        assert_eq!(map.refresh().unwrap(), LEFT as u64);
        map.flush().unwrap();
        assert_eq!(storage.bytes().len(), LEFT, "{delivery:?}");
    }
}

#[test]
fn a_look_from_before_ones_own_growth_doesn_t_count() {
    for delivery in DELIVERIES {
        let (vm, storage) = (vm(), Growing::new());
        let map = map(&vm, &storage, delivery);
        storage.set_gate(Gate::Looks);
        storage.wait_until_somebody_is_held_up();
        map.resize(2 * LEN as u64).unwrap();
        store(&map, LEN + PAGE, 0xbb);
        storage.set_gate(Gate::Open);
        std::thread::sleep(A_WHILE);
        map.check().unwrap();
        assert_eq!(load(&map, LEN + PAGE), 0xbb, "{delivery:?}: a store is lost");
        map.flush().unwrap();
        assert_eq!(storage.bytes()[LEN + PAGE], 0xbb, "{delivery:?}");
    }
}

#[test]
fn what_others_cut_off_a_page_with_changes_is_zeros_after_a_refresh() {
    for delivery in DELIVERIES {
        let (vm, storage) = (vm(), Growing::new());
        let map = map(&vm, &storage, delivery);
        store(&map, LEFT - 1, 0xcc);
        store(&map, LEFT + 1, 0xdd);
        storage.resize(LEFT as u64).unwrap();
        map.refresh().unwrap();
        assert_eq!(load(&map, LEFT - 1), 0xcc, "{delivery:?}: a store is lost");
        assert_eq!((load(&map, LEFT), load(&map, LEFT + 1)), (0, 0), "{delivery:?}");
        map.resize(LEN as u64).unwrap();
        map.flush().unwrap();
        assert_eq!(storage.bytes()[LEFT - 1..LEFT + 2], [0xcc, 0, 0], "{delivery:?}");
    }
}
