//! The model: a system that is slow and easy to believe.
//!
//! A process is a map from page numbers to pages; a page knows its area's traits and
//! holds its own bytes once it has any. Nothing is shared but objects, nothing is put
//! off, nothing is kept twice. One file per verb.
//!
//! ```text
//! Model ── Process ── Page ── Traits (rights, sharing, backing, lock, flags)
//!   │         │        └──── own bytes, guard, touched
//!   │         └── descriptors, break, limits
//!   └── Object ── pages' bytes, size
//! ```
//!
//! What isn't there: swap, huge pages, pressure on memory, time.

mod access;
mod allowed;
mod brk;
mod bytes;
mod fallocate;
mod files;
mod fork;
mod madvise;
mod mapping;
mod mincore;
mod mlock;
mod mmap;
mod mprotect;
mod mremap;
mod mseal;
mod msync;
mod munmap;
mod object;
mod page;
mod place;
mod process;
mod remap_file_pages;
mod transfer;

use std::collections::BTreeMap;

use crate::area::{Area, join};
use crate::call::{Call, FileId, ProcessId, Resource};
use crate::flags::Advice;
use crate::outcome::{Errno, Outcome};
use crate::system::{Person, System, World};
use access::ExecOnly;
use allowed::Answer;
pub use allowed::{Allowed, Residency};
pub use bytes::Loose;
use object::{Kind, Object, ObjectId};
use process::Process;

/// A system that is slow and easy to believe.
#[derive(Clone, Debug)]
pub struct Model {
    world: World,
    exec_only: ExecOnly,
    processes: BTreeMap<ProcessId, Process>,
    objects: BTreeMap<ObjectId, Object>,
    /// Which name leads to which file.
    names: BTreeMap<FileId, ObjectId>,
    next_object: u32,
    next_birth: u64,
}

impl Model {
    /// A model with one process, in this world.
    pub fn new(world: World) -> Model {
        let world = World { person: world.person.settled(), ..world };
        let mut model = Model {
            world,
            exec_only: ExecOnly::of_this_machine(),
            processes: BTreeMap::from([(ProcessId(0), Process::new(world.brk))]),
            objects: BTreeMap::new(),
            names: BTreeMap::new(),
            next_object: 0,
            next_birth: 0,
        };
        for (number, size) in world.files.iter().enumerate() {
            let file = FileId(number as u8);
            let object = model.add_object(Object::new(Kind::File(file, world.store), 0));
            let bytes = (0..*size).map(|index| World::byte(number, index)).collect();
            model.object_mut(object).write(0, &Loose::exactly(bytes));
            model.names.insert(file, object);
        }
        model
    }

    /// Carries a call out, and says what may be answered to it.
    pub fn answer(&mut self, process: ProcessId, call: &Call) -> Allowed {
        if !self.processes.contains_key(&process) {
            return Allowed::Only(Outcome::NoProcess);
        }
        let before = self.world.areas_max.map(|max| (max, self.clone()));
        let answer = self.carry_out(process, call);
        match before {
            Some((max, before)) if self.count_areas(process) > max => {
                *self = before;
                Allowed::Only(Errno::ENOMEM.into())
            }
            _ => answer.unwrap_or_else(|errno| Allowed::Only(errno.into())),
        }
    }

    /// Is there a place where nobody can say whether an area ends, and does it matter
    /// to this call?
    pub fn asks_for_seams(&self, process: ProcessId, call: &Call) -> bool {
        let matters = match call {
            Call::Mremap { .. } | Call::Mprotect { .. } | Call::Mlockall { .. } => true,
            Call::RemapFilePages { .. } => true,
            Call::Madvise { advice, .. } => *advice == Advice::GUARD_INSTALL,
            _ => false,
        };
        matters && self.processes.get(&process).is_some_and(|process| process.has_open_seams())
    }

    /// Takes over where areas begin.
    ///
    /// # Errors
    /// An address where an area begins that can't, or where one must and doesn't.
    pub fn follow_seams(&mut self, process: ProcessId, starts: &[u64]) -> Result<(), u64> {
        let Some(process) = self.processes.get_mut(&process) else { return Ok(()) };
        process.follow_seams(starts, &mut self.next_birth)
    }

