//! Random calls on the kernel and the model: a few seconds of them.

use faultless_oracle::area::Area;
use faultless_oracle::call::{Call, ProcessId};
use faultless_oracle::differ::{self, EPISODE_CALLS, beside_kernel, beside_model};
use faultless_oracle::flags::Prot;
use faultless_oracle::kernel::{Kernel, why_not};
use faultless_oracle::outcome::Outcome;
use faultless_oracle::system::{System, World};

#[test]
fn kernel_and_model_agree() {
    for seed in 0..36 {
        println!(
            "cargo run -p faultless-judge -- differ --system kernel --seed {seed} --calls {EPISODE_CALLS}"
        );
        if let Some(reason) = why_not(&differ::world(seed)) {
            println!("seed {seed} is left out: {reason}");
            continue;
        }
        let (_, found) = differ::episode(beside_model(Kernel::new), seed, EPISODE_CALLS).unwrap();
        assert!(found.is_none(), "{}", found.unwrap());
    }
}

/// The kernel, but for one thing: mprotect(2) never leaves what may be executed unreadable.
struct Canary(Kernel);

impl System for Canary {
    fn call(&mut self, process: ProcessId, call: &Call) -> Outcome {
        match call {
            Call::Mprotect { addr, len, prot } if prot.contains(Prot::EXEC) => {
                let call = Call::Mprotect { addr: *addr, len: *len, prot: *prot | Prot::READ };
                self.0.call(process, &call)
            }
            _ => self.0.call(process, call),
        }
    }

    fn areas(&mut self, process: ProcessId) -> Vec<Area> {
        self.0.areas(process)
    }

    fn seams(&mut self, process: ProcessId) -> Vec<u64> {
        self.0.seams(process)
    }
}

fn canary(world: World) -> std::io::Result<Canary> {
    Kernel::new(world).map(Canary)
}

#[test]
fn a_system_that_is_wrong_is_found_and_the_calls_are_few() {
    let mut seeds = (0..20).filter(|seed| why_not(&differ::world(*seed)).is_none()).peekable();
    if seeds.peek().is_none() {
        return;
    }
    let found = seeds
        .find_map(|seed| differ::episode(beside_model(canary), seed, EPISODE_CALLS).unwrap().1);
    let found = found.expect("a wrong system must be found");
    assert!(found.shrunk.1.is_some(), "{found}");
    assert!(found.shrunk.0.len() <= 12, "{found}");
}

#[test]
fn a_system_that_is_wrong_differs_from_the_kernel_too() {
    let mut seeds = (0..20).filter(|seed| why_not(&differ::world(*seed)).is_none()).peekable();
    if seeds.peek().is_none() {
        return;
    }
    let run = |seed| differ::run(beside_kernel(canary), seed, EPISODE_CALLS).unwrap().difference;
    let (difference, _) = seeds.find_map(run).expect("a wrong system must be found");
    assert_eq!(difference.sides[0].0, "system", "{difference}");
}
