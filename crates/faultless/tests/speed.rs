//! What is in memory is as quick as any memory.

use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::time::Instant;

use faultless::{Delivery, MapOptions, Vm};

const SIZE: usize = 32 << 20;

fn file() -> File {
    let mut file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let bytes: Vec<u8> = (0..SIZE).map(|n| ((n * 31) >> 5) as u8).collect();
    file.write_all(&bytes).unwrap();
    file
}

/// Sums the words, at random and in order, the way a program would.
fn walk(words: &[u64]) -> u64 {
    let mut sum = words.iter().fold(0u64, |sum, word| sum.wrapping_add(*word));
    let mut at = 1usize;
    for _ in 0..1 << 20 {
        at = at.wrapping_mul(2862933555777941757).wrapping_add(3037000493);
        sum = sum.wrapping_add(words[(at >> 20) % words.len()]);
    }
    sum
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The median of nine interleaved runs: seconds for a `Vec`, for the map.
fn measure(delivery: Delivery) -> (f64, f64) {
    let vm = Vm::with_memory(SIZE as u64 * 2).unwrap();
    let map = MapOptions::new().delivery(delivery).map_raw(&vm, &file()).unwrap();
    // SAFETY: the file is nobody else's; the map is page aligned and lives on.
    let mapped = unsafe { std::slice::from_raw_parts(map.as_ptr().cast::<u64>(), SIZE / 8) };
    let vec: Vec<u64> = mapped.to_vec();
    assert_eq!(walk(mapped), walk(&vec));
    let (mut in_vec, mut in_map) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        let began = Instant::now();
        black_box(walk(black_box(&vec)));
        in_vec.push(began.elapsed().as_secs_f64());
        let began = Instant::now();
        black_box(walk(black_box(mapped)));
        in_map.push(began.elapsed().as_secs_f64());
    }
    let stats = vm.stats();
    assert_eq!(stats.evictions, 0, "all of it fits");
    (median(in_vec), median(in_map))
}

#[test]
fn resident_access_is_plain_memory() {
    for delivery in [Delivery::Thread, Delivery::Inline] {
        // A busy machine may spoil a round; it doesn't spoil three.
        let ratio =
            (0..3).map(|_| measure(delivery)).map(|(vec, map)| vec / map).fold(0.0, f64::max);
        println!("{delivery:?}: a Vec's time over the map's: {ratio:.3}");
        assert!(ratio >= 0.95, "{delivery:?}: {ratio:.3}");
    }
}
