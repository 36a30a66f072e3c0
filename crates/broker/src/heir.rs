//! The heir: a process that serves with errors what a broker can't serve any more.
//!
//! ```text
//!   broker ── socket: a client's userfaultfd, and later "it is yours" ──► heir
//!      ╳ the socket's end: all are
//!
//!   heir:  a page that the program has ──► stays
//!          every other                 ──► poisoned: SIGBUS
//!          munmap, mremap              ──► heard, so that they end
//! ```
//!
//! A program whose broker dies would otherwise wait for ever for a page, or read zeros where
//! its file has bytes. The heir needs nothing but the clients' descriptors, and does nothing
//! for those that the broker serves: what ends the broker doesn't end it.

use std::collections::BTreeMap;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use faultless_addr::VirtRange;
use faultless_sys::uffd::{Cause, Event, Features, PageFault, Protect, Userfaultfd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::regions::USER;

/// The broker's way to its heir.
#[derive(Debug)]
pub(crate) struct Will {
    socket: Option<OwnedFd>,
}

impl Will {
    /// Without a socket there is no heir, and nothing is said.
    pub fn new(socket: Option<OwnedFd>) -> Will {
        Will { socket }
    }

    /// There is a client, named `token`, with this descriptor.
    pub fn name(&self, token: u64, uffd: BorrowedFd<'_>) -> Result<(), Errno> {
        self.say(token, Some(uffd))
    }

    /// The broker has done with a client. If its process lives all the same, it is the heir's.
    pub fn leave(&self, token: u64) {
        let _ = self.say(token, None);
    }

    fn say(&self, token: u64, uffd: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
        let Some(socket) = &self.socket else { return Ok(()) };
        let bytes = token.to_ne_bytes();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let uffd = uffd.as_slice();
        if !uffd.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(uffd));
        }
        sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL).map(drop)
    }
}

/// What the heir knows.
#[derive(Default)]
struct Heir {
    /// Clients that the broker serves.
    named: BTreeMap<u64, Userfaultfd>,
    /// Clients that nobody serves but the heir.
    mine: Vec<Userfaultfd>,
}

/// How often is looked which processes have ended.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };

/// Is a broker's heir until the broker has ended, at the other end of `socket`, and all its
/// clients have. `socket` keeps messages apart (`SOCK_SEQPACKET`).
pub fn be_heir(socket: OwnedFd) {
    let mut heir = Heir::default();
    let mut socket = Some(socket);
    while socket.is_some() || !heir.mine.is_empty() {
        let has_said = heir.wait(socket.as_ref());
        if let Some(from) = socket.as_ref().filter(|_| has_said)
            && heir.hear(from).is_err()
        {
            socket = None;
            for (_, uffd) in std::mem::take(&mut heir.named) {
                heir.take_over(uffd);
            }
        }
        heir.mine.retain(serve);
    }
}

impl Heir {
    /// Waits until there is something to do; answers whether the broker has said something.
    fn wait(&self, socket: Option<&OwnedFd>) -> bool {
        let fds = socket.map(AsFd::as_fd).into_iter().chain(self.mine.iter().map(AsFd::as_fd));
        let mut fds: Vec<PollFd<'_>> =
            fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        let limit = (!self.mine.is_empty()).then_some(&LOOK);
        let ready = poll(&mut fds, limit).unwrap_or(0);
        ready > 0 && socket.is_some() && !fds[0].revents().is_empty()
    }

    /// One message of the broker; an error at its end.
    fn hear(&mut self, socket: &OwnedFd) -> Result<(), Errno> {
        let mut bytes = [0; 8];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut vector = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(socket, &mut vector, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
        let uffd = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
            _ => None,
        });
        if received != bytes.len() {
            return Err(Errno::PIPE);
        }
        let token = u64::from_ne_bytes(bytes);
        match uffd {
            Some(uffd) => {
                self.named.insert(token, Userfaultfd::received(uffd, Features::SHARED));
            }
            None => {
                if let Some(uffd) = self.named.remove(&token) {
                    self.take_over(uffd);
                }
            }
        }
        Ok(())
    }

    /// A client is served from here from now on, if there is one. Faults that the broker has
    /// read and not answered come again.
    fn take_over(&mut self, uffd: Userfaultfd) {
        if uffd.is_alive() {
            let _ = uffd.wake(USER);
            self.mine.push(uffd);
        }
    }
}

/// Answers what a client has asked; false when its process has ended.
fn serve(uffd: &Userfaultfd) -> bool {
    let mut messages = [Event::Other(0); 16];
    while let Ok(count @ 1..) = uffd.read_messages(&mut messages) {
        for message in &messages[..count] {
            // Having read of an event is all that its thread waits for.
            if let Event::PageFault(fault) = message {
                answer(uffd, fault);
            }
        }
    }
    uffd.is_alive()
}

fn answer(uffd: &Userfaultfd, fault: &PageFault) {
    let page = VirtRange::page(fault.addr.page_start());
    // Where nothing is to be done, or an event is unread, the access is tried again.
    let _ = match fault.cause {
        // Also a page that there is: the broker may have died while it was filling it.
        Cause::Missing | Cause::Minor => uffd.poison_now(page),
        Cause::WriteProtected => uffd.write_protect_now(page, Protect::No),
    };
    let _ = uffd.wake(page);
}
