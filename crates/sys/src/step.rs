//! A thread of a child process, stepped instruction by instruction (ptrace(2)): how many it
//! needs for something, where the processor's own counter can't be had.
//!
//! ```text
//!   child    begin … mark ─ what is counted ─ mark … mark ─ … ─ mark … end
//!   parent   follow ──────────────────────────────────────────────────────► counts
//! ```
//!
//! What the kernel does is one instruction, that of the system call; and so is one with a
//! `rep` prefix, however often it repeats.

use rustix::io::retry_on_intr;
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::{Errno, last_errno};

/// Signals say where counting begins and ends: nobody else sends these, and without a parent
/// that follows they do nothing.
const MARK: i32 = libc::SIGURG;
const END: i32 = libc::SIGWINCH;

/// The thread that calls this may be followed by its parent: by the thread that has started
/// it, which has to. `EPERM` where ptrace is refused.
pub fn begin() -> Result<(), Errno> {
    request(libc::PTRACE_TRACEME, None, 0)
}

/// Counting begins, or ends, here.
pub fn mark() {
    raise(MARK);
}

/// Nothing is counted any more: the thread goes on as any other.
pub fn end() {
    raise(END);
}

/// Follows a child from [`begin`] to [`end`]; answers how many instructions were between the
/// marks, pair by pair, those of the marks themselves among them. `ECHILD` if the child has
/// ended before; then it has been waited for.
pub fn follow(child: u32) -> Result<Vec<u64>, Errno> {
    let pid = i32::try_from(child).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    let (mut counts, mut count, mut at) = (Vec::new(), None, None);
    loop {
        let waited = retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()))?;
        let stopped = waited.and_then(|(_, status)| status.stopping_signal());
        let mut passed_on = 0;
        match (stopped.ok_or(Errno::CHILD)?, count) {
            (libc::SIGTRAP, Some(stepped)) => {
                let now = place(pid)?;
                count = Some(stepped + u64::from(now.is_none() || now != at));
                at = now;
            }
            (MARK, None) => count = Some(0),
            (MARK, Some(stepped)) => {
                counts.push(stepped);
                count = None;
            }
            (END, _) => {
                request(libc::PTRACE_DETACH, Some(pid), 0)?;
                return Ok(counts);
            }
            (signal, _) => passed_on = signal,
        }
        let on = if count.is_some() { libc::PTRACE_SINGLESTEP } else { libc::PTRACE_CONT };
        request(on, Some(pid), passed_on)?;
    }
}

/// At which instruction a thread has stopped, where one may repeat: then it is still the same.
#[cfg(target_arch = "x86_64")]
fn place(pid: Pid) -> Result<Option<u64>, Errno> {
    let register = std::mem::offset_of!(libc::user_regs_struct, rip);
    let mut place = 0u64;
    // SAFETY: 1. the bare system call (unlike the C library's function) writes the word to
    // where its last argument says, which is ours.
    let done = unsafe {
        let pid = pid.as_raw_nonzero().get();
        libc::syscall(libc::SYS_ptrace, libc::PTRACE_PEEKUSER, pid, register, &raw mut place)
    };
    if done < 0 { Err(last_errno()) } else { Ok(Some(place)) }
}

/// No instruction repeats here.
#[cfg(not(target_arch = "x86_64"))]
fn place(_: Pid) -> Result<Option<u64>, Errno> {
    Ok(None)
}

/// To this thread.
fn raise(signal: i32) {
    // SAFETY: a plain call; these signals are ignored unless somebody follows.
    unsafe { libc::raise(signal) };
}

fn request(request: libc::c_uint, pid: Option<Pid>, signal: i32) -> Result<(), Errno> {
    let pid = pid.map_or(0, |pid| pid.as_raw_nonzero().get());
    let nowhere = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: 1. none of these requests reads or writes memory; the kernel refuses those of
    // threads that aren't followed.
    let done = unsafe { libc::ptrace(request, pid, nowhere, signal as libc::c_long) };
    if done < 0 { Err(last_errno()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;
    use crate::child::Child;

    fn turns(count: u64) {
        (0..count).for_each(|turn| _ = black_box(turn));
    }

    /// What a child counts that is followed; none where ptrace is refused.
    fn counted(body: impl FnOnce()) -> Option<Vec<u64>> {
        let child = Child::fork(|_| {
            begin()?;
            body();
            Ok(())
        });
        let child = child.expect("a fork");
        match follow(child.id()) {
            Err(Errno::CHILD) => {
                std::mem::forget(child); // It has been waited for.
                None
            }
            counts => {
                child.end().expect("it went on to its end");
                Some(counts.expect("it can be followed"))
            }
        }
    }

    #[test]
    fn each_turn_of_a_loop_takes_as_many_instructions() {
        let count = |times| {
            mark();
            turns(black_box(times));
            mark();
        };
        let counts = counted(|| {
            mark(); // The first one is linked.
            mark();
            [10, 20, 110].into_iter().for_each(count);
            end();
            turns(1000); // Nobody counts these.
        });
        let Some(counts) = counts else { return };
        let [_, ten, twenty, more] = counts[..] else { panic!("{counts:?}") };
        assert!(twenty - ten >= 30, "{counts:?}");
        assert_eq!(more - twenty, 9 * (twenty - ten), "{counts:?}");
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn what_repeats_counts_once() {
        let copy = |bytes: usize| {
            let (from, mut to) = ([7u8; 256], [0u8; 256]);
            mark();
            // SAFETY: both are longer.
            unsafe {
                let (from, to) = (from.as_ptr(), to.as_mut_ptr());
                std::arch::asm!("rep movsb", inout("rcx") bytes => _, inout("rsi") from => _, inout("rdi") to => _);
            }
            mark();
            black_box(&mut to);
        };
        let counts = counted(|| {
            [1, 1, 200].into_iter().for_each(copy);
            end();
        });
        let Some(counts) = counts else { return };
        let [_, one, many] = counts[..] else { panic!("{counts:?}") };
        assert_eq!(one, many);
    }

    #[test]
    fn who_ends_before_its_end_is_noticed() {
        let child = Child::fork(|_| Err(std::io::Error::other("in vain"))).expect("a fork");
        assert_eq!(follow(child.id()), Err(Errno::CHILD));
        std::mem::forget(child); // It has been waited for.
    }
}
