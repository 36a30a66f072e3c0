//! What an access that can't be served ends with.

/// As Linux tells a process (`sigaction(2)`, `si_code`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGSEGV, code `SEGV_MAPERR`: no area is there.
    SegvMapErr,
    /// SIGSEGV, code `SEGV_ACCERR`: the area doesn't allow it.
    SegvAccErr,
    /// SIGBUS, code `BUS_ADRERR`: the page lies beyond the object's end, or its
    /// bytes could not be read.
    Bus,
}
