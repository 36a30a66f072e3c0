//! Random calls that mostly succeed: they aim at what the model says is there.

use crate::area::{Area, AreaFlags};
use crate::call::{Addr, Call, Data, Fd, FileId, NO_FD, Node, PAGE, ProcessId, Resource, Vector};
use crate::flags::{LockAllFlags, LockFlags, MapFlags, OpenFlags, Prot, RemapFlags, SyncFlags};
use crate::kernel::PROCESSES_MAX;
use crate::system::World;

use super::random::Random;
use super::weights::{ADVICE, FLAGS, KINDS, Kind, PROTS};

/// Pages at the window's beginning that most fixed addresses are in.
const ARENA: u64 = 48;
/// Pages that a file may have.
pub(super) const FILE: u64 = 12;

/// Each descriptor always opens the same.
pub(super) const DESCRIPTORS: &[(Node, OpenFlags)] = &[
    (Node::File(FileId(0)), OpenFlags::RDWR),
    (Node::File(FileId(1)), OpenFlags::RDWR),
    (Node::File(FileId(2)), OpenFlags::RDWR),
    (Node::Memory(3 * PAGE), OpenFlags::RDWR),
    (Node::File(FileId(0)), OpenFlags::empty()),
    (Node::File(FileId(1)), OpenFlags::WRONLY),
    (Node::File(FileId(1)), OpenFlags::RDWR.union(OpenFlags::APPEND)),
    (Node::Zero, OpenFlags::RDWR),
    (Node::Directory, OpenFlags::empty()),
    (Node::Pipe, OpenFlags::empty()),
    (Node::File(FileId(0)), OpenFlags::PATH),
];

/// Makes calls.
#[derive(Debug)]
pub struct Generator {
    world: World,
    pub(super) random: Random,
    processes: Vec<ProcessId>,
    opened: u8,
}

/// A range of addresses that a call is about.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) addr: Addr,
    pub(super) len: u64,
}

impl Generator {
    /// The calls of a seed.
    pub fn new(world: World, seed: u64) -> Generator {
        let random = Random::new(seed);
        Generator { world, random, processes: vec![ProcessId(0)], opened: 0 }
    }

    /// The processes that are there.
    pub fn processes(&self) -> &[ProcessId] {
        &self.processes
    }

    /// Who does something next.
    pub fn process(&mut self) -> ProcessId {
        self.random.pick(&self.processes)
    }

    /// The next call, by a process with these areas.
    pub fn call(&mut self, process: ProcessId, areas: &[Area]) -> Call {
        if self.opened < DESCRIPTORS.len() as u8 {
            self.opened += 1;
            return self.open(Fd(self.opened - 1));
        }
        let kind = self.random.weighed(KINDS);
        let span = self.span(areas);
        match kind {
            Kind::Fork => self.fork(),
            Kind::Exit => self.exit(process),
            Kind::Setrlimit => self.setrlimit(),
            Kind::Open => {
                let fd = self.fd();
                self.open(fd)
            }
            Kind::Close => Call::Close { fd: self.fd() },
            Kind::Pread | Kind::Pwrite | Kind::Ftruncate | Kind::Fallocate | Kind::Fsync => {
                self.file_call(kind)
            }
            Kind::CopyRange => self.copy_range(),
            Kind::ReadInto | Kind::WriteFrom => self.transfer(kind, areas, span),
            Kind::Mmap => self.mmap(areas),
            Kind::Mremap => self.mremap(areas, span),
            Kind::Brk => self.brk(),
            _ => self.memory_call(kind, span),
        }
    }

