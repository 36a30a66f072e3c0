//! What a thread that serves faults has to say, said without the lock of `std`'s stderr.
//!
//! A thread that prints may hold that lock while it waits for a page: a handler that
//! took it would wait for whoever waits for it.

use std::fmt::Arguments;

/// One line for people.
pub fn say(what: Arguments<'_>) {
    let line = format!("faultless: {what}\n");
    // There is nobody to tell that it could not be said.
    let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
}
