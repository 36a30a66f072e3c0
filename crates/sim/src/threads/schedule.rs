//! Threads that are simulated: futures, of which the seed chooses the next to go on.
//!
//! A thread runs from one pause to the next, as if it held a lock; at a pause all
//! others may run for as long as the seed wants, so that some are stalled for long.
//! Who sleeps isn't chosen until it has been woken: if nobody does that, a wake was lost.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use faultless_addr::FrameNo;
use faultless_engine::Wakes;

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sleep {
    /// Nothing: it can go on.
    Awake,
    /// A frame of this group settles.
    Settled(usize),
    /// Somebody hands work to it.
    Bell,
    /// Nothing any more.
    Ended,
}

/// Who sleeps, and for what.
#[derive(Default)]
pub struct Sleepers {
    threads: Vec<Sleep>,
    /// At which step each fell asleep.
    since: Vec<u64>,
    now: u64,
}

/// Whoever waits for a frame for so many steps waits for ever.
const STEPS_ASLEEP: u64 = 200_000;

impl Sleepers {
    /// A new thread's number.
    pub fn add(&mut self) -> usize {
        self.threads.push(Sleep::Awake);
        self.since.push(0);
        self.threads.len() - 1
    }

    /// A step is over. Panics if somebody sleeps who should have been woken.
    pub fn step(&mut self) {
        self.now += 1;
        for (thread, sleep) in self.threads.iter().enumerate() {
            let slept = self.now - self.since[thread];
            let forgotten = matches!(sleep, Sleep::Settled(_)) && slept > STEPS_ASLEEP;
            assert!(!forgotten, "thread {thread} sleeps for ever: a wake was lost");
        }
    }

    /// A thread is not chosen until what it waits for has come.
    pub fn sleep(&mut self, thread: usize, sleep: Sleep) {
        self.threads[thread] = sleep;
        self.since[thread] = self.now;
    }

    /// Is it the thread's turn as soon as it is chosen?
    pub fn is_awake(&self, thread: usize) -> bool {
        self.threads[thread] == Sleep::Awake
    }

    /// Whoever waits for one of these frames goes on.
    pub fn wake(&mut self, wakes: Wakes) {
        for sleep in &mut self.threads {
            match *sleep {
                Sleep::Settled(group) if wakes.settled >> group & 1 == 1 => *sleep = Sleep::Awake,
                Sleep::Bell if wakes.frames => *sleep = Sleep::Awake,
                _ => {}
            }
        }
    }

    /// There is work for handlers.
    pub fn ring(&mut self) {
        self.wake(Wakes { settled: 0, frames: true });
    }
}

impl Sleep {
    /// Until a frame settles.
    pub fn until_settled(no: FrameNo) -> Sleep {
        Sleep::Settled(Wakes::group(no))
    }
}

/// Lets others run.
pub async fn pause() {
    let mut paused = false;
    poll_fn(|_| if std::mem::replace(&mut paused, true) { Poll::Ready(()) } else { Poll::Pending })
        .await
}

/// One thread's code.
pub type Body = Pin<Box<dyn Future<Output = ()>>>;

/// Runs a thread up to its next pause; answers whether it has ended.
pub fn advance(body: &mut Body) -> bool {
    body.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// How often each thread is chosen: for a while, some hardly ever.
pub struct Weights {
    weights: Vec<u32>,
    left: u32,
}

impl Weights {
    pub fn new(threads: usize) -> Weights {
        Weights { weights: vec![1; threads], left: 0 }
    }

    /// Chooses one of the threads that are `able`, of which there is one.
    pub fn choose(&mut self, rng: &mut fastrand::Rng, able: &[usize]) -> usize {
        if self.left == 0 {
            self.left = rng.u32(1..400);
            let spread = rng.u32(0..7);
            self.weights.iter_mut().for_each(|it| *it = 1 << rng.u32(0..=spread));
        }
        self.left -= 1;
        let sum: u32 = able.iter().map(|thread| self.weights[*thread]).sum();
        let mut point = rng.u32(..sum);
        for thread in able {
            match point.checked_sub(self.weights[*thread]) {
                Some(rest) => point = rest,
                None => return *thread,
            }
        }
        unreachable!("the point is below the sum")
    }
}
