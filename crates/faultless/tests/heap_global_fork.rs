//! A process's heap in a `Vm` of which its children have nothing.

use faultless::{GlobalHeap, OnFork, Vm};

#[global_allocator]
static HEAP: GlobalHeap = GlobalHeap::with_threshold(GlobalHeap::THRESHOLD_MIN);

#[test]
fn a_forked_child_gets_the_systems_memory() {
    let builder = Vm::builder().memory(4 << 20).on_fork(OnFork::Nothing);
    HEAP.serve_from(&builder.build().unwrap()).unwrap();
    let mine = vec![1u8; 1 << 20];
    assert!(HEAP.has(mine.as_ptr()));
    // SAFETY: the child allocates, which the C library permits after a fork, and ends by
    // `_exit`, without going back into the test.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let its = vec![2u8; 1 << 20];
        let is_right = !HEAP.has(its.as_ptr()) && its.iter().all(|byte| *byte == 2);
        drop(mine);
        // SAFETY: ends this process at once.
        unsafe { libc::_exit(i32::from(!is_right)) };
    }
    let mut status = 0;
    // SAFETY: a live integer; the child is ours.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0);
    assert!(mine.iter().all(|byte| *byte == 1));
}
