//! [`Broker`]: the socket, the sessions, starting and ending.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use faultless_addr::{PAGE_BYTES, SpaceId};
use faultless_engine::{Addresses, Config, Losses, PolicyKind};
use faultless_linux::shared::{SharedConfig, SharedMachine};
use faultless_protocol::Reason;
use faultless_runtime::{Core, Options, Threads};
use faultless_sys::process::EventFd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen,
    socket_with, sockopt,
};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::error::BrokerError;
use crate::files::Files;
use crate::heir::Will;
use crate::limits::{CLIENT_MEMORY_MIN, Limits, Places};
use crate::regions::Regions;
use crate::served::SharedCore;
use crate::session::Session;
use crate::stats::BrokerStats;
use crate::swap::Swap;

/// How a broker is to be.
#[derive(Debug)]
pub struct BrokerOptions {
    /// The budget in bytes: every page of every client's files counts.
    pub memory: u64,
    /// Which page leaves when room is needed.
    pub policy: PolicyKind,
    /// Files shorter than this are the kernel's to map.
    pub min: u64,
    /// Serve large private anonymous memory, too, whose pages leave to this.
    pub swap: Option<Swap>,
    /// How much one client may have, and how many there may be.
    pub limits: Limits,
    /// Threads that serve faults.
    pub handlers: usize,
    /// A socket that keeps messages apart, with a process at its other end that does
    /// [`be_heir`](crate::be_heir): without one, clients may wait for ever for pages when
    /// the broker dies, or read zeros.
    pub heir: Option<OwnedFd>,
}

impl Default for BrokerOptions {
    fn default() -> BrokerOptions {
        BrokerOptions {
            memory: 256 << 20,
            policy: PolicyKind::TwoList,
            min: 1 << 20,
            swap: None,
            limits: Limits::default(),
            handlers: 2,
            heir: None,
        }
    }
}

/// A running broker. Dropping it writes everything back and lets all clients go.
pub struct Broker {
    shared: Arc<Shared>,
    socket: PathBuf,
    acceptor: Option<JoinHandle<()>>,
    /// Dropped last: its threads serve faults until every client is gone.
    _threads: Threads<SharedMachine>,
}

