//! Reads and writes of runs, by io_uring where that can be, else by calling the pager.
//!
//! The only file of the runtime with `unsafe`: bytes of frames are handed to the
//! kernel and to pagers here. What makes it sound is the engine's busy flag: a
//! frame that is being read is aside and nobody's but the reader's; a page that is
//! being written has had stores stopped, or is aside.

#![allow(unsafe_code)]

use std::io::{self, IoSlice, IoSliceMut};
use std::sync::Arc;
use std::time::Duration;

use faultless_addr::{FrameNo, ObjectId, PAGE_BYTES, PAGE_SIZE, PageIndex};
use faultless_machine::Buffer;
use faultless_pager::{Direction, Pager};
use faultless_sys::ring::{Ring, RingUser};
use rustix::fd::BorrowedFd;
use smallvec::SmallVec;

use crate::core::Rings;

const RING_ENTRIES: u32 = 128;
/// So many requests are gathered before the kernel is told of them, unless somebody
/// waits first.
const GATHER: usize = 16;
/// A request of so many bytes isn't gathered: the disk begins with it while the next one is
/// given memory, and of several that are told together the kernel makes one, whose first page
/// comes with its last.
const LONG: u64 = 256 << 10;
/// Tokens from here on belong to the ring's owner, for polls: bit `n` of
/// [`Polls::fired`] is token `TOKEN_POLL + n`.
pub const TOKEN_POLL: u64 = 1 << 32;

/// So many pages of a run, and pieces of memory for them, need no memory of their own: most
/// faults read one page.
const FEW: usize = 4;

/// The frames of a run.
pub type Frames = SmallVec<[FrameNo; FEW]>;

/// Where bytes are, in order.
pub type Buffers = SmallVec<[Buffer; FEW]>;

/// A run to be read or written.
pub struct Job {
    pub direction: Direction,
    pub object: ObjectId,
    pub first: PageIndex,
    pub frames: Frames,
    pub pager: Arc<dyn Pager>,
    /// Where the bytes are, in order.
    pub buffers: Buffers,
    /// Bytes to move: less than the pages have where the object ends in them.
    pub bytes: u64,
}

// SAFETY: a job's addresses mean the same in every thread of the process, and the
// engine's busy flag, not the thread, says who may use the bytes behind them.
unsafe impl Send for Job {}

impl Job {
    fn offset(&self) -> u64 {
        self.first.offset()
    }

    fn is_short_read(&self) -> bool {
        self.direction == Direction::Read && self.frames.len() <= FEW
    }

    fn page_buffer(&self, page: usize) -> Buffer {
        let mut skip = page * PAGE_SIZE;
        for buffer in &self.buffers {
            if skip < buffer.len {
                let start = buffer.start.wrapping_add(skip);
                return Buffer { start, len: PAGE_SIZE };
            }
            skip -= buffer.len;
        }
        unreachable!("a page of the job has a buffer")
    }

    /// Where bytes `from..to` of the job are, in order.
    fn pieces(&self, from: u64, to: u64) -> impl Iterator<Item = (*mut u8, usize)> + '_ {
        let mut at = 0;
        self.buffers.iter().filter_map(move |buffer| {
            let (start, end) = (at, at + buffer.len as u64);
            at = end;
            let (lo, hi) = (from.max(start), to.min(end));
            (lo < hi)
                .then(|| (buffer.start.wrapping_add((lo - start) as usize), (hi - lo) as usize))
        })
    }

    /// Calls the pager for bytes `from..to` of the job.
    fn call(&self, from: u64, to: u64) -> io::Result<u64> {
        match self.direction {
            Direction::Read => {
                let mut slices: SmallVec<[_; FEW]> = SmallVec::new();
                for (start, len) in self.pieces(from, to) {
                    // SAFETY: 1. the machine gave this address as the bytes of frames
                    // that are aside, `len` of them; 2. the frames are busy with this
                    // read, so nobody else uses their bytes until it is reported.
                    let bytes = unsafe { std::slice::from_raw_parts_mut(start, len) };
                    slices.push(IoSliceMut::new(bytes));
                }
                Ok(self.pager.read(self.offset() + from, &mut slices)? as u64)
            }
            Direction::Write => {
                let mut slices: SmallVec<[_; FEW]> = SmallVec::new();
                for (start, len) in self.pieces(from, to) {
                    // SAFETY: 1. the machine gave this address for `len` bytes of pages;
                    // 2. they are busy with this write: they neither move nor can be
                    // stored to until it is reported.
                    let bytes = unsafe { std::slice::from_raw_parts(start, len) };
                    slices.push(IoSlice::new(bytes));
                }
                self.pager.write(self.offset() + from, &slices)?;
                Ok(to - from)
            }
        }
    }

    /// One page alone, where a longer run has failed, by calling the pager.
    pub fn run_page_here(&self, page: usize) -> io::Result<u64> {
        let from = page as u64 * PAGE_BYTES;
        self.call(from, (from + PAGE_BYTES).min(self.bytes.max(from)))
    }

    /// The whole of it, by calling the pager.
    pub fn run_here(&self) -> io::Result<u64> {
        self.call(0, self.bytes)
    }

    /// What is zeroed of a page that holds `bytes` good bytes.
    pub fn zero_page_tail(&self, page: usize, bytes: u64) {
        let buffer = self.page_buffer(page);
        let skip = bytes.min(PAGE_BYTES) as usize;
        // SAFETY: as for a read in `call`.
        unsafe { buffer.start.wrapping_add(skip).write_bytes(0, PAGE_SIZE - skip) };
    }
}

