//! [`Request`]: what a client asks.

use crate::fields::{Fields, from_bytes, from_int, int, to_bytes};
use crate::{MESSAGE_BYTES, Malformed};

/// What a client asks. Parameters that are those of a system call have its units and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The first one, with the client's userfaultfd, which has done its handshake with the
    /// features missing and minor faults on shmem, write protection on shmem, poison, and
    /// the events unmap, remap and remove.
    Hello {
        /// [`VERSION`](crate::VERSION).
        version: u64,
        /// The client's process. (The socket's credentials are what counts.)
        pid: i32,
        /// The [`token`](crate::Reply::Welcome) of the process that it was forked from, of
        /// whose regions it has copies and is told by [`Region`](Request::Region); or 0.
        parent: u64,
    },
    /// With a memfd of [`STAGING_BYTES`](crate::STAGING_BYTES), for what
    /// [`Write`](Request::Write) carries and [`Stats`](Request::Stats) answers.
    Staging,
    /// With the file, or without one for memory of the client's own that begins as zeros: may it
    /// be mapped so, and by whom?
    Map {
        /// mmap's length.
        len: u64,
        /// mmap's offset.
        offset: u64,
        /// mmap's prot.
        prot: i32,
        /// mmap's flags.
        flags: i32,
    },
    /// What [`Map`](Request::Map) was answered is mapped without rights, and registered.
    Mapped {
        /// That of [`Served`](crate::Reply::Served).
        ticket: u64,
        /// The first address.
        start: u64,
        /// Bytes, whole pages.
        len: u64,
        /// Where in the object's memory it begins.
        offset: u64,
    },
    /// mremap has made a region longer in its place, or shorter.
    Grown {
        /// The first address of the region.
        start: u64,
        /// Its bytes before.
        old: u64,
        /// Its bytes now.
        new: u64,
    },
    /// msync.
    Sync {
        /// The first address.
        start: u64,
        /// Bytes.
        len: u64,
        /// msync's flags.
        flags: i32,
    },
    /// madvise, where it is more than what the kernel does to the range: WILLNEED, RANDOM,
    /// SEQUENTIAL, NORMAL; for memory of the client's own, DONTNEED.
    Advise {
        /// The first address.
        start: u64,
        /// Bytes.
        len: u64,
        /// madvise's advice.
        advice: i32,
    },
    /// With a file that is about to be read by a system call: its changed pages in this
    /// range are to be in the file first.
    Clean {
        /// The first byte.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// With a file that is to be written: the bytes are in the staging memory, from its
    /// first byte on.
    Write {
        /// The first byte of the file, or [`APPEND`](Request::APPEND).
        offset: u64,
        /// Bytes.
        len: u64,
        /// How long the client may make files (`RLIMIT_FSIZE`).
        limit: u64,
    },
    /// With a file: ftruncate.
    Truncate {
        /// Its length from now on.
        size: u64,
    },
    /// With a file: fallocate.
    Allocate {
        /// fallocate's mode.
        mode: i32,
        /// The first byte.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// With a file: fsync, or the close of what had it open for writing.
    Settle,
    /// One of the parent's regions, as they were at the fork, counted from 0.
    Region {
        /// Which.
        index: u64,
    },
    /// Counters, as JSON in the staging memory.
    Stats,
    /// What the parent has of its own in a range, this client is to have in its own memory
    /// there, which it has just mapped.
    Inherit {
        /// The first address.
        start: u64,
        /// Bytes.
        len: u64,
    },
    /// Before mremap: may own memory become longer in its place? To be followed by
    /// [`Grown`](Request::Grown), with its bytes of before if nothing has come of it.
    Grow {
        /// The first address of the region.
        start: u64,
        /// Its bytes.
        old: u64,
        /// The bytes that it is to have.
        new: u64,
    },
    /// What own memory holds is to be in other own memory, which holds nothing.
    Carry {
        /// The first address of the one.
        from: u64,
        /// The first address of the other.
        to: u64,
        /// Bytes.
        len: u64,
    },
    /// Own memory that nobody has touched goes on where other own memory ends: if that begins as
    /// a file's pages, it begins as those that follow.
    Follow {
        /// The first address.
        start: u64,
        /// Bytes.
        len: u64,
        /// The end of the other.
        after: u64,
    },
    /// Where was an error that is none any more? The client may give the range up by
    /// `MADV_DONTNEED`, and touch it again. To be asked until the answer is ENOENT.
    Healed,
}

impl Request {
    /// The offset of a [`Write`](Request::Write) that goes to the end of the file.
    pub const APPEND: u64 = u64::MAX;

    /// As bytes.
    pub fn encode(self) -> [u8; MESSAGE_BYTES] {
        let mut fields = Fields::default();
        let values: [u64; 5] = match self {
            Request::Hello { version, pid, parent } => [1, version, from_int(pid), parent, 0],
            Request::Staging => [2, 0, 0, 0, 0],
            Request::Map { len, offset, prot, flags } => {
                [3, len, offset, from_int(prot), from_int(flags)]
            }
            Request::Mapped { ticket, start, len, offset } => [4, ticket, start, len, offset],
            Request::Grown { start, old, new } => [5, start, old, new, 0],
            Request::Sync { start, len, flags } => [6, start, len, from_int(flags), 0],
            Request::Advise { start, len, advice } => [7, start, len, from_int(advice), 0],
            Request::Clean { offset, len } => [8, offset, len, 0, 0],
            Request::Write { offset, len, limit } => [9, offset, len, limit, 0],
            Request::Truncate { size } => [10, size, 0, 0, 0],
            Request::Allocate { mode, offset, len } => [11, from_int(mode), offset, len, 0],
            Request::Settle => [12, 0, 0, 0, 0],
            Request::Region { index } => [13, index, 0, 0, 0],
            Request::Stats => [14, 0, 0, 0, 0],
            Request::Inherit { start, len } => [15, start, len, 0, 0],
            Request::Grow { start, old, new } => [16, start, old, new, 0],
            Request::Carry { from, to, len } => [17, from, to, len, 0],
            Request::Follow { start, len, after } => [18, start, len, after, 0],
            Request::Healed => [19, 0, 0, 0, 0],
        };
        fields[..values.len()].copy_from_slice(&values);
        to_bytes(fields)
    }

    /// From bytes that anybody may have sent.
    pub fn decode(bytes: &[u8]) -> Result<Request, Malformed> {
        let [number, a, b, c, d, ..] = from_bytes(bytes)?;
        Ok(match number {
            1 => Request::Hello { version: a, pid: int(b)?, parent: c },
            2 => Request::Staging,
            3 => Request::Map { len: a, offset: b, prot: int(c)?, flags: int(d)? },
            4 => Request::Mapped { ticket: a, start: b, len: c, offset: d },
            5 => Request::Grown { start: a, old: b, new: c },
            6 => Request::Sync { start: a, len: b, flags: int(c)? },
            7 => Request::Advise { start: a, len: b, advice: int(c)? },
            8 => Request::Clean { offset: a, len: b },
            9 => Request::Write { offset: a, len: b, limit: c },
            10 => Request::Truncate { size: a },
            11 => Request::Allocate { mode: int(a)?, offset: b, len: c },
            12 => Request::Settle,
            13 => Request::Region { index: a },
            14 => Request::Stats,
            15 => Request::Inherit { start: a, len: b },
            16 => Request::Grow { start: a, old: b, new: c },
            17 => Request::Carry { from: a, to: b, len: c },
            18 => Request::Follow { start: a, len: b, after: c },
            19 => Request::Healed,
            number => return Err(Malformed::Number(number)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Request::decode(&bytes);
        }

        #[test]
        fn what_decodes_encodes_to_what_decodes_to_the_same(
            number in 1u64..20,
            values in prop::array::uniform4(any::<i32>()),
        ) {
            let mut fields = Fields::default();
            fields[0] = number;
            for (field, value) in fields[1..].iter_mut().zip(values) {
                *field = from_int(value);
            }
            let request = Request::decode(&to_bytes(fields)).unwrap();
            prop_assert_eq!(Request::decode(&request.encode()), Ok(request));
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        let mut fields = Fields::default();
        (fields[0], fields[3]) = (6, 1 << 40);
        assert_eq!(Request::decode(&to_bytes(fields)), Err(Malformed::Value(1 << 40)));
        fields[0] = 99;
        assert_eq!(Request::decode(&to_bytes(fields)), Err(Malformed::Number(99)));
    }
}
