//! Messages with descriptors, over a socket that keeps them apart.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use faultless_protocol::{MESSAGE_BYTES, Reply, Request};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// The broker's end of a client's socket.
#[derive(Debug)]
pub(crate) struct Link {
    socket: OwnedFd,
}

/// What came.
#[derive(Debug)]
pub(crate) enum Came {
    /// A request, and the descriptor that came with it.
    Request(Request, Option<OwnedFd>),
    /// What is none.
    Malformed,
    /// The client is gone.
    End,
}

impl Link {
    pub fn new(socket: OwnedFd) -> Link {
        Link { socket }
    }

    /// The next message; waits for it.
    pub fn receive(&self) -> Result<Came, Errno> {
        let mut bytes = [0; MESSAGE_BYTES + 1];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut vector = [IoSliceMut::new(&mut bytes)];
        let received = loop {
            match recvmsg(&self.socket, &mut vector, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) => return Ok(Came::End),
                result => break result?.bytes,
            }
        };
        let mut descriptors = ancillary.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => rights.collect::<Vec<_>>(),
            _ => Vec::new(),
        });
        // Those that nobody asked for are closed.
        let descriptor = descriptors.by_ref().next();
        drop(descriptors.collect::<Vec<_>>());
        if received == 0 {
            return Ok(Came::End);
        }
        Ok(match Request::decode(&bytes[..received]) {
            Ok(request) => Came::Request(request, descriptor),
            Err(_) => Came::Malformed,
        })
    }

    /// Sends a reply. Never waits: a client that doesn't take its answers is gone.
    pub fn reply(&self, reply: Reply, descriptor: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
        let bytes = reply.encode();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = descriptor.as_slice();
        if !descriptors.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(&self.socket, &[IoSlice::new(&bytes)], &mut ancillary, flags)?;
        Ok(())
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
