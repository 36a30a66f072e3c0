//! [`SharedMachine`]: the trait's verbs, done to the store and to clients.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use faultless_addr::WriteAccess;
use faultless_addr::{Access, FrameNo, PAGE_BYTES, PAGE_SIZE, SpaceId, VirtAddr, VirtRange};
use faultless_machine::{Buffer, Held, Machine, Segv, Stores, Then};
use faultless_sys::Errno;
use faultless_sys::process::EventFd;
use faultless_sys::shared::SharedMemory;
use faultless_sys::uffd::{Features, PageFault, Protect, Stopped, Userfaultfd};
use rustix::event::epoll;

use super::buffers::Buffers;
use super::client::{Client, Kind, Region};
use super::places::Places;
use super::store::Store;
use super::turns::Turns;
use crate::error::NewError;

/// The space of this process, where every object has its home.
pub const STORE: SpaceId = SpaceId(0);

/// How big a machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedConfig {
    /// How many frames there are: the budget.
    pub frames: u32,
    /// Pages beyond that, kept ready or in the middle of being copied.
    pub spare: u32,
    /// Addresses for objects' homes.
    pub store_bytes: u64,
}

impl SharedConfig {
    /// 1 MiB spare, and 16 TiB of addresses.
    pub fn new(frames: u32) -> SharedConfig {
        SharedConfig { frames, spare: 256, store_bytes: 16 << 40 }
    }
}

/// The machine of a broker. See the [module's description](super).
#[derive(Debug)]
pub struct SharedMachine {
    store: Store,
    buffers: Buffers,
    places: Places,
    clients: RwLock<Vec<Option<Arc<Client>>>>,
    /// Readable when a client's descriptor is, or `pending`.
    epoll: OwnedFd,
    /// Faults that have been read and not been asked for.
    faults: Mutex<Turns>,
    /// Accesses where nothing is known, and since when they are tried.
    lost: Mutex<HashMap<(SpaceId, VirtAddr), Instant>>,
    /// Rings when somebody has read faults who doesn't serve them.
    pending: EventFd,
}

/// All addresses that a program can have.
const EVERYWHERE: VirtRange =
    VirtRange { start: VirtAddr(PAGE_BYTES), end: VirtAddr((1 << 47) - PAGE_BYTES) };

/// So long an access to what is unknown is tried again.
const PATIENCE: Duration = Duration::from_secs(1);

/// The token of `pending` in the epoll set.
const PENDING: u64 = u64::MAX;

impl SharedMachine {
    /// A machine without objects and clients.
    pub fn new(config: SharedConfig) -> Result<SharedMachine, NewError> {
        if config.frames == 0 || config.spare == 0 {
            return Err(NewError::Config { most: u32::MAX });
        }
        let setup = |errno| NewError::Userfaultfd(handshake(errno));
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(setup)?;
        let pending = EventFd::new().map_err(setup)?;
        let token = epoll::EventData::new_u64(PENDING);
        epoll::add(&epoll, &pending, token, epoll::EventFlags::IN).map_err(setup)?;
        Ok(SharedMachine {
            store: Store::new(config.store_bytes)?,
            buffers: Buffers::new(config.frames, config.spare)?,
            places: Places::new(config.frames),
            clients: RwLock::default(),
            epoll,
            faults: Mutex::default(),
            lost: Mutex::default(),
            pending,
        })
    }

    /// The addresses of homes: the bounds of [`STORE`].
    pub fn store(&self) -> VirtRange {
        self.store.range()
    }

    /// An object whose home is `range` has this memory.
    pub fn add_memory(&self, range: VirtRange, memory: Arc<SharedMemory>) -> Result<(), Errno> {
        self.store.add(range, memory)
    }

    /// The object is no more; it has no frames and is in no region.
    pub fn remove_memory(&self, range: VirtRange) {
        self.store.remove(range);
    }

    /// A process whose faults come by `uffd` from now on, in a space that the engine has made.
    pub fn add_client(&self, space: SpaceId, uffd: OwnedFd) -> Result<Arc<Client>, Errno> {
        let client = Arc::new(Client::new(space, Userfaultfd::received(uffd, Features::SHARED))?);
        let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
        if clients.len() <= space.index() {
            clients.resize_with(space.index() + 1, || None);
        }
        let token = epoll::EventData::new_u64(space.0.into());
        epoll::add(&self.epoll, &client.uffd, token, epoll::EventFlags::IN)?;
        clients[space.index()] = Some(client.clone());
        Ok(client)
    }

