//! The world: what there is, and what happens next.

use std::collections::BTreeMap;

use faultless_addr::{FrameNo, ObjectId, PageRange, SpaceId, VirtAddr, VirtRange};
use faultless_engine::{
    Addresses, Config, Engine, FlushStep, ObjectOptions, Plan, PolicyKind, References, Rights,
    Scope, Stops,
};
use faultless_software::SoftwareMachine;

use crate::access::Pending;
use crate::backing::Backing;
use crate::model::Model;
use crate::tally::Tally;
use crate::tasks::Task;

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Decides everything else.
    pub seed: u64,
    /// Which world lives.
    pub kind: Kind,
    /// How many steps the world makes before it ends.
    pub steps: u32,
    /// How often checkers look: after so many steps.
    pub check_every: u32,
    /// May backings fail?
    pub failures: bool,
    /// A bug to be planted.
    #[cfg(feature = "canary")]
    pub bug: Option<Bug>,
}

/// What is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Processes on the software machine; each operation is one step.
    Processes,
    /// Threads of one process, which carry plans out as on Linux.
    Threads,
}

/// Bugs that the simulator must find.
#[cfg(feature = "canary")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A page is unmapped, and CPUs still remember it.
    MissingFlush,
    /// A driver gives addresses back while pages are still there.
    NotRetired,
    /// One in the engine.
    Engine(faultless_engine::Canary),
}

impl Options {
    /// The run of a seed.
    pub fn new(seed: u64) -> Options {
        Options {
            seed,
            kind: if seed.is_multiple_of(2) { Kind::Processes } else { Kind::Threads },
            steps: 1500,
            check_every: 4,
            failures: seed / 2 % 3 == 2,
            #[cfg(feature = "canary")]
            bug: None,
        }
    }
}

impl Options {
    /// Does the driver see to it that pages leave before their addresses are free?
    pub(crate) fn retires(&self) -> bool {
        #[cfg(feature = "canary")]
        return self.bug != Some(Bug::NotRetired);
        #[cfg(not(feature = "canary"))]
        true
    }
}

#[cfg(feature = "canary")]
impl Options {
    pub(crate) fn engine_bug(&self) -> Option<faultless_engine::Canary> {
        match self.bug {
            Some(Bug::Engine(canary)) => Some(canary),
            _ => None,
        }
    }

    pub(crate) fn machine_bug(&self) -> Option<faultless_software::Canary> {
        let missing = self.bug == Some(Bug::MissingFlush);
        missing.then_some(faultless_software::Canary::MissingFlush)
    }
}

/// Runs one seed from its beginning to its end; panics where something is wrong.
pub fn run(options: Options) -> Tally {
    match options.kind {
        Kind::Threads => crate::threads::run(options),
        Kind::Processes => {
            let mut world = World::new(options);
            world.run();
            world.tally.add_stats(&world.engine.stats());
            world.tally
        }
    }
}

/// Addresses of every process.
pub(crate) const BOUNDS: VirtRange =
    VirtRange { start: VirtAddr(1 << 20), end: VirtAddr((1 << 20) + (96 << 12)) };

/// The space in which system calls look at files, and its addresses.
pub(crate) const KERNEL: SpaceId = SpaceId(1);
pub(crate) const WINDOW: VirtRange =
    VirtRange { start: VirtAddr(1 << 30), end: VirtAddr((1 << 30) + (1 << 12)) };

