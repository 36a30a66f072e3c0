//! `System`: all there is, and how it begins.

use std::collections::BTreeMap;

use faultless_addr::{ObjectId, PAGE_BYTES, SpaceId, VirtAddr, VirtRange};
use faultless_engine::space::{Layout, SpaceConfig, Vma};
use faultless_engine::{Engine, ObjectOptions, Rights};
use faultless_software::SoftwareMachine;

use crate::cache::WINDOW;
use crate::config::Config;
use crate::device::Driven;
use crate::file::{File, Store};
use crate::look::Io;
use crate::process::{Open, Pid, Process};

/// The kernel's own space, in which it looks at files.
pub(crate) const KERNEL: SpaceId = SpaceId(0);

/// All there is.
pub struct System {
    pub(crate) config: Config,
    pub(crate) engine: Engine,
    pub(crate) machine: SoftwareMachine,
    /// What is behind each object, swap's too.
    pub(crate) files: BTreeMap<ObjectId, File>,
    /// Which name leads to which file.
    pub(crate) names: BTreeMap<u32, ObjectId>,
    pub(crate) processes: BTreeMap<Pid, Process>,
    pub(crate) devices: Vec<Driven>,
    /// Spaces of the machine are used again, as those of the engine are.
    machine_spaces: u32,
    /// Counts calls of open(2).
    pub(crate) openings: u32,
    pub(crate) io: Io,
    /// Milliseconds since the system began.
    pub(crate) now_ms: u32,
    pub(crate) swap: ObjectId,
}

/// What an area shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// Zeros of one's own.
    Anonymous,
    /// The file that was created by this name, whatever its names are now.
    File(u32),
    /// A memfd.
    Memory,
    /// Memory without a name that others may have mapped, too.
    Nameless,
    /// The device of this number.
    Device(u32),
}

impl System {
    /// A system with one process, which has no areas.
    pub fn new(config: Config) -> (System, Pid) {
        let mut engine_config = faultless_engine::Config::new(config.frames, vec![WINDOW]);
        engine_config.guard_pages = 0;
        engine_config.ahead_max = config.frames / 4;
        engine_config.run_max = config.frames / 4;
        engine_config.references = config.references;
        engine_config.device_frames = config.device_frames;
        let frames = config.frames + config.device_frames;
        let mut machine_config = faultless_software::Config::new(frames);
        machine_config.table_frames = 4096;
        let mut system = System {
            config,
            engine: Engine::new(engine_config),
            machine: SoftwareMachine::new(machine_config),
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            processes: BTreeMap::new(),
            devices: Vec::new(),
            machine_spaces: 1,
            openings: 0,
            io: Io::default(),
            now_ms: 0,
            swap: ObjectId(0),
        };
        system.swap = system.add_file(File::new(Store::Nameless, config.swap_slots * PAGE_BYTES));
        system.engine.set_swap(system.swap);
        let init = system.add_init();
        (system, init)
    }

    fn add_init(&mut self) -> Pid {
        let Config { bounds, areas_max, brk, limits, .. } = self.config;
        let space =
            self.engine.create_space_with(SpaceConfig { bounds, guard_pages: 0, areas_max });
        self.engine.set_limits(space, limits);
        let below = |pages: u64| VirtAddr(brk.0 - pages * PAGE_BYTES);
        let nothing = VirtRange::new(bounds.end, bounds.end);
        let layout = Layout {
            code: VirtRange::new(below(1), brk),
            data: VirtRange::new(brk, brk),
            start_brk: brk,
            brk,
            mmap_base: bounds.end,
            start_stack: bounds.end,
            args: nothing,
            env: nothing,
        };
        self.engine.set_up(space, layout).expect("the break is inside the bounds");
        self.add_process(space, Process::default())
    }

    pub(crate) fn add_process(&mut self, space: SpaceId, process: Process) -> Pid {
        if space.0 >= self.machine_spaces {
            self.machine.add_space().expect("there are table frames");
            self.machine_spaces += 1;
        }
        let pid = Pid(space.0);
        self.processes.insert(pid, process);
        pid
    }

    /// A new regular file with a name.
    pub fn create_file(&mut self, name: u32, store: Store, bytes: &[u8]) {
        let mut file = File::new(store, 0);
        file.inode = name;
        file.fill(bytes);
        let object = self.add_file(file);
        self.names.insert(name, object);
    }

    /// An object for what is behind it.
    pub(crate) fn add_file(&mut self, file: File) -> ObjectId {
        let object = self.engine.create(ObjectOptions::file(file.size, Rights::ReadWrite));
        self.files.insert(object, file);
        object
    }

    pub(crate) fn file(&self, object: ObjectId) -> &File {
        &self.files[&object]
    }

    pub(crate) fn file_mut(&mut self, object: ObjectId) -> &mut File {
        self.files.get_mut(&object).expect("an object that is named is there")
    }

    pub(crate) fn process(&self, pid: Pid) -> &Process {
        &self.processes[&pid]
    }

    pub(crate) fn process_mut(&mut self, pid: Pid) -> &mut Process {
        self.processes.get_mut(&pid).expect("the process lives")
    }

    /// The areas of a process.
    pub fn areas(&self, pid: Pid) -> impl Iterator<Item = &Vma> {
        self.engine.space(pid.space()).iter()
    }

    /// What an area shows.
    pub fn shows(&self, area: &Vma) -> Shows {
        area.object().map_or(Shows::Anonymous, |object| self.shows_of(object))
    }

    /// What areas of an object show.
    pub fn shows_of(&self, object: ObjectId) -> Shows {
        match self.file(object).store {
            Store::Memory => Shows::Memory,
            Store::Nameless => Shows::Nameless,
            Store::Device(number) => Shows::Device(number),
            Store::Disk | Store::Tmpfs => Shows::File(self.file(object).inode),
        }
    }

    /// Removes objects that nobody can reach any more.
    pub(crate) fn reap(&mut self) {
        let unreachable = |object: &ObjectId| {
            let named = self.names.values().any(|named| named == object);
            let mut descriptors = self.processes.values().flat_map(|it| it.descriptors.values());
            let open = descriptors.any(|it| it.open == Open::Object(*object));
            let shown = self.engine.reach(*object) != u64::MAX;
            let driven = self.devices.iter().any(|device| device.object == *object);
            *object != self.swap && !driven && !named && !open && !shown
        };
        for object in self.files.keys().copied().filter(unreachable).collect::<Vec<_>>() {
            while self.plan(|engine, plan| engine.close_step(object, plan)).is_some() {}
            self.engine.remove(object);
            self.files.remove(&object);
        }
    }

    /// Panics where engine and machine contradict themselves or each other.
    pub fn check_invariants(&self) {
        self.engine.check_invariants();
        self.machine.check_invariants();
        assert_eq!(self.machine.stale(), [], "a TLB was not flushed");
        for (no, _) in self.engine.frames() {
            for (space, at, writable) in self.engine.addresses_of(no) {
                let there = self.machine.translation(space, at).expect("a page that is shown");
                assert_eq!(there.frame, no, "another frame is at {at:?}");
                let stores = there.rights.contains(faultless_software::Rights::WRITE);
                assert_eq!(stores, writable, "stores to {no:?} at {at:?}");
            }
        }
    }
}
