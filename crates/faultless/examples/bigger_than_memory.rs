//! Sorts a vector larger than the memory that it may use, and prints what it took.
//!
//! `bigger_than_memory [MiB of numbers] [MiB of budget]`; 256 and 32 if not said.

use std::error::Error;
use std::time::Instant;

use allocator_api2::vec::Vec as VecIn;
use faultless::{Delivery, HeapOptions, Vm};

const MIB: u64 = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut mib = |default| arguments.next().map_or(Ok(default), |given| given.parse::<u64>());
    let (bytes, budget) = (mib(256)? * MIB, mib(32)? * MIB);

    // Not the system's directory for such files, which may be in memory itself.
    let vm = Vm::builder().memory(budget).swap(std::env::current_dir()?, bytes).build()?;
    let heap = HeapOptions::new().delivery(Delivery::Inline).build(&vm);

    let began = Instant::now();
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut numbers = VecIn::with_capacity_in((bytes / 8) as usize, heap);
    while numbers.len() < numbers.capacity() {
        // xorshift64
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        numbers.push(random);
    }
    let pushed = began.elapsed();
    numbers.sort_unstable();
    let sorted = began.elapsed();
    assert!(numbers.is_sorted());

    let stats = vm.stats();
    println!("{:<22}{:>12}", "numbers", mebibytes(bytes));
    println!("{:<22}{:>12}", "budget", mebibytes(budget));
    println!("{:<22}{:>12}", "peak RSS of process", mebibytes(peak_rss()?));
    println!("{:<22}{:>10.2} s", "pushed", pushed.as_secs_f64());
    println!("{:<22}{:>10.2} s", "sorted", (sorted - pushed).as_secs_f64());
    println!("{:<22}{:>12}", "pages written to swap", stats.pages_written);
    println!("{:<22}{:>12}", "pages read from swap", stats.pages_demanded + stats.pages_ahead);
    Ok(())
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MIB as f64)
}

/// The most memory that this process has had, in bytes (`VmHWM` of proc(5)).
fn peak_rss() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no VmHWM")?;
    Ok(kib.parse::<u64>()? << 10)
}