    /// The process is gone, or won't be served any more: whoever waits tries again, and
    /// meets what is there without us.
    pub fn remove_client(&self, space: SpaceId) {
        let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get_mut(space.index()).and_then(Option::take) {
            let _ = epoll::delete(&self.epoll, &client.uffd);
        }
        drop(clients);
        self.lock_faults().forget(space);
    }

    fn client(&self, space: SpaceId) -> Option<Arc<Client>> {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        clients.get(space.index())?.clone()
    }

    /// The part of a client's region from `at` on, up to `end`.
    fn region(&self, client: &Client, at: VirtAddr, end: VirtAddr) -> Option<Region> {
        let region = client.find(at)?;
        Some(region.part(VirtRange { start: at, end }))
    }

    /// Brings frames to their object's memory, from `home` on.
    fn bring_home(&self, home: VirtAddr, frames: &[FrameNo]) {
        let mut free = Vec::new();
        for (n, frame) in frames.iter().enumerate() {
            let to = home.plus_pages(n as u64);
            let place = || self.places.of(*frame).expect("a frame that is mapped has bytes");
            let mut from = place();
            if from == to {
                continue;
            }
            if !self.buffers.holds(from) {
                // It stayed there when the last client that had it unmapped it.
                self.leave_store([*frame].into_iter(), Then::Keep(Stores::Stopped));
                from = place();
            }
            self.places.claim(*frame, to);
            copy_page(from, to);
            self.places.set(*frame, Some(to));
            free.push(from);
        }
        self.buffers.give(&free);
    }

    /// Does something at the addresses that a client has now for `range`, as far as it goes.
    /// `attempt` is told the addresses, and answers where the kernel stopped.
    fn follow(
        &self,
        client: &Client,
        range: VirtRange,
        attempt: impl Fn(&Region, VirtRange) -> Result<(), Stopped>,
    ) {
        let mut rest = range;
        let mut tries = 0;
        while let Some((part, result)) = client.attempt(rest, &attempt) {
            let Err(stopped) = result else {
                rest.start = part.range.end;
                continue;
            };
            rest.start = VirtAddr(part.range.start.0 + stopped.done as u64);
            // The addresses have changed: what there is to be heard of that comes first.
            self.read_for_others(client, tries);
            tries += 1;
            let nothing_was_heard = || client.regions_in(rest).first() == Some(&part.part(rest));
            if stopped.errno != Errno::AGAIN && nothing_was_heard() {
                // They, or the process, are gone without a word: that is how it ends.
                rest.start = part.range.end;
            }
        }
    }

    /// Reads what a client has told; whoever serves faults is told of those.
    fn read_for_others(&self, client: &Client, tries: u32) {
        let _ = client.read(|fault| {
            self.push_fault(client, fault);
            self.pending.signal();
        });
        match tries {
            0..100 => std::thread::yield_now(),
            _ => std::thread::sleep(Duration::from_micros(50)),
        }
    }

    /// Shows what is in the store at a client's addresses.
    fn resume(&self, client: &Client, range: VirtRange, write: WriteAccess) {
        self.follow(client, range, |part, now| {
            let protect = match write {
                WriteAccess::Allowed => Protect::No,
                _ if part.kind == Kind::Private => Protect::No,
                WriteAccess::Tracked | WriteAccess::Forbidden => Protect::Yes,
            };
            let (mut done, mut span) = (0, now.pages());
            while done < now.len() as usize {
                let start = VirtAddr(now.start.0 + done as u64);
                let rest = VirtRange { start, end: now.end.min(start.plus_pages(span)) };
                let Err(stopped) = client.uffd.resume(rest, protect) else {
                    (done, span) = (done + rest.len() as usize, now.pages());
                    continue;
                };
                done += stopped.done;
                match stopped.errno {
                    // It is there already, as the kernel left it: with the rights of now.
                    Errno::EXIST => {
                        let page = VirtRange::page(VirtAddr(now.start.0 + done as u64));
                        let protected = client.uffd.write_protect_now(page, protect);
                        protected.map_err(|errno| Stopped { done, errno })?;
                        let _ = client.uffd.wake(page);
                        done += PAGE_SIZE;
                    }
                    // It has to be within one of the kernel's areas, and the client may have
                    // cut those: by mprotect, mlock, advice for a part.
                    Errno::NOENT if rest.pages() > 1 => span = rest.pages() / 2,
                    errno => return Err(Stopped { done, errno }),
                }
            }
            Ok(())
        });
    }

    fn push_fault(&self, client: &Client, fault: PageFault) {
        let found = client.find_now(fault.addr);
        // What a client stores in private memory is its own: it needs the page to copy it.
        let access = match found {
            Some((region, _)) if region.kind == Kind::Private => Access::Read,
            _ => fault.access,
        };
        let (space, addr) = (client.space, found.map_or(fault.addr, |(_, at)| at));
        self.lock_faults().push(Held { space, addr, access, thread: 0 });
    }