/// Everything that there is.
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) rng: fastrand::Rng,
    pub(crate) engine: Engine,
    pub(crate) machine: SoftwareMachine,
    pub(crate) engine_config: Config,
    pub(crate) machine_config: faultless_software::Config,
    pub(crate) model: Model,
    pub(crate) backings: BTreeMap<u32, Backing>,
    /// What each file held when it was last made durable.
    pub(crate) promised: BTreeMap<u32, Vec<u8>>,
    pub(crate) files: Vec<ObjectId>,
    pub(crate) swap: ObjectId,
    pub(crate) tasks: Vec<Task>,
    /// Living processes, and what each is about to do.
    pub(crate) processes: BTreeMap<u32, Option<Pending>>,
    /// Those that the machine holds, each at a page, until they are let go.
    pub(crate) held: BTreeMap<u32, VirtAddr>,
    pub(crate) failing: bool,
    /// Something has failed: signals are to be expected.
    pub(crate) failed: bool,
    /// Pagers take their time.
    pub(crate) stalled: bool,
    /// How often what has happened, for those who doubt that it does.
    pub(crate) tally: Tally,
    /// Grows while there is no frame, and no access is served.
    pub(crate) starved: u32,
    /// Some address has been made an error.
    pub(crate) marked: bool,
    pub(crate) now: u32,
    pub(crate) machine_spaces: u32,
    /// The first process and those that are forked from it may have so many frames.
    pub(crate) account: Option<u32>,
}

impl World {
    /// The world of a seed, at its beginning: one process without memory.
    fn new(options: Options) -> World {
        let mut rng = fastrand::Rng::with_seed(options.seed);
        let frames = rng.u32(12..48);
        let engine_config = Config {
            policy: PolicyKind::ALL[rng.usize(..PolicyKind::ALL.len())],
            guard_pages: 0,
            ahead_max: rng.u32(1..16),
            run_max: rng.u32(1..8),
            // As on machines with memory of their own, on Linux, and in a broker.
            addresses: match rng.u32(..8) {
                0 | 1 => Addresses::One,
                2 => Addresses::OneIfPrivate,
                _ => Addresses::Many,
            },
            stops: if rng.bool() { Stops::Ranges } else { Stops::Each },
            references: if rng.u32(..4) == 0 { References::Bits } else { References::ByFault },
            #[cfg(feature = "canary")]
            canary: options.engine_bug(),
            ..Config::new(frames, vec![BOUNDS, WINDOW])
        };
        let mut machine_config = faultless_software::Config::new(frames);
        machine_config.cpus = 2;
        machine_config.spaces = 2;
        #[cfg(feature = "canary")]
        {
            machine_config.canary = options.machine_bug();
        }
        // Mostly there is room in swap for all; sometimes it fills.
        let slots = match rng.u32(..4) {
            0 => rng.u64(2..8),
            _ => u64::from(frames) * rng.u64(4..12),
        };
        let lengths = [rng.u64(4..40), rng.u64(4..40)];
        let mut world = World {
            options,
            engine: Engine::new(engine_config.clone()),
            machine: SoftwareMachine::new(machine_config),
            engine_config,
            machine_config,
            model: Model::default(),
            backings: BTreeMap::from([
                (0, Backing::file(lengths[0], 0x51)),
                (1, Backing::file(lengths[1], 0x52)),
                // Shared memory without a name is a file that begins as zeros.
                (2, Backing::zeros(16)),
                (3, Backing::zeros(slots)),
            ]),
            promised: BTreeMap::new(),
            files: Vec::new(),
            swap: ObjectId(3),
            tasks: Vec::new(),
            processes: BTreeMap::new(),
            held: BTreeMap::new(),
            failing: false,
            failed: false,
            stalled: false,
            starved: 0,
            tally: Tally::default(),
            marked: false,
            now: 0,
            machine_spaces: 0,
            account: (rng.u32(..4) == 0).then(|| frames * rng.u32(6..16) / 16),
            rng,
        };
        world.boot();
        world
    }

    /// The engine learns of all files, and of swap.
    pub(crate) fn add_objects(&mut self) {
        let mut objects = Vec::new();
        for backing in self.backings.values() {
            let len = backing.bytes.len() as u64;
            objects.push(self.engine.create(ObjectOptions::file(len, Rights::ReadWrite)));
        }
        self.engine.set_swap(self.swap);
        objects.retain(|object| *object != self.swap);
        self.files = objects;
    }

