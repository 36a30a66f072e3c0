//! A program that locks all its memory, as databases and real-time programs do.

use std::path::PathBuf;

use faultless::{Delivery, MapOptions, Vm};

const MIB: usize = 1 << 20;

/// Stores to 8 MiB under a budget of one, and loads all again.
fn use_memory(vm: &Vm, delivery: Delivery) {
    let mut memory = vm.anonymous_by(8 * MIB, delivery).unwrap();
    for (at, byte) in memory.iter_mut().enumerate().step_by(512) {
        *byte = (at / 512) as u8 | 1;
    }
    for (at, byte) in memory.iter().enumerate().step_by(512) {
        assert_eq!(*byte, (at / 512) as u8 | 1, "{delivery:?}");
    }
}

/// One test, because it is the whole process that is locked.
#[test]
fn mlockall_changes_nothing() {
    let vm = || {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        Vm::builder().memory(MIB as u64).swap(dir, 16 * MIB as u64).build().unwrap()
    };
    let before = vm();
    use_memory(&before, Delivery::Inline);
    for flags in [libc::MCL_CURRENT | libc::MCL_FUTURE, libc::MCL_CURRENT | libc::MCL_ONFAULT] {
        // SAFETY: it takes numbers only.
        if unsafe { libc::mlockall(flags) } != 0 {
            return println!("skipped: {}", std::io::Error::last_os_error());
        }
        let after = vm();
        for delivery in [Delivery::Inline, Delivery::Thread] {
            use_memory(&before, delivery);
            use_memory(&after, delivery);
        }
        let file = tempfile::tempfile().unwrap();
        file.set_len(4 * MIB as u64).unwrap();
        let map = MapOptions::new().map_raw_mut(&before, &file).unwrap();
        map.write_at(3 * MIB as u64, b"locked").unwrap();
        map.flush().unwrap();
        assert_eq!(&*map.pin(3 * MIB as u64, 6).unwrap(), b"locked");
        // SAFETY: as above.
        unsafe { libc::munlockall() };
    }
}
