//! `Vm::connect`: programs in Rust that share a broker's memory, with each other, with their
//! forked children, and with programs that run under it.

mod common;

use std::fs::{self, OpenOptions};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use faultless::{ConnectedMap, Vm};
use faultless_sys::child::Child;

use common::compile::{compiled, run_to_end};
use common::service::{Service, sparse};
use common::{disk_dir, stderr};

const PAGE: usize = 4096;

/// A word of a page, which other processes may change at any time.
fn word(map: &ConnectedMap, page: usize) -> &AtomicU64 {
    assert!((page + 1) * PAGE <= map.len());
    let at = map.as_mut_ptr().wrapping_add(page * PAGE).cast::<u64>();
    // SAFETY: 1. within the map, which lives, and aligned; 2. all access is atomic.
    unsafe { AtomicU64::from_ptr(at) }
}

fn load(map: &ConnectedMap, page: usize) -> u64 {
    word(map, page).load(Ordering::SeqCst)
}

fn store(map: &ConnectedMap, page: usize, value: u64) {
    word(map, page).store(value, Ordering::SeqCst);
}

// One test: a process has one broker.
#[test]
fn parent_and_child_and_strangers_share_what_is_mapped() {
    let dir = disk_dir();
    let path = sparse(dir.path(), 8);
    let missing = Vm::connect(dir.path().join("socket"));
    let error = missing.expect_err("nobody listens");
    assert!(error.to_string().contains("faultless broker --socket"), "{error}");
    assert_eq!(error.errno(), 2);

    let service = Service::start(dir.path(), "2M");
    let connected = Vm::connect(&service.socket).expect("a broker");
    assert!(Vm::connect(dir.path().join("other")).is_err_and(|error| error.errno() == 114));
    let empty = fs::File::create_new(dir.path().join("empty")).expect("a file");
    assert!(connected.map(empty).is_err_and(|error| error.errno() == 22), "as mmap(2)");
    let file = || OpenOptions::new().read(true).write(true).open(&path).expect("the file");
    let map = connected.map(file()).expect("a map");
    let pages = map.len() / PAGE;
    assert!(map.is_served() && pages == 2048);
    (0..pages).for_each(|page| store(&map, page, page as u64 + 1));
    let second = connected.map(file()).expect("a second map");
    assert!((0..pages).all(|page| load(&second, page) == page as u64 + 1));

    // A child has its parent's map: what either stores, the other sees, under one budget.
    let mut child = Child::fork(|talk| {
        let all = (0..pages).all(|page| load(&map, page) == page as u64 + 1);
        (0..pages).step_by(2).for_each(|page| store(&map, page, 1 << 32 | page as u64));
        talk.say(&[u8::from(all)])?;
        talk.hear()?;
        let all = (1..pages).step_by(2).all(|page| load(&map, page) == 2 << 32 | page as u64);
        talk.say(&[u8::from(all)])
    })
    .expect("a child");
    assert_eq!(child.talk().hear().expect("it lives"), [1], "the child sees what was before");
    let theirs = |page: usize| 1 << 32 | page as u64;
    assert!((0..pages).step_by(2).all(|page| load(&map, page) == theirs(page)));
    (1..pages).step_by(2).for_each(|page| store(&map, page, 2 << 32 | page as u64));
    child.talk().say(b"stored").expect("it lives");
    assert_eq!(child.talk().hear().expect("it lives"), [1], "the child sees what is stored since");
    child.end().expect("a good end");

    // By calls, too; and a child that is killed takes nothing with it.
    map.write_at(5 * PAGE as u64, &7u64.to_ne_bytes()).expect("written");
    let killed = Child::fork(|_| {
        loop {
            (0..pages).for_each(|page| _ = load(&map, page));
        }
    });
    std::thread::sleep(Duration::from_millis(50));
    drop(killed);
    assert_eq!(load(&second, 5), 7);
    let mut bytes = [0; 8];
    assert_eq!(map.read_at(6 * PAGE as u64, &mut bytes).expect("read"), 8);
    assert_eq!(u64::from_ne_bytes(bytes), theirs(6));
    map.prefetch(0, 1 << 20).expect("advice");
    map.flush().expect("durable");
    let on_disk = fs::read(&path).expect("the file");
    let found = u64::from_ne_bytes(on_disk[8 * PAGE..][..8].try_into().expect("eight"));
    assert_eq!(found, theirs(8));

    // A stranger that runs under the same broker, over the same file, at the same time.
    let herd = compiled(dir.path(), "herd");
    let mut command = service.run(&herd);
    let output = run_to_end(command.arg(&path).args(["2", "1", "3"]), Duration::from_secs(30));
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(load(&map, 0) & 0xffff_ffff, 0, "of page 0, which the herd has been at");
    assert_ne!(load(&map, 3), 2 << 32 | 3, "the herd has been there");
    drop((map, second));

    // The broker goes: calls are errors, and the next one serves what is mapped then.
    let map = connected.map(file()).expect("a map");
    store(&map, 0, 9);
    service.end();
    assert!(map.flush().is_err_and(|error| error.errno() == 5));
    let service = Service::start(dir.path(), "2M");
    let again = Vm::connect(&service.socket).expect("the next broker");
    let map = again.map(file()).expect("a map");
    assert!(map.is_served());
    assert_eq!(load(&map, 0), 9, "what was stored before the end is in the file");
    drop(map);
    service.end();
}