/// Zeros from byte `from` of the frames in `buffers` on, which are aside and busy with
/// what the caller does.
pub fn zero(buffers: &[Buffer], from: u64) {
    let mut at = 0;
    for buffer in buffers {
        let skip = from.saturating_sub(at).min(buffer.len as u64) as usize;
        at += buffer.len as u64;
        let start = buffer.start.wrapping_add(skip);
        // SAFETY: as for a read in `Job::call`: the bytes are ours until the report.
        unsafe { start.write_bytes(0, buffer.len - skip) };
    }
}

/// The bytes, as many as there is room for, at the start of the frames in `buffers`, which are
/// as for [`zero`].
pub fn fill(buffers: &[Buffer], mut bytes: &[u8]) {
    for buffer in buffers {
        let (now, later) = bytes.split_at(bytes.len().min(buffer.len));
        // SAFETY: as above, and `now` is no longer than the buffer, which is another's.
        unsafe { buffer.start.copy_from_nonoverlapping(now.as_ptr(), now.len()) };
        bytes = later;
    }
}

/// Copies a page that stays where it is until the caller reports, to a frame that is
/// aside.
pub fn copy_page(from: Buffer, to: Buffer) {
    // SAFETY: 1. the machine gave both addresses for a page each, of different frames;
    // 2. both are busy with this copy: `from` doesn't leave, `to` is nobody else's. Other
    // threads may store to `from` if it is shared; as for the kernel's copies, each byte
    // is then the one before or after.
    unsafe { to.start.copy_from_nonoverlapping(from.start, PAGE_SIZE) };
}

/// A job that the kernel works on.
struct Submitted {
    job: Job,
    /// The kernel reads these while it works; boxed by `Vec`, so they don't move.
    vector: Vec<libc::iovec>,
}

// SAFETY: as for `Job`; the vector repeats its addresses.
unsafe impl Send for Submitted {}

enum RingState {
    Untried,
    Ready(Box<Ring>),
    Refused,
}

/// What has been heard of the polls that the ring's owner pushed.
#[derive(Clone, Copy, Default)]
pub struct Polls {
    /// A bit for each descriptor that has become readable.
    pub fired: u8,
    /// Some poll is over and must be pushed again.
    pub over: bool,
}

impl Polls {
    /// Has the poll with this token fired?
    pub fn has(self, token: u64) -> bool {
        self.fired >> (token - TOKEN_POLL) & 1 == 1
    }
}

/// Starts jobs and tells of their ends. One thread at a time uses it.
pub struct Io {
    ring: RingState,
    user: RingUser,
    /// Requests that the kernel has not been told of.
    gathered: usize,
    /// Kept until `take_polls`: whoever looks for ended jobs meets polls on the way.
    polls: Polls,
    submitted: Vec<Option<Submitted>>,
    free: Vec<usize>,
    /// Of those submitted, how many are reads of few pages.
    short_reads: usize,
    /// Jobs that ended without the ring.
    ended: Vec<(Job, io::Result<u64>)>,
}

impl Io {
    pub fn new(rings: Rings, user: RingUser) -> Io {
        let ring = match rings {
            Rings::Allowed => RingState::Untried,
            Rings::Refused => RingState::Refused,
        };
        Io {
            ring,
            user,
            gathered: 0,
            polls: Polls::default(),
            submitted: Vec::new(),
            free: Vec::new(),
            short_reads: 0,
            ended: Vec::new(),
        }
    }

