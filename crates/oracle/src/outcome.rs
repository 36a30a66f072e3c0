//! `Outcome`: what a call answered.

use std::fmt;

use crate::call::Addr;

/// An error number of Linux.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Errno(pub i32);

macro_rules! errno {
    ($($name:ident),* $(,)?) => {
        #[allow(missing_docs)] // The names are those of errno(3).
        impl Errno {
            $(pub const $name: Errno = Errno(libc::$name);)*
        }

        impl fmt::Debug for Errno {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Errno::$name => f.write_str(stringify!($name)),)*
                    Errno(number) => write!(f, "Errno({number})"),
                }
            }
        }
    };
}

errno! {
    EPERM, ENOENT, EIO, EBADF, EAGAIN, ENOMEM, EACCES, EFAULT, EBUSY, EEXIST, ENODEV, EISDIR,
    EINVAL, EFBIG, ENOSPC, ESPIPE, EROFS, EPIPE, ENOSYS, EOVERFLOW, EOPNOTSUPP, ETXTBSY, ESRCH,
}

/// What a call answered.
#[derive(Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A number; 0 where there is nothing to say.
    Value(u64),
    /// The address that a mapping got.
    Address(Addr),
    /// Bytes that were loaded or read.
    Bytes(Vec<u8>),
    /// An error.
    Errno(Errno),
    /// A signal that would have ended the process.
    Signal(Signal),
    /// mincore(2)'s bits: is the page in memory?
    Vector(Vec<bool>),
    /// The process is not there (any more).
    NoProcess,
}

/// SIGSEGV or SIGBUS, as `siginfo_t` tells it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signal {
    /// SIGSEGV or SIGBUS.
    pub number: i32,
    /// SEGV_MAPERR, SEGV_ACCERR, SEGV_PKUERR; BUS_ADRERR.
    pub code: i32,
    /// The byte that could not be reached.
    pub addr: Addr,
}

impl Outcome {
    /// Nothing to say but that it worked.
    pub const DONE: Outcome = Outcome::Value(0);

    /// SIGSEGV with this code.
    pub fn segv(code: i32, addr: Addr) -> Outcome {
        Outcome::Signal(Signal { number: libc::SIGSEGV, code, addr })
    }

    /// SIGBUS, no such address.
    pub fn bus(addr: Addr) -> Outcome {
        Outcome::Signal(Signal { number: libc::SIGBUS, code: 2, addr })
    }
}

impl From<Errno> for Outcome {
    fn from(errno: Errno) -> Outcome {
        Outcome::Errno(errno)
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.number {
            libc::SIGBUS => "SIGBUS",
            libc::SIGKILL => "SIGKILL",
            _ => "SIGSEGV",
        };
        write!(f, "{name} code {} at {:?}", self.code, self.addr)
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Value(value) => write!(f, "{value:#x}"),
            Outcome::Address(addr) => write!(f, "{addr:?}"),
            Outcome::Bytes(bytes) => write!(f, "{}", Runs(bytes)),
            Outcome::Errno(errno) => write!(f, "{errno:?}"),
            Outcome::Signal(signal) => write!(f, "{signal:?}"),
            Outcome::Vector(bits) => {
                let text: String = bits.iter().map(|bit| if *bit { '1' } else { '0' }).collect();
                write!(f, "in memory: {text}")
            }
            Outcome::NoProcess => f.write_str("no process"),
        }
    }
}

/// Bytes, equal neighbours told once, the end left out when long.
struct Runs<'a>(&'a [u8]);

impl fmt::Display for Runs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes [", self.0.len())?;
        for (told, run) in self.0.chunk_by(|a, b| a == b).enumerate() {
            match (told, run.len()) {
                (24.., _) => return f.write_str(" …]"),
                (_, 1) => write!(f, " {:02x}", run[0])?,
                (_, n) => write!(f, " {:02x}×{n}", run[0])?,
            }
        }
        f.write_str(" ]")
    }
}
