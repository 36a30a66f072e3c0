//! Ten thousand mappings at once, and a hundred thousand one after the other.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use faultless::{Delivery, MapOptions, MapRaw, Vm};

const PAGE: u64 = 4096;

fn load(map: &MapRaw, at: usize) -> u8 {
    // SAFETY: callers stay within the map, and nobody stores.
    unsafe { map.as_ptr().add(at).read_volatile() }
}

/// How many files may be open, after asking for as many as there may be.
fn descriptors_max() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a live structure.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
    }
    limit.rlim_cur
}

#[test]
fn ten_thousand_files_at_once() {
    const FILES: usize = 10_000;
    let max = descriptors_max();
    if max < 3 * FILES as u64 {
        return println!("skipped: only {max} descriptors are permitted");
    }
    let began = Instant::now();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let vm = Vm::with_memory(4 << 20).unwrap(); // Not enough for a page of each.
    let lines = areas();
    let maps: Vec<_> = (0..FILES)
        .map(|n| {
            let path = folder.path().join(n.to_string());
            std::fs::write(&path, format!("{n} is my number")).unwrap();
            let delivery = [Delivery::Thread, Delivery::Inline][n % 2];
            let options = MapOptions::new().delivery(delivery);
            options.map_raw(&vm, &File::open(path).unwrap()).unwrap()
        })
        .collect();
    println!("mapped after {:?}", began.elapsed());
    for (n, map) in maps.iter().enumerate() {
        assert_eq!(load(map, 0), n.to_string().as_bytes()[0]);
    }
    for (n, map) in maps.iter().enumerate().rev() {
        assert_eq!(map.pin(0, map.len()).unwrap()[..], *format!("{n} is my number").as_bytes());
    }
    assert!(areas() < lines + 100, "mappings don't take areas of the kernel's");
    println!("read after {:?}; {:?}", began.elapsed(), vm.stats());
    assert!(vm.stats().frames_used_max <= (4 << 20) / PAGE);
    drop(maps);
    assert_eq!(vm.stats().frames_used, 0);
    println!("done after {:?}", began.elapsed());
}

fn areas() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().lines().count()
}

/// Pages of memory, descriptors and areas.
fn taken() -> [usize; 3] {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let resident = statm.split(' ').nth(1).unwrap().parse().unwrap();
    [resident, std::fs::read_dir("/proc/self/fd").unwrap().count(), areas()]
}

#[test]
#[ignore = "a child of the other tests"]
fn child_role() {
    let Ok(role) = std::env::var("FAULTLESS_ROLE") else { return };
    let (times, delivery) = role.split_once(' ').unwrap();
    let times: usize = times.parse().unwrap();
    let delivery = if delivery == "inline" { Delivery::Inline } else { Delivery::Thread };
    let file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.write_all_at(&[9; 5000], 0).unwrap();
    let vm = Vm::with_memory(1 << 20).unwrap();
    let options = MapOptions::new().delivery(delivery);
    let (began, mut early) = (Instant::now(), [0; 3]);
    for n in 0..times {
        let map = options.map_raw_mut(&vm, &file).unwrap();
        assert_eq!(load(&map, 4999), 9);
        if n % 100 == 0 {
            map.write_at(0, &[n as u8]).unwrap();
        }
        drop(map);
        if n == 1000 {
            early = taken();
        }
    }
    let late = taken();
    println!("{role}: {early:?} then {late:?} in {:?}", began.elapsed());
    assert!(late[0] <= early[0] + 256, "memory grows");
    // A thread's io_uring may come to the first ones; it is one descriptor.
    assert!(late[1] <= early[1] + 4, "descriptors are left open");
    assert!(late[2] <= early[2] + 8, "areas are left mapped");
}

fn child(role: &str) {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child_role", "--ignored", "--nocapture"]);
    let output = command.env("FAULTLESS_ROLE", role).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    println!("{}", String::from_utf8(output.stdout).unwrap());
}

#[test]
fn a_hundred_thousand_times() {
    child("100000 thread");
    child("100000 inline");
}
