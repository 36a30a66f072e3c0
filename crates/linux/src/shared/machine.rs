//! [`SharedMachine`]: the trait's verbs, done to the store and to clients.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use faultless_addr::WriteAccess;
use faultless_addr::{Access, FrameNo, PAGE_BYTES, PAGE_SIZE, SpaceId, VirtAddr, VirtRange};
use faultless_machine::{Buffer, Held, Machine, Segv, Then};
use faultless_sys::Errno;
use faultless_sys::process::EventFd;
use faultless_sys::shared::SharedMemory;
use faultless_sys::uffd::{Features, PageFault, Protect, Userfaultfd};
use rustix::event::epoll;

use super::buffers::Buffers;
use super::client::{Client, Region};
use super::places::Places;
use super::store::Store;
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
    faults: Mutex<VecDeque<Held>>,
    /// Rings when somebody has read faults who doesn't serve them.
    pending: EventFd,
}

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
            let from = self.places.of(*frame).expect("a frame that is mapped has bytes");
            if !self.buffers.holds(from) {
                debug_assert_eq!(from, to, "{frame:?} is at another page's home");
                continue;
            }
            self.places.claim(*frame, to);
            copy_page(from, to);
            self.places.set(*frame, Some(to));
            free.push(from);
        }
        self.buffers.give(&free);
    }

    /// Shows what is in the store at a client's addresses.
    fn resume(&self, client: &Client, part: &Region, write: WriteAccess) {
        let protect = match write {
            WriteAccess::Allowed => Protect::No,
            _ if part.private => Protect::No,
            WriteAccess::Tracked | WriteAccess::Forbidden => Protect::Yes,
        };
        let mut rest = part.range;
        while !rest.is_empty() {
            let mut done = 0;
            let result = self.insist(client, || {
                let left = VirtRange { start: VirtAddr(rest.start.0 + done), end: rest.end };
                client.uffd.resume(left, protect).map_err(|stopped| {
                    done += stopped.done as u64;
                    stopped.errno
                })
            });
            match result {
                Ok(()) => return,
                // It is there already, as the kernel left it: with the rights of now.
                Err(Errno::EXIST) => {
                    let page = VirtRange::page(VirtAddr(rest.start.0 + done));
                    self.protect(client, page, protect);
                    let _ = client.uffd.wake(page);
                    rest.start = page.end;
                }
                // The kernel wants a range within one of its areas, which the client may have
                // cut: by mprotect, mlock, or advice for a part.
                Err(Errno::NOENT) if rest.pages() > 1 => {
                    let middle = rest.start.plus_pages(rest.pages() / 2);
                    self.resume(client, &part.part(VirtRange { end: middle, ..rest }), write);
                    rest.start = middle;
                }
                // The addresses, or the process, are gone: whoever waits is to see that.
                Err(_) => {
                    let _ = client.uffd.wake(rest);
                    return;
                }
            }
        }
    }

    fn protect(&self, client: &Client, range: VirtRange, protect: Protect) {
        // Refused only where the addresses, or the process, are gone.
        let _ = self.insist(client, || client.uffd.write_protect_now(range, protect));
    }

    fn insist<T>(
        &self,
        client: &Client,
        attempt: impl FnMut() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        client.insist(attempt, |fault| {
            self.push_fault(client, fault);
            self.pending.signal();
        })
    }

    fn push_fault(&self, client: &Client, fault: PageFault) {
        let region = client.find(fault.addr);
        // What a client stores in private memory is its own: it needs the page to copy it.
        let access = match region {
            Some(region) if region.private => Access::Read,
            _ => fault.access,
        };
        let (space, addr) = (client.space, fault.addr);
        self.lock_faults().push_back(Held { space, addr, access, thread: 0 });
    }

    fn lock_faults(&self) -> MutexGuard<'_, VecDeque<Held>> {
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

    /// Panics where nothing is mapped.
    fn mapped(&self, space: SpaceId, range: VirtRange) -> Buffer {
        let home = match space {
            STORE => range.start,
            _ => {
                let region = self.client(space).and_then(|client| client.find(range.start));
                let region = region.unwrap_or_else(|| panic!("no region at {:?}", range.start));
                region.home_of(range.start)
            }
        };
        Buffer { start: home.0 as *mut u8, len: range.len() as usize }
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
            if !part.gone {
                self.resume(&client, &part, write);
            }
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
        // Where the client itself has unmapped the page, it has left, and stays for others.
        let has_left = |at: VirtAddr| {
            let region = client.as_ref().and_then(|client| client.find(at));
            space != STORE && region.is_none_or(|region| region.gone)
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
        for part in client.regions_in(range).iter().filter(|part| !part.gone && !part.private) {
            self.protect(&client, part.range, protect);
        }
        Ok(())
    }

    /// What lies beyond the end of the object's memory is an error without us.
    fn poison(&self, space: SpaceId, range: VirtRange) -> io::Result<()> {
        let Some(client) = self.client(space) else { return Ok(()) };
        for page in (0..range.pages()).map(|n| range.start.plus_pages(n)) {
            let region = client.find(page).filter(|region| !region.gone);
            if region.is_some_and(|region| self.store.reaches(region.home_of(page))) {
                let page = VirtRange::page(page);
                // EEXIST: it is one already, or a page has come.
                let _ = self.insist(&client, || client.uffd.poison_now(page));
            }
        }
        let _ = client.uffd.wake(range);
        Ok(())
    }

    /// A page that is mapped takes the place of an error; nothing else does.
    fn heal(&self, _space: SpaceId, _range: VirtRange) -> io::Result<()> {
        Ok(())
    }

    fn wake(&self, space: SpaceId, range: VirtRange) {
        if let Some(client) = self.client(space) {
            let _ = client.uffd.wake(range);
        }
    }

    fn held_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.epoll.as_fd())
    }

    fn held(&self, limit: usize, out: &mut Vec<Held>) -> io::Result<()> {
        let mut faults = self.lock_faults();
        if faults.len() < limit {
            drop(faults);
            self.read_clients()?;
            faults = self.lock_faults();
        }
        let count = faults.len().min(limit);
        out.extend(faults.drain(..count));
        Ok(())
    }

    /// The kernel knows a client's areas and their rights. An access that it has let
    /// through, where there is no region, is one that we have lost: an error.
    fn segv(&self, held: &Held, _why: Segv) -> io::Result<()> {
        let page = VirtRange::page(held.addr.page_start());
        if let Some(client) = self.client(held.space) {
            if client.find(held.addr).is_none() {
                let _ = self.insist(&client, || client.uffd.poison_now(page));
            }
            let _ = client.uffd.wake(page);
        }
        Ok(())
    }

    fn bookkeeping_bytes(&self) -> usize {
        size_of::<SharedMachine>()
            + self.places.bookkeeping_bytes()
            + self.buffers.bookkeeping_bytes()
    }
}