    fn memory_call(&mut self, kind: Kind, Span { addr, len }: Span) -> Call {
        let bytes = Span { addr: self.inside(addr), len: self.some_bytes() };
        match kind {
            Kind::Munmap => Call::Munmap { addr, len },
            Kind::Mprotect => Call::Mprotect { addr, len, prot: self.random.weighed(PROTS) },
            Kind::Msync => Call::Msync { addr, len, flags: self.sync_flags() },
            Kind::Madvise => Call::Madvise { addr, len, advice: self.random.weighed(ADVICE) },
            Kind::Mincore => Call::Mincore { addr, len, vector: Vector::Good },
            Kind::Mlock => Call::Mlock { addr, len },
            Kind::Mlock2 => Call::Mlock2 { addr, len, flags: LockFlags::ONFAULT },
            Kind::Munlock => Call::Munlock { addr, len },
            Kind::Mlockall => Call::Mlockall { flags: self.lock_all_flags() },
            Kind::Munlockall => Call::Munlockall,
            Kind::Mseal => Call::Mseal { addr, len, flags: 0 },
            Kind::RemapFilePages => {
                let page = self.random.below(FILE);
                let flags = MapFlags::empty();
                Call::RemapFilePages { addr, len, prot: Prot::empty(), page, flags }
            }
            Kind::Store => {
                let data = self.data(bytes.len);
                Call::Store { addr: bytes.addr, data }
            }
            Kind::PipeFrom => Call::PipeFrom { addr: bytes.addr, len: bytes.len * 3 },
            _ => Call::Load { addr: bytes.addr, len: bytes.len },
        }
    }

    /// Mostly a part of an area, with a little around; sometimes anything.
    fn span(&mut self, areas: &[Area]) -> Span {
        let arena = self.world.base + self.random.below(ARENA) * PAGE;
        let mut start = arena;
        let mut pages = 1 + self.random.below(8);
        if !areas.is_empty() && !self.random.once_in(8) {
            let area = self.random.pick(areas);
            let all = (area.end - area.start) / PAGE;
            start = area.start + self.random.below(all) * PAGE;
            let rest = (area.end - start) / PAGE;
            pages = match self.random.below(4) {
                0 => rest,
                1 => rest + self.random.below(4),
                _ => 1 + self.random.below(rest),
            };
        }
        let pages = pages.min((self.world.end() - start) / PAGE).min(64);
        self.bend(Span { addr: Addr::at(start), len: pages * PAGE })
    }

    /// Rarely not aligned, or empty.
    fn bend(&mut self, span: Span) -> Span {
        let Span { addr, len } = span;
        match self.random.below(80) {
            0 => {
                let addr = Addr::at(addr.bytes + 1 + self.random.below(PAGE - 1));
                Span { addr, len: len.saturating_sub(PAGE) }
            }
            1..5 => Span { addr, len: len - self.random.below(PAGE) },
            5 => Span { addr, len: 0 },
            _ => span,
        }
    }

    pub(super) fn inside(&mut self, addr: Addr) -> Addr {
        let near_end = PAGE - 1 - self.random.below(16);
        let offset = self.random.below(PAGE);
        Addr::at(addr.bytes / PAGE * PAGE + self.random.pick(&[0, near_end, offset]))
    }

    pub(super) fn some_bytes(&mut self) -> u64 {
        let few = 1 + self.random.below(40);
        let many = 1 + self.random.below(3 * PAGE);
        self.random.weighed(&[(6, few), (1, PAGE), (2, many)])
    }

    pub(super) fn data(&mut self, len: u64) -> Data {
        let first = self.random.next() as u8;
        Data { first, step: self.random.below(4) as u8, len: len as u32 }
    }

    pub(super) fn fd(&mut self) -> Fd {
        match self.random.below(30) {
            0 => NO_FD,
            1..5 => Fd(self.random.below(DESCRIPTORS.len() as u64) as u8),
            _ => Fd(self.random.below(4) as u8),
        }
    }

    fn open(&mut self, fd: Fd) -> Call {
        let (node, flags) = DESCRIPTORS.get(usize::from(fd.0)).copied().unwrap_or(DESCRIPTORS[0]);
        let fd = if fd == NO_FD { Fd(0) } else { fd };
        Call::Open { fd, node, flags }
    }

