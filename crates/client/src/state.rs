//! [`State`]: the connection and the regions, and how they come to be.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use faultless_protocol::{Reply, Request};
use faultless_sys::Errno;
use rustix::net::SocketAddrUnix;

use crate::connection::{Connection, Unanswered};
use crate::enter::{self, Inside};
use crate::regions::Regions;
use crate::{board, fork, say, trace};

/// All that is known of the broker, and what it serves here. Reached by
/// [`enter`](enter::enter).
pub(crate) struct State {
    pub regions: Regions,
    address: Option<SocketAddrUnix>,
    connection: Option<Connection>,
    /// There was a broker, or should have been: none is looked for again.
    refused: bool,
    /// Names this process to its children; 0 without a connection.
    pub token: u64,
    /// Which process this is.
    pid: i32,
}

/// Files shorter than this aren't served. For who hasn't the lock.
static MIN: AtomicU64 = AtomicU64::new(u64::MAX);

/// Is anonymous memory to be asked for?
static ANONYMOUS: AtomicBool = AtomicBool::new(false);

/// The numbers of our descriptors, for who closes many; -1 where there is none.
static OURS: [AtomicI32; 3] = [const { AtomicI32::new(-1) }; 3];

/// How long a file must be to be served.
pub(crate) fn min_bytes() -> u64 {
    MIN.load(Ordering::Relaxed)
}

/// Is anonymous memory to be asked for?
pub(crate) fn serves_anonymous() -> bool {
    ANONYMOUS.load(Ordering::Relaxed)
}

/// The numbers of our own descriptors, in order, which the program doesn't know of.
pub fn own_descriptors() -> [i32; 4] {
    let [socket, uffd, staging] = OURS.each_ref().map(|ours| ours.load(Ordering::Relaxed));
    let mut numbers = [socket, uffd, staging, trace::descriptor()];
    numbers.sort_unstable();
    numbers
}

/// Connects this process to the broker that listens at the path `socket`; a path that begins
/// with `@` is a name without a file. The first time it is to be called before there are
/// threads. Again, it connects anew if the broker has gone: what was mapped by that is lost.
pub fn start(socket: &[u8]) -> Result<(), Errno> {
    let address = match socket {
        [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
        path => SocketAddrUnix::new(path)?,
    };
    if enter::is_open() {
        let mut inside = enter::enter().ok_or(Errno::DEADLK)?;
        return inside.start_again(&address);
    }
    enter::open()?;
    fork::register_handlers()?;
    let mut inside = enter::enter().ok_or(Errno::DEADLK)?;
    inside.address = Some(address);
    // Before the program maps anything: nothing of ours lies among its own.
    inside.regions.reserve()?;
    inside.attach(0)
}

impl State {
    pub const fn new() -> State {
        State {
            regions: Regions::new(),
            address: None,
            connection: None,
            refused: false,
            token: 0,
            pid: 0,
        }
    }

    /// Is there a connection, or can there be one?
    pub fn is_attached(&mut self) -> bool {
        if self.connection.is_none() && !self.refused && self.address.is_some() {
            let _ = self.attach(0);
        }
        self.connection.is_some()
    }

    /// The connection.
    pub fn connection(&self) -> Option<&Connection> {
        self.connection.as_ref()
    }

    /// Connects, as the child of the process with the token `parent`, or 0.
    pub fn attach(&mut self, parent: u64) -> Result<(), Errno> {
        let address = self.address.clone().ok_or(Errno::NOTCONN)?;
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        // Who borrows our memory must not connect in our place.
        if self.pid != 0 && self.pid != pid {
            return Err(Errno::CHILD);
        }
        self.pid = pid;
        let (connection, welcome) = match Connection::open(&address, parent) {
            Ok(opened) => opened,
            Err(errno) => {
                self.refused = true;
                say::refused(errno);
                return Err(errno);
            }
        };
        for (ours, number) in OURS.iter().zip(connection.numbers()) {
            ours.store(number, Ordering::Relaxed);
        }
        self.connection = Some(connection);
        self.token = welcome.token;
        MIN.store(welcome.min, Ordering::Relaxed);
        ANONYMOUS.store(welcome.anonymous, Ordering::Relaxed);
        board::map(&welcome.board);
        crate::descriptor::close(welcome.board);
        Ok(())
    }

    /// In a process that has been copied from another one: what is the other one's goes, but
    /// for the regions, if they have come along.
    pub fn detach(&mut self) {
        self.forget_connection();
        self.token = 0;
        self.pid = 0;
        // The parent's may have been lost to it alone.
        self.refused = false;
    }

    fn forget_connection(&mut self) {
        for ours in &OURS {
            ours.store(-1, Ordering::Relaxed);
        }
        self.connection = None;
    }
}

impl Inside {
    /// In a process whose memory is a copy that nobody has prepared: none of it is served,
    /// since served memory is not inherited, and the copy may have been made in the middle
    /// of anything.
    pub fn begin_anew(&mut self) {
        self.regions.clear();
        self.detach();
    }

    /// There is an address already: it must be that one.
    fn start_again(&mut self, address: &SocketAddrUnix) -> Result<(), Errno> {
        if self.address.as_ref() != Some(address) {
            return Err(Errno::ALREADY);
        }
        // Whether the broker is there is seen by asking.
        self.ask_plainly(Request::Region { index: u64::MAX }, None);
        if self.connection.is_some() {
            return Ok(());
        }
        self.refused = false;
        self.attach(0)
    }

    /// Somebody has died inside, over a request: its answer is nobody's.
    pub fn discard_answer(&mut self) {
        if let Some(connection) = self.connection() {
            connection.discard_answer();
        }
    }

    /// Asks the broker. `None` where there is none (any more).
    pub fn ask(
        &mut self,
        request: Request,
        fd: Option<BorrowedFd<'_>>,
    ) -> Option<(Reply, Option<OwnedFd>)> {
        if !self.is_attached() {
            return None;
        }
        self.page.asking.store(1, Ordering::Relaxed);
        let answer = self.connection()?.request(request, fd);
        self.page.asking.store(0, Ordering::Relaxed);
        match answer {
            Ok((reply, fd)) => {
                if let Reply::Done { healed: true, .. } = reply {
                    self.give_up_healed();
                }
                Some((reply, fd))
            }
            Err(Unanswered::NotSent(_)) => None,
            Err(Unanswered::Gone(errno)) => {
                // A child that borrows our memory has descriptors of its own to close.
                let pid = rustix::process::getpid().as_raw_nonzero().get();
                if pid == self.pid {
                    say::refused(errno);
                    self.forget_connection();
                    self.regions.lose_all();
                    self.refused = true;
                }
                None
            }
        }
    }

    /// Asks what is answered without a descriptor. One that came all the same is closed.
    pub fn ask_plainly(&mut self, request: Request, fd: Option<BorrowedFd<'_>>) -> Option<Reply> {
        let (reply, fd) = self.ask(request, fd)?;
        fd.into_iter().for_each(crate::descriptor::close);
        Some(reply)
    }
}