/// What all sessions share.
pub(crate) struct Shared {
    pub core: Arc<SharedCore>,
    pub files: Arc<Files>,
    pub min: u64,
    /// Bytes of anonymous memory that there is room for in budget and swap; 0 where none is
    /// served.
    pub room_bytes: u64,
    pub limits: Limits,
    /// What [`Limits::client_memory`] is in frames.
    pub frames_of_client: Option<u32>,
    pub places: Arc<Places>,
    pub will: Will,
    /// Readable when the broker ends.
    pub stop: EventFd,
    pub counters: Counters,
    members: Mutex<BTreeMap<u64, Weak<Regions>>>,
    sessions: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
pub(crate) struct Counters {
    clients: AtomicU64,
    pub maps_served: AtomicU64,
    /// Mappings that were left to the kernel, by reason.
    maps_kernel: [AtomicU64; Reason::ALL.len()],
    pub maps_refused: AtomicU64,
    pub malformed: AtomicU64,
    /// The most frames that a client has had, where they are counted.
    client_frames_max: AtomicU64,
}

impl Counters {
    /// The kernel is to do a mapping.
    pub fn left_to_kernel(&self, reason: Reason) {
        self.maps_kernel[reason as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// How many may be connected without having said who they are, where clients are counted.
const STRANGERS_MAX: usize = 64;

/// How often is looked whether others have changed the length of files.
const LOOK: Duration = Duration::from_millis(100);

impl Broker {
    /// Listens at `socket`, which is removed at the end. A socket that nobody listens at any
    /// more is replaced.
    pub fn start(
        socket: impl Into<PathBuf>,
        options: BrokerOptions,
    ) -> Result<Broker, BrokerError> {
        let socket = socket.into();
        let pages = options.memory / PAGE_BYTES;
        let fits = (16..1 << 29).contains(&pages);
        let pages = u32::try_from(pages).ok().filter(|_| fits);
        let pages = pages.ok_or(BrokerError::Memory(options.memory))?;
        let frames_of_client = options.limits.client_memory.map(frames_of_client).transpose()?;
        let spare = (pages / 64).clamp(2, 256);
        let frames = pages - spare;
        let machine = SharedMachine::new(SharedConfig { spare, ..SharedConfig::new(frames) })?;
        let config = Config {
            policy: options.policy,
            addresses: Addresses::OneIfPrivate,
            translations: Losses::Untold,
            ..Config::new(frames, vec![machine.store()])
        };
        let runtime = Options { handlers: options.handlers.max(2), ..Options::default() };
        let core = Core::new(machine, config, runtime)?;
        let swap_bytes = options.swap.as_ref().map(|swap| swap.add_to(&core)).transpose()?;
        // Half of the budget is for what is in use, and for files.
        let room_bytes = swap_bytes.map_or(0, |bytes| bytes + u64::from(frames / 2) * PAGE_BYTES);
        let threads = core.start()?;
        let setup = |what| move |errno: Errno| BrokerError::Setup { what, source: errno.into() };
        let files = Files::new(core.clone(), options.min).map_err(setup("the board"))?;
        let shared = Arc::new(Shared {
            core,
            files: Arc::new(files),
            min: options.min,
            room_bytes,
            limits: options.limits,
            frames_of_client,
            places: Places::new(options.limits.clients),
            will: Will::new(options.heir),
            stop: EventFd::new().map_err(setup("an eventfd"))?,
            counters: Counters::default(),
            members: Mutex::default(),
            sessions: Mutex::default(),
        });
        let listener = open_listener(&socket)?;
        let acceptor = {
            let shared = shared.clone();
            spawn("faultless-accept", move || shared.accept(&listener))?
        };
        Ok(Broker { shared, socket, acceptor: Some(acceptor), _threads: threads })
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Counters, and what they count now.
    pub fn stats(&self) -> BrokerStats {
        self.shared.stats()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
        self.shared.stop.signal();
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for session in self.shared.take_sessions() {
            let _ = session.join();
        }
        self.shared.files.close_all();
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &OwnedFd) {
        let wait = Timespec { tv_sec: 0, tv_nsec: LOOK.as_nanos() as _ };
        loop {
            let mut fds =
                [PollFd::new(listener, PollFlags::IN), PollFd::new(&self.stop, PollFlags::IN)];
            let ready = poll(&mut fds, Some(&wait)).unwrap_or(0);
            if !fds[1].revents().is_empty() {
                return;
            }
            if ready == 0 {
                self.files.follow_sizes();
                self.reap();
                continue;
            }
            if let Ok(socket) = accept_with(listener, SocketFlags::CLOEXEC) {
                self.begin(socket);
            }
        }
    }

    /// A session for who has connected, if it is one of ours.
    fn begin(self: &Arc<Self>, socket: OwnedFd) {
        let us = rustix::process::geteuid();
        let allowed = sockopt::socket_peercred(&socket)
            .is_ok_and(|peer| peer.uid == us || peer.uid.is_root());
        if !allowed || !self.has_room_for_strangers() {
            return;
        }
        let session = Session::new(self.clone(), socket);
        if let Ok(join) = spawn("faultless-client", move || session.run()) {
            self.sessions.lock().unwrap_or_else(PoisonError::into_inner).push(join);
        }
    }

    /// Who has connected and not said who it is has a thread, too: where clients are counted,
    /// there are not too many of those either.
    fn has_room_for_strangers(&self) -> bool {
        if self.limits.clients.is_none() {
            return true;
        }
        self.reap();
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner).len();
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner).len();
        sessions.saturating_sub(members) < STRANGERS_MAX
    }

    /// Sessions that have ended are forgotten.
    fn reap(&self) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|session| !session.is_finished());
    }

