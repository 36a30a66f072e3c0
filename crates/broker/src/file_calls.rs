//! Reads and writes of files that are mapped: they go by the pages in memory, or come after
//! those have been written.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use faultless_addr::{ByteRange, PageRange, SpaceId};
use faultless_protocol::{Reply, Request, STAGING_BYTES};
use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;

use crate::files::{Files, Use};
use crate::served::To;

/// Serves a request that comes with a file.
pub(crate) fn serve(
    files: &Arc<Files>,
    request: Request,
    file: BorrowedFd<'_>,
    staging: Option<BorrowedFd<'_>>,
    client: SpaceId,
) -> Result<Reply, Errno> {
    let Some(served) = files.find(file)? else { return Ok(Reply::NotServed) };
    match request {
        Request::Clean { offset, len } => clean(&served, offset, len),
        Request::Settle => {
            let mut seen = served.errors_seen();
            served.flush(PageRange::all(), &mut seen)?;
            Ok(Reply::done(0, served.size()))
        }
        Request::Write { offset, len, limit } => {
            let to = To { at: (offset != Request::APPEND).then_some(offset), limit };
            write(&served, (file, client), (to, len), staging)
        }
        Request::Truncate { size } => {
            may_write(&served, file)?;
            served.truncate(size)?;
            Ok(Reply::done(0, size))
        }
        Request::Allocate { mode, offset, len } => {
            allocate(&served, (file, client), mode, offset, len)
        }
        _ => Err(Errno::INVAL),
    }
}

fn clean(served: &Use, offset: u64, len: u64) -> Result<Reply, Errno> {
    let end = offset.saturating_add(len).min(served.size());
    if offset < end {
        served.clean(ByteRange::new(offset, end).pages())?;
    }
    Ok(Reply::done(0, served.size()))
}

/// How the descriptor was opened says whether its holder may.
fn may_write(served: &Use, file: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = rustix::fs::fcntl_getfl(file)?;
    match flags & OFlags::RWMODE {
        OFlags::RDWR => served.allow_writes(file),
        // ftruncate and fallocate by a descriptor that only writes: the pager has to be
        // allowed to by somebody else.
        OFlags::WRONLY => Ok(()),
        _ => Err(Errno::INVAL),
    }
}

fn write(
    served: &Use,
    (file, client): (BorrowedFd<'_>, SpaceId),
    (to, len): (To, u64),
    staging: Option<BorrowedFd<'_>>,
) -> Result<Reply, Errno> {
    let flags = rustix::fs::fcntl_getfl(file)?;
    let staging = staging.ok_or(Errno::INVAL)?;
    if len > STAGING_BYTES {
        return Err(Errno::INVAL);
    }
    let mut bytes = vec![0; len as usize];
    read_all(staging, &mut bytes)?;
    let written = match flags & OFlags::RWMODE {
        OFlags::RDWR => {
            served.allow_writes(file)?;
            served.write_at(client, to, &bytes)?
        }
        OFlags::WRONLY => served.write_past(file, to, &bytes)?,
        _ => return Err(Errno::BADF),
    };
    if flags.intersects(OFlags::DSYNC | OFlags::SYNC) {
        let mut seen = served.errors_seen();
        served.flush(PageRange::all(), &mut seen)?;
    }
    Ok(Reply::done(written.end - written.start, written.end))
}

fn allocate(
    served: &Use,
    (file, client): (BorrowedFd<'_>, SpaceId),
    mode: i32,
    offset: u64,
    len: u64,
) -> Result<Reply, Errno> {
    may_write(served, file)?;
    let flags = FallocateFlags::from_bits(mode as u32).ok_or(Errno::OPNOTSUPP)?;
    let end = offset.checked_add(len).ok_or(Errno::FBIG)?;
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match flags {
        _ if len == 0 => return Err(Errno::INVAL),
        _ if flags == punch => served.punch(client, offset, len)?,
        _ if flags.is_empty() || flags == FallocateFlags::KEEP_SIZE => {
            rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, offset, len)?;
            if flags.is_empty() && end > served.size() {
                served.truncate(end)?;
            }
        }
        _ if flags == FallocateFlags::ZERO_RANGE => {
            if end > served.size() {
                served.truncate(end)?;
            }
            served.punch(client, offset, len)?;
        }
        // What moves bytes about in the file.
        _ => return Err(Errno::OPNOTSUPP),
    }
    Ok(Reply::done(0, served.size()))
}

fn read_all(from: BorrowedFd<'_>, mut bytes: &mut [u8]) -> Result<(), Errno> {
    let mut offset = 0;
    while !bytes.is_empty() {
        match rustix::io::pread(from.as_fd(), &mut *bytes, offset) {
            // The client has made its memory shorter than it said.
            Ok(0) => return Err(Errno::FAULT),
            Ok(count) => {
                bytes = &mut std::mem::take(&mut bytes)[count..];
                offset += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
