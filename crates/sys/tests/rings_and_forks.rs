//! Rings of forked children, whatever their parent's threads were doing with theirs.

use std::sync::atomic::{AtomicBool, Ordering};

use faultless_sys::ring::{Ring, RingUser};

#[test]
fn a_child_makes_a_ring_whatever_other_threads_do() {
    if Ring::new(8, RingUser::OneAtATime).is_err() {
        return println!("skipped: io_uring is not permitted");
    }
    let done = AtomicBool::new(false);
    let mut statuses = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    drop(Ring::new(8, RingUser::OneAtATime));
                }
            });
        }
        while statuses.len() < 300 && statuses.iter().all(|status| *status == 0) {
            // SAFETY: the child makes a ring, which takes memory (the C library's allocator
            // permits that after a fork), and ends.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                // SAFETY: plain calls; a hang is to leave no process.
                unsafe { libc::alarm(10) };
                let made = Ring::new(8, RingUser::OneAtATime).is_ok();
                // SAFETY: ends this process at once.
                unsafe { libc::_exit(i32::from(!made)) };
            }
            let mut status = 0;
            // SAFETY: a live integer; the child is ours.
            assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
            statuses.push(status);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(statuses, [0; 300]);
}
