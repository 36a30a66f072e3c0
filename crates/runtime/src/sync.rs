//! Where locks come from: the standard library. In this crate's own tests, `shuttle`,
//! which runs threads one at a time in many orders and finds the ones that hang.

#[cfg(test)]
pub use shuttle::sync::{Condvar, Mutex, MutexGuard};
#[cfg(test)]
pub use shuttle::thread_local;
#[cfg(not(test))]
pub use std::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(test))]
pub use std::thread_local;
