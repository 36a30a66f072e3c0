//! Faultless as a system of the oracle: its words become calls, in a window of addresses
//! around which everything is taken.

use std::collections::BTreeMap;

use faultless_addr::{PAGE_BYTES, VirtAddr, VirtRange};
use faultless_engine::space::{
    Backing, LockRight, RemapFlags, RemapRequest, Sharing, Vma, VmaFlags,
};
use faultless_oracle::area::{self, Area, AreaFlags, join};
use faultless_oracle::call::{Addr, Call, Fd, FileId, Node, ProcessId, Resource, Vector};
use faultless_oracle::flags::Prot;
use faultless_oracle::kernel::PROCESSES_MAX;
use faultless_oracle::model::keeps_exec_only;
use faultless_oracle::outcome::{self, Errno, Outcome};
use faultless_oracle::system::{self, LOCKED_BYTES_MAX, Person, World};
use faultless_posix::{
    Config, ExecOnly, FallocFlags, Locked, MapFlags, Mmap, OpenFlags, Pid, Presence, Shows, Signal,
    Store, SyncFlags, System, Trouble,
};

/// Data that is there outside of the window, as every program has some.
const DATA: u64 = 1 << 20;

/// Faultless, with the oracle's numbers for processes.
pub struct Faultless {
    system: System,
    world: World,
    pids: BTreeMap<ProcessId, Pid>,
    /// Pages outside of the window.
    outside: u64,
}

/// What the OOM killer sends.
const SIGKILL: i32 = 9;

type Answer = Result<Outcome, faultless_posix::Errno>;

impl Faultless {
    /// In a world, with a budget of so many frames.
    pub fn new(world: World, frames: u32) -> Faultless {
        let root = world.person.settled() == Person::Root;
        let mut config = Config::new(frames);
        let first = if root { 0 } else { PAGE_BYTES };
        config.bounds = VirtRange::new(VirtAddr(first), config.bounds.end);
        config.locked = Locked::Last;
        config.brk = VirtAddr(world.brk);
        config.limits.locked_bytes_max = LOCKED_BYTES_MAX;
        if root {
            config.limits.lock_right = LockRight::Unlimited;
        }
        if let Some(areas) = world.areas_max {
            config.areas_max = areas as usize + 4;
        }
        config.exec_only = if keeps_exec_only() { ExecOnly::Kept } else { ExecOnly::Readable };
        let (mut system, init) = System::new(config);
        let store = match world.store {
            system::Store::Disk => Store::Disk,
            system::Store::Tmpfs => Store::Tmpfs,
        };
        for (n, size) in world.files.iter().enumerate() {
            let bytes: Vec<u8> = (0..*size).map(|i| World::byte(n, i)).collect();
            system.create_file(n as u32, store, &bytes);
        }
        let data = world.base / 2 / PAGE_BYTES * PAGE_BYTES;
        let end = config.bounds.end.0;
        let ranges = [(PAGE_BYTES, data, 0), (data, data + DATA, 3), (data + DATA, world.base, 0)];
        for (start, end, prot) in ranges.into_iter().chain([(world.end(), end, 0)]) {
            let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
            let call = Mmap { addr: start, len: end - start, prot, flags, ..Mmap::default() };
            system.mmap(init, call).expect("nothing is there yet");
        }
        let outside = system.engine().space(faultless_addr::SpaceId(init.0)).pages();
        let pids = BTreeMap::from([(ProcessId(0), init)]);
        Faultless { system, world, pids, outside }
    }

