//! The suite of all machines, on the two of Linux: that of real pointers, and that of memory
//! shared with clients, of which this process is one. The program is a thread.

mod common;

use std::io::{Write, pipe};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;

use faultless_addr::{FrameNo, PAGE_BYTES, SpaceId, VirtAddr, VirtRange, WriteAccess};
use faultless_linux::shared::{Client, Kind, Region, SharedConfig, SharedMachine};
use faultless_linux::{LinuxMachine, THREAD};
use faultless_machine::conform::{self, Act, Attempt, Subject};
use faultless_machine::{Machine, Stores, Then};
use faultless_sys::memory::Reservation;
use faultless_sys::shared::SharedMemory;
use faultless_sys::uffd::{Features, Userfaultfd};

struct Linux(LinuxMachine);

impl Subject for Linux {
    fn machine(&self) -> &dyn Machine {
        &self.0
    }

    fn space(&self) -> SpaceId {
        THREAD
    }

    fn base(&self) -> VirtAddr {
        common::page(&self.0, THREAD, 100)
    }

    fn fill(&self, frame: FrameNo, byte: u8) {
        common::fill(&self.0, frame, byte);
    }

    fn byte(&self, frame: FrameNo) -> u8 {
        common::ends(&self.0, frame).0
    }

    fn begin(&self, at: VirtAddr, act: Act) -> Attempt<'_> {
        begin(&self.0, at, act)
    }

    fn refuses(&self, at: VirtAddr) -> bool {
        refuses(at)
    }
}

/// A thread that accesses a page, and goes on or is held by the machine.
fn begin(machine: &dyn Machine, at: VirtAddr, act: Act) -> Attempt<'_> {
    let program = thread::spawn(move || match act {
        Act::Load => common::load(at),
        Act::Store(byte) => {
            common::store(at, byte);
            byte
        }
    });
    let mut held = Vec::new();
    loop {
        // It has ended before the look, or it is held, or neither has happened yet.
        let ended = program.is_finished();
        machine.held(1, &mut held).expect("faults can be asked for");
        if let [held] = held[..] {
            assert_eq!((held.addr.page_start(), held.access), (at, act.access()));
            return Attempt::Held(Box::new(|| program.join().expect("it goes on")));
        }
        if ended {
            return Attempt::Done(program.join().expect("it has ended"));
        }
        thread::yield_now();
    }
}

/// A system call says what a pointer would die of.
fn refuses(at: VirtAddr) -> bool {
    let (_reader, mut writer) = pipe().expect("a pipe");
    // SAFETY: 1. the byte is in a live arena; 2. the program, which alone changes it,
    // does nothing now; the kernel reads it, and refuses where it can't.
    let byte = unsafe { std::slice::from_raw_parts(at.0 as *const u8, 1) };
    let written = writer.write(byte);
    written.is_err_and(|error| error.raw_os_error() == Some(libc::EFAULT))
}

/// The machine of a broker, and a client's region over the first pages of an object.
struct Shared {
    machine: SharedMachine,
    client: Arc<Client>,
    memory: Arc<SharedMemory>,
    /// Its end is told to the client's descriptor, as long as there is one.
    region: Reservation,
}

/// The client's space.
const CLIENT: SpaceId = SpaceId(1);

/// Pages of the object.
const PAGES: u64 = 64;

impl Shared {
    fn new(kind: Kind) -> Shared {
        let config = SharedConfig { store_bytes: 1 << 30, ..SharedConfig::new(16) };
        let machine = SharedMachine::new(config).expect("a machine");
        let home = VirtRange::from_len(machine.store().start, PAGES * PAGE_BYTES).unwrap();
        let memory = Arc::new(SharedMemory::new("conform", home.len()).expect("memory"));
        machine.add_memory(home, memory.clone()).expect("room");
        let region = Reservation::new(home.len() as usize).expect("addresses");
        // SAFETY: 1. the range is ours, and nobody has used it.
        unsafe { memory.map_at(&region, region.range()).expect("mapped") };
        let uffd = Userfaultfd::open(Features::SHARED).expect("a userfaultfd");
        // SAFETY: 1. nobody has touched the range; 2. who does is served.
        unsafe { Userfaultfd::register_with(uffd.as_fd(), Features::SHARED, region.range()) }
            .expect("registered");
        let client = machine.add_client(CLIENT, uffd.into()).expect("a client");
        let range = region.range();
        let (now, home) = (range.start, home.start);
        client.add(Region { range, now, home, shows: None, kind, gone: false });
        Shared { machine, client, memory, region }
    }
}

