//! The kernel as a system, by itself.

use faultless_oracle::call::{Addr, Call, Data, NO_FD, ProcessId};
use faultless_oracle::flags::{MapFlags, Prot};
use faultless_oracle::kernel::Kernel;
use faultless_oracle::outcome::Outcome;
use faultless_oracle::system::{System as _, World};

#[test]
fn a_page_is_mapped_written_and_read() {
    let mut kernel = Kernel::new(World::WIDE).unwrap();
    let p = ProcessId(0);
    let call = Call::Mmap {
        addr: Addr::at(0),
        len: 8192,
        prot: Prot::READ | Prot::WRITE,
        flags: MapFlags::PRIVATE | MapFlags::ANONYMOUS,
        fd: NO_FD,
        offset: 0,
        name: None,
    };
    let top = World::WIDE.end() - 8192;
    assert_eq!(kernel.call(p, &call), Outcome::Address(Addr::at(top)));
    let store =
        Call::Store { addr: Addr::at(top + 4090), data: Data { first: 1, step: 1, len: 10 } };
    assert_eq!(kernel.call(p, &store), Outcome::DONE);
    let load = Call::Load { addr: Addr::at(top + 4089), len: 3 };
    assert_eq!(kernel.call(p, &load), Outcome::Bytes(vec![0, 1, 2]));
    let child = ProcessId(1);
    assert_eq!(kernel.call(p, &Call::Fork { child }), Outcome::DONE);
    assert_eq!(kernel.call(child, &load), Outcome::Bytes(vec![0, 1, 2]));
    let past = Call::Load { addr: Addr::at(top - 8), len: 16 };
    assert_eq!(kernel.call(child, &past), Outcome::segv(1, Addr::at(top - 8)));
    let brk = World::WIDE.brk;
    let grow = Call::Brk { addr: Addr::at(brk + 5000) };
    assert_eq!(kernel.call(p, &grow), Outcome::Address(Addr::at(brk + 5000)));
    assert_eq!(kernel.areas(p).len(), 2);
    assert_eq!(kernel.call(child, &Call::Exit), Outcome::DONE);
    assert_eq!(kernel.call(child, &load), Outcome::NoProcess);
}

#[test]
fn nothing_is_left_behind_when_a_test_panics() {
    let (told, heard) = std::sync::mpsc::channel();
    let panicked = std::thread::spawn(move || {
        let mut kernel = Kernel::new(World::WIDE).unwrap();
        kernel.call(ProcessId(0), &Call::Fork { child: ProcessId(1) });
        told.send(kernel.numbers()).unwrap();
        panic!("on purpose");
    });
    assert!(panicked.join().is_err());
    for number in heard.recv().unwrap() {
        assert!(!std::path::Path::new(&format!("/proc/{number}")).exists(), "{number} is there");
    }
}