    /// Jobs that were started and whose end has not been told.
    pub fn in_flight(&self) -> usize {
        self.submitted.len() - self.free.len() + self.ended.len()
    }

    /// Those of them that read few pages, for which mostly a thread waits.
    pub fn short_reads_in_flight(&self) -> usize {
        self.short_reads
    }

    /// The ring, made when it is first needed.
    pub fn ring(&mut self) -> Option<&mut Ring> {
        if let RingState::Untried = self.ring {
            let ring = Ring::new(RING_ENTRIES, self.user).map(Box::new);
            self.ring = ring.map_or(RingState::Refused, RingState::Ready);
        }
        match &mut self.ring {
            RingState::Ready(ring) => Some(ring),
            _ => None,
        }
    }

    /// Starts a job; where the ring can't take it, carries it out at once.
    pub fn start(&mut self, job: Job) {
        let direct = job.pager.clone();
        let direct = direct.direct(job.direction, job.offset(), job.bytes);
        if let Some(direct) = direct
            && self.ring().is_some()
        {
            return self.submit(job, direct.fd);
        }
        let result = job.run_here();
        self.ended.push((job, result));
    }

    /// Carries a job out in this thread: the quickest way for one alone.
    pub fn run_here(&mut self, job: Job) {
        let result = job.run_here();
        self.ended.push((job, result));
    }

    fn submit(&mut self, job: Job, fd: BorrowedFd<'_>) {
        let mut left = job.bytes as usize;
        let vector: Vec<_> = job
            .buffers
            .iter()
            .map(|buffer| {
                let len = buffer.len.min(left);
                left -= len;
                libc::iovec { iov_base: buffer.start.cast(), iov_len: len }
            })
            .collect();
        let token = self.free.pop().unwrap_or_else(|| {
            self.submitted.push(None);
            self.submitted.len() - 1
        });
        let (offset, direction, len) = (job.offset(), job.direction, job.bytes);
        self.short_reads += usize::from(job.is_short_read());
        let (pointer, count) = (vector.as_ptr(), vector.len() as u32);
        self.submitted[token] = Some(Submitted { job, vector });
        let RingState::Ready(ring) = &mut self.ring else { unreachable!("the ring is ready") };
        let token = token as u64;
        loop {
            // SAFETY: 1. the frames are busy with this job until its end is reported, so
            // their bytes are this request's until its completion; 2. the vector lives in
            // `submitted` until the completion, and its items don't move with it.
            let pushed = unsafe {
                match direction {
                    Direction::Read => ring.readv(fd, pointer, count, offset, token),
                    Direction::Write => ring.writev(fd, pointer, count, offset, token),
                }
            };
            if pushed.is_ok() {
                break;
            }
            // The queue is full: give it to the kernel and push again.
            let _ = ring.submit();
        }
        self.gathered += 1;
        if self.gathered >= GATHER || len >= LONG {
            self.flush();
        }
    }

    /// Tells the kernel what was started or is to be polled, and has it tell what has ended;
    /// [`wait`](Io::wait) does so too.
    pub fn flush(&mut self) {
        if let RingState::Ready(ring) = &mut self.ring
            && (ring.has_pushed() || ring.has_deferred())
        {
            let _ = ring.submit();
            self.gathered = 0;
        }
    }

    /// Waits until some job has ended (or a poll has fired), if any is under way.
    pub fn wait(&mut self) {
        if self.ended.is_empty()
            && self.polls.fired == 0
            && let RingState::Ready(ring) = &mut self.ring
        {
            self.gathered = 0;
            let _ = ring.submit_and_wait(1);
        }
    }

    /// As [`wait`](Io::wait), also where a poll has fired that nobody has asked for yet: the
    /// kernel tells what has ended only when it is asked to wait.
    pub fn wait_for_end(&mut self) {
        let heard = self.take_polls();
        self.wait();
        self.polls = heard;
    }

    /// As [`wait`](Io::wait), no longer than `timeout`.
    pub fn wait_for(&mut self, timeout: Duration) {
        if self.ended.is_empty()
            && self.polls.fired == 0
            && let RingState::Ready(ring) = &mut self.ring
        {
            self.gathered = 0;
            let _ = ring.submit_and_wait_for(1, timeout);
        }
    }

