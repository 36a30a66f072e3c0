//! What a `SwapFile` keeps, gives back and leaves behind.

use std::io::BufRead;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{PAGE, disk, pattern, read, write};
use faultless_pager::{Direction, InheritedSwap, IoMode, OpenError, Pager, SwapFile};

const ENOSPC: i32 = 28;

/// Where a test that runs itself as another process says what to do there.
const CHILD: &str = "FAULTLESS_SWAP_CHILD";

fn names_in(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

#[test]
fn slots_come_back_and_unwritten_ones_are_zeros() {
    let dir = disk();
    for mode in [IoMode::Direct, IoMode::Buffered] {
        let swap = SwapFile::with_mode(dir.path(), 99 * PAGE as u64 + 1, mode).unwrap();
        assert_eq!(swap.size().unwrap(), 100 * PAGE as u64, "whole pages");
        assert_eq!(names_in(dir.path()), 0);
        for slot in [0, 7, 99] {
            write(&swap, slot * PAGE as u64, PAGE, slot as u8 + 1).unwrap();
        }
        assert_eq!(read(&swap, 7 * PAGE as u64, PAGE).unwrap(), [8; PAGE]);
        assert_eq!(read(&swap, 99 * PAGE as u64, PAGE).unwrap(), [100; PAGE]);
        assert_eq!(read(&swap, 50 * PAGE as u64, PAGE).unwrap(), [0; PAGE]);
        assert!(swap.write(100 * PAGE as u64, &[std::io::IoSlice::new(&pattern(PAGE))]).is_err());
        swap.resize(101 * PAGE as u64).unwrap();
        write(&swap, 100 * PAGE as u64, PAGE, 5).unwrap();
        assert_eq!(read(&swap, 100 * PAGE as u64, PAGE).unwrap(), [5; PAGE]);
    }
}

#[test]
fn it_takes_the_way_of_a_file_pager() {
    let dir = disk();
    let swap = SwapFile::create(dir.path(), 1 << 20).unwrap();
    for direction in [Direction::Read, Direction::Write] {
        let direct = swap.direct(direction, 0, PAGE as u64);
        assert_eq!(direct.is_some(), swap.mode() == IoMode::Direct);
    }
    assert!(swap.name().contains(dir.path().to_str().unwrap()));
}

#[test]
fn punched_slots_take_no_room() {
    let swap = SwapFile::create(disk().path(), 1 << 20).unwrap();
    assert_eq!(swap.used_bytes().unwrap(), 0);
    write(&swap, 0, 16 * PAGE, 1).unwrap();
    swap.sync().unwrap();
    assert_eq!(swap.used_bytes().unwrap(), 16 * PAGE as u64);
    swap.punch(0, 12 * PAGE as u64).unwrap();
    assert_eq!(swap.used_bytes().unwrap(), 4 * PAGE as u64);
    assert_eq!(read(&swap, 11 * PAGE as u64, 2 * PAGE).unwrap()[PAGE..], [1; PAGE]);
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let error = SwapFile::create(Path::new("/nowhere/at/all"), 1).err().unwrap();
    assert!(matches!(error, OpenError::NoSwapFile { .. }));
    assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    assert_eq!(error.errno(), 2);
}

#[test]
fn a_killed_process_leaves_nothing_behind() {
    if let Ok(dir) = std::env::var(CHILD) {
        let swap = SwapFile::create(Path::new(&dir), 1 << 20).unwrap();
        write(&swap, 0, PAGE, 1).unwrap();
        println!("\nwritten");
        loop {
            std::thread::park();
        }
    }
    let dir = disk();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "swap::a_killed_process_leaves_nothing_behind", "--nocapture"])
        .env(CHILD, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "written"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(names_in(dir.path()), 0);
}