    fn lock_faults(&self) -> MutexGuard<'_, Turns> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what clients have told since.
    fn read_clients(&self) -> Result<(), Errno> {
        let mut ready = Vec::with_capacity(16);
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut ready), Some(&now)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        for event in &ready {
            match event.data.u64() {
                PENDING => drop(self.pending.drain()),
                space => {
                    let Some(client) = self.client(SpaceId(space as u32)) else { continue };
                    // An error says that the process is gone, which its socket says, too.
                    let _ = client.read(|fault| self.push_fault(&client, fault));
                }
            }
        }
        Ok(())
    }

    /// Has this access met nothing for so long that there is nothing to be heard any more?
    fn is_lost(&self, held: &Held) -> bool {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.retain(|_, since| since.elapsed() < 2 * PATIENCE);
        let since = lost.entry((held.space, held.addr.page_start())).or_insert_with(Instant::now);
        since.elapsed() > PATIENCE
    }

    /// Pages of frames in the store, next to each other, by object.
    fn punch(&self, homes: &[VirtAddr]) {
        let next =
            |a: &VirtAddr, b: &VirtAddr| a.plus_pages(1) == *b && self.store.are_together(*a, *b);
        for run in homes.chunk_by(next) {
            let punched = self.store.punch(run[0], run.len() as u64 * PAGE_BYTES);
            debug_assert!(punched.is_ok(), "{punched:?}");
        }
    }

    /// Those of the frames that are in the store leave it.
    fn leave_store(&self, frames: impl Iterator<Item = FrameNo>, then: Then) {
        let mut homes = Vec::new();
        for frame in frames {
            let Some(home) = self.places.of(frame).filter(|at| !self.buffers.holds(*at)) else {
                continue;
            };
            if !self.places.begin_leaving(frame, home) {
                continue;
            }
            let aside = match then {
                Then::Keep(_) => {
                    let aside = self.buffers.take();
                    copy_page(home, aside);
                    Some(aside)
                }
                Then::Drop => None,
            };
            self.places.set(frame, aside);
            homes.push(home);
        }
        homes.sort_unstable();
        self.punch(&homes);
        self.places.end_leaving(&homes);
    }
}

/// Copies the bytes of a frame from one of its places to the other.
fn copy_page(from: VirtAddr, to: VirtAddr) {
    let (from, to) = (from.0 as *const u8, to.0 as *mut u8);
    // SAFETY: 1. both are places of one frame, in the buffers or at an object's home, a page
    // each, and different; 2. the driver's promise is that nobody else moves or fills the
    // frame, and that no client's store to it passes; 3. its object reaches that far: the
    // driver cuts an object's memory only when no frame is beyond the end.
    unsafe { to.copy_from_nonoverlapping(from, PAGE_SIZE) };
}

fn handshake(errno: Errno) -> faultless_sys::uffd::OpenError {
    faultless_sys::uffd::OpenError::Handshake {
        wanted: Features::SHARED.bits(),
        source: errno.into(),
    }
}

impl Machine for SharedMachine {
    fn leaves_at_once(&self) -> bool {
        true
    }

    fn back(&self, frames: &[FrameNo]) -> io::Result<()> {
        for frame in frames {
            debug_assert_eq!(self.places.of(*frame), None, "{frame:?} has bytes already");
            self.places.set(*frame, Some(self.buffers.take()));
        }
        Ok(())
    }

    fn buffer(&self, frame: FrameNo) -> Buffer {
        let at = self.places.of(frame).unwrap_or_else(|| panic!("{frame:?} has no bytes"));
        Buffer { start: at.0 as *mut u8, len: PAGE_SIZE }
    }

    /// At home: whoever maps it may be gone by now.
    fn mapped(&self, _space: SpaceId, _at: VirtAddr, frame: FrameNo) -> Buffer {
        self.buffer(frame)
    }

    fn map(
        &self,
        space: SpaceId,
        at: VirtAddr,
        frames: &[FrameNo],
        write: WriteAccess,
    ) -> io::Result<()> {
        if space == STORE {
            self.bring_home(at, frames);
            return Ok(());
        }
        let Some(client) = self.client(space) else { return Ok(()) };
        let end = at.plus_pages(frames.len() as u64);
        let mut done = 0;
        while done < frames.len() {
            let from = at.plus_pages(done as u64);
            // No region: the client has unmapped it meanwhile. The frame stays aside.
            let Some(part) = self.region(&client, from, end) else {
                done += 1;
                continue;
            };
            let count = part.range.pages() as usize;
            self.bring_home(part.home, &frames[done..done + count]);
            self.resume(&client, part.range, write);
            done += count;
        }
        Ok(())
    }

