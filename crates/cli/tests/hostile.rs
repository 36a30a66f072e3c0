//! Clients that mean harm: a broker stays, and honest programs notice nothing.
//!
//! `FAULTLESS_SEED` is the first of the seeds, `FAULTLESS_ROUNDS` how many there are.

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fastrand::Rng;
use faultless_protocol::{MESSAGE_BYTES, Reason, Reply, Request, STAGING_BYTES, VERSION};
use faultless_sys::uffd::{Features, Userfaultfd};
use rustix::fs::{MemfdFlags, OFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use common::compile::{compiled, run_to_end};
use common::service::{Service, from_environment, sparse};
use common::{disk_dir, stderr};

/// A socket to the broker, and no manners.
struct Harm {
    socket: OwnedFd,
    rng: Rng,
    /// Descriptors of all kinds, to be sent where they don't belong.
    kinds: Vec<OwnedFd>,
    tokens: Vec<u64>,
    tickets: Vec<u64>,
}

impl Harm {
    fn connect(socket: &Path, file: &Path, seed: u64) -> Harm {
        let kind = SocketType::SEQPACKET;
        let address = SocketAddrUnix::new(socket).expect("a path");
        let connection =
            rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None);
        let connection = connection.expect("a socket");
        rustix::net::connect(&connection, &address).expect("the broker listens");
        // A broker that doesn't answer is found by this.
        let patience = Some(Duration::from_secs(20));
        let timeout = rustix::net::sockopt::Timeout::Recv;
        rustix::net::sockopt::set_socket_timeout(&connection, timeout, patience).expect("set");
        let open = |write| OpenOptions::new().read(true).write(write).open(file).expect("a file");
        let small = rustix::fs::memfd_create("small", MemfdFlags::CLOEXEC).expect("memory");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let uffd = Userfaultfd::open(Features::SHARED).expect("a userfaultfd");
        let path = rustix::fs::open(file, OFlags::PATH, rustix::fs::Mode::empty()).expect("it");
        let kinds = vec![
            open(true).into(),
            open(false).into(),
            OpenOptions::new().append(true).open(file).expect("a file").into(),
            path,
            File::open(file.parent().expect("a directory")).expect("one").into(),
            File::open("/dev/null").expect("it").into(),
            File::open("/proc/self/mem").expect("it").into(),
            small,
            reader.into(),
            writer.into(),
            uffd.into(),
        ];
        Harm {
            socket: connection,
            rng: Rng::with_seed(seed),
            kinds,
            tokens: vec![0],
            tickets: vec![],
        }
    }

    fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> bool {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        rustix::net::sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut control, flags).is_ok()
    }

    /// What it is answered; `None` when the broker has had enough of it.
    fn receive(&mut self) -> Option<Reply> {
        let mut bytes = [0; MESSAGE_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut vector = [IoSliceMut::new(&mut bytes)];
        let received =
            rustix::net::recvmsg(&self.socket, &mut vector, &mut control, RecvFlags::CMSG_CLOEXEC);
        let received = match received {
            Ok(message) => message.bytes,
            Err(rustix::io::Errno::CONNRESET) => 0,
            Err(errno) => panic!("the broker does not answer: {errno}"),
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                drop(rights.collect::<Vec<_>>());
            }
        }
        if received == 0 {
            return None;
        }
        let reply = Reply::decode(&bytes[..received]).expect("brokers are well-formed");
        match reply {
            Reply::Welcome { token, .. } => self.tokens.push(token),
            Reply::Served { ticket, .. } => self.tickets.push(ticket),
            _ => {}
        }
        Some(reply)
    }

    fn ask(&mut self, request: Request, kind: Option<usize>) -> Option<Reply> {
        let descriptor = kind.map(|kind| self.kinds[kind].as_fd());
        self.send(&request.encode(), descriptor.as_slice()).then_some(())?;
        self.receive()
    }

    fn enter(&mut self) -> Option<Reply> {
        let uffd = self.kinds.len() - 1;
        let hello = Request::Hello { version: VERSION, pid: 1, parent: 0 };
        self.ask(hello, Some(uffd))
    }

    /// A number that somebody didn't think of.
    fn number(&mut self) -> u64 {
        let page = 4096 * self.rng.u64(..1024);
        match self.rng.u8(..12) {
            0 => 0,
            1 => u64::MAX,
            2 => u64::MAX - page,
            3 => 1 << self.rng.u32(..64),
            4 => (1 << 47) - 4096,
            5 => self.rng.u64(..),
            6 => 0x7000_0000_0000 + page + self.rng.u64(..3),
            7 => *self.tokens.last().expect("one"),
            8 => self.tickets.last().copied().unwrap_or(1),
            9 => STAGING_BYTES + self.rng.u64(..3) - 1,
            _ => page,
        }
    }

    /// A message whose form is right, with whatever in it.
    fn request(&mut self) -> [u8; MESSAGE_BYTES] {
        let mut bytes = [0; MESSAGE_BYTES];
        let number = self.rng.u64(1..20);
        bytes[..8].copy_from_slice(&number.to_ne_bytes());
        for field in 1..5 {
            let value = match self.rng.bool() {
                true => self.number(),
                // Private anonymous memory, for which nothing is promised; a private file.
                false if self.rng.u8(..4) == 0 => [0x4022, 0x4002][self.rng.usize(..2)],
                // Flags, modes, advice.
                false => self.rng.u64(..8),
            };
            bytes[field * 8..][..8].copy_from_slice(&value.to_ne_bytes());
        }
        bytes
    }

    /// One thing after the other, until the broker has had enough.
    fn do_harm(mut self, steps: u32) {
        if self.rng.u8(..8) > 0 && self.enter().is_none() {
            return;
        }
        let _ = self.rng.bool() && self.ask(Request::Staging, Some(7)).is_some();
        for _ in 0..steps {
            let count = [0, 1, 1, 1, 1, 4][self.rng.usize(..6)];
            let kinds: Vec<usize> =
                (0..count).map(|_| self.rng.usize(..self.kinds.len())).collect();
            let bytes = match self.rng.u8(..10) {
                0 => (0..self.rng.usize(1..100)).map(|_| self.rng.u8(..)).collect(),
                _ => self.request().to_vec(),
            };
            let descriptors: Vec<_> = kinds.iter().map(|kind| self.kinds[*kind].as_fd()).collect();
            if !self.send(&bytes, &descriptors) {
                return;
            }
            self.meddle();
            if self.receive().is_none() {
                return;
            }
        }
    }

    /// Changes what has been sent, while the broker looks at it.
    fn meddle(&mut self) {
        let len = self.rng.u64(..2 * STAGING_BYTES);
        match self.rng.u8(..6) {
            0 => _ = rustix::fs::ftruncate(&self.kinds[7], len),
            1 => _ = rustix::fs::ftruncate(&self.kinds[0], len),
            2 => {
                // A userfaultfd that makes its reader wait.
                let uffd = self.kinds.last().expect("it");
                let _ = rustix::fs::fcntl_setfl(uffd, OFlags::RDWR);
            }
            _ => {}
        }
    }
}

