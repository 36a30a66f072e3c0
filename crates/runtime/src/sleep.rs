//! Sleeping until a frame settles or becomes free.
//!
//! Whoever looks at the engine and finds that it has to wait falls asleep with the
//! engine's lock, which is free from the very moment it sleeps. What it waits for is
//! reported under that lock, and the wake comes after: so it can't be missed between
//! looking and sleeping. Sleepers share 64 condition variables by frame number; who is
//! woken for another's frame looks again.
//!
//! Who sleeps is counted, also under the engine's lock: most faults are served by who waits
//! for them, and to wake nobody is a system call, too.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use faultless_addr::FrameNo;
use faultless_engine::{Engine, Wakes};

use crate::lock::Guard;
use crate::sync::Condvar;

/// Those who sleep for one reason.
struct Group {
    bell: Condvar,
    count: AtomicU32,
}

impl Group {
    fn new() -> Group {
        Group { bell: Condvar::new(), count: AtomicU32::new(0) }
    }

    /// Whoever sleeps has been counted under the engine's lock, before what it waits for was
    /// reported under it.
    fn wake(&self) {
        if self.count.load(Ordering::Acquire) > 0 {
            self.bell.notify_all();
        }
    }

    /// Counts this thread while it sleeps.
    fn sleep<'a>(
        &self,
        engine: Guard<'a, Engine>,
        sleep: impl FnOnce(Guard<'a, Engine>, &Condvar) -> Guard<'a, Engine>,
    ) -> Guard<'a, Engine> {
        self.count.fetch_add(1, Ordering::AcqRel);
        let engine = sleep(engine, &self.bell);
        self.count.fetch_sub(1, Ordering::AcqRel);
        engine
    }
}

/// All who sleep.
pub struct Sleepers {
    settled: [Group; 64],
    freed: Group,
}

impl Sleepers {
    pub fn new() -> Sleepers {
        Sleepers { settled: std::array::from_fn(|_| Group::new()), freed: Group::new() }
    }

    /// Sleeps until frame `no` settles, or a while: the caller looks again.
    pub fn wait_settled<'a>(&self, engine: Guard<'a, Engine>, no: FrameNo) -> Guard<'a, Engine> {
        self.settled[Wakes::group(no)].sleep(engine, |engine, bell| engine.wait(bell))
    }

    /// Sleeps until a frame becomes free, or `timeout`.
    pub fn wait_frames<'a>(
        &self,
        engine: Guard<'a, Engine>,
        timeout: Duration,
    ) -> Guard<'a, Engine> {
        self.freed.sleep(engine, |engine, bell| engine.wait_for(bell, timeout))
    }

    /// Wakes whom a plan says to wake.
    pub fn wake(&self, wakes: Wakes) {
        let mut groups = wakes.settled;
        while groups != 0 {
            self.settled[groups.trailing_zeros() as usize].wake();
            groups &= groups - 1;
        }
        if wakes.frames {
            self.freed.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use faultless_addr::*;
    use faultless_engine::*;

    use super::*;
    use crate::lock::{ENGINE, Ranked};

    const SPACE: SpaceId = SpaceId(0);

    /// What a thread does between finding that it has to wait and falling asleep.
    #[derive(Clone, Copy, PartialEq)]
    enum Between {
        HoldsTheLock,
        /// What would be wrong.
        LetsGo,
    }

    struct World {
        engine: Ranked<Engine>,
        sleepers: Sleepers,
        base: VirtAddr,
    }

    impl World {
        /// Two pages of a file; nothing is in memory.
        fn new() -> Arc<World> {
            let bounds = VirtRange::new(VirtAddr(1 << 30), VirtAddr(1 << 31));
            let mut engine = Engine::new(Config::new(4, vec![bounds]));
            let file = engine.create(ObjectOptions::file(2 * PAGE_BYTES, Rights::ReadOnly));
            let range = engine.map_object(SPACE, file, PageIndex(0), 2, Prot::READ).unwrap();
            let (engine, base) = (Ranked::new(ENGINE, engine), range.start);
            Arc::new(World { engine, sleepers: Sleepers::new(), base })
        }

        /// A thread touches a page, and serves its fault as inline delivery does.
        fn touch(&self, page: u64, between: Between) {
            let at = self.base.plus_pages(page);
            let mut plan = Plan::new();
            loop {
                let mut engine = self.engine.lock();
                let outcome = engine.fault(SPACE, at, Access::Read, Waiter::Caller, &mut plan);
                if let Outcome::Waiting(no) = outcome
                    && plan.is_empty()
                {
                    if between == Between::LetsGo {
                        drop(engine);
                        engine = self.engine.lock();
                    }
                    drop(self.sleepers.wait_settled(engine, no));
                    continue;
                }
                drop(engine);
                self.carry_out(&mut plan);
                if outcome == Outcome::Resolved {
                    return;
                }
            }
        }

        /// Takes pages away from their addresses, and out of memory.
        fn reclaim(&self) {
            let mut plan = Plan::new();
            self.engine.lock().reclaim(Scope::All, 2, &mut plan);
            self.carry_out(&mut plan);
        }

        /// As `drive` does: no lock is held, and each end is reported under it.
        fn carry_out(&self, plan: &mut Plan) {
            while !plan.is_empty() {
                let mut next = Plan::new();
                self.sleepers.wake(plan.wakes);
                for leaver in &plan.drop {
                    self.engine.lock().unmapped(leaver, Leave::Drop, &mut next);
                }
                for leaver in &plan.keep {
                    self.engine.lock().unmapped(leaver, Leave::Keep, &mut next);
                }
                for op in &plan.ops {
                    let mut engine = self.engine.lock();
                    match *op {
                        Op::Read { run, .. } => {
                            let frames = plan.frames(run.frames);
                            engine.read_ended(run.first, frames, ReadEnd::GOOD, &mut next);
                        }
                        Op::Map { space, at, frames, write } => {
                            engine.mapped(space, at, plan.frames(frames), write, &mut next);
                        }
                        Op::Wake { .. } => {} // No machine holds anybody here.
                        other => panic!("{other:?}"),
                    }
                }
                *plan = next;
            }
        }
    }

    fn three_threads_and_reclaim(between: Between) {
        let world = World::new();
        let threads = [0, 0, 1].map(|page| {
            let world = world.clone();
            shuttle::thread::spawn(move || world.touch(page, between))
        });
        world.reclaim();
        world.reclaim();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        world.engine.lock().check_invariants();
    }

    #[test]
    fn no_wake_is_missed() {
        shuttle::check_random(|| three_threads_and_reclaim(Between::HoldsTheLock), 10_000);
        shuttle::check_pct(|| three_threads_and_reclaim(Between::HoldsTheLock), 10_000, 3);
    }

    #[test]
    #[should_panic(expected = "deadlock")]
    fn one_would_be_if_the_lock_were_let_go_before_sleeping() {
        shuttle::check_random(|| three_threads_and_reclaim(Between::LetsGo), 2000);
    }
}