    fn carry_out(&mut self, pid: Pid, call: &Call) -> Answer {
        let system = &mut self.system;
        let done = |()| Outcome::DONE;
        let address = |at: VirtAddr| Outcome::Address(Addr::at(at.0));
        match *call {
            Call::Mmap { addr, len, prot, flags, fd, offset, .. } => {
                let flags = MapFlags::from_bits_retain(flags.bits());
                let (addr, prot, fd) = (addr.bytes, prot.bits(), i32::from(fd.0));
                system.mmap(pid, Mmap { addr, len, prot, flags, fd, offset }).map(address)
            }
            Call::Munmap { addr, len } => system.munmap(pid, addr.bytes, len).map(done),
            Call::Mprotect { addr, len, prot } => {
                system.mprotect(pid, addr.bytes, len, prot.bits()).map(done)
            }
            Call::Mremap { old, old_len, new_len, flags, new, .. } => {
                let flags = RemapFlags::from_bits_retain(flags.bits());
                let (old, new) = (VirtAddr(old.bytes), VirtAddr(new.bytes));
                let request = RemapRequest { old, old_len, new_len, flags, new };
                system.mremap(pid, request).map(address)
            }
            Call::Msync { addr, len, flags } => {
                let flags = SyncFlags::from_bits_retain(flags.bits());
                system.msync(pid, addr.bytes, len, flags).map(done)
            }
            Call::Madvise { addr, len, advice } => {
                system.madvise(pid, addr.bytes, len, advice.0).map(done)
            }
            Call::Mincore { addr, len, vector } => mincore(system, pid, addr, len, vector),
            Call::Mlock { addr, len } => system.mlock(pid, addr.bytes, len, 0).map(done),
            Call::Mlock2 { addr, len, flags } => {
                system.mlock(pid, addr.bytes, len, flags.bits()).map(done)
            }
            Call::Munlock { addr, len } => system.munlock(pid, addr.bytes, len).map(done),
            Call::Mlockall { flags } => system.mlockall(pid, flags.bits()).map(done),
            Call::Munlockall => {
                system.munlockall(pid);
                Ok(Outcome::DONE)
            }
            Call::Brk { addr } => Ok(address(system.brk(pid, addr.bytes))),
            Call::RemapFilePages { addr, len, prot, page, flags } => {
                let flags = MapFlags::from_bits_retain(flags.bits());
                let range = (addr.bytes, len);
                system.remap_file_pages(pid, range, prot.bits(), page, flags).map(done)
            }
            Call::Mseal { addr, len, flags } => system.mseal(pid, addr.bytes, len, flags).map(done),
            Call::Setrlimit { resource, limit } => {
                self.set_limit(pid, resource, limit);
                Ok(Outcome::DONE)
            }
            Call::Load { addr, len } => {
                let mut bytes = vec![0; len as usize];
                let loaded = system.load(pid, addr.bytes, &mut bytes);
                Ok(loaded.map_or_else(tell, |()| Outcome::Bytes(bytes)))
            }
            Call::Store { addr, data } => {
                Ok(system.store(pid, addr.bytes, &data.bytes()).map_or_else(tell, done))
            }
            Call::Fetch { addr } => Ok(system.fetch(pid, addr.bytes).map_or_else(tell, done)),
            _ => file_call(system, pid, call),
        }
    }

    fn set_limit(&mut self, pid: Pid, resource: Resource, limit: Option<u64>) {
        let mut limits = self.system.limits(pid);
        let outside = self.outside * PAGE_BYTES;
        match resource {
            Resource::Space => limits.space_bytes_max = limit.map_or(u64::MAX, |it| it + outside),
            Resource::Data => limits.data_bytes_max = limit.map_or(u64::MAX, |it| it + DATA),
            Resource::Locked => {
                let limit = limit.unwrap_or(LOCKED_BYTES_MAX).min(LOCKED_BYTES_MAX);
                limits.locked_bytes_max = limit;
            }
        }
        self.system.set_limits(pid, limits);
    }

    /// The part of an area that is inside the window, as the oracle tells it.
    fn tell_area(&self, area: &Vma) -> Option<Area> {
        let window = VirtRange::new(VirtAddr(self.world.base), VirtAddr(self.world.end()));
        let range = area.range.intersect(window);
        if range.is_empty() {
            return None;
        }
        let part = area.part(range);
        let backing = match self.system.shows(area) {
            Shows::Anonymous => area::Backing::Anonymous,
            Shows::File(name) => area::Backing::File(FileId(name as u8)),
            Shows::Memory => area::Backing::Memory,
            Shows::Nameless => area::Backing::Shared,
            Shows::Device(_) => unreachable!("the oracle has no devices"),
        };
        let offset = match part.backing {
            Backing::Object { first, .. } => first.offset(),
            Backing::Anonymous => 0,
        };
        let sharing = match part.sharing {
            Sharing::Shared => area::Sharing::Shared,
            Sharing::Private => area::Sharing::Private,
        };
        let prot = Prot::from_bits_retain(u32::from(part.prot.bits()));
        let (start, end, flags) = (range.start.0, range.end.0, area_flags(part.flags));
        Some(Area { start, end, prot, sharing, backing, offset, flags })
    }
}

fn file_call(system: &mut System, pid: Pid, call: &Call) -> Answer {
    let number = |fd: Fd| i32::from(fd.0);
    let done = |()| Outcome::DONE;
    match *call {
        Call::Open { fd, node, flags } => {
            let node = match node {
                Node::File(file) => faultless_posix::Node::File(u32::from(file.0)),
                Node::Directory => faultless_posix::Node::Directory,
                Node::Pipe => faultless_posix::Node::Pipe,
                Node::Zero => faultless_posix::Node::Zero,
                Node::Memory(size) => faultless_posix::Node::Memory(size),
            };
            let flags = OpenFlags::from_bits_retain(flags.bits());
            system.open(pid, number(fd), node, flags).map(done)
        }
        Call::Close { fd } => system.close(pid, number(fd)).map(done),
        Call::Pread { fd, len, offset } => {
            system.pread(pid, number(fd), len, offset).map(Outcome::Bytes)
        }
        Call::Pwrite { fd, data, offset } => {
            system.pwrite(pid, number(fd), &data.bytes(), offset).map(Outcome::Value)
        }
        Call::Ftruncate { fd, size } => system.ftruncate(pid, number(fd), size).map(done),
        Call::Fallocate { fd, flags, offset, len } => {
            let flags = FallocFlags::from_bits_retain(flags.bits());
            system.fallocate(pid, number(fd), flags, offset, len).map(done)
        }
        Call::Fsync { fd } => system.fsync(pid, number(fd)).map(done),
        Call::CopyRange { from, from_offset, to, to_offset, len } => {
            let (from, to) = ((number(from), from_offset), (number(to), to_offset));
            system.copy_range(pid, from, to, len).map(Outcome::Value)
        }
        Call::SealWrites { fd } => system.seal_writes(pid, number(fd)).map(done),
        Call::Unlink { file } => system.unlink(u32::from(file.0)).map(done),
        Call::Rename { from, to } => system.rename(u32::from(from.0), u32::from(to.0)).map(done),
        Call::ReadInto { fd, addr, len, offset } => {
            system.read_into(pid, number(fd), addr.bytes, len, offset).map(Outcome::Value)
        }
        Call::WriteFrom { fd, addr, len, offset } => {
            system.write_from(pid, number(fd), addr.bytes, len, offset).map(Outcome::Value)
        }
        Call::PipeFrom { addr, len } => system.pipe_from(pid, addr.bytes, len).map(Outcome::Bytes),
        _ => unreachable!("{call:?} is carried out elsewhere"),
    }
}