/// An honest program at work.
fn herd(service: &Service, program: &Path, file: &Path, rounds: u64) -> Command {
    let mut command = service.run(program);
    command.arg(file).args(["3", &rounds.to_string(), "7"]);
    command
}

#[test]
fn harm_is_done_to_nobody() {
    let dir = disk_dir();
    let (program, honest) = (compiled(dir.path(), "herd"), sparse(dir.path(), 8));
    let bait = bait(dir.path());
    let (seed, rounds) =
        (from_environment("FAULTLESS_SEED", 1), from_environment("FAULTLESS_ROUNDS", 60));
    let mut broker = Service::command(dir.path(), "3M");
    broker.args(["--anonymous", "--swap", "64M"]);
    let service = Service::begin(broker, dir.path());
    let before = service.held();
    std::thread::scope(|scope| {
        let honest = scope.spawn(|| {
            let mut command = herd(&service, &program, &honest, 8);
            run_to_end(&mut command, Duration::from_secs(120))
        });
        for round in seed..seed + rounds {
            Harm::connect(&service.socket, &bait, round).do_harm(60);
        }
        let output = honest.join().expect("no panic");
        assert!(output.status.success(), "seed {seed}: {}", stderr(&output));
    });
    // Who comes now is served, and nothing is left of those before.
    let output = run_to_end(&mut herd(&service, &program, &honest, 1), Duration::from_secs(30));
    assert!(output.status.success(), "{}", stderr(&output));
    std::thread::sleep(Duration::from_millis(400));
    let after = service.held();
    assert!(after.0 <= before.0 + 20 && after.1 == 0, "descriptors, threads: {before:?} {after:?}");
    service.end();
}