    fn carry_out(&mut self, p: ProcessId, call: &Call) -> Answer {
        match *call {
            Call::Mmap { addr, len, prot, flags, fd, offset, .. } => {
                self.mmap(p, mmap::Request { addr, len, prot, flags, fd, offset })
            }
            Call::Munmap { addr, len } => self.munmap(p, addr, len),
            Call::Mprotect { addr, len, prot } => self.mprotect(p, addr, len, prot),
            Call::Mremap { old, old_len, new_len, flags, new, .. } => {
                self.mremap(p, mremap::Request { old, old_len, new_len, flags, new })
            }
            Call::Msync { addr, len, flags } => self.msync(p, addr, len, flags),
            Call::Madvise { addr, len, advice } => self.madvise(p, addr, len, advice),
            Call::Mincore { addr, len, vector } => self.mincore(p, addr, len, vector),
            Call::Mlock { addr, len } => self.mlock(p, addr, len, page::Lock::Full),
            Call::Mlock2 { addr, len, flags } => self.mlock2(p, addr, len, flags),
            Call::Munlock { addr, len } => self.munlock(p, addr, len),
            Call::Mlockall { flags } => self.mlockall(p, flags),
            Call::Munlockall => self.munlockall(p),
            Call::Brk { addr } => self.brk(p, addr),
            Call::RemapFilePages { addr, len, prot, page, flags } => {
                self.remap_file_pages(p, remap_file_pages::Request { addr, len, prot, page, flags })
            }
            Call::Mseal { addr, len, flags } => self.mseal(p, addr, len, flags),
            Call::Setrlimit { resource, limit } => self.setrlimit(p, resource, limit),
            Call::Fork { child } => self.fork(p, child),
            Call::Exit => self.exit(p),
            Call::Load { addr, len } => Ok(self.load(p, addr, len)),
            Call::Store { addr, data } => Ok(self.store(p, addr, data.bytes())),
            Call::Fetch { addr } => Ok(self.fetch(p, addr)),
            Call::ReadInto { fd, addr, len, offset } => self.read_into(p, fd, addr, len, offset),
            Call::WriteFrom { fd, addr, len, offset } => self.write_from(p, fd, addr, len, offset),
            Call::PipeFrom { addr, len } => self.pipe_from(p, addr, len),
            _ => self.file_call(p, call),
        }
    }

    fn setrlimit(&mut self, p: ProcessId, resource: Resource, limit: Option<u64>) -> Answer {
        self.process_mut(p).set_limit(resource, limit);
        Ok(Allowed::DONE)
    }

    fn exit(&mut self, process: ProcessId) -> Answer {
        self.processes.remove(&process);
        Ok(Allowed::DONE)
    }

    fn process(&self, process: ProcessId) -> &Process {
        &self.processes[&process]
    }

    fn process_mut(&mut self, process: ProcessId) -> &mut Process {
        self.processes.get_mut(&process).expect("looked up before the call")
    }

    fn object_mut(&mut self, object: ObjectId) -> &mut Object {
        self.objects.get_mut(&object).expect("objects stay")
    }

    fn add_object(&mut self, object: Object) -> ObjectId {
        let id = ObjectId(self.next_object);
        self.next_object += 1;
        self.objects.insert(id, object);
        id
    }

    fn rebirth(&mut self, process: ProcessId, range: process::Pages) {
        let process = self.processes.get_mut(&process).expect("looked up before the call");
        process.rebirth(range, &mut self.next_birth);
    }

    fn birth(&mut self) -> u64 {
        self.next_birth += 1;
        self.next_birth
    }

    /// Do limits on locked memory not count?
    fn is_exempt(&self) -> bool {
        self.world.person == Person::Root
    }

    fn count_areas(&self, process: ProcessId) -> u64 {
        self.processes.get(&process).map_or(0, |process| process.seams().len() as u64)
    }
}

/// Does this machine keep loads from what may only be executed?
pub fn keeps_exec_only() -> bool {
    ExecOnly::of_this_machine() == ExecOnly::Kept
}

impl System for Model {
    fn call(&mut self, process: ProcessId, call: &Call) -> Outcome {
        self.answer(process, call).first()
    }

    fn areas(&mut self, process: ProcessId) -> Vec<Area> {
        let Some(process) = self.processes.get(&process) else { return Vec::new() };
        let backing = |object| page::backing_of(&self.objects[&object]);
        join(process.pages.iter().map(|(number, page)| page.area(*number, backing)))
    }

    fn seams(&mut self, process: ProcessId) -> Vec<u64> {
        self.processes.get(&process).map(Process::seams).unwrap_or_default()
    }
}
