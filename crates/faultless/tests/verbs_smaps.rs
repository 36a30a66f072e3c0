//! What areas have in memory and in swap, as /proc/PID/smaps tells it, beside the kernel's
//! own areas with the same accesses.
#![cfg(target_arch = "x86_64")]

mod verbs_common;

use std::collections::HashMap;
use std::os::fd::AsRawFd;

use faultless::MapOptions;
use verbs_common::*;

/// Numbers in kB by label, of the area that begins at `start`, and its flags.
struct Area {
    numbers: HashMap<String, u64>,
    labels: Vec<String>,
    flags: String,
}

fn area(smaps: &str, start: *const u8) -> Area {
    let head = format!("{:08x}-", start as usize);
    let mut lines = smaps.lines().skip_while(|line| !line.starts_with(&head)).skip(1);
    let (mut numbers, mut labels) = (HashMap::new(), Vec::new());
    for line in lines.by_ref() {
        let (label, rest) = line.split_once(':').expect("a label");
        labels.push(label.to_owned());
        if label == "VmFlags" {
            let flags = rest.trim().to_owned();
            return Area { numbers, labels, flags };
        }
        let number = rest.trim().trim_end_matches(" kB").parse().unwrap();
        numbers.insert(label.to_owned(), number);
    }
    panic!("no area at {head} in\n{smaps}")
}

impl Area {
    fn of(&self, label: &str) -> u64 {
        self.numbers[label]
    }

    /// All that says where pages are.
    fn pages(&self) -> Vec<(&'static str, u64)> {
        let labels = [
            "Size",
            "Rss",
            "Pss",
            "Pss_Dirty",
            "Shared_Clean",
            "Shared_Dirty",
            "Private_Clean",
            "Private_Dirty",
            "Referenced",
            "Anonymous",
            "Swap",
            "SwapPss",
            "Locked",
        ];
        labels.map(|label| (label, self.of(label))).to_vec()
    }
}

fn kernels() -> String {
    std::fs::read_to_string("/proc/self/smaps").unwrap()
}

/// Memory of the kernel's that shows a file.
fn kernel_file(file: &std::fs::File, pages: usize, sharing: libc::c_int) -> Kernel {
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new map.
    let start = unsafe {
        libc::mmap(std::ptr::null_mut(), pages * PAGE, prot, sharing, file.as_raw_fd(), 0)
    };
    assert_ne!(start, libc::MAP_FAILED);
    Kernel { start: start.cast(), len: pages * PAGE }
}

/// Loads from every page, then stores to the first `stores`.
fn touch(start: *mut u8, pages: usize, stores: usize) {
    for page in 0..pages {
        load(start.wrapping_add(page * PAGE)).unwrap();
    }
    for page in 0..stores {
        store(start.wrapping_add(page * PAGE), 1).unwrap();
    }
}

#[test]
fn anonymous_memory_beside_the_kernels() {
    for delivery in DELIVERIES {
        let vm = vm(1 << 20, 1 << 20);
        let mut memory = vm.anonymous_by(16 * PAGE, delivery).unwrap();
        let kernel = Kernel::anonymous(16 * PAGE);
        for start in [memory.as_mut_ptr(), kernel.start] {
            (0..5).for_each(|page| store(start.wrapping_add(page * 2 * PAGE), 1).unwrap());
        }
        let both = || (area(&vm.smaps().unwrap(), memory.as_ptr()), area(&kernels(), kernel.start));
        let (ours, theirs) = both();
        assert_eq!(ours.pages(), theirs.pages(), "{delivery:?}");
        assert_eq!(ours.of("Private_Dirty"), 20, "five pages");
        let keyless = theirs.labels.iter().filter(|label| *label != "ProtectionKey");
        assert!(ours.labels.iter().eq(keyless), "{:?}", ours.labels);
        // Flags of userfaultfd and huge pages are the machine's own.
        let theirs: Vec<&str> = theirs.flags.split(' ').filter(|flag| *flag != "sd").collect();
        assert_eq!(ours.flags.split(' ').collect::<Vec<_>>(), theirs);
    }
}

#[test]
fn locked_memory_beside_the_kernels() {
    let vm = vm(1 << 20, 1 << 20);
    let mut memory = vm.anonymous(8 * PAGE).unwrap();
    let kernel = Kernel::anonymous(8 * PAGE);
    memory.fill(1);
    memory.lock(..).unwrap();
    // SAFETY: it is this test's.
    errno_of(unsafe { libc::mlock(kernel.start.cast(), kernel.len) }).unwrap();
    let ours = area(&vm.smaps().unwrap(), memory.as_ptr());
    let theirs = area(&kernels(), kernel.start);
    assert_eq!(ours.pages(), theirs.pages());
    assert_eq!(ours.of("Locked"), 32);
    assert!(ours.flags.contains("lo") && theirs.flags.contains("lo"));
}

#[test]
fn maps_of_files_beside_the_kernels() {
    for delivery in DELIVERIES {
        let vm = vm(1 << 20, 1 << 20);
        let options = MapOptions::new().delivery(delivery).no_reserve();
        let (shown, kernels_file) = (file(8), file(8));
        let map = options.map_raw_mut(&vm, &shown).unwrap();
        let kernel = kernel_file(&kernels_file, 8, libc::MAP_SHARED);
        touch(map.as_mut_ptr(), 8, 3);
        touch(kernel.start, 8, 3);
        let ours = area(&vm.smaps().unwrap(), map.as_ptr());
        assert_eq!(ours.pages(), area(&kernels(), kernel.start).pages(), "{delivery:?}");
        assert_eq!((ours.of("Private_Dirty"), ours.of("Private_Clean")), (12, 20));
        drop((map, kernel));
        // SAFETY: nobody changes the file.
        let mut copy = unsafe { options.map_copy(&vm, &shown) }.unwrap();
        let kernel = kernel_file(&kernels_file, 8, libc::MAP_PRIVATE);
        touch(copy.as_mut_ptr(), 8, 3);
        touch(kernel.start, 8, 3);
        let ours = area(&vm.smaps().unwrap(), copy.as_ptr());
        assert_eq!(ours.pages(), area(&kernels(), kernel.start).pages(), "{delivery:?}");
        assert_eq!((ours.of("Anonymous"), ours.of("Rss")), (12, 32));
    }
}

/// More than the budget: every page that was stored to is in memory or in swap.
#[test]
fn what_is_in_swap_is_told() {
    for delivery in DELIVERIES {
        let vm = small_vm();
        let mut memory = vm.anonymous_by(64 * PAGE, delivery).unwrap();
        memory[..50 * PAGE].fill(1);
        let ours = area(&vm.smaps().unwrap(), memory.as_ptr());
        let stats = vm.stats();
        assert_eq!(ours.of("Rss"), ours.of("Anonymous"));
        assert!(ours.of("Rss") <= stats.frames_total * 4, "{delivery:?}: {}", ours.of("Rss"));
        assert_eq!(ours.of("Rss") + ours.of("Swap"), 200, "{delivery:?}: fifty pages");
        assert_eq!(ours.of("Swap"), ours.of("SwapPss"));
        memory.discard(..).unwrap();
        let ours = area(&vm.smaps().unwrap(), memory.as_ptr());
        assert_eq!((ours.of("Rss"), ours.of("Swap"), ours.of("Size")), (0, 0, 256));
    }
}