    fn unmap(
        &self,
        space: SpaceId,
        pages: &[(VirtAddr, FrameNo)],
        then: Then,
    ) -> io::Result<usize> {
        let client = match space {
            STORE => None,
            _ => self.client(space),
        };
        // Where the client itself has unmapped the page, it has left, and stays for others. Where
        // it has moved it, stores have been stopped there, and it stays, too: whoever writes it
        // at home would write to another page than its frame's. Memory of its own nobody else
        // sees, and its home may be another page's before long. Who isn't a client any more has
        // it still.
        let has_left = |at: VirtAddr| {
            let stays = |region: Region| region.has_left() && !region.kind.is_own();
            client.as_ref().is_some_and(|client| client.find(at).is_none_or(stays))
        };
        let leave = pages.iter().filter(|(at, _)| then == Then::Drop || !has_left(*at));
        self.leave_store(leave.map(|(_, frame)| *frame), then);
        Ok(pages.len())
    }

    fn release(&self, frames: &[FrameNo]) {
        let mut free = Vec::new();
        for frame in frames {
            if let Some(at) = self.places.of(*frame).filter(|at| self.buffers.holds(*at)) {
                self.places.set(*frame, None);
                free.push(at);
            }
        }
        self.buffers.give(&free);
        self.leave_store(frames.iter().copied(), Then::Drop);
    }

    fn set_write(&self, space: SpaceId, range: VirtRange, write: WriteAccess) -> io::Result<()> {
        let Some(client) = self.client(space) else { return Ok(()) };
        let protect = match write {
            WriteAccess::Allowed => Protect::No,
            WriteAccess::Tracked | WriteAccess::Forbidden => Protect::Yes,
        };
        self.follow(&client, range, |part, now| match part.kind {
            Kind::Private => Ok(()),
            Kind::Shared | Kind::Own { .. } => {
                let protected = client.uffd.write_protect_now(now, protect);
                protected.map_err(|errno| Stopped { done: 0, errno })
            }
        });
        Ok(())
    }

    /// What lies beyond the end of the object's memory is an error without us.
    fn poison(&self, space: SpaceId, range: VirtRange) -> io::Result<()> {
        let Some(client) = self.client(space) else { return Ok(()) };
        for n in 0..range.pages() {
            let page = VirtRange::page(range.start.plus_pages(n));
            self.follow(&client, page, |part, now| match self.store.reaches(part.home) {
                // EEXIST: it is one already, or a page has come.
                true => client.uffd.poison_now(now).map_err(|errno| Stopped { done: 0, errno }),
                false => Ok(()),
            });
        }
        self.wake(space, range);
        Ok(())
    }

    /// Nothing but a page that is mapped takes the place of an error in another process; the
    /// process itself can give it up.
    fn heal(&self, space: SpaceId, range: VirtRange) -> io::Result<()> {
        let client = self.client(space);
        client.into_iter().for_each(|client| client.note_healed(range));
        Ok(())
    }

    fn wake(&self, space: SpaceId, range: VirtRange) {
        let Some(client) = self.client(space) else { return };
        let parts = client.regions_in(range);
        for part in parts.iter().filter(|part| !part.gone) {
            let _ = client.uffd.wake(part.range_now());
        }
        if parts.iter().map(|part| part.range.len()).sum::<u64>() < range.len() {
            // Who waited there may be anywhere by now.
            let _ = client.uffd.wake(EVERYWHERE);
        }
    }

    fn held_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.epoll.as_fd())
    }

    fn held(&self, limit: usize, out: &mut Vec<Held>) -> io::Result<()> {
        // Also where there are enough: who comes now is not to wait for all that came before.
        self.read_clients()?;
        let mut faults = self.lock_faults();
        out.extend(std::iter::from_fn(|| faults.pop()).take(limit));
        Ok(())
    }

    /// The kernel knows a client's areas and their rights: an access that it has let
    /// through, where the engine shows nothing, has met something that we are about to hear
    /// of. Should we never, it is an error.
    fn segv(&self, held: &Held, _why: Segv) -> io::Result<()> {
        let Some(client) = self.client(held.space) else { return Ok(()) };
        let page = VirtRange::page(held.addr.page_start());
        if client.find_now(held.addr).is_none() && self.is_lost(held) {
            let _ = client.uffd.poison_now(page);
        }
        let _ = client.uffd.wake(EVERYWHERE);
        Ok(())
    }

    fn bookkeeping_bytes(&self) -> usize {
        size_of::<SharedMachine>()
            + self.places.bookkeeping_bytes()
            + self.buffers.bookkeeping_bytes()
    }
}
