//! What harness and worker say to each other: a few numbers, then bytes.
//!
//! ```text
//! harness ──► words: what, system call, six arguments, which one is a buffer,  ──► worker
//!             bytes that follow, bytes wanted │ bytes
//!         ◄── words: how it ended, value, code, address, bytes that follow │ bytes ◄──
//! ```

/// Bytes that one message may carry.
pub const PAYLOAD_MAX: usize = 256 << 10;

/// What a worker is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum What {
    /// Ends, without an answer.
    Exit = 0,
    /// A system call.
    Syscall = 1,
    /// Loads `args[1]` bytes from address `args[0]`.
    Load = 2,
    /// Stores the bytes that follow to address `args[0]`.
    Store = 3,
    /// Calls address `args[0]`.
    Fetch = 4,
    /// Writes `args[1]` bytes from address `args[0]` to a pipe, and reads the pipe.
    Pipe = 5,
    /// Forks; the child listens on channel `args[0]`.
    Fork = 6,
}

/// A system call's argument that points to the worker's buffer: its number plus 1.
pub const NO_BUFFER: u64 = 0;

/// As many bytes as the system call's value says.
pub const AS_RETURNED: u64 = u64::MAX;

/// One thing for a worker to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// What.
    pub what: What,
    /// The number of the system call.
    pub number: u64,
    /// Its arguments.
    pub args: [u64; 6],
    /// Which argument is the buffer, counted from 1; in the next byte, which one points
    /// into the buffer; above, how far.
    pub buffer: u64,
    /// Bytes of the buffer that come back.
    pub wanted: u64,
    /// What is in the buffer.
    pub bytes: Vec<u8>,
}

/// Numbers before a request's bytes.
pub const REQUEST_WORDS: usize = 11;
/// Numbers before a reply's bytes.
pub const REPLY_WORDS: usize = 5;

impl Request {
    /// Something that is not a system call.
    pub fn of(what: What, args: &[u64]) -> Request {
        let mut request = Request::syscall(0, args);
        request.what = what;
        request
    }

    /// A system call without a buffer.
    pub fn syscall(number: libc::c_long, args: &[u64]) -> Request {
        let mut all = [0; 6];
        all[..args.len()].copy_from_slice(args);
        Request {
            what: What::Syscall,
            number: number as u64,
            args: all,
            buffer: NO_BUFFER,
            wanted: 0,
            bytes: Vec::new(),
        }
    }

    /// Argument `index` points to these bytes.
    pub fn with_bytes(mut self, index: u64, bytes: Vec<u8>) -> Request {
        assert!(bytes.len() <= PAYLOAD_MAX, "a message of {} bytes", bytes.len());
        self.buffer = index + 1;
        self.bytes = bytes;
        self
    }

    /// Argument `index` points into the buffer, `offset` bytes behind its beginning.
    pub fn and_pointing(mut self, index: u64, offset: usize) -> Request {
        self.buffer |= (index + 1) << 8 | (offset as u64) << 16;
        self
    }

    /// Argument `index` points to where bytes come that are wanted back.
    pub fn wanting(mut self, index: u64, wanted: u64) -> Request {
        self.buffer = index + 1;
        self.wanted = wanted;
        self
    }

    /// As it is sent.
    pub fn encode(&self) -> Vec<u8> {
        let Request { what, number, args, buffer, wanted, bytes } = self;
        let head = [*what as u64, *number].into_iter().chain(*args);
        let words = head.chain([*buffer, bytes.len() as u64, *wanted]);
        let mut message: Vec<u8> = words.flat_map(u64::to_ne_bytes).collect();
        message.extend(bytes);
        message
    }
}

/// How it went.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A system call's value, or an error number negated.
    Value(i64, Vec<u8>),
    /// A signal: its number, code and address.
    Signal(i32, i32, u64),
}
