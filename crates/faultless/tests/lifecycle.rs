//! Beginnings and ends, in every order: nothing is lost and nothing is left behind.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use faultless::{Delivery, MapOptions, MapRaw, Vm};

const PAGE: usize = 4096;
const DELIVERIES: [Delivery; 2] = [Delivery::Thread, Delivery::Inline];

fn file(pages: usize) -> File {
    let file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.write_all_at(&vec![7; pages * PAGE], 0).unwrap();
    file
}

fn load(map: &MapRaw, at: usize) -> u8 {
    // SAFETY: callers stay within the map, and nobody stores there meanwhile.
    unsafe { map.as_ptr().add(at).read_volatile() }
}

fn store(map: &MapRaw, at: usize, byte: u8) {
    // SAFETY: callers stay within a map for writing, and nobody else uses the byte meanwhile.
    unsafe { map.as_mut_ptr().add(at).write_volatile(byte) }
}

/// Threads of the process, but for the kernel's own of io_uring, which end later.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.join("comm")).ok());
    names.filter(|name| name.starts_with("faultless")).collect()
}

/// Threads take their names, and leave, a moment after they are started and joined.
fn wait_for_threads(count: usize, why: &str) {
    let began = Instant::now();
    while threads().len() != count {
        assert!(began.elapsed() < Duration::from_secs(5), "{why}: {:?}", threads());
        std::thread::yield_now();
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn areas() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().lines().count()
}

fn spawn(role: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child_role", "--ignored", "--nocapture"]).stdout(Stdio::piped());
    command.env("FAULTLESS_ROLE", role).spawn().unwrap()
}

#[test]
#[ignore = "a child of the other tests"]
fn child_role() {
    match std::env::var("FAULTLESS_ROLE").as_deref() {
        Ok("storm") => storm(),
        Ok("begin and end") => begin_and_end(),
        _ => {}
    }
}

fn storm() {
    let vm = Vm::with_memory(256 << 10).unwrap();
    let file = file(1024);
    for delivery in DELIVERIES {
        let (vm, file) = (vm.clone(), file.try_clone().unwrap());
        std::thread::spawn(move || {
            let other = self::file(1024);
            let file = if delivery == Delivery::Thread { &file } else { &other };
            let map = MapOptions::new().delivery(delivery).map_raw_mut(&vm, file).unwrap();
            for n in 0.. {
                let at = (n * 7919 % 1024) * PAGE;
                store(&map, at, load(&map, at).wrapping_add(1));
                if n == 5000 && delivery == Delivery::Inline {
                    println!("\nin the middle of it");
                }
            }
        });
    }
    std::thread::sleep(Duration::from_secs(50));
}

/// What a process has open or mapped.
fn belongings(process: u32) -> String {
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let open = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    let open = open.map(|path| path.display().to_string() + "\n").collect::<String>();
    open + &std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap()
}

#[test]
fn a_killed_process_leaves_nothing() {
    let mut child = spawn("storm");
    let group = child.id();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "in the middle of it"));
    let children = format!("/proc/{group}/task/{group}/children");
    let children = std::fs::read_to_string(children).unwrap_or_default();
    assert_eq!(children.trim(), "", "it has no helper processes");
    let named = belongings(group);
    assert!(!named.contains("/dev/shm/"), "it has memory with a name: {named}");
    child.kill().unwrap();
    let began = Instant::now();
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGKILL));
    assert!(began.elapsed() < Duration::from_secs(5), "it takes {:?} to die", began.elapsed());
    assert!(!std::path::Path::new(&format!("/proc/{group}")).exists());
}

/// In a process of its own, whose threads and descriptors nobody else changes.
fn begin_and_end() {
    let warm_up = Vm::with_memory(1 << 20).unwrap();
    drop(warm_up);
    wait_for_threads(0, "the first has ended");
    let (before, mut early) = (descriptors(), 0);
    for round in 0..10 {
        let vms: Vec<_> = (0..3).map(|_| Vm::with_memory(1 << 20).unwrap()).collect();
        wait_for_threads(9, "two handlers and a keeper each");
        let files = [file(64), file(64)];
        let maps: Vec<_> = vms
            .iter()
            .flat_map(|vm| files.iter().map(move |file| (vm, file)))
            .zip(DELIVERIES.iter().cycle())
            .map(|((vm, file), delivery)| {
                MapOptions::new().delivery(*delivery).map_raw_mut(vm, file).unwrap()
            })
            .collect();
        for map in &maps {
            assert!((0..64).all(|page| load(map, page * PAGE) == 7), "round {round}");
            map.flush_async().unwrap();
        }
        let pin = maps[0].pin(0, 100).unwrap();
        drop((vms, maps));
        wait_for_threads(3, "a pin keeps its Vm");
        assert_eq!(pin[..], [7; 100]);
        drop(pin);
        drop(files);
        wait_for_threads(0, "everything is dropped");
        assert_eq!(descriptors(), before, "round {round}");
        if round == 4 {
            early = areas(); // By now the C library has its caches for threads.
        }
    }
    assert!(areas() <= early + 8, "areas are left mapped");
}

