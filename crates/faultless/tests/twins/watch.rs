//! Says where a test was that hangs or dies.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

static SEED: AtomicU64 = AtomicU64::new(0);
static STEP: AtomicU64 = AtomicU64::new(0);

/// What was last begun.
static DOING: Mutex<String> = Mutex::new(String::new());

/// Something begins that may hang.
pub fn doing(what: &str) {
    let mut doing = DOING.lock().unwrap();
    doing.clear();
    doing.push_str(what);
}

/// No step takes so long.
const STUCK: Duration = Duration::from_secs(8);

/// A step begins. With several threads, one of them is named.
pub fn step(seed: u64, step: usize) {
    SEED.store(seed, Ordering::Relaxed);
    STEP.store(step as u64, Ordering::Relaxed);
}

/// A `Vm` takes so many addresses that those of several tests don't leave twins their place.
pub fn one_at_a_time() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the process if steps don't go on.
pub fn begin() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::thread::spawn(|| {
            let mut before = (0, 0);
            loop {
                std::thread::sleep(STUCK);
                let now = (SEED.load(Ordering::Relaxed), STEP.load(Ordering::Relaxed));
                if now == before && now != (0, 0) {
                    say_where();
                    eprintln!("twins: hangs in: {}", DOING.lock().unwrap());
                    std::process::abort();
                }
                before = now;
            }
        });
    });
}

/// All is done: nothing goes on any more, and that is well.
pub fn end() {
    step(0, 0);
}

/// May be called by a handler of signals: it takes no memory and no lock.
pub fn say_where() {
    let mut line = *b"twins: ended at SEED=00000000000000000000 step 00000000000000000000\n";
    digits(&mut line[21..41], SEED.load(Ordering::Relaxed));
    digits(&mut line[47..67], STEP.load(Ordering::Relaxed));
    say(&line);
}

/// A signal that no access of the test's raised; as [`say_where`].
pub fn say_signal(signal: i32, code: i32, addr: usize, at: usize) {
    let mut line = *b"twins: signal 00, code 000000, address 00000000000000000000, \
                      at instruction 00000000000000000000 (decimal)\n";
    digits(&mut line[14..16], signal as u64);
    digits(&mut line[23..29], code as u64);
    digits(&mut line[39..59], addr as u64);
    digits(&mut line[76..96], at as u64);
    say(&line);
    say_where();
}

fn say(line: &[u8]) {
    // SAFETY: the line lives during the call.
    unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
}

fn digits(into: &mut [u8], mut number: u64) {
    for digit in into.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}
