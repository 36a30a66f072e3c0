//! Several threads of one process, as on Linux: each serves its own faults.
//!
//! [`World`](crate::World) carries each operation out in one step, and verbs of one space
//! exclude each other. Here a plan belongs to a thread, which carries it out step by step
//! while the others fault on the same pages and their neighbours, map, unmap and forget;
//! an operation and its report are apart, a frame is at one address only, and a second
//! chance is a fault.
//!
//! ```text
//!   play ── access ──► machine ── fault ──► drive ──► engine
//!     │ verbs                                 │ steps, others between
//!     └─────────── model ══ compared ══ machine
//! ```
//!
//! | file | subject |
//! |---|---|
//! | `schedule` | who runs next, and who sleeps |
//! | `play` | what threads do |
//! | `memory` | what they must see |
//! | `drive` | how plans are carried out, as `faultless-runtime` does it |
//! | `steps` | single steps of the machine and of pagers |
//! | `check` | what must never be |

mod check;
mod drive;
mod memory;
mod play;
mod schedule;
mod steps;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use faultless_addr::{ObjectId, PAGE_BYTES, SpaceId, VirtAddr, VirtRange};
use faultless_engine::{
    Addresses, Config, Engine, ObjectOptions, PolicyKind, References, Rights, Stops,
};
use faultless_software::SoftwareMachine;

use crate::Options;
use crate::backing::Backing;
use crate::tally::Tally;
use drive::{HandedOff, Worker};
use memory::Memory;
use schedule::{Body, Sleepers, Weights, advance};

const SPACE: SpaceId = SpaceId(0);

/// Handlers, which carry on what others hand off.
const HANDLERS: usize = 2;

/// All addresses: few, so that what one gives back another is soon given.
const BOUNDS: VirtRange =
    VirtRange { start: VirtAddr(1 << 20), end: VirtAddr((1 << 20) + (224 << 12)) };

/// What all threads share.
pub struct Shared(RefCell<State>);

impl Shared {
    fn with<R>(&self, call: impl FnOnce(&mut State) -> R) -> R {
        call(&mut self.0.borrow_mut())
    }
}

/// All there is.
pub struct State {
    rng: fastrand::Rng,
    engine: Engine,
    machine: SoftwareMachine,
    backings: BTreeMap<u32, Backing>,
    memory: Memory,
    sleepers: Sleepers,
    handoff: VecDeque<HandedOff>,
    now: u32,
    /// Threads that have not come to their end.
    playing: usize,
    stopping: bool,
    /// May pagers fail, do they now, and have they?
    may_fail: bool,
    failing: bool,
    failed: bool,
    /// Pages leave before their addresses are free: a driver's duty.
    retires: bool,
    tally: Tally,
}

/// Runs one seed; panics where something is wrong. Answers what has happened.
pub fn run(options: Options) -> Tally {
    let mut rng = fastrand::Rng::with_seed(options.seed);
    let players = rng.usize(2..6);
    let rounds = options.steps / 6;
    let shared = Rc::new(Shared(RefCell::new(State::new(&options, players, rng))));
    let mut bodies: Vec<Body> = Vec::new();
    for _ in 0..HANDLERS {
        bodies.push(Box::pin(play::handle(Worker::new(&shared))));
    }
    bodies.push(Box::pin(play::keep(Worker::new(&shared))));
    for _ in 0..players {
        bodies.push(Box::pin(play::play(Worker::new(&shared), rounds)));
    }
    // A step is much smaller here.
    let check_every = 8 * options.check_every;
    run_all(&shared, &mut bodies, check_every);
    let mut end: Vec<Body> = vec![Box::pin(play::end(Worker::new(&shared)))];
    end.splice(..0, bodies);
    shared.with(|state| {
        state.playing = 1;
        (state.may_fail, state.failing) = (false, false);
    });
    run_all(&shared, &mut end, check_every);
    shared.with(|state| {
        state.check_end();
        state.tally.add_stats(&state.engine.stats());
        std::mem::take(&mut state.tally)
    })
}

/// Until all players have ended, and then the handlers.
fn run_all(shared: &Shared, bodies: &mut [Body], check_every: u32) {
    let mut weights = Weights::new(bodies.len());
    let mut able = Vec::new();
    let mut steps = 0u32;
    loop {
        able.clear();
        let all = 0..bodies.len();
        shared.with(|state| able.extend(all.filter(|it| state.sleepers.is_awake(*it))));
        if shared.with(|state| state.playing) == 0 {
            return;
        }
        assert!(!able.is_empty(), "all threads sleep: a wake was lost");
        let thread = shared.with(|state| weights.choose(&mut state.rng, &able));
        if advance(&mut bodies[thread]) {
            shared.with(|state| state.sleepers.sleep(thread, schedule::Sleep::Ended));
        }
        steps += 1;
        shared.with(|state| state.sleepers.step());
        if steps.is_multiple_of(check_every) {
            shared.with(|state| state.check());
        }
    }
}

impl State {
    fn new(options: &Options, players: usize, mut rng: fastrand::Rng) -> State {
        let frames = rng.u32(8 + 2 * players as u32..64);
        let config = Config {
            policy: PolicyKind::ALL[rng.usize(..PolicyKind::ALL.len())],
            guard_pages: rng.u64(..2),
            ahead_max: rng.u32(1..16),
            run_max: rng.u32(1..16),
            addresses: Addresses::One,
            stops: if rng.bool() { Stops::Ranges } else { Stops::Each },
            references: References::ByFault,
            #[cfg(feature = "canary")]
            canary: options.engine_bug(),
            ..Config::new(frames, vec![BOUNDS])
        };
        let machine = SoftwareMachine::new({
            let mut config = faultless_software::Config::new(frames);
            config.cpus = players as u32 + 2;
            config.spaces = 1;
            #[cfg(feature = "canary")]
            {
                config.canary = options.machine_bug();
            }
            config
        });
        let mut state = State {
            engine: Engine::new(config),
            machine,
            backings: BTreeMap::new(),
            memory: Memory::default(),
            sleepers: Sleepers::default(),
            handoff: VecDeque::new(),
            now: 0,
            playing: players,
            stopping: false,
            may_fail: options.failures,
            failing: false,
            failed: false,
            retires: options.retires(),
            tally: Tally::default(),
            rng,
        };
        let slots = u64::from(frames) * state.rng.u64(2..8);
        let swap = state.add_backing(Backing::zeros(slots));
        state.engine.set_swap(swap);
        state.memory.room = slots * 3 / 4;
        for salt in [0x33, 0x77] {
            let pages = state.rng.u64(4..24);
            let file = state.add_backing(Backing::file(pages, salt));
            state.memory.add_file(file, state.backings[&file.0].bytes.clone());
        }
        state
    }

    fn add_backing(&mut self, backing: Backing) -> ObjectId {
        let len = backing.bytes.len() as u64;
        debug_assert!(len.is_multiple_of(PAGE_BYTES));
        let object = self.engine.create(ObjectOptions::file(len, Rights::ReadWrite));
        self.backings.insert(object.0, backing);
        object
    }
}