    /// What has been heard of polls since the last call.
    pub fn take_polls(&mut self) -> Polls {
        std::mem::take(&mut self.polls)
    }

    /// May [`ended`](Io::ended) have more to tell at once?
    pub fn has_ended(&mut self) -> bool {
        let RingState::Ready(ring) = &mut self.ring else { return !self.ended.is_empty() };
        ring.has_deferred() || ring.completions().len() > 0 || !self.ended.is_empty()
    }

    /// The jobs that have ended: what the pager said, and of what the kernel did, at most
    /// `most`. Polls that it meets on the way are kept for [`take_polls`](Io::take_polls).
    pub fn ended(&mut self, most: usize, out: &mut Vec<(Job, io::Result<u64>)>) {
        out.append(&mut self.ended);
        let RingState::Ready(ring) = &mut self.ring else { return };
        // Polls don't count: where they come all the time, ends would wait behind them.
        let mut left = most;
        let mut completions = ring.completions();
        while left > 0
            && let Some(completion) = completions.next()
        {
            if completion.token >= TOKEN_POLL {
                self.polls.fired |= 1 << (completion.token - TOKEN_POLL);
                self.polls.over |= !completion.more;
                continue;
            }
            left -= 1;
            let token = completion.token as usize;
            let done = self.submitted[token].take().expect("a token is used once");
            self.free.push(token);
            self.short_reads -= usize::from(done.job.is_short_read());
            drop(done.vector);
            let result = completion.outcome().map(u64::from).map_err(io::Error::from);
            out.push((done.job, result));
        }
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        // The kernel may still write to frames: they must not be unmapped under it.
        let mut ended = Vec::new();
        while self.submitted.len() > self.free.len() {
            self.wait_for_end();
            self.ended(usize::MAX, &mut ended);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Write as _};
    use std::os::fd::AsFd as _;

    use faultless_pager::Direct;
    use faultless_sys::process::EventFd;
    use faultless_sys::ring::WakeUp;

    use super::*;

    /// Gives bytes when somebody writes them.
    struct Pipe(PipeReader);

    impl Pager for Pipe {
        fn name(&self) -> String {
            "a pipe".to_owned()
        }

        fn size(&self) -> io::Result<u64> {
            Ok(PAGE_BYTES)
        }

        fn read(&self, _: u64, _: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn write(&self, _: u64, _: &[IoSlice<'_>]) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }

        fn resize(&self, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn punch(&self, _: u64, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn direct(&self, _: Direction, _: u64, _: u64) -> Option<Direct<'_>> {
            Some(Direct { fd: self.0.as_fd() })
        }
    }

    #[test]
    fn a_job_ends_also_while_a_poll_that_fired_is_kept() {
        let (bell, (reader, mut writer)) = (EventFd::new().unwrap(), io::pipe().unwrap());
        let mut page = vec![0; PAGE_SIZE];
        let buffer = Buffer { start: page.as_mut_ptr(), len: PAGE_SIZE };
        let mut io = Io::new(Rings::Allowed, RingUser::ThisThread);
        let Some(ring) = io.ring() else { return eprintln!("not here: io_uring is refused") };
        assert!(ring.poll_readable(bell.as_fd(), WakeUp::All, TOKEN_POLL).is_ok());
        io.start(Job {
            direction: Direction::Read,
            object: ObjectId(0),
            first: PageIndex(0),
            frames: Frames::from_slice(&[FrameNo(0)]),
            pager: Arc::new(Pipe(reader)),
            buffers: Buffers::from_slice(&[buffer]),
            bytes: PAGE_BYTES,
        });
        bell.signal();
        let mut ended = Vec::new();
        io.wait();
        io.ended(usize::MAX, &mut ended);
        assert!(ended.is_empty() && io.polls.has(TOKEN_POLL));
        writer.write_all(&[7; PAGE_SIZE]).unwrap();
        // Once a handler that was told to stop with a read under way asked for ever here, and
        // the kernel never told that it had ended.
        for _ in 0..10 {
            if ended.is_empty() {
                io.wait_for_end();
                io.ended(usize::MAX, &mut ended);
            }
        }
        assert_eq!(ended.len(), 1);
        assert!(matches!(ended[0].1, Ok(PAGE_BYTES)));
        assert!(io.take_polls().has(TOKEN_POLL), "it is kept");
        assert!(page == [7; PAGE_SIZE]);
    }
}