/// The file that clients of ill will send: small, and of nobody's interest.
fn bait(dir: &Path) -> PathBuf {
    let path = dir.join("bait");
    fs::write(&path, vec![7; 1 << 20]).expect("a file");
    path
}

#[test]
fn who_takes_no_answers_and_who_says_nothing_keep_nobody_waiting() {
    let dir = disk_dir();
    let (program, honest) = (compiled(dir.path(), "herd"), sparse(dir.path(), 8));
    let bait = bait(dir.path());
    let service = Service::start(dir.path(), "3M");
    let silent: Vec<Harm> =
        (0..100).map(|seed| Harm::connect(&service.socket, &bait, seed)).collect();
    let mut deaf = Harm::connect(&service.socket, &bait, 0);
    assert!(matches!(deaf.enter(), Some(Reply::Welcome { .. })));
    let mut sent = 0;
    while sent < 100_000 && deaf.send(&Request::Region { index: 0 }.encode(), &[]) {
        sent += 1;
    }
    let output = run_to_end(&mut herd(&service, &program, &honest, 2), Duration::from_secs(60));
    assert!(output.status.success(), "{}", stderr(&output));
    drop((silent, deaf));
    service.end();
}

#[test]
fn rights_are_those_of_the_descriptor() {
    let dir = disk_dir();
    let bait = bait(dir.path());
    let service = Service::start(dir.path(), "3M");
    let mut harm = Harm::connect(&service.socket, &bait, 0);
    let map = |prot, flags| Request::Map { len: 4096, offset: 0, prot, flags };
    // Before it is a client, nothing.
    assert!(matches!(harm.ask(map(1, 1), Some(0)), Some(Reply::Error { .. })));
    harm.enter();
    let (read_only, appending) = (1, 2);
    let denied = libc_errno(rustix::io::Errno::ACCESS);
    assert_eq!(harm.ask(map(3, 1), Some(read_only)), Some(denied));
    // What only the kernel can say is the kernel's to say.
    assert_eq!(
        harm.ask(map(1, 1), Some(appending)),
        Some(Reply::Kernel { reason: Reason::Descriptor })
    );
    assert!(matches!(harm.ask(map(1, 1), Some(read_only)), Some(Reply::Served { .. })));
    // A write by a descriptor that may not.
    harm.ask(Request::Staging, Some(7));
    let write = Request::Write { offset: 0, len: 1, limit: u64::MAX };
    assert!(matches!(harm.ask(write, Some(read_only)), Some(Reply::Error { .. })));
    let truncate = Request::Truncate { size: 0 };
    assert!(matches!(harm.ask(truncate, Some(read_only)), Some(Reply::Error { .. })));
    assert_eq!(fs::metadata(&bait).expect("it").len(), 1 << 20);
    assert!(fs::read(&bait).expect("it").iter().all(|byte| *byte == 7));
    service.end();
}

fn libc_errno(errno: rustix::io::Errno) -> Reply {
    Reply::Error { errno: errno.raw_os_error() }
}