    fn take_sessions(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut *self.sessions.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A client more. Who knows its name may say that it is a child, and is given what the
    /// client has: nobody guesses a [new name](new_name).
    pub fn enter(&self, name: u64, regions: &Arc<Regions>) {
        self.counters.clients.fetch_add(1, Ordering::Relaxed);
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.insert(name, Arc::downgrade(regions));
    }

    /// How much a client has had counts beyond its end.
    pub fn note_account(&self, space: SpaceId) {
        let most = self.core.account(space).map_or(0, |account| account.used_max);
        self.counters.client_frames_max.fetch_max(u64::from(most), Ordering::Relaxed);
    }

    /// A client less.
    pub fn leave(&self, token: u64) {
        self.members.lock().unwrap_or_else(PoisonError::into_inner).remove(&token);
    }

    /// The client that has this name, if it isn't about to leave.
    pub fn member(&self, token: u64) -> Option<Arc<Regions>> {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let member = members.get(&token)?.upgrade();
        drop(members);
        member.filter(|regions| !regions.has_ended())
    }

    /// Bytes of anonymous memory that clients have been promised.
    pub fn promised(&self) -> u64 {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let here: Vec<_> = members.values().filter_map(Weak::upgrade).collect();
        drop(members);
        here.iter().map(|regions| regions.promised()).sum()
    }

    pub fn stats(&self) -> BrokerStats {
        let engine = self.core.stats();
        let (files, idle) = self.files.count();
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let here: Vec<_> = members.values().filter_map(Weak::upgrade).collect();
        let clients = members.len();
        drop(members);
        here.iter().for_each(|regions| self.note_account(regions.client.space));
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let kernels = Reason::ALL.map(|it| (it, count(&self.counters.maps_kernel[it as usize])));
        let seen = kernels.iter().filter(|(_, count)| *count > 0);
        BrokerStats {
            clients: clients as u64,
            clients_total: count(&self.counters.clients),
            clients_refused: self.places.refused(),
            maps_served: count(&self.counters.maps_served),
            maps_kernel: kernels.iter().map(|(_, count)| count).sum(),
            maps_kernel_by_reason: seen.map(|(it, count)| (it.name(), *count)).collect(),
            maps_refused: count(&self.counters.maps_refused),
            files: files as u64,
            files_idle: idle as u64,
            malformed: count(&self.counters.malformed),
            frames_total: engine.frames_total,
            frames_used: engine.frames_used,
            frames_used_max: engine.frames_used_max,
            client_frames_max: count(&self.counters.client_frames_max),
            faults_major: engine.faults_major,
            faults_minor: engine.faults_minor,
            faults_write: engine.faults_write,
            pages_demanded: engine.pages_demanded,
            pages_ahead: engine.pages_ahead,
            pages_written: engine.pages_written,
            evictions: engine.evictions,
            faults_zero: engine.faults_zero,
            faults_copy: engine.faults_copy,
            swap_slots_used: engine.swap_slots_used,
            read_errors: engine.read_errors,
            write_errors: engine.write_errors,
        }
    }
}

/// A name for a client: a number by chance, of the kernel's best, and never 0.
pub(crate) fn new_name() -> Result<u64, Errno> {
    let mut bytes = [0; 8];
    loop {
        match getrandom(&mut bytes, GetRandomFlags::empty()) {
            Ok(8) if bytes != [0; 8] => return Ok(u64::from_ne_bytes(bytes)),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn frames_of_client(bytes: NonZeroU64) -> Result<u32, BrokerError> {
    match bytes.get() {
        few if few < CLIENT_MEMORY_MIN => Err(BrokerError::ClientMemory(few)),
        bytes => Ok(u32::try_from(bytes / PAGE_BYTES).unwrap_or(u32::MAX)),
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, BrokerError> {
    let builder = std::thread::Builder::new().name(name.to_owned()).stack_size(512 << 10);
    builder.spawn(body).map_err(|source| BrokerError::Setup { what: "a thread", source })
}

fn open_listener(path: &Path) -> Result<OwnedFd, BrokerError> {
    let failed = |errno: Errno| BrokerError::Socket {
        path: path.to_owned(),
        source: io::Error::from(errno),
    };
    let new =
        || socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let address = SocketAddrUnix::new(path).map_err(failed)?;
    let listener = new().map_err(failed)?;
    match bind(&listener, &address) {
        Err(Errno::ADDRINUSE) => {
            match connect(&new().map_err(failed)?, &address) {
                Err(Errno::CONNREFUSED) => {}
                Ok(()) => return Err(BrokerError::Taken(path.to_owned())),
                Err(errno) => return Err(failed(errno)),
            }
            // Nobody listens there any more.
            std::fs::remove_file(path)
                .map_err(|source| BrokerError::Socket { path: path.to_owned(), source })?;
            bind(&listener, &address).map_err(failed)?;
        }
        result => result.map_err(failed)?,
    }
    listen(&listener, 128).map_err(failed)?;
    Ok(listener)
}