#[test]
fn everything_dropped_ends_everything() {
    let output = spawn("begin and end").wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn handles_may_be_dropped_in_any_order() {
    for delivery in DELIVERIES {
        let vm = Vm::with_memory(64 << 10).unwrap();
        let file = file(64);
        let map = MapOptions::new().delivery(delivery).map_raw_mut(&vm, &file).unwrap();
        drop(vm);
        assert!((0..64).all(|page| load(&map, page * PAGE) == 7), "without the Vm's handle");
        let mut written = map.pin_mut(0, 5).unwrap();
        let read = map.pin(PAGE as u64, 5).unwrap();
        drop(map);
        written.copy_from_slice(b"later");
        assert_eq!(read[..], [7; 5]);
        drop(read);
        assert_eq!(written[..], *b"later");
        drop(written);
        let mut bytes = [0; 5];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, *b"later", "{delivery:?}: the last handle writes");
    }
}

#[test]
fn a_file_closed_and_unlinked() {
    for delivery in DELIVERIES {
        let vm = Vm::with_memory(64 << 10).unwrap();
        let named = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        std::fs::write(named.path(), vec![7; 64 * PAGE]).unwrap();
        let other = named.reopen().unwrap();
        let open = File::options().read(true).write(true).open(named.path()).unwrap();
        let map = MapOptions::new().delivery(delivery).map_raw_mut(&vm, &open).unwrap();
        drop(open);
        named.close().unwrap();
        assert!((0..64).all(|page| load(&map, page * PAGE) == 7));
        store(&map, 63 * PAGE, 1);
        map.flush().unwrap();
        let mut byte = [0];
        other.read_exact_at(&mut byte, 63 * PAGE as u64).unwrap();
        assert_eq!(byte, [1], "{delivery:?}");
    }
}

#[test]
fn several_vms_share_a_file_through_the_disk() {
    let file = file(64);
    let vms = [(); 4].map(|()| Vm::with_memory(64 << 10).unwrap());
    for (n, vm) in vms.iter().enumerate() {
        let map = MapOptions::new().delivery(DELIVERIES[n % 2]).map_raw_mut(vm, &file).unwrap();
        for page in 0..64 {
            assert_eq!(load(&map, page * PAGE), 7 + n as u8);
            store(&map, page * PAGE, 8 + n as u8);
        }
    }
}

#[test]
fn threads_map_and_unmap_one_file() {
    const THREADS: usize = 8;
    const ROUNDS: usize = 300;
    for delivery in DELIVERIES {
        let vm = Vm::with_memory(128 << 10).unwrap();
        let file = file(64);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (vm, file) = (&vm, &file);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let options = MapOptions::new().delivery(delivery);
                        let map = options.map_raw_mut(vm, file).unwrap();
                        // Each thread has eight bytes of each page for itself.
                        let at = (round * 13 % 64) * PAGE + thread * 8 + 1;
                        let value = load(&map, at);
                        store(&map, at, value.wrapping_add(1));
                        if round % 16 == 0 {
                            map.flush_async().unwrap();
                        }
                    }
                });
            }
        });
        let mut expected = [[7_u8; THREADS]; 64];
        for round in 0..ROUNDS {
            expected[round * 13 % 64].iter_mut().for_each(|count| *count += 1);
        }
        let mut bytes = vec![0; 64 * PAGE];
        file.read_exact_at(&mut bytes, 0).unwrap();
        for (page, counts) in expected.iter().enumerate() {
            for (thread, count) in counts.iter().enumerate() {
                let stored = bytes[page * PAGE + thread * 8 + 1];
                assert_eq!(stored, *count, "{delivery:?}: page {page}, thread {thread}");
            }
        }
        assert_eq!(vm.stats().frames_used, 0);
    }
}

#[test]
fn flushes_that_nobody_waits_for_end_with_the_map() {
    for delivery in DELIVERIES {
        let vm = Vm::with_memory(1 << 20).unwrap();
        let file = file(8);
        for n in 0..=u8::MAX {
            let map = MapOptions::new().delivery(delivery).map_raw_mut(&vm, &file).unwrap();
            map.write_at(0, &[n; 100]).unwrap();
            map.flush_async().unwrap();
            if n % 3 == 0 {
                std::thread::sleep(Duration::from_micros(u64::from(n)));
            }
            drop(map);
            let mut bytes = [0; 100];
            file.read_exact_at(&mut bytes, 0).unwrap();
            assert_eq!(bytes, [n; 100]);
        }
    }
}
