//! [`Connection`]: one socket to the broker, and what belongs to it.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use faultless_protocol::{MESSAGE_BYTES, Reply, Request, STAGING_BYTES, VERSION};
use faultless_sys::Errno;
use faultless_sys::awake::{A_WHILE, awake};
use faultless_sys::uffd::{Features, Userfaultfd};
use rustix::fs::MemfdFlags;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::descriptor::{Own, close};

/// A socket to the broker, with this process's userfaultfd and the staging memory.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Own,
    uffd: Own,
    staging: Own,
}

/// What the broker has said to a new client.
#[derive(Debug)]
pub(crate) struct Welcome {
    pub token: u64,
    pub min: u64,
    pub anonymous: bool,
    pub board: OwnedFd,
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// There is no broker any more, or it is out of its mind.
    Gone(Errno),
    /// The descriptor that was to go with the request can't.
    NotSent(Errno),
}

impl Connection {
    /// Connects; `parent` is the token of the process that this one was forked from and
    /// whose regions it has, or 0.
    pub fn open(address: &SocketAddrUnix, parent: u64) -> Result<(Connection, Welcome), Errno> {
        let kind = SocketType::SEQPACKET;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        rustix::net::connect(&socket, address)?;
        let uffd = Userfaultfd::open(Features::SHARED).map_err(|_| Errno::PERM)?;
        // The kernel would send a signal.
        let longest = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
        if longest.is_some_and(|longest| longest < STAGING_BYTES) {
            return Err(Errno::FBIG);
        }
        let staging = rustix::fs::memfd_create("faultless-staging", MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&staging, STAGING_BYTES)?;
        let connection = Connection {
            socket: Own::new(socket)?,
            uffd: Own::new(uffd.into())?,
            staging: Own::new(staging)?,
        };
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let hello = Request::Hello { version: VERSION, pid, parent };
        let (reply, board) = connection.say(hello, connection.uffd.get())?;
        let (token, min, anonymous, board) = match (reply, board) {
            (Reply::Welcome { token, min, anonymous }, Some(board)) => {
                (token, min, anonymous, board)
            }
            (Reply::Error { errno }, _) => return Err(Errno::from_raw_os_error(errno)),
            _ => return Err(Errno::PROTO),
        };
        match connection.say(Request::Staging, connection.staging.get())?.0 {
            Reply::Done { .. } => {}
            _ => return Err(Errno::PROTO),
        }
        Ok((connection, Welcome { token, min, anonymous, board }))
    }

    fn say(
        &self,
        request: Request,
        fd: Option<BorrowedFd<'_>>,
    ) -> Result<(Reply, Option<OwnedFd>), Errno> {
        self.request(request, fd).map_err(|unanswered| match unanswered {
            Unanswered::Gone(errno) | Unanswered::NotSent(errno) => errno,
        })
    }

    /// Sends a request and waits for its answer.
    pub fn request(
        &self,
        request: Request,
        fd: Option<BorrowedFd<'_>>,
    ) -> Result<(Reply, Option<OwnedFd>), Unanswered> {
        let socket = self.socket.get().ok_or(Unanswered::Gone(Errno::BADF))?;
        send(socket, request, fd)?;
        receive(socket)
    }

    /// Takes the answer to a request of somebody who has died over it.
    pub fn discard_answer(&self) {
        if let Some(socket) = self.socket.get()
            && let Ok((_, Some(fd))) = receive(socket)
        {
            close(fd);
        }
    }

    /// The userfaultfd, if the program hasn't closed it.
    pub fn userfaultfd(&self) -> Option<BorrowedFd<'_>> {
        self.uffd.get()
    }

    /// The staging memory, if the program hasn't closed it.
    pub fn staging(&self) -> Option<BorrowedFd<'_>> {
        self.staging.get()
    }

    /// The numbers of its descriptors.
    pub fn numbers(&self) -> [i32; 3] {
        [self.socket.number(), self.uffd.number(), self.staging.number()]
    }
}

fn send(
    socket: BorrowedFd<'_>,
    request: Request,
    fd: Option<BorrowedFd<'_>>,
) -> Result<(), Unanswered> {
    let bytes = request.encode();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = fd.map(|fd| [fd]);
    if let Some(fds) = &fds {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    match rustix::net::sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL) {
        Ok(_) => Ok(()),
        // The socket is good, looked at just now.
        Err(errno @ (Errno::BADF | Errno::INVAL | Errno::TOOMANYREFS)) => {
            Err(Unanswered::NotSent(errno))
        }
        Err(errno) => Err(Unanswered::Gone(errno)),
    }
}

fn receive(socket: BorrowedFd<'_>) -> Result<(Reply, Option<OwnedFd>), Unanswered> {
    let mut bytes = [0; MESSAGE_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut take = |flags| {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        rustix::net::recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC | flags)
    };
    let mut taken = Err(Errno::AGAIN);
    // Most need nothing from a disk.
    awake(A_WHILE, || {
        taken = take(RecvFlags::DONTWAIT);
        !matches!(taken, Err(Errno::AGAIN | Errno::INTR))
    });
    while let Err(Errno::AGAIN | Errno::INTR) = taken {
        taken = take(RecvFlags::empty());
    }
    let len = taken.map_err(Unanswered::Gone)?.bytes;
    let mut fd = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            fd = fds.last();
        }
    }
    match Reply::decode(&bytes[..len]) {
        Ok(reply) => Ok((reply, fd)),
        // At its end a socket gives an empty message.
        Err(_) => Err(Unanswered::Gone(Errno::CONNRESET)),
    }
}
