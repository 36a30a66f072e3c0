//! File calls on files that are served: the broker is told before a read, and does what
//! changes the file itself.
//!
//! `None` always means: the broker has nothing to do with it, and the kernel is to do it.

use std::os::fd::BorrowedFd;

use faultless_protocol::{Reply, Request, STAGING_BYTES};
use faultless_sys::Errno;
use rustix::fs::OFlags;
use rustix::process::{Resource, Signal};

use crate::board;
use crate::descriptor::{borrow, file_id};
use crate::enter::{Inside, enter};
use crate::kernel::Answer;
use crate::source::{self, Source, position};

/// The most that Linux reads or writes at once.
const MOST: usize = 0x7fff_f000;

/// Where in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At its position, which then moves on.
    Position,
    /// At this byte.
    At(i64),
    /// At its end, whatever the descriptor says (`RWF_APPEND`); and the position moves on if
    /// it is `Position`'s call.
    End,
}

/// What holds for bytes when a write returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// What the descriptor says.
    AsOpened,
    /// They are on the disk (`RWF_SYNC`, `RWF_DSYNC`).
    Yes,
}

/// The file under `fd`, if it may be served.
fn served<'fd>(fd: i32) -> Option<BorrowedFd<'fd>> {
    if !board::may_serve_any() {
        return None;
    }
    let fd = borrow(fd)?;
    let stat = rustix::fs::fstat(fd).ok()?;
    board::may_serve(file_id(&stat)).then_some(fd)
}

/// The same, if it was opened for writing; with how it was opened.
fn writable<'fd>(fd: i32) -> Option<(BorrowedFd<'fd>, OFlags)> {
    let fd = served(fd)?;
    let flags = rustix::fs::fcntl_getfl(fd).ok()?;
    let mode = flags & OFlags::RWMODE;
    let writes = mode == OFlags::WRONLY || mode == OFlags::RDWR;
    (writes && !flags.contains(OFlags::PATH)).then_some((fd, flags))
}

/// [`publish`], of as many bytes as the `count` vectors at `start` say.
pub fn publish_vectors(fd: i32, place: Place, start: usize, count: usize) {
    if served(fd).is_some()
        && let Ok(len) = source::total(start, count)
    {
        publish(fd, place, len);
    }
}

/// [`publish`], from the offset that is at the address `offset`, or from the position if
/// that is 0.
pub fn publish_from(fd: i32, offset: usize, len: usize) {
    if served(fd).is_none() {
        return;
    }
    match offset {
        0 => publish(fd, Place::Position, len),
        _ => {
            if let Ok(offset) = source::read_offset(offset) {
                publish(fd, Place::At(offset), len);
            }
        }
    }
}

/// To be called before `len` bytes are read: what mappings have changed there is in the file
/// afterwards.
pub fn publish(fd: i32, place: Place, len: usize) {
    let Some(file) = served(fd) else { return };
    let offset = match place {
        Place::At(offset) => Some(offset),
        Place::Position | Place::End => position(fd).ok().map(|at| at as i64),
    };
    let Some(offset @ 0..) = offset else { return };
    if len > 0
        && let Some(mut inside) = enter()
    {
        let (offset, len) = (offset as u64, len.min(MOST) as u64);
        inside.ask_plainly(Request::Clean { offset, len }, Some(file));
    }
}

/// What mappings have changed is in the file afterwards, all of it.
pub fn publish_all(fd: i32) {
    if let Some(file) = served(fd)
        && let Some(mut inside) = enter()
    {
        inside.ask_plainly(Request::Clean { offset: 0, len: u64::MAX }, Some(file));
    }
}

