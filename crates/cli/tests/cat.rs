//! `faultless cat`: the bytes are the file's, wherever they begin and end.

mod common;

use std::fs::Permissions;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;

use common::{bytes, disk_dir, file, run, stderr, tool};

fn cat(path: &Path, more: &[&str]) -> Vec<u8> {
    let output =
        run(["cat".as_ref(), path.as_os_str()].into_iter().chain(more.iter().map(AsRef::as_ref)));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    output.stdout
}

#[test]
fn whole_files_of_sizes_around_a_page() {
    let dir = disk_dir();
    for size in [0, 1, 4095, 4096, 4097, 8192, 100_000] {
        let path = file(dir.path(), "file", size);
        assert!(cat(&path, &[]) == bytes(size), "size {size}");
    }
}

#[test]
fn offsets_and_lengths_around_page_edges() {
    let dir = disk_dir();
    let size = 5 * 4096 + 7;
    let path = file(dir.path(), "file", size);
    let all = bytes(size);
    let edges = [0, 1, 4095, 4096, 4097, 8191, 8192, 5 * 4096, size - 1, size];
    for offset in edges {
        for length in [0, 1, 4095, 4096, 4097, size] {
            let end = (offset + length).min(size);
            let (o, l) = (offset.to_string(), length.to_string());
            let found = cat(&path, &["--offset", &o, "--length", &l]);
            assert!(found == all[offset..end], "offset {offset} length {length}");
        }
    }
}

#[test]
fn beyond_the_end_is_nothing() {
    let dir = disk_dir();
    let path = file(dir.path(), "file", 10);
    assert!(cat(&path, &["--offset", "11"]).is_empty());
    assert!(cat(&path, &["--offset", "1T", "--length", "1T"]).is_empty());
}

#[test]
fn a_file_bigger_than_the_budget() {
    let dir = disk_dir();
    let path = file(dir.path(), "file", (8 << 20) + 123);
    assert!(cat(&path, &["--memory", "64K"]) == bytes((8 << 20) + 123));
}

#[test]
fn a_file_that_may_only_be_read() {
    let dir = disk_dir();
    let path = file(dir.path(), "file", 5000);
    std::fs::set_permissions(&path, Permissions::from_mode(0o444)).expect("ours");
    assert!(cat(&path, &[]) == bytes(5000));
}

#[test]
fn a_file_in_memory() {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else { return };
    let path = file(dir.path(), "file", 300_001);
    assert!(cat(&path, &["--memory", "64K"]) == bytes(300_001));
}

#[test]
fn stdout_can_be_a_file() {
    let dir = disk_dir();
    let path = file(dir.path(), "file", 1_000_000);
    let copy = dir.path().join("copy");
    let to = std::fs::File::create(&copy).expect("a file");
    let status = tool().arg("cat").arg(&path).stdout(to).status().expect("the tool starts");
    assert!(status.success());
    assert!(std::fs::read(&copy).expect("written") == bytes(1_000_000));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let dir = disk_dir();
    let path = file(dir.path(), "file", 4 << 20);
    let mut command = tool();
    command.arg("cat").arg(&path).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the tool starts");
    let mut first = [0; 5];
    let mut stdout = child.stdout.take().expect("piped");
    stdout.read_exact(&mut first).expect("bytes");
    drop(stdout);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(first, bytes(5)[..]);
    assert_eq!(output.status.code(), Some(141), "{:?}", output.status.signal());
    assert_eq!(stderr(&output), "");
}

#[test]
fn what_cannot_be_mapped_is_told_in_words() {
    let dir = disk_dir();
    let pipe = dir.path().join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0)
        .expect("a pipe");
    let missing = dir.path().join("missing");
    let cases = [
        (dir.path(), "is a directory"),
        (&pipe, "is a pipe"),
        (&missing, "No such file"),
        (Path::new("/dev/null"), "device"),
    ];
    for command in ["cat", "scan"] {
        for (path, words) in cases {
            let output = run([command.as_ref(), path.as_os_str()]);
            assert_eq!(output.status.code(), Some(1), "{command} {path:?}");
            let said = stderr(&output);
            assert!(said.contains(words), "{said}");
            assert!(said.contains(path.file_name().unwrap().to_str().unwrap()), "{said}");
            assert!(output.stdout.is_empty());
        }
    }
}

#[test]
fn sizes_that_are_none_are_a_wrong_command_line() {
    let output = run(["cat", "file", "--offset", "12Q"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("powers of 1024"), "{}", stderr(&output));
}