    /// Lives its steps, and ends: what the files hold then is what the model says.
    fn run(&mut self) {
        for step in 0..self.options.steps {
            self.step();
            if step.is_multiple_of(self.options.check_every) {
                self.check();
            }
        }
        self.failing = false;
        self.finish_tasks();
        self.look_at_everything();
        for process in self.processes.keys().copied().collect::<Vec<_>>() {
            self.exit(process);
        }
        for object in self.files.clone() {
            self.flush(object);
            let file = &self.backings[&object.0].bytes;
            let same = *file == self.model.objects[&object.0];
            assert!(same || self.failed, "{object:?}: a store was lost");
            self.close(object);
        }
        self.finish_tasks();
        self.check();
        assert_eq!(self.engine.stats().frames_used, 0, "frames are lost");
        assert_eq!(self.engine.anonymous_pages(), 0, "anonymous pages are lost");
        assert_eq!(self.engine.swap_slots().0, 0, "slots are lost");
    }

    fn step(&mut self) {
        match self.rng.u32(..100) {
            0..57 => self.advance_process(),
            57..88 => self.advance_task(),
            88..90 => {
                let target = self.rng.u32(1..8);
                self.reclaim(Scope::All, target);
            }
            90 => self.let_time_pass(),
            91 if self.options.failures => self.failing = self.rng.u32(..4) == 0,
            91 => self.stalled = self.rng.u32(..4) == 0,
            92 if self.rng.u32(..25) == 0 => self.crash(),
            _ => self.verb(),
        }
    }

    /// As a driver does: it knows of the machine's accessed bits.
    pub(crate) fn reclaim(&mut self, scope: Scope, target: u32) -> u32 {
        let mut plan = Plan::new();
        let World { engine, machine, .. } = self;
        let accessed = |space, at| machine.translation(space, at).is_some_and(|it| it.accessed);
        let begun = match engine.references() {
            References::Bits => engine.reclaim_seeing(scope, target, &accessed, &mut plan),
            References::ByFault => engine.reclaim(scope, target, &mut plan),
        };
        self.take_apart(&plan);
        begun
    }

    pub(crate) fn let_time_pass(&mut self) {
        self.now += self.rng.u32(..700);
        let now = self.now;
        self.plan(|engine, plan| engine.tick(now, plan));
        self.plan(|engine, plan| engine.write_aged(300, 16, plan));
    }

    /// Calls the engine and takes its plan apart into tasks.
    pub(crate) fn plan<R>(&mut self, call: impl FnOnce(&mut Engine, &mut Plan) -> R) -> R {
        let mut plan = Plan::new();
        let result = call(&mut self.engine, &mut plan);
        self.take_apart(&plan);
        result
    }

    /// Lets other things happen until a frame settles: a caller waits for it.
    pub(crate) fn wait(&mut self, _no: FrameNo) {
        assert!(!self.tasks.is_empty(), "somebody waits and nothing is under way");
        self.advance_task();
    }

    pub(crate) fn finish_tasks(&mut self) {
        while !self.tasks.is_empty() {
            self.advance_task();
        }
        assert!(self.held.is_empty(), "nobody lets them go: {:?}", self.held);
    }

    pub(crate) fn flush(&mut self, object: ObjectId) {
        let mut rest = PageRange::all();
        loop {
            match self.plan(|engine, plan| engine.flush_step(object, &mut rest, plan)) {
                FlushStep::Done => break,
                FlushStep::Wait(no) => self.wait(no),
                FlushStep::More => {}
                FlushStep::Pinned(page) => panic!("{page:?} is pinned"),
                FlushStep::InChange => panic!("nobody changes {object:?}"),
            }
        }
        self.finish_tasks();
    }

    fn close(&mut self, object: ObjectId) {
        while let Some(no) = self.plan(|engine, plan| engine.close_step(object, plan)) {
            self.wait(no);
        }
        while self.engine.are_marks_changing(object) {
            assert!(!self.tasks.is_empty(), "a mark changes for ever");
            self.advance_task();
        }
        self.engine.forget_marks(object);
        self.engine.remove(object);
    }

    /// Reads every page of every process.
    fn look_at_everything(&mut self) {
        for (space, pages) in self.model.processes.clone() {
            for number in pages.keys() {
                self.access_to_end(space, Pending::load(*number, 0));
            }
        }
    }
}
