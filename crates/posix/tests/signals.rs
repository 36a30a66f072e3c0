//! Signals of accesses, where Linux tells one from another.

use faultless_posix::{Config, ExecOnly, MapFlags, Mmap, System, Trouble};

const PAGE: u64 = 4096;
const EXEC: u32 = 4;

/// Seed 200021 of the differential runs: the area was not there when it was asked whether
/// it may be read.
#[test]
fn a_stack_that_may_only_be_executed_grows_and_its_key_refuses() {
    let stack = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::GROWSDOWN | MapFlags::FIXED;
    let at = 1 << 33;
    for (exec_only, trouble) in
        [(ExecOnly::Kept, Trouble::PkuErr), (ExecOnly::Readable, Trouble::AccErr)]
    {
        let (mut system, pid) = System::new(Config { exec_only, ..Config::new(16) });
        let call = Mmap { addr: at, len: PAGE, prot: EXEC, flags: stack, ..Mmap::default() };
        system.mmap(pid, call).unwrap();
        let refused = system.store(pid, at - 8, &[1; 4]).unwrap_err();
        assert_eq!((refused.trouble, refused.addr), (trouble, at - 8));
        assert_eq!(system.areas(pid).next().unwrap().range.start.0, at - PAGE, "it has grown");
    }
}