/// A file system of 1 MiB in a namespace of its own, where users may make one.
#[test]
fn a_full_disk_is_enospc_and_ends_with_a_punch() {
    if let Ok(dir) = std::env::var(CHILD) {
        fill(Path::new(&dir));
        println!("\nfilled");
        return;
    }
    let dir = disk();
    let run = "mount -t tmpfs -o size=1m tmpfs \"$1\" || exit 77; exec \"$2\" --exact \
               swap::a_full_disk_is_enospc_and_ends_with_a_punch --nocapture";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", run, "sh"])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, dir.path())
        .output();
    let Ok(output) = output.inspect_err(|error| eprintln!("not tested: unshare: {error}")) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    if !said.contains("running") {
        eprintln!("not tested: {}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    assert!(output.status.success() && said.contains("filled"), "{output:?}");
}

fn fill(dir: &Path) {
    let swap = SwapFile::create(dir, 64 << 20).unwrap();
    let full = (0..).find_map(|slot| write(&swap, slot * PAGE as u64, PAGE, 1).err());
    assert_eq!(full.unwrap().raw_os_error(), Some(ENOSPC));
    assert_eq!(read(&swap, PAGE as u64, PAGE).unwrap(), [1; PAGE]);
    swap.punch(0, 4 * PAGE as u64).unwrap();
    write(&swap, 1000 * PAGE as u64, 2 * PAGE, 2).unwrap();
    assert_eq!(read(&swap, 1001 * PAGE as u64, PAGE).unwrap(), [2; PAGE]);
}

/// The end of a pipe that a child would keep open, and the one that its parent watches.
pub fn lease() -> (std::os::fd::OwnedFd, std::io::PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    (writer.into(), reader)
}

#[test]
fn a_child_reads_its_forebears_files_and_writes_its_own() {
    for mode in [IoMode::Direct, IoMode::Buffered] {
        let dir = disk();
        let file = SwapFile::with_mode(dir.path(), 16 * PAGE as u64, mode).unwrap();
        three_generations(InheritedSwap::new(file), mode == IoMode::Direct);
    }
}

/// `parent` is an empty area of 16 pages.
pub fn three_generations(parent: InheritedSwap, is_direct: bool) {
    use std::io::Read;
    let at = |slot: usize| (slot * PAGE) as u64;
    write(&parent, 0, 6 * PAGE, 1).unwrap();
    let (end, mut parents_lease) = lease();
    let child = parent.for_child(end, 0..6).unwrap();
    assert_eq!((child.layers(), child.size().unwrap()), (1, at(16)));
    // Each writes; neither reads the other's.
    write(&child, at(2), 2 * PAGE, 2).unwrap();
    write(&child, at(8), PAGE, 3).unwrap();
    write(&parent, at(10), PAGE, 4).unwrap();
    assert_eq!(read(&parent, 0, 6 * PAGE).unwrap(), [1; 6 * PAGE]);
    let expected = [1, 1, 2, 2, 1, 1].map(|byte| [byte; PAGE]).concat();
    assert_eq!(read(&child, 0, 6 * PAGE).unwrap(), expected, "across both files");
    assert_eq!(read(&child, at(10), PAGE).unwrap(), [0; PAGE]);
    assert!(child.direct(Direction::Read, at(1), at(2)).is_none(), "of two files");
    let direct = child.direct(Direction::Read, at(2), at(2));
    assert_eq!(direct.is_some(), is_direct);
    // What the driver is about to write by itself is the child's from then on.
    if child.direct(Direction::Write, at(0), at(1)).is_some() {
        write(&child, 0, PAGE, 5).unwrap();
    }
    // A grandchild of which no page is in the first file any more.
    let (end, mut childs_lease) = lease();
    let grandchild = child.for_child(end, [2, 3, 8].into_iter()).unwrap();
    assert_eq!(grandchild.layers(), 1);
    let (end, _) = lease();
    let other = child.for_child(end, [1, 2].into_iter()).unwrap();
    assert_eq!(other.layers(), 2);
    assert_eq!(read(&other, at(1), 2 * PAGE).unwrap(), [[1; PAGE], [2; PAGE]].concat());
    assert_eq!(read(&grandchild, at(8), PAGE).unwrap(), [3; PAGE]);
    // A lease is over when the last who may read is.
    drop(child);
    assert_eq!(read(&other, at(1), PAGE).unwrap(), [1; PAGE]);
    drop(other);
    assert_eq!(parents_lease.read(&mut [0]).unwrap(), 0);
    drop(grandchild);
    assert_eq!(childs_lease.read(&mut [0]).unwrap(), 0);
}
