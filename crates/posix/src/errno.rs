//! `Errno`: Linux's error numbers, and what the engine's errors are among them.

use std::fmt;

use faultless_engine::space;

/// An error number of Linux.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Errno(pub i32);

macro_rules! errno {
    ($($name:ident = $number:literal),* $(,)?) => {
        #[allow(missing_docs)] // The names are those of errno(3).
        impl Errno {
            $(pub const $name: Errno = Errno($number);)*
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
    EPERM = 1, ENOENT = 2, ESRCH = 3, ENOEXEC = 8, EBADF = 9, EAGAIN = 11, ENOMEM = 12, EACCES = 13,
    EFAULT = 14, EBUSY = 16, EEXIST = 17, ENODEV = 19, EISDIR = 21, EINVAL = 22, ESPIPE = 29,
    EOVERFLOW = 75, EOPNOTSUPP = 95,
}

macro_rules! from {
    ($($error:ident),* $(,)?) => {
        $(impl From<space::$error> for Errno {
            fn from(error: space::$error) -> Errno {
                Errno(error.errno())
            }
        })*
    };
}

from! {
    AdviseError, BrkError, FilePagesError, LockError, MapError, ProtectError, RemapError,
    SealError, UnmapError,
}
