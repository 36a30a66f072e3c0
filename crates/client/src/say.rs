//! What is said to people, if they want it: `FAULTLESS_DEBUG`; and what they are to know.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use faultless_sys::Errno;

static LOUD: AtomicBool = AtomicBool::new(false);

/// Is a process that is turned away to say so? Else whoever connects it is told by an error.
static TELLS: AtomicBool = AtomicBool::new(false);

/// From now on there is something to be read on stderr.
pub fn be_loud() {
    LOUD.store(true, Ordering::Relaxed);
}

/// From now on it is to be read on stderr that this process isn't served, where the broker
/// has no room for it.
pub fn tell_refusals() {
    TELLS.store(true, Ordering::Relaxed);
}

/// There is no broker for this process.
pub(crate) fn refused(errno: Errno) {
    match errno {
        Errno::USERS if TELLS.load(Ordering::Relaxed) => write_line(format_args!(
            "the broker serves as many programs as it may: this one runs without it"
        )),
        _ => say(format_args!("no broker: {errno}")),
    }
}

/// A forked child isn't served what its parent is.
pub(crate) fn child_lost(errno: Errno) {
    say(format_args!("a child of fork has lost its parent's mappings: {errno}"));
}

/// A child of fork will have no stack: the thread that forks has one in memory of its own
/// that is served, which children are given only when they run.
pub(crate) fn child_without_stack() {
    write_line(format_args!("a child of fork can't live: its stack is in memory that is served"));
}

fn say(text: fmt::Arguments<'_>) {
    if LOUD.load(Ordering::Relaxed) {
        write_line(text);
    }
}

fn write_line(text: fmt::Arguments<'_>) {
    let mut line = Line { bytes: [0; 160], len: 0 };
    let pid = rustix::process::getpid().as_raw_nonzero();
    // What is too long is cut.
    let _ = write!(line, "faultless: process {pid}: {text}");
    line.bytes[line.len] = b'\n';
    // Nobody to tell if that fails.
    let _ = rustix::io::write(rustix::stdio::stderr(), &line.bytes[..=line.len]);
}

/// A line on the stack: there may be no allocator.
struct Line {
    bytes: [u8; 160],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.len() - 1 - self.len;
        let text = &text.as_bytes()[..text.len().min(room)];
        self.bytes[self.len..self.len + text.len()].copy_from_slice(text);
        self.len += text.len();
        Ok(())
    }
}