impl Subject for Shared {
    fn machine(&self) -> &dyn Machine {
        &self.machine
    }

    fn space(&self) -> SpaceId {
        CLIENT
    }

    fn base(&self) -> VirtAddr {
        self.region.range().start
    }

    fn fill(&self, frame: FrameNo, byte: u8) {
        common::fill(&self.machine, frame, byte);
    }

    fn byte(&self, frame: FrameNo) -> u8 {
        common::ends(&self.machine, frame).0
    }

    fn begin(&self, at: VirtAddr, act: Act) -> Attempt<'_> {
        begin(&self.machine, at, act)
    }

    fn refuses(&self, at: VirtAddr) -> bool {
        refuses(at)
    }

    /// Nothing but a page can take an error's place in another process.
    fn heals(&self) -> bool {
        false
    }
}

#[test]
fn real_pointers_do_what_every_machine_does() {
    conform::all(|| Linux(common::machine(16, 8)));
}

#[test]
fn memory_of_clients_does_what_every_machine_does() {
    for kind in [Kind::Shared, Kind::Own { promised: true }] {
        conform::all(|| Shared::new(kind));
    }
}

/// A page that has stayed at a home is brought to another when that is where it is to be seen: to
/// a client's own.
#[test]
fn what_has_stayed_at_its_home_goes_to_another() {
    let shared = Shared::new(Kind::Shared);
    let (at, other, frame) = (shared.base(), shared.base().plus_pages(9), FrameNo(3));
    shared.machine.back(&[frame]).expect("memory");
    shared.fill(frame, 7);
    shared.machine.map(CLIENT, at, &[frame], WriteAccess::Tracked).expect("mapped");
    shared.client.mark_gone(VirtRange::page(at));
    shared.machine.unmap(CLIENT, &[(at, frame)], Then::Keep(Stores::Stopped)).expect("left");
    shared.machine.map(CLIENT, other, &[frame], WriteAccess::Tracked).expect("mapped");
    let byte = |at: VirtAddr| {
        // SAFETY: 1. the page is mapped, and nobody changes it.
        unsafe { (at.0 as *const u8).read_volatile() }
    };
    assert_eq!((byte(other), shared.byte(frame)), (7, 7));
    assert_eq!(shared.memory.used(), Ok(PAGE_BYTES), "it is at one of its homes");
}

/// An object's page stays at its home for others when a client has unmapped it; a page of the
/// client's own has no others, and its home is given to another page.
#[test]
fn what_is_a_clients_own_leaves_its_home_when_the_client_has_unmapped_it() {
    for (kind, left) in [(Kind::Shared, PAGE_BYTES), (Kind::Own { promised: false }, 0)] {
        let shared = Shared::new(kind);
        let (at, frame) = (shared.base(), FrameNo(3));
        shared.machine.back(&[frame]).expect("memory");
        shared.fill(frame, 7);
        shared.machine.map(CLIENT, at, &[frame], WriteAccess::Allowed).expect("mapped");
        assert_eq!(shared.memory.used(), Ok(PAGE_BYTES));
        shared.client.mark_gone(VirtRange::page(at));
        shared.machine.unmap(CLIENT, &[(at, frame)], Then::Keep(Stores::Pass)).expect("left");
        assert_eq!(shared.memory.used(), Ok(left), "{kind:?}");
        assert_eq!(shared.byte(frame), 7, "{kind:?}");
    }
}