/// write(2) and its kin.
///
/// As with them, fewer bytes may be written than there are, and those of other writers may
/// come in between where it takes more than one piece (256 KiB).
pub fn write(fd: i32, mut source: Source, place: Place, durable: Durable) -> Option<Answer> {
    let (file, flags) = writable(fd)?;
    let mut inside = enter()?;
    let append = flags.contains(OFlags::APPEND) || place == Place::End;
    let mut at = match place {
        Place::At(at) => u64::try_from(at).ok()?,
        Place::Position | Place::End => position(fd).ok()?,
    };
    let limit = longest();
    let mut written = 0;
    let outcome = loop {
        let offset = if append { Request::APPEND } else { at };
        let room = (MOST - written).min(STAGING_BYTES as usize);
        let room = room.min(limit.try_into().unwrap_or(room));
        let piece = match stage(&inside, &source, room) {
            Ok(0) if limit == 0 && !source.is_used_up() => {
                tell_of_limit();
                break Err(Errno::FBIG);
            }
            Ok(0) => break Ok(()),
            Ok(piece) => piece,
            Err(errno) => break Err(errno),
        };
        let request = Request::Write { offset, len: piece as u64, limit };
        match inside.ask_plainly(request, Some(file)) {
            // It is at the limit.
            Some(Reply::Done { bytes: 0, .. }) if written == 0 => {
                tell_of_limit();
                break Err(Errno::FBIG);
            }
            Some(Reply::Done { bytes, size, .. }) => {
                at = if append { size } else { at + bytes };
                written += bytes as usize;
                let advanced = source.advance(bytes as usize).is_ok();
                if !advanced || (bytes as usize) < piece || source.is_used_up() {
                    break Ok(());
                }
            }
            Some(Reply::Error { errno }) => break Err(Errno::from_raw_os_error(errno)),
            // Not served after all. (The rest of a longer write is written by who sees that
            // it came out short.)
            _ if written == 0 => return None,
            _ => break Ok(()),
        }
    };
    if written > 0 {
        if place == Place::Position {
            let _ = rustix::fs::seek(file, rustix::fs::SeekFrom::Start(at));
        }
        // Not even O_DSYNC's bit alone is more than it.
        if durable == Durable::Yes || flags.intersects(OFlags::DSYNC) {
            return Some(settled(&mut inside, file).map(|()| written));
        }
    }
    match outcome {
        Err(errno) if written == 0 => Some(Err(errno)),
        _ => Some(Ok(written)),
    }
}

/// How long this process may make files.
fn longest() -> u64 {
    rustix::process::getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX)
}

/// As the kernel does where a file would be longer. It comes when signals are no longer held
/// back.
fn tell_of_limit() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::XFSZ);
}

/// Brings a piece into the staging memory.
fn stage(inside: &Inside, source: &Source, room: usize) -> Answer {
    let staging = inside.connection().and_then(|connection| connection.staging());
    source.stage(staging.ok_or(Errno::IO)?, room)
}

fn settled(inside: &mut Inside, file: BorrowedFd<'_>) -> Result<(), Errno> {
    match inside.ask_plainly(Request::Settle, Some(file)) {
        Some(Reply::Error { errno }) => Err(Errno::from_raw_os_error(errno)),
        _ => Ok(()),
    }
}

/// ftruncate(2).
pub fn truncate(fd: i32, size: i64) -> Option<Answer> {
    let (file, _) = writable(fd)?;
    let size = u64::try_from(size).ok()?;
    if size > longest() {
        // The kernel knows whether the file gets longer by it.
        return None;
    }
    done(enter()?.ask_plainly(Request::Truncate { size }, Some(file)))
}

/// fallocate(2).
pub fn allocate(fd: i32, mode: i32, offset: i64, len: i64) -> Option<Answer> {
    let (file, _) = writable(fd)?;
    let (offset, len) = (u64::try_from(offset).ok()?, u64::try_from(len).ok()?);
    let end = offset.saturating_add(len);
    let grows = len > 0
        && [0, libc::FALLOC_FL_ZERO_RANGE].contains(&mode)
        && rustix::fs::fstat(file).is_ok_and(|now| end > now.st_size as u64);
    if grows && end > longest() {
        tell_of_limit();
        return Some(Err(Errno::FBIG));
    }
    done(enter()?.ask_plainly(Request::Allocate { mode, offset, len }, Some(file)))
}

/// fsync(2), or the close of a descriptor: what mappings have changed is in the file
/// afterwards. The kernel is to do the rest.
pub fn settle(fd: i32) -> Result<(), Errno> {
    let Some(file) = served(fd) else { return Ok(()) };
    match enter() {
        Some(mut inside) => settled(&mut inside, file),
        None => Ok(()),
    }
}

/// [`settle`], if `fd` can write.
pub fn settle_before_close(fd: i32) {
    if writable(fd).is_some() {
        // close(2) would have nothing to say of it either.
        let _ = settle(fd);
    }
}

/// May a file with this device and inode be served?
pub fn may_be_served(device: u64, inode: u64) -> bool {
    board::may_serve_any() && board::may_serve(faultless_protocol::FileId { device, inode })
}

/// May the file under `fd` be served?
pub fn is_served(fd: i32) -> bool {
    served(fd).is_some()
}

/// May any file be served? Two loads.
pub fn may_any_be_served() -> bool {
    board::may_serve_any()
}

fn done(reply: Option<Reply>) -> Option<Answer> {
    match reply? {
        Reply::Done { .. } => Some(Ok(0)),
        Reply::Error { errno } => Some(Err(Errno::from_raw_os_error(errno))),
        _ => None,
    }
}
