//! [`LinuxMachine`]: the trait's verbs, as calls to the pool and the arenas.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};

use faultless_addr::{FrameNo, PAGE_SIZE, SpaceId, VirtAddr, VirtRange, WriteAccess};
use faultless_machine::{Buffer, Held, Machine, Segv, Stores, Then};
use faultless_sys::Errno;
use faultless_sys::fork::Birthplace;
use faultless_sys::memory::dont_need;
use faultless_sys::uffd::{Event, Features, PageFault, Protect, Stopped, Userfaultfd};

use crate::arena::Arena;
use crate::calls::{Calls, Counters};
use crate::capabilities::Capabilities;
use crate::error::{NewError, PageError, Verb};
use crate::evict::MOVE_MIN;
use crate::inline::{InlineHook, Registration};
use crate::pool::Pool;
use crate::segv;

/// The space whose faults are messages for fault threads.
pub const THREAD: SpaceId = SpaceId(0);

/// The space whose faults are SIGBUS in the thread that faults.
pub const INLINE: SpaceId = SpaceId(1);

/// Frames and spare pages together at most, so that slots, twice as many, fit in 31 bits and
/// leave one number that is none of them.
const PAGES_MAX: u32 = (1 << 30) - 1;

/// How big a machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How many frames there are: the budget.
    pub frames: u32,
    /// Physical pages beyond that: second pages while a frame is copied, and pages
    /// kept ready. More lets more threads copy at a time, 64 pages each.
    pub spare: u32,
    /// Addresses of each arena; halved, down to 16 GiB, as long as they are refused.
    pub arena_bytes: u64,
}

impl Config {
    /// 1 MiB spare, and arenas of 16 TiB.
    pub fn new(frames: u32) -> Config {
        Config { frames, spare: 256, arena_bytes: 16 << 40 }
    }
}

/// The Linux machine. See the [crate's description](crate).
///
/// The trait's safety rests on its driver's promise: one call per frame at a time,
/// and frames only where the driver put them. Addresses outside the arenas, and
/// frames that aren't aside where they must be, panic.
///
/// After a fork it works on in the parent. In the child every address of its arenas
/// and its pool is SIGBUS, and every call answers EPERM, unless it was
/// [lent](Self::lend) for that fork.
#[derive(Debug)]
pub struct LinuxMachine {
    // The order is that of dropping: no hook may run when the arenas go.
    pub(crate) inline: Mutex<Option<Registration>>,
    pub(crate) marks: Mutex<Option<Registration>>,
    pub(crate) arenas: [Arena; 2],
    pub(crate) pool: Pool,
    pub(crate) counters: Counters,
    capabilities: Capabilities,
    pub(crate) birthplace: Birthplace,
}

impl LinuxMachine {
    /// A machine with all frames empty.
    pub fn new(config: Config) -> Result<LinuxMachine, NewError> {
        let fits = config.frames.checked_add(config.spare).is_some_and(|n| n <= PAGES_MAX);
        if config.frames == 0 || config.spare == 0 || !fits {
            return Err(NewError::Config { most: PAGES_MAX });
        }
        let birthplace = Birthplace::here();
        let capabilities = Capabilities::probe()?;
        let missing = capabilities.missing();
        if !missing.is_empty() {
            return Err(NewError::KernelTooOld { missing: missing.join(", ") });
        }
        let common = Features::MOVE.with(Features::POISON).with(Features::WRITE_PROTECT);
        let thread = common.with(Features::THREAD_ID).with(Features::EXACT_ADDRESS);
        let inline = common.with(Features::SIGBUS);
        Ok(LinuxMachine {
            inline: Mutex::new(None),
            marks: Mutex::new(None),
            arenas: [
                Arena::new(config.arena_bytes, thread)?,
                Arena::new(config.arena_bytes, inline)?,
            ],
            pool: Pool::new(config.frames, config.spare)?,
            counters: Counters::default(),
            capabilities,
            birthplace,
        })
    }

    /// The addresses of [`THREAD`] or [`INLINE`]; which part is whose mapping is the
    /// caller's business.
    pub fn arena(&self, space: SpaceId) -> VirtRange {
        self.space(space).range()
    }

    /// Where fault messages of a space come from. [`INLINE`] has none.
    pub fn events(&self, space: SpaceId) -> &Userfaultfd {
        &self.space(space).uffd
    }

    /// From now on `hook` serves the faults of [`INLINE`]. Once per machine; dropping
    /// the machine waits until no hook is running.
    pub fn on_inline_fault(&self, hook: InlineHook) -> Result<(), NewError> {
        let mut inline = self.inline.lock().unwrap_or_else(PoisonError::into_inner);
        if inline.is_some() {
            return Err(NewError::HookSet);
        }
        *inline = Some(Registration::new(self.arena(INLINE), hook)?);
        Ok(())
    }

