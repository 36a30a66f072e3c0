//! `faultless cat`: bytes of a mapping to stdout. The kernel reads them from the
//! mapping by itself, so a fault in the middle of a system call is served too.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use faultless::{MapOptions, MapRaw, Vm};
use rustix::event::{PollFd, PollFlags};

use crate::args::CatArgs;
use crate::output::Outcome;
use crate::problem::{Problem, Result};
use crate::touch::write_from_map;

/// Bytes handed to one write(2).
const CHUNK: usize = 1 << 20;
/// Bytes held by a pin where the kernel can't wait for pages.
const PINNED_CHUNK: usize = 16 << 10;

/// Runs it.
pub fn run(args: &CatArgs) -> Result<Outcome> {
    let file = open(args)?;
    let vm = Vm::with_memory(args.memory.0)?;
    let map = MapOptions::new().map_raw(&vm, &file)?;
    let size = map.len() as u64;
    let start = args.offset.0.min(size);
    let length = args.length.map_or(u64::MAX, |length| length.0).min(size - start);
    map.advise(faultless::Pattern::Sequential)?;
    copy(&map, start as usize, (start + length) as usize)?;
    Ok(Outcome::Ok)
}

/// Opens the file so that a pipe without a writer doesn't hold us up: that it can't be
/// mapped is for the library to say.
fn open(args: &CatArgs) -> Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(&args.file, flags, Mode::empty());
    file.map(File::from).map_err(|error| Problem::on("open", &args.file)(error.into()))
}

fn copy(map: &MapRaw, start: usize, end: usize) -> Result<()> {
    let stdout = io::stdout();
    let stdout = stdout.as_fd();
    let mut at = start;
    while at < end {
        match write_from_map(stdout, map, at, (end - at).min(CHUNK)) {
            Ok(written) => at += written,
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::FAULT.raw_os_error()) => {
                at += write_pinned(stdout, map, at, end)?;
            }
            Err(error) => recover(stdout, error)?,
        }
    }
    Ok(())
}

/// A page could not be had by the kernel: either the kernel may not wait for it here
/// (userfaultfd in user mode only), or it can't be read, and a pin says why.
fn write_pinned(stdout: BorrowedFd<'_>, map: &MapRaw, at: usize, end: usize) -> Result<usize> {
    let pinned = map.pin(at as u64, (end - at).min(PINNED_CHUNK))?;
    loop {
        match rustix::io::write(stdout, &pinned) {
            Ok(written) => return Ok(written),
            Err(error) => recover(stdout, error.into())?,
        }
    }
}

/// Is the error one after which to try again?
fn recover(stdout: BorrowedFd<'_>, error: io::Error) -> Result<()> {
    match error.kind() {
        io::ErrorKind::Interrupted => Ok(()),
        // Somebody has made our stdout non-blocking.
        io::ErrorKind::WouldBlock => {
            let mut writable = [PollFd::from_borrowed_fd(stdout, PollFlags::OUT)];
            match rustix::event::poll(&mut writable, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
                Err(error) => Err(Problem::new(format!("cannot wait for stdout: {error}"))),
            }
        }
        io::ErrorKind::BrokenPipe => Err(Problem::ReaderGone),
        _ => Err(Problem::new(format!("cannot write to stdout: {error}"))),
    }
}
