//! A line: what it says, and how.
//!
//! ```json
//! {"us":512,"pid":7,"tid":7,"call":"munmap","args":{"addr":4096,"length":8192},"result":0,"by":"kernel","reason":"not_served"}
//! ```

use std::fmt::{self, Write};

use faultless_sys::Errno;

use super::names::{self, Named};
use super::{By, Call};
use crate::kernel::{Answer, Mmap};

/// The longest line there can be, with an end of line before it and one behind: a call with
/// all flags has less (a test tries it).
const ROOM: usize = 640;

/// A line on the stack: there may be no allocator.
#[derive(Debug)]
pub(super) struct Line {
    bytes: [u8; ROOM],
    len: usize,
    /// It had no room.
    cut: bool,
}

impl Line {
    fn new() -> Line {
        let mut bytes = [0; ROOM];
        bytes[0] = b'\n';
        Line { bytes, len: 1, cut: false }
    }

    /// Its bytes; `None` for what had no room, which must not be taken for a whole line.
    pub fn bytes(&self) -> Option<&[u8]> {
        (!self.cut).then(|| &self.bytes[1..self.len])
    }

    /// The same, with an end of line before it.
    pub fn bytes_on_a_new_line(&self) -> Option<&[u8]> {
        (!self.cut).then(|| &self.bytes[..self.len])
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let Some(room) = self.bytes.get_mut(self.len..self.len + text.len()) else {
            self.cut = true;
            return Err(fmt::Error);
        };
        room.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

/// The line of a call that began `us` microseconds after the trace did, and has ended.
pub(super) fn line(us: u64, call: &Call, answer: Answer, by: By) -> Line {
    let mut line = Line::new();
    // Whether all of it had room the line knows.
    let _ = write(&mut line, us, call, answer, by);
    line
}

fn write(line: &mut Line, us: u64, call: &Call, answer: Answer, by: By) -> fmt::Result {
    let pid = rustix::process::getpid().as_raw_nonzero();
    let tid = rustix::thread::gettid().as_raw_nonzero();
    write!(line, "{{\"us\":{us},\"pid\":{pid},\"tid\":{tid},\"call\":\"{}\",", name(call))?;
    line.write_str("\"args\":{")?;
    arguments(line, call)?;
    match answer {
        Ok(result) => write!(line, "}},\"result\":{result}")?,
        Err(errno) => write!(line, "}},\"errno\":\"{}\"", named(errno))?,
    }
    match by {
        By::Faultless => line.write_str(",\"by\":\"faultless\"}\n"),
        By::Kernel(reason) => {
            writeln!(line, ",\"by\":\"kernel\",\"reason\":\"{}\"}}", reason.name())
        }
    }
}

fn named(errno: Errno) -> Named {
    names::errno(errno.raw_os_error())
}

fn name(call: &Call) -> &'static str {
    match call {
        Call::Mmap(_) => "mmap",
        Call::Munmap { .. } => "munmap",
        Call::Mprotect { .. } => "mprotect",
        Call::Mremap { .. } => "mremap",
        Call::Madvise { .. } => "madvise",
        Call::PosixMadvise { .. } => "posix_madvise",
        Call::Msync { .. } => "msync",
    }
}

fn arguments(line: &mut Line, call: &Call) -> fmt::Result {
    let mut range = |addr: usize, len: usize| write!(line, "\"addr\":{addr},\"length\":{len}");
    match *call {
        Call::Mmap(Mmap { addr, len, prot, flags, fd, offset }) => {
            range(addr, len)?;
            bits(line, "prot", prot, names::prot(prot))?;
            bits(line, "flags", flags, names::map_flags(flags))?;
            write!(line, ",\"fd\":{fd},\"offset\":{offset}")
        }
        Call::Munmap { addr, len } => range(addr, len),
        Call::Mprotect { addr, len, prot } => {
            range(addr, len)?;
            bits(line, "prot", prot, names::prot(prot))
        }
        Call::Mremap { addr, old, new, flags, to } => {
            range(addr, old)?;
            write!(line, ",\"new_length\":{new}")?;
            bits(line, "flags", flags, names::mremap_flags(flags))?;
            // Without these flags the program has given none.
            match flags & (libc::MREMAP_FIXED | libc::MREMAP_DONTUNMAP) {
                0 => Ok(()),
                _ => write!(line, ",\"new_addr\":{to}"),
            }
        }
        Call::Madvise { addr, len, advice } => {
            range(addr, len)?;
            bits(line, "advice", advice, names::advice(advice))
        }
        Call::PosixMadvise { addr, len, advice } => {
            range(addr, len)?;
            bits(line, "advice", advice, names::posix_advice(advice))
        }
        Call::Msync { addr, len, flags } => {
            range(addr, len)?;
            bits(line, "flags", flags, names::msync_flags(flags))
        }
    }
}

/// An argument as the number that it was, and by name.
fn bits(line: &mut Line, key: &str, value: i32, named: Named) -> fmt::Result {
    write!(line, ",\"{key}\":{value},\"{key}_names\":\"{named}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultless_protocol::Reason;

    fn text(call: Call, answer: Answer, by: By) -> String {
        let line = line(7, &call, answer, by);
        let text = String::from_utf8(line.bytes().expect("room").to_vec()).unwrap();
        // Who it was differs from run to run.
        let (_, rest) = text.split_once("\"call\":").unwrap();
        assert!(text.starts_with("{\"us\":7,\"pid\":"), "{text}");
        assert_eq!(line.bytes_on_a_new_line().unwrap()[0], b'\n');
        rest.to_owned()
    }

    #[test]
    fn a_line_says_what_was_asked_and_answered() {
        let map = Mmap { addr: 0, len: 5, prot: 1, flags: 1, fd: 3, offset: -1 };
        assert_eq!(
            text(Call::Mmap(map), Err(Errno::INVAL), By::Kernel(Reason::Arguments)),
            "\"mmap\",\"args\":{\"addr\":0,\"length\":5,\"prot\":1,\"prot_names\":\"PROT_READ\",\
             \"flags\":1,\"flags_names\":\"MAP_SHARED\",\"fd\":3,\"offset\":-1},\
             \"errno\":\"EINVAL\",\"by\":\"kernel\",\"reason\":\"arguments\"}\n"
        );
        let moved = Call::Mremap { addr: 4096, old: 1, new: 2, flags: 1, to: 99 };
        assert_eq!(
            text(moved, Ok(8192), By::Faultless),
            "\"mremap\",\"args\":{\"addr\":4096,\"length\":1,\"new_length\":2,\"flags\":1,\
             \"flags_names\":\"MREMAP_MAYMOVE\"},\"result\":8192,\"by\":\"faultless\"}\n"
        );
    }

    #[test]
    fn the_longest_line_has_room() {
        let (addr, len, all) = (usize::MAX, usize::MAX, -1);
        let map = Mmap { addr, len, prot: all, flags: all ^ 12, fd: i32::MIN, offset: i64::MIN };
        let by = Reason::ALL.into_iter().max_by_key(|reason| reason.name().len());
        let by = By::Kernel(by.unwrap());
        let mut longest = 0;
        for call in [
            Call::Mmap(map),
            Call::Mremap { addr, old: len, new: len, flags: all, to: addr },
            Call::Msync { addr, len, flags: all },
        ] {
            let line = line(u64::MAX, &call, Ok(usize::MAX), by);
            // And numbers of processes and threads, which have seven digits at most.
            longest = longest.max(line.bytes().expect("room").len() + 2 * 7);
        }
        assert!(longest < ROOM, "{longest}");
        assert!(longest > ROOM - 100, "more room than is needed: {longest}");
    }

    #[test]
    fn what_has_no_room_is_no_line() {
        let mut line = Line::new();
        while line.write_str("0123456789").is_ok() {}
        assert_eq!((line.bytes(), line.bytes_on_a_new_line()), (None, None));
    }
}