/// The kernel beside has memory for all: what is in swap here is there.
fn mincore(system: &System, pid: Pid, addr: Addr, len: u64, vector: Vector) -> Answer {
    let pages = match (vector, system.mincore(pid, addr.bytes, len)) {
        (Vector::Good, pages) => pages?,
        // Of a hole only what is before it is told.
        (Vector::Bad, pages) if len == 0 => {
            return pages.map(|_| Outcome::DONE);
        }
        (Vector::Bad, _) => {
            system.mincore(pid, addr.bytes, len.min(PAGE_BYTES))?;
            return Err(faultless_posix::Errno::EFAULT);
        }
    };
    Ok(Outcome::Vector(pages.iter().map(|page| *page != Presence::Absent).collect()))
}

fn tell(signal: Signal) -> Outcome {
    let addr = Addr::at(signal.addr);
    match signal.trouble {
        Trouble::MapErr => Outcome::segv(1, addr),
        Trouble::AccErr => Outcome::segv(2, addr),
        Trouble::PkuErr => Outcome::segv(4, addr),
        Trouble::Bus => Outcome::bus(addr),
        Trouble::NoMemory => Outcome::Signal(outcome::Signal { number: SIGKILL, code: 0, addr }),
    }
}

fn area_flags(flags: VmaFlags) -> AreaFlags {
    let pairs = [
        (VmaFlags::LOCKED, AreaFlags::LOCKED),
        (VmaFlags::DONT_FORK, AreaFlags::DONTFORK),
        (VmaFlags::WIPE_ON_FORK, AreaFlags::WIPEONFORK),
        (VmaFlags::GROWS_DOWN, AreaFlags::GROWSDOWN),
        (VmaFlags::SEALED, AreaFlags::SEALED),
        (VmaFlags::DONT_DUMP, AreaFlags::DONTDUMP),
        (VmaFlags::NO_RESERVE, AreaFlags::NORESERVE),
        (VmaFlags::READ_SEQUENTIAL, AreaFlags::SEQUENTIAL),
        (VmaFlags::READ_RANDOM, AreaFlags::RANDOM),
        (VmaFlags::MERGEABLE, AreaFlags::MERGEABLE),
        (VmaFlags::HUGE_PAGES, AreaFlags::HUGEPAGE),
        (VmaFlags::NO_HUGE_PAGES, AreaFlags::NOHUGEPAGE),
        (VmaFlags::DROPPABLE, AreaFlags::DROPPABLE),
    ];
    pairs.into_iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, flag)| flag).collect()
}

impl system::System for Faultless {
    fn name(&self) -> &'static str {
        "Faultless"
    }

    fn call(&mut self, process: ProcessId, call: &Call) -> Outcome {
        let Some(pid) = self.pids.get(&process).copied() else { return Outcome::NoProcess };
        let answer = match *call {
            Call::Fork { child } if self.pids.contains_key(&child) || child.0 >= PROCESSES_MAX => {
                Ok(Outcome::NoProcess)
            }
            Call::Fork { child } => self.system.fork(pid).map(|pid| {
                self.pids.insert(child, pid);
                Outcome::DONE
            }),
            Call::Exit => {
                self.system.exit(pid);
                self.pids.remove(&process);
                Ok(Outcome::DONE)
            }
            _ => self.carry_out(pid, call),
        };
        self.system.check_invariants();
        answer.unwrap_or_else(|errno| Errno(errno.0).into())
    }

    fn areas(&mut self, process: ProcessId) -> Vec<Area> {
        let Some(pid) = self.pids.get(&process) else { return Vec::new() };
        join(self.system.areas(*pid).filter_map(|area| self.tell_area(area)))
    }

    fn seams(&mut self, process: ProcessId) -> Vec<u64> {
        let Some(pid) = self.pids.get(&process) else { return Vec::new() };
        let areas = self.system.areas(*pid).filter_map(|area| self.tell_area(area));
        areas.map(|area| area.start).collect()
    }
}
