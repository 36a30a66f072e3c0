//! The trace: a line of JSON for each call about mappings, if somebody wants to have it.
//!
//! A line is made on the stack and written by one write(2), to a descriptor of our own that
//! appends. So lines of threads and processes don't mix, and a call may be anywhere: in an
//! allocator, in a signal handler, between fork and exec. What can't be written is counted,
//! and the program is none the wiser.
//!
//! | file | subject |
//! |---|---|
//! | `line.rs` | a line: what it says, and how |
//! | `names.rs` | numbers as manuals write them |
//! | `sink.rs` | where lines go, and where they are counted |

mod line;
mod names;
mod sink;

use std::ops::Range;

use faultless_protocol::Reason;

use crate::enter::enter;
use crate::kernel::{Answer, Mmap};
use crate::regions::may_be_served;

pub(crate) use sink::descriptor;
pub use sink::start as start_trace;

/// Who has done a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The broker, or this library in its name.
    Faultless,
    /// The kernel alone.
    Kernel(Reason),
}

/// A call, with its arguments as the program gave them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    Mmap(Mmap),
    Munmap { addr: usize, len: usize },
    Mprotect { addr: usize, len: usize, prot: i32 },
    Mremap { addr: usize, old: usize, new: usize, flags: i32, to: usize },
    Madvise { addr: usize, len: usize, advice: i32 },
    PosixMadvise { addr: usize, len: usize, advice: i32 },
    Msync { addr: usize, len: usize, flags: i32 },
}

/// Does a call, which says who has done it.
pub(crate) fn traced(call: Call, does: impl FnOnce() -> (Answer, By)) -> Answer {
    if !sink::is_open() {
        return does().0;
    }
    let began = sink::now();
    let (answer, by) = does();
    sink::put(&line::line(began, &call, answer, by));
    answer
}

/// Does a call about `range`. It is ours if some of that is served.
pub(crate) fn traced_at(call: Call, range: &Range<usize>, does: impl FnOnce() -> Answer) -> Answer {
    if !sink::is_open() {
        return does();
    }
    // Before the call: it may be the last one about the range.
    let by = who_serves(range);
    traced(call, || (does(), by))
}

fn who_serves(range: &Range<usize>) -> By {
    if !may_be_served(range) {
        return By::Kernel(Reason::NotServed);
    }
    match enter() {
        None => By::Kernel(Reason::Nested),
        Some(inside) => match inside.regions.first_within(range.clone()) {
            None => By::Kernel(Reason::NotServed),
            Some(_) => By::Faultless,
        },
    }
}
