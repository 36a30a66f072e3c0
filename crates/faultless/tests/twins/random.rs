//! Random sequences from seeds, and shorter ones where they fail.

use std::time::{Duration, Instant};

use faultless::{PolicyKind, Vm};

use super::dice::Dice;
use super::differences::{TABLE, Tally};
use super::op::{self, Op};
use super::world::{directory, run};
use super::{PAGE, access, watch};

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is a number, not {value}")))
}

/// Seeds and steps, as the environment says.
fn ordered(count: u64, steps: u64) -> (std::ops::Range<u64>, usize) {
    let steps = number("STEPS").unwrap_or(steps) as usize;
    let count = number("COUNT").unwrap_or(count);
    let seeds =
        number("SEED").map_or(1..1 + count, |seed| seed..seed + number("COUNT").unwrap_or(1));
    (seeds, steps)
}

/// The least budget or a little more for each thread, and enough swap.
fn vm(seed: u64, threads: u64) -> Vm {
    access::catch_signals();
    watch::begin();
    let mut dice = Dice::new(seed ^ 0x766d);
    let pages = 16 + if dice.one_in(2) { 0 } else { dice.below(240) };
    let builder = Vm::builder()
        .memory((pages * PAGE) as u64 * threads)
        .policy(dice.of(&[
            PolicyKind::TwoList,
            PolicyKind::Clock,
            PolicyKind::Sieve,
            PolicyKind::S3Fifo,
        ]))
        .handlers(1 + dice.below(3))
        .write_after(Duration::from_millis(dice.of(&[20, 5000])))
        .swap(directory(), 16 << 20);
    let builder = if dice.one_in(4) { builder.without_io_uring() } else { builder };
    builder.build().unwrap()
}

fn try_one(seed: u64, ops: &[Op], tally: &Tally) -> Result<(), String> {
    run(&vm(seed, 1), tally, true, (seed, ops))
}

/// Leaves out what a failure doesn't need, as long as there is time.
fn shortened(seed: u64, mut ops: Vec<Op>, mut error: String) -> (Vec<Op>, String) {
    let until = Instant::now() + Duration::from_secs(number("SHORTEN").unwrap_or(20));
    let mut piece = ops.len() / 2;
    while piece > 0 {
        let mut at = 0;
        while at < ops.len() && Instant::now() < until {
            let mut fewer = ops.clone();
            fewer.drain(at..(at + piece).min(ops.len()));
            match try_one(seed, &fewer, &Tally::default()) {
                Ok(()) => at += piece,
                Err(why) => (ops, error) = (fewer, why),
            }
        }
        piece /= 2;
    }
    (ops, error)
}

fn fail(seed: u64, steps: usize, ops: &[Op], error: String) -> ! {
    let (ops, error) = shortened(seed, ops.to_vec(), error);
    panic!(
        "the worlds differ; SEED={seed} STEPS={steps} does it again. {} operations are enough:\n{error}",
        ops.len()
    );
}

fn say(of: &str, operations: u64, began: Instant, tally: &Tally) {
    println!("{operations} operations of {of} in {:.1?}; met:", began.elapsed());
    for (difference, said) in TABLE {
        println!("{:>9}  {difference:?}: {}", tally.of(*difference), said.what);
    }
}

#[test]
fn random() {
    let _one = watch::one_at_a_time();
    let (seeds, steps) = ordered(6, 300);
    let (tally, began) = (Tally::default(), Instant::now());
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let ops = op::draw(seed, steps);
        if let Err(error) = try_one(seed, &ops, &tally) {
            fail(seed, steps, &ops, error);
        }
    }
    watch::end();
    say(&format!("{count} seeds"), count * steps as u64, began, &tally);
}

/// Threads with twins of their own in one `Vm`.
#[test]
fn threads() {
    const THREADS: u64 = 4;
    let _one = watch::one_at_a_time();
    let (seeds, steps) = ordered(2, 600);
    let (tally, began) = (Tally::default(), Instant::now());
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let vm = vm(seed, THREADS);
        let (vm, tally) = (&vm, &tally);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let seed = seed * THREADS + thread + 1_000_000;
                    scope.spawn(move || run(vm, tally, false, (seed, &op::draw(seed, steps))))
                })
                .collect();
            for (number, thread) in threads.into_iter().enumerate() {
                if let Err(error) = thread.join().unwrap() {
                    panic!("thread {number} differs, SEED={seed} STEPS={steps}:\n{error}");
                }
            }
        });
    }
    watch::end();
    say(&format!("{count} times {THREADS} threads"), count * THREADS * steps as u64, began, &tally);
}
