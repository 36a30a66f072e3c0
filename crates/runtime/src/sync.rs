//! Where locks come from: the standard library. In this crate's own tests, `shuttle`,
//! which runs threads one at a time in many orders and finds the ones that hang.

#[cfg(test)]
pub use shuttle::{
    hint::spin_loop,
    sync::{Condvar, Mutex, MutexGuard},
    thread::yield_now,
    thread_local,
};
#[cfg(not(test))]
pub use std::{
    hint::spin_loop,
    sync::{Condvar, Mutex, MutexGuard},
    thread::yield_now,
    thread_local,
};
