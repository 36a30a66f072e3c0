//! [`Reply`]: what the broker answers.

use crate::fields::{Fields, from_bytes, from_int, int, to_bytes};
use crate::{MESSAGE_BYTES, Malformed, Reason};

/// How a client maps the memory of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// `MAP_SHARED`: its stores are the object's.
    Shared,
    /// `MAP_PRIVATE`: it sees the object, and what it stores, should it ever have the right
    /// to, is its own, in copies that the kernel makes.
    Private,
    /// `MAP_SHARED` of memory that only this client maps: all of it is its own, what it begins
    /// with as well.
    Own,
}

/// What the broker answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It can't be, for this reason (an errno).
    Error {
        /// The number.
        errno: i32,
    },
    /// It is done.
    Done {
        /// Bytes, where it is a matter of bytes.
        bytes: u64,
        /// The file's length afterwards, of [`Write`](crate::Request::Write).
        size: u64,
        /// There are answers to [`Healed`](crate::Request::Healed).
        healed: bool,
    },
    /// To [`Hello`](crate::Request::Hello), with the board.
    Welcome {
        /// Names this client to its children; never 0.
        token: u64,
        /// Files shorter than this aren't served, but where they are mapped already.
        min: u64,
        /// Large private anonymous mappings are to be asked for, too.
        anonymous: bool,
    },
    /// To [`Map`](crate::Request::Map): the kernel is to map it. Nothing is sent.
    Kernel {
        /// Why.
        reason: Reason,
    },
    /// To [`Map`](crate::Request::Map): this is to be mapped instead of the file, with the
    /// object's memory.
    Served {
        /// For [`Mapped`](crate::Request::Mapped).
        ticket: u64,
        /// Where in the memory it begins.
        offset: u64,
        /// See [`How`].
        how: How,
    },
    /// To [`Region`](crate::Request::Region): it is to be registered. To
    /// [`Healed`](crate::Request::Healed): it is to be given up.
    Region {
        /// The first address.
        start: u64,
        /// Bytes.
        len: u64,
    },
    /// The file isn't served: the kernel is to do it.
    NotServed,
}

impl Reply {
    /// It is done, and there is no more to say.
    pub const DONE: Reply = Reply::done(0, 0);

    /// It is done, with so many bytes; the file is so long.
    pub const fn done(bytes: u64, size: u64) -> Reply {
        Reply::Done { bytes, size, healed: false }
    }

    /// As bytes.
    pub fn encode(self) -> [u8; MESSAGE_BYTES] {
        let mut fields = Fields::default();
        let values: [u64; 4] = match self {
            Reply::Error { errno } => [1, from_int(errno), 0, 0],
            Reply::Done { bytes, size, healed } => [2, bytes, size, healed.into()],
            Reply::Welcome { token, min, anonymous } => [3, token, min, anonymous.into()],
            Reply::Kernel { reason } => [4, reason as u64, 0, 0],
            Reply::Served { ticket, offset, how } => [5, ticket, offset, how as u64],
            Reply::Region { start, len } => [6, start, len, 0],
            Reply::NotServed => [7, 0, 0, 0],
        };
        fields[..values.len()].copy_from_slice(&values);
        to_bytes(fields)
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Reply, Malformed> {
        let [number, a, b, c, ..] = from_bytes(bytes)?;
        Ok(match number {
            1 => Reply::Error { errno: int(a)? },
            2 if c < 2 => Reply::Done { bytes: a, size: b, healed: c == 1 },
            2 => return Err(Malformed::Value(c)),
            3 if c < 2 => Reply::Welcome { token: a, min: b, anonymous: c == 1 },
            3 => return Err(Malformed::Value(c)),
            4 => Reply::Kernel { reason: Reason::from_number(a).ok_or(Malformed::Value(a))? },
            5 => Reply::Served {
                ticket: a,
                offset: b,
                how: match c {
                    0 => How::Shared,
                    1 => How::Private,
                    2 => How::Own,
                    c => return Err(Malformed::Value(c)),
                },
            },
            6 => Reply::Region { start: a, len: b },
            7 => Reply::NotServed,
            number => return Err(Malformed::Number(number)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn each_comes_back_as_it_was() {
        let all = vec![
            Reply::Error { errno: 12 },
            Reply::Done { bytes: 1 << 40, size: 7, healed: false },
            Reply::Done { bytes: 0, size: 1 << 50, healed: true },
            Reply::Welcome { token: u64::MAX, min: 4096, anonymous: true },
            Reply::Kernel { reason: Reason::Sealed },
            Reply::Served { ticket: 3, offset: 8192, how: How::Shared },
            Reply::Served { ticket: 4, offset: 0, how: How::Private },
            Reply::Served { ticket: 5, offset: 4096, how: How::Own },
            Reply::Region { start: 0x7000_0000_0000, len: 4096 },
            Reply::NotServed,
        ];
        for reply in all {
            assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
        }
    }

    #[test]
    fn a_reply_that_cannot_be_is_refused() {
        assert_eq!(Reply::decode(&[0; 63]), Err(Malformed::Length(63)));
        assert_eq!(Reply::decode(&[0; 64]), Err(Malformed::Number(0)));
        assert_eq!(Reply::decode(&to_bytes([5, 0, 0, 9, 0, 0, 0, 0])), Err(Malformed::Value(9)));
        assert_eq!(Reply::decode(&to_bytes([4, 99, 0, 0, 0, 0, 0, 0])), Err(Malformed::Value(99)));
    }
}