    fn mmap(&mut self, areas: &[Area]) -> Call {
        let pages = 1 + self.random.below(10);
        let mut flags = self.random.weighed(FLAGS);
        let near = self.span(areas).addr;
        let fixed = self.world.base + self.random.below(ARENA) * PAGE;
        let addr = match self.random.below(10) {
            0..3 => Addr::at(0),
            3 => near,
            4 => {
                flags |= MapFlags::FIXED_NOREPLACE;
                Addr::at(fixed)
            }
            _ => {
                flags |= MapFlags::FIXED;
                self.bend(Span { addr: Addr::at(fixed), len: PAGE }).addr
            }
        };
        let is_anonymous = flags.contains(MapFlags::ANONYMOUS);
        Call::Mmap {
            addr,
            len: pages * PAGE - if self.random.once_in(8) { self.random.below(PAGE) } else { 0 },
            prot: self.random.weighed(PROTS),
            flags,
            fd: if is_anonymous { NO_FD } else { self.fd() },
            offset: if is_anonymous { 0 } else { self.random.below(FILE) * PAGE },
            name: None,
        }
    }

    fn mremap(&mut self, areas: &[Area], span: Span) -> Call {
        let any = RemapFlags::from_bits_retain(self.random.below(16) as u32);
        let flags = self.random.weighed(&[
            (2, RemapFlags::empty()),
            (4, RemapFlags::MAYMOVE),
            (4, RemapFlags::MAYMOVE | RemapFlags::FIXED),
            (2, RemapFlags::MAYMOVE | RemapFlags::DONTUNMAP),
            (1, RemapFlags::MAYMOVE | RemapFlags::DONTUNMAP | RemapFlags::FIXED),
            (1, any),
        ]);
        let arena = Addr::at(self.world.base + self.random.below(ARENA) * PAGE);
        let other = self.span(areas).addr;
        let len = span.len;
        let new_len = match self.random.below(4) {
            0 => len.saturating_sub(PAGE * (1 + self.random.below(3))).max(PAGE),
            1 => len + PAGE * (1 + self.random.below(4)),
            _ => len,
        };
        let old_len = if self.random.once_in(12) { 0 } else { len };
        let new = self.random.pick(&[arena, arena, other]);
        let room = self.world.end().saturating_sub(new.bytes) / PAGE * PAGE;
        let new_len = new_len.min(room.max(PAGE));
        // With DONTUNMAP an area stays locked or not by whether the new one was joined
        // with it, which depends on more than anybody wants to know.
        let here = |area: &&Area| area.start < span.addr.bytes + len && span.addr.bytes < area.end;
        let locked = areas.iter().filter(here).any(|area| area.flags.contains(AreaFlags::LOCKED));
        let flags = if locked { flags - RemapFlags::DONTUNMAP } else { flags };
        Call::Mremap { old: span.addr, old_len, new_len, flags, new, name: None }
    }

    fn sync_flags(&mut self) -> SyncFlags {
        let random = SyncFlags::from_bits_retain(self.random.below(8) as u32);
        self.random.pick(&[SyncFlags::SYNC, SyncFlags::ASYNC, SyncFlags::INVALIDATE, random])
    }

    fn lock_all_flags(&mut self) -> LockAllFlags {
        LockAllFlags::from_bits_retain(self.random.below(8) as u32)
    }

    fn brk(&mut self) -> Call {
        let bytes = self.world.brk + self.random.below(12 * PAGE);
        let rounded = bytes / PAGE * PAGE;
        Call::Brk { addr: Addr::at(self.random.pick(&[bytes, rounded, rounded, 0])) }
    }

    fn setrlimit(&mut self) -> Call {
        let resource = self.random.pick(&[Resource::Space, Resource::Data, Resource::Locked]);
        let some = self.random.below(60) * PAGE;
        Call::Setrlimit { resource, limit: self.random.pick(&[None, None, Some(some)]) }
    }

    fn fork(&mut self) -> Call {
        let free = (0..4).map(ProcessId).find(|id| !self.processes.contains(id));
        match free {
            Some(child) => {
                self.processes.push(child);
                Call::Fork { child }
            }
            None => Call::Fork { child: ProcessId(PROCESSES_MAX) },
        }
    }

    fn exit(&mut self, process: ProcessId) -> Call {
        if self.processes.len() == 1 {
            return Call::Munlockall;
        }
        self.processes.retain(|other| *other != process);
        Call::Exit
    }
}
