//! The worker's loop: reads a request, does it, answers.

use std::cell::UnsafeCell;

use super::access::{self, Noted};
use crate::kernel::wire::{AS_RETURNED, PAYLOAD_MAX, REPLY_WORDS, REQUEST_WORDS, What};

/// The channels' descriptors begin here in each worker.
pub const CHANNEL_BASE: i32 = 200;

const WORD: usize = 8;
const BUFFER_LEN: usize = PAYLOAD_MAX;

#[repr(align(4096))]
struct Buffer(UnsafeCell<[u8; BUFFER_LEN]>);

// SAFETY: a worker has one thread, and the harness's process never touches it.
unsafe impl Sync for Buffer {}

static BUFFER: Buffer = Buffer(UnsafeCell::new([0; BUFFER_LEN]));

fn buffer() -> u64 {
    BUFFER.0.get() as u64
}

/// Serves a channel until it closes or says so.
pub fn serve(channel: u64) -> ! {
    access::install();
    touch();
    let mut channel = CHANNEL_BASE + channel as i32;
    loop {
        let mut words = [0_u64; REQUEST_WORDS];
        receive(channel, words.as_mut_ptr() as u64, REQUEST_WORDS * WORD);
        let [what, number, args @ .., slot, sent, wanted] = words;
        receive(channel, buffer(), (sent as usize).min(BUFFER_LEN));
        let reply = match what {
            what if what == What::Syscall as u64 => system_call(number, args, slot, wanted),
            what if what == What::Load as u64 => load(args[0], args[1]),
            what if what == What::Store as u64 => store(args[0], sent),
            what if what == What::Fetch as u64 => fetch(args[0]),
            what if what == What::Pipe as u64 => pipe(args[0], args[1]),
            what if what == What::Fork as u64 => {
                let value = fork();
                if value == 0 {
                    channel = CHANNEL_BASE + args[0] as i32;
                    continue;
                }
                value_of(value, 0)
            }
            _ => exit(0),
        };
        send(channel, reply.as_ptr() as u64, REPLY_WORDS * WORD);
        send(channel, buffer(), reply[REPLY_WORDS - 1] as usize);
    }
}

type Words = [u64; REPLY_WORDS];

fn value_of(value: i64, bytes: u64) -> Words {
    [0, value as u64, 0, 0, bytes]
}

fn ended(result: Result<(), Noted>, bytes: u64) -> Words {
    match result {
        Ok(()) => value_of(0, bytes),
        Err(Noted { number, code, addr }) => [1, number as u64, code as u64, addr, 0],
    }
}

fn system_call(number: u64, mut args: [u64; 6], slot: u64, wanted: u64) -> Words {
    for (slot, offset) in [(slot & 0xff, 0), (slot >> 8 & 0xff, slot >> 16)] {
        if let Some(arg) = args.get_mut((slot as usize).wrapping_sub(1)) {
            *arg = buffer() + offset;
        }
    }
    let [a, b, c, d, e, f] = args;
    // SAFETY: whoever asks wants just this call in this process, which holds
    // nothing but the worker: its memory outside the window is not named.
    let value = unsafe { libc::syscall(number as libc::c_long, a, b, c, d, e, f) };
    let value = if value == -1 { access::last_error() } else { value };
    let bytes = match (value, wanted) {
        (..0, _) => 0,
        (_, AS_RETURNED) => value as u64,
        _ => wanted,
    };
    value_of(value, bytes.min(BUFFER_LEN as u64))
}

fn load(addr: u64, len: u64) -> Words {
    let len = len.min(BUFFER_LEN as u64);
    // SAFETY: the buffer holds `len` bytes; a load changes no memory but it.
    ended(unsafe { access::copy(buffer(), addr, len, addr) }, len)
}

fn store(addr: u64, len: u64) -> Words {
    // SAFETY: `len` bytes came into the buffer; the harness stores into the window only.
    ended(unsafe { access::copy(addr, buffer(), len, addr) }, 0)
}

fn fetch(addr: u64) -> Words {
    // SAFETY: `Call::Fetch` says that a return is there.
    ended(unsafe { access::fetch(addr) }, 0)
}

fn pipe(addr: u64, len: u64) -> Words {
    let mut ends = [0; 2];
    // SAFETY: 1. `ends` has room for two. 2. A write only reads memory, and the
    // kernel checks the address. 3. The read goes to the buffer, which is long enough.
    unsafe {
        if libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK) != 0 {
            return value_of(access::last_error(), 0);
        }
        let written = libc::syscall(libc::SYS_write, ends[1], addr, len);
        let failed = access::last_error();
        let read = libc::read(ends[0], buffer() as *mut _, BUFFER_LEN);
        libc::close(ends[0]);
        libc::close(ends[1]);
        match written {
            ..0 => value_of(failed, 0),
            _ => value_of(written, read.max(0) as u64),
        }
    }
}

/// A child of this worker's parent, which alone waits for workers.
fn fork() -> i64 {
    let flags = libc::CLONE_PARENT | libc::SIGCHLD;
    // SAFETY: without CLONE_VM the child is a copy that goes on from here; a worker
    // has one thread, so nothing is in an unfinished state.
    let value = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if value == -1 { access::last_error() } else { value }
}

fn receive(channel: i32, to: u64, len: usize) {
    let mut done = 0;
    while done < len {
        // SAFETY: the caller has `len` bytes there.
        let n = unsafe { libc::read(channel, (to as usize + done) as *mut _, len - done) };
        if n <= 0 {
            exit(0);
        }
        done += n as usize;
    }
}

fn send(channel: i32, from: u64, len: usize) {
    let mut done = 0;
    while done < len {
        // SAFETY: the caller has `len` bytes there.
        let n = unsafe { libc::write(channel, (from as usize + done) as *const _, len - done) };
        if n <= 0 {
            exit(1);
        }
        done += n as usize;
    }
}

/// Grows the stack now, so that it doesn't grow between two calls.
#[inline(never)]
fn touch() {
    let pages = [1_u8; 64 << 10];
    std::hint::black_box(&pages);
}

fn exit(code: i32) -> ! {
    // SAFETY: ends this process without running anything of the harness's.
    unsafe { libc::_exit(code) }
}