    /// From now on `hook` is asked about accesses in [`THREAD`] that met a mark: the kernel
    /// makes a SIGBUS of each, whatever the rights are. Once per machine, as above.
    pub fn on_mark(&self, hook: InlineHook) -> Result<(), NewError> {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.is_some() {
            return Err(NewError::HookSet);
        }
        *marks = Some(Registration::new(self.arena(THREAD), hook)?);
        Ok(())
    }

    /// What the kernel lets us do.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// Physical pages of frames and of the pool, and the bound they never pass.
    pub fn physical_pages(&self) -> (usize, usize) {
        self.pool.physical()
    }

    /// Gives pages that are ready for frames back to the system, but for `keep`.
    pub fn trim(&self, keep: usize) -> io::Result<()> {
        self.here(Verb::Back, self.pool.addr(0))?;
        Ok(self.pool.trim(keep, &self.counters)?)
    }

    /// Calls made so far.
    pub fn calls(&self) -> Calls {
        self.counters.read()
    }

    fn space(&self, space: SpaceId) -> &Arena {
        &self.arenas[space.index()]
    }

    /// The descriptors mean the process that opened them: a forked child would change
    /// its parent's memory.
    fn here(&self, verb: Verb, addr: VirtAddr) -> Result<(), PageError> {
        match self.birthplace.is_here() {
            true => Ok(()),
            false => Err(PageError::new(verb, addr, Errno::PERM)),
        }
    }

    /// Answers where it stopped, with everything before that mapped.
    fn move_in(&self, arena: &Arena, at: VirtAddr, frames: &[FrameNo]) -> Result<(), Stopped> {
        let mut done = 0;
        while done < frames.len() {
            let rest = &frames[done..];
            let run = self.pool.run_of(rest);
            let to = at.plus_pages(done as u64);
            let moved = self.pool.move_in(&arena.uffd, to, rest, run, &self.counters);
            done += moved.map_or_else(|stopped| stopped.done / PAGE_SIZE, |()| run.len as usize);
            let Err(stopped) = moved else { continue };
            if stopped.errno != Errno::BUSY {
                return Err(Stopped { done: done * PAGE_SIZE, ..stopped });
            }
            // The kernel still holds the page from a read that has ended: a copy will do.
            let (to, one) = (at.plus_pages(done as u64), &frames[done..=done]);
            self.pool
                .copy_in(&arena.uffd, to, one, Protect::No, &self.counters)
                .map_err(|stopped| Stopped { done: done * PAGE_SIZE, ..stopped })?;
            done += 1;
        }
        Ok(())
    }

    fn protect(&self, arena: &Arena, range: VirtRange, protect: Protect) -> Result<(), PageError> {
        self.counters.protect();
        let error = |errno| PageError::new(Verb::Protect, range.start, errno);
        arena.uffd.write_protect(range, protect).map_err(error)
    }
}

impl Machine for LinuxMachine {
    /// On an error all of `frames` are empty as before.
    fn back(&self, frames: &[FrameNo]) -> io::Result<()> {
        self.here(Verb::Back, self.pool.addr(0))?;
        Ok(self.pool.back(frames, &self.counters)?)
    }

    fn buffer(&self, frame: FrameNo) -> Buffer {
        let start = self.pool.addr(self.pool.slot(frame)).0 as *mut u8;
        Buffer { start, len: PAGE_SIZE }
    }

    fn mapped(&self, space: SpaceId, at: VirtAddr, _frame: FrameNo) -> Buffer {
        self.space(space).check(VirtRange::page(at));
        Buffer { start: at.0 as *mut u8, len: PAGE_SIZE }
    }

    /// On an error all of `frames` are aside as before, unless taking back those that
    /// were in place already is refused as well.
    ///
    /// EEXIST where there is a page, or a poisoned one; but pages that are copied (few at
    /// a time, or tracked) silently replace a poisoned one, because UFFDIO_COPY does so.
    fn map(
        &self,
        space: SpaceId,
        at: VirtAddr,
        frames: &[FrameNo],
        write: WriteAccess,
    ) -> io::Result<()> {
        self.here(Verb::Map, at)?;
        let arena = self.space(space);
        let range = arena.pages(at, frames.len());
        // One copy is cheaper than a move, because the page it comes from is ready for the
        // next read, and arrives protected; many are not, and one that leaves its neighbours
        // behind leaves them in pieces.
        let moves = frames.len() >= MOVE_MIN
            || frames.first().is_some_and(|frame| self.pool.is_of_run(*frame));
        let result = match write {
            WriteAccess::Allowed | WriteAccess::Forbidden if moves => {
                self.move_in(arena, at, frames)
            }
            WriteAccess::Allowed => {
                self.pool.copy_in(&arena.uffd, at, frames, Protect::No, &self.counters)
            }
            WriteAccess::Tracked | WriteAccess::Forbidden => {
                self.pool.copy_in(&arena.uffd, at, frames, Protect::Yes, &self.counters)
            }
        };
        if let Err(stopped) = result {
            let done = stopped.done / PAGE_SIZE;
            let pages = (0..).map(|page| at.plus_pages(page)).zip(frames[..done].iter().copied());
            self.keep(&pages.collect::<Vec<_>>(), Stores::Pass)?;
            return Err(PageError::stopped(Verb::Map, at, stopped).into());
        }
        if write == WriteAccess::Forbidden && moves {
            self.protect(arena, range, Protect::Yes)?;
        }
        Ok(())
    }

