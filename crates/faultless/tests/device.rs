//! A real device that fails: nothing dirty is lost, every map of it is told, and a later
//! flush that works saves it all.
//!
//! ```text
//!   tmpfs   ┌ backing (with holes) ┬ ballast: takes all other space ┐
//!           └──────────▲───────────┴────────────────────────────────┘
//!   loop device        │   a write to a hole finds no space, until the ballast is cut;
//!                      │   where the backing is cut, reads are EIO
//!   ext4 (one test)    │
//! ```
//!
//! This takes root and loop devices; without them the tests say so and pass.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use faultless::{Delivery, MapOptions, MapRaw, OnError, Vm};

const PAGE: usize = 4096;
const DELIVERIES: [Delivery; 2] = [Delivery::Thread, Delivery::Inline];
/// Pages of the device of most tests.
const PAGES: usize = 64;

/// Runs a command; what it printed, or why it failed.
fn run(program: &str, args: &[&str]) -> Result<String, String> {
    let output =
        Command::new(program).args(args).output().map_err(|e| format!("{program}: {e}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().into()),
        false => Err(format!("{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// A mount, gone from the names when this is dropped, and altogether when nothing in it is
/// open.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new(args: &[&str]) -> Result<Mount, String> {
        let at = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let path = at.path().to_str().unwrap();
        run("mount", &[args, &[path]].concat())?;
        Ok(Mount(at))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Err(error) = run("umount", &["--lazy", self.0.path().to_str().unwrap()]) {
            println!("left behind: {error}");
        }
    }
}

/// A loop device, detached when this is dropped and nobody has it open any more.
struct Loop(PathBuf);

impl Loop {
    fn new(backing: &Path) -> Result<Loop, String> {
        let name = run("losetup", &["--find", "--show", backing.to_str().unwrap()])?;
        Ok(Loop(name.into()))
    }

    fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if let Err(error) = run("losetup", &["--detach", self.name()]) {
            println!("left behind: {error}");
        }
    }
}

/// What is under the device that fails.
struct Beneath {
    backing: File,
    ballast: File,
}

impl Beneath {
    /// A file system in memory with a backing of `bytes`, all of it a hole.
    fn new(bytes: usize) -> Result<(Beneath, Mount), String> {
        let size = format!("size={}k", 2 * bytes / 1024 + 64);
        let mount = Mount::new(&["-t", "tmpfs", "-o", &size, "faultless-test"])?;
        let new = |name| {
            let mut options = File::options();
            options.read(true).write(true).create_new(true);
            options.open(mount.path(name)).unwrap()
        };
        let beneath = Beneath { backing: new("backing"), ballast: new("ballast") };
        beneath.backing.set_len(bytes as u64).unwrap();
        Ok((beneath, mount))
    }

    /// From now on nothing can be written where there was a hole.
    fn fill(&self) {
        let mut ballast = &self.ballast;
        while ballast.write_all(&[1; PAGE]).is_ok() {}
    }

    fn make_space(&self) {
        self.ballast.set_len(0).unwrap();
    }
}

/// A loop device on what may fail. Its names are gone already: when the last descriptor
/// is closed, nothing is left, however the process ends.
fn device() -> Option<(File, Beneath)> {
    let new = || {
        let (beneath, mount) = Beneath::new(PAGES * PAGE)?;
        let name = Loop::new(&mount.path("backing"))?;
        let device = File::options().read(true).write(true).open(&name.0);
        Ok((device.map_err(|error| error.to_string())?, beneath))
    };
    new().inspect_err(skipped).ok()
}

fn skipped(why: &String) {
    println!("skipped: no loop device on a tmpfs can be made here: {why}");
}

/// A file of `bytes` zeros in an ext4 that lies on such a device. Nothing that the file
/// system has to write for a store to the file needs new space beneath.
fn file_on_ext4(bytes: usize) -> Option<(File, Beneath)> {
    let new = || {
        let (beneath, mount) = Beneath::new(4 << 20)?;
        let backing = mount.path("backing");
        // Without a journal and with room for everything it may want to write.
        run("mkfs.ext4", &["-q", "-F", "-b4096", "-O^has_journal", backing.to_str().unwrap()])?;
        let name = Loop::new(&backing)?;
        let ext4 = Mount::new(&["-t", "ext4", "-o", "noatime", name.name()])?;
        let path = ext4.path("file");
        std::fs::write(&path, vec![0; bytes]).map_err(|error| error.to_string())?;
        run("sync", &["--file-system", path.to_str().unwrap()])?;
        let file = File::options().read(true).write(true).open(&path).unwrap();
        // Back to holes where the file's bytes are, and only there.
        let (start, len) = place_on_disk(&path)?;
        let range = ["-o", &start.to_string(), "-l", &len.to_string()];
        run("fallocate", &[&["-p"], &range[..], &[backing.to_str().unwrap()]].concat())?;
        Ok((file, beneath))
    };
    new().inspect_err(skipped).ok()
}

/// Where the bytes of a file in one piece are, in bytes of its device.
fn place_on_disk(path: &Path) -> Result<(u64, u64), String> {
    // `   0:        0..      15:       1234..      1249:     16: …`
    let text = run("filefrag", &["-v", "-b4096", path.to_str().unwrap()])?;
    let line = text.lines().find(|line| line.trim_start().starts_with("0:"));
    let numbers: Vec<u64> = line
        .ok_or("filefrag lists nothing")?
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect();
    assert!(text.contains("1 extent found"), "{text}");
    Ok((numbers[3] * PAGE as u64, numbers[5] * PAGE as u64))
}

fn load(map: &MapRaw, at: usize) -> u8 {
    // SAFETY: callers stay within the map, and nobody stores meanwhile.
    unsafe { map.as_ptr().add(at).read_volatile() }
}

fn store(map: &MapRaw, at: usize, byte: u8) {
    // SAFETY: callers stay within a map for writing, and nobody reads meanwhile.
    unsafe { map.as_mut_ptr().add(at).write_volatile(byte) }
}

/// Stores to `places`, under a budget of 16 pages; every flush fails until there is space.
fn writes_fail_and_work_again(
    file: &File,
    beneath: &Beneath,
    delivery: Delivery,
    places: &[usize],
) {
    let len = {
        let vm = Vm::with_memory(Vm::MEMORY_MIN).unwrap();
        let options = MapOptions::new().delivery(delivery);
        let maps = [(); 3].map(|()| options.map_raw_mut(&vm, file).unwrap());
        beneath.fill();
        for at in places {
            store(&maps[0], *at, 7);
        }
        for round in 0..2 {
            // What is dirty can't make room for what is read, and stays.
            for at in (0..maps[0].len()).step_by(PAGE) {
                assert_eq!(load(&maps[0], at), 0, "{round}");
            }
            for (n, map) in maps.iter().enumerate() {
                let error = map.flush().expect_err("the device is full");
                println!("{delivery:?}: map {n}: {error}");
                assert!([libc::ENOSPC, libc::EIO].contains(&error.errno()), "{error}");
            }
            assert_eq!(maps[0].resident().unwrap().1, places.len() as u32, "all stay dirty");
            assert!(places.iter().all(|at| load(&maps[1], *at) == 7));
        }
        beneath.make_space();
        for map in &maps {
            let _ = map.flush(); // Errors of the other maps' attempts may still be told, once.
            map.flush().unwrap();
        }
        assert_eq!(maps[0].resident().unwrap().1, 0);
        maps[0].len()
    };
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let mut expected = vec![0; len];
    places.iter().for_each(|at| expected[*at] = 7);
    assert!(bytes == expected, "{delivery:?}: a store was lost");
}

#[test]
fn a_device_without_space_loses_nothing() {
    for delivery in DELIVERIES {
        let Some((device, beneath)) = device() else { return };
        let places = [1, 20, 21, 63].map(|page| page * PAGE + 50);
        writes_fail_and_work_again(&device, &beneath, delivery, &places);
    }
}

/// The last page goes to the kernel's page cache, whose errors come later, and once.
#[test]
fn a_file_on_a_device_without_space_loses_nothing() {
    for delivery in DELIVERIES {
        let len = PAGES * PAGE + 100;
        let Some((file, beneath)) = file_on_ext4(len) else { return };
        let places = [PAGE + 50, 20 * PAGE + 4095, len - 1];
        writes_fail_and_work_again(&file, &beneath, delivery, &places);
        let Some((file, beneath)) = file_on_ext4(len) else { return };
        writes_fail_and_work_again(&file, &beneath, delivery, &[len - 1]);
    }
}

#[test]
fn a_device_that_cannot_be_read_in_part() {
    for delivery in DELIVERIES {
        let Some((device, beneath)) = device() else { return };
        device.write_all_at(&[9; PAGES * PAGE], 0).unwrap();
        device.sync_all().unwrap();
        beneath.backing.set_len(40 * PAGE as u64).unwrap();
        let vm = Vm::with_memory(1 << 20).unwrap();
        let options = MapOptions::new().delivery(delivery).on_error(OnError::Zeros);
        let map = options.map_raw(&vm, &device).unwrap();
        assert_eq!(map.len(), PAGES * PAGE, "the device is as long as before");
        assert!(map.pin(0, 40 * PAGE).unwrap().iter().all(|byte| *byte == 9));
        let error = map.pin(50 * PAGE as u64, 1).unwrap_err();
        println!("{error}");
        assert_eq!(error.errno(), libc::EIO, "{error}");
        assert!(error.to_string().contains(&format!("byte {}", 50 * PAGE)), "{error}");
        assert_eq!(load(&map, 60 * PAGE), 0, "zeros were chosen");
        assert!(map.check().is_err(), "and are told");
        beneath.backing.set_len((PAGES * PAGE) as u64).unwrap();
        beneath.backing.write_all_at(&[5; PAGE], 50 * PAGE as u64).unwrap();
        assert_eq!(map.pin(50 * PAGE as u64, 1).unwrap()[0], 5, "read again");
    }
}

/// A block device is a file of its size; it can't have another.
#[test]
fn a_block_device_is_mapped_like_a_file() {
    for delivery in DELIVERIES {
        let Some((device, _beneath)) = device() else { return };
        device.write_all_at(b"from the start", 0).unwrap();
        device.sync_all().unwrap();
        let vm = Vm::with_memory(1 << 20).unwrap();
        let map = MapOptions::new().delivery(delivery).map_raw_mut(&vm, &device).unwrap();
        assert_eq!(map.len(), PAGES * PAGE);
        assert!(map.name().starts_with("/dev/loop"), "{}", map.name());
        assert_eq!(map.pin(5, 9).unwrap()[..], *b"the start");
        store(&map, (PAGES - 1) * PAGE + 1, 3);
        map.punch_hole(0, PAGE as u64).unwrap();
        assert_eq!(load(&map, 5), 0, "punched");
        let error = map.resize((2 * PAGES * PAGE) as u64).unwrap_err();
        println!("{error}");
        assert!(error.to_string().contains("block device"), "{error}");
        assert_eq!((map.len(), map.refresh().unwrap()), (PAGES * PAGE, (PAGES * PAGE) as u64));
        map.flush().unwrap();
        drop(map);
        let mut byte = [0];
        device.read_exact_at(&mut byte, ((PAGES - 1) * PAGE + 1) as u64).unwrap();
        assert_eq!(byte, [3]);
    }
}
