//! Waiting in tests for what happens in other threads.

use std::time::{Duration, Instant};

/// Waits until `happened`; fails with `what` if that takes 20 seconds.
pub fn wait_until(what: &str, happened: impl Fn() -> bool) {
    let since = Instant::now();
    while !happened() {
        assert!(since.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