    /// With [`Then::Drop`] pinned pages are dropped like others. On an error all before
    /// the page that it names are unmapped.
    fn unmap(
        &self,
        space: SpaceId,
        pages: &[(VirtAddr, FrameNo)],
        then: Then,
    ) -> io::Result<usize> {
        debug_assert!(pages.is_sorted(), "pages to unmap are sorted");
        let arena = self.space(space);
        for (at, _) in pages {
            self.here(Verb::Unmap, *at)?;
            arena.pages(*at, 1);
        }
        match then {
            Then::Drop => self.forget(pages)?,
            Then::Keep(stores) => match self.keep(pages, stores) {
                Ok(()) => {}
                Err(PageError { errno: Errno::BUSY, addr, .. }) => {
                    return Ok(pages.partition_point(|(at, _)| *at < addr));
                }
                Err(error) => return Err(error.into()),
            },
        }
        Ok(pages.len())
    }

    fn release(&self, frames: &[FrameNo]) {
        if self.birthplace.is_here() {
            self.pool.release(frames);
        }
    }

    fn set_write(&self, space: SpaceId, range: VirtRange, write: WriteAccess) -> io::Result<()> {
        self.here(Verb::Protect, range.start)?;
        let arena = self.space(space);
        arena.check(range);
        let protect = match write {
            WriteAccess::Allowed => Protect::No,
            WriteAccess::Tracked | WriteAccess::Forbidden => Protect::Yes,
        };
        Ok(self.protect(arena, range, protect)?)
    }

    /// Pages of `range` that are present stay as they are.
    fn poison(&self, space: SpaceId, range: VirtRange) -> io::Result<()> {
        self.here(Verb::Poison, range.start)?;
        let arena = self.space(space);
        arena.check(range);
        let mut rest = range;
        while !rest.is_empty() {
            match arena.uffd.poison(rest) {
                Ok(()) => break,
                // Poisoned already, or present: the next one.
                Err(Stopped { done, errno: Errno::EXIST }) => {
                    rest.start = VirtAddr(rest.start.0 + done as u64).plus_pages(1);
                }
                Err(stopped) => {
                    return Err(PageError::stopped(Verb::Poison, rest.start, stopped).into());
                }
            }
        }
        // Those that were poisoned already may have waiters from before.
        self.wake(space, range);
        Ok(())
    }

    fn heal(&self, space: SpaceId, range: VirtRange) -> io::Result<()> {
        self.here(Verb::Heal, range.start)?;
        self.space(space).check(range);
        if range.is_empty() {
            return Ok(());
        }
        // SAFETY: 1. the range is in our arena; 2. the driver's promise is that no frame
        // is mapped in it, so there are no bytes to lose.
        let result = unsafe { dont_need(range) };
        Ok(result.map_err(|errno| PageError::new(Verb::Heal, range.start, errno))?)
    }

    fn wake(&self, space: SpaceId, range: VirtRange) {
        let arena = self.space(space);
        arena.check(range);
        if self.birthplace.is_here() && !range.is_empty() {
            // Refused only for a range that isn't registered; arenas are.
            let _ = arena.uffd.wake(range);
        }
    }

    fn held_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.events(THREAD).as_fd())
    }

    /// What is held may have been answered since.
    fn held(&self, limit: usize, out: &mut Vec<Held>) -> io::Result<()> {
        let mut events = [Event::Other(0); 16];
        let limit = limit.min(events.len());
        let count = self.events(THREAD).read_messages(&mut events[..limit])?;
        out.extend(events[..count].iter().filter_map(|event| match *event {
            Event::PageFault(PageFault { addr, access, thread, .. }) => {
                Some(Held { space: THREAD, addr, access, thread })
            }
            _ => None, // Nobody has asked for other events.
        }));
        Ok(())
    }

    /// An access by an instruction gets the signal, whose handler may return: then it
    /// is held again. An access by a system call makes that answer EFAULT. Where there is no
    /// area, it is the hook for marks ([`LinuxMachine::on_mark`]) that makes the signal.
    ///
    /// It does nothing where the thread is gone.
    fn segv(&self, held: &Held, why: Segv) -> io::Result<()> {
        self.here(Verb::Poison, held.addr)?;
        Ok(segv::end(self.space(held.space), &self.pool.moments, held, why)?)
    }

    fn bookkeeping_bytes(&self) -> usize {
        size_of::<LinuxMachine>() + self.pool.bookkeeping_bytes()
    }
}
