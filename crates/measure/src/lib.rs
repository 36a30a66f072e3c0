//! What measurements have in common, whoever makes them: the tool's `demo` and `scan`, and
//! the benchmark.
//!
//! | module | subject |
//! |---|---|
//! | [`model`] | files of known content |
//! | [`order`] | in which order pages are touched, from a seed |
//! | [`touch`] | words reached by plain pointers, of either side |
//! | [`counters`] | what this process has used, as the kernel counts it |
//! | [`cgroup`] | a bound on memory, the kernel's page cache included |
//! | [`disk`] | temporary files, and the page cache of them |
//! | [`machine`] | what it is that measures |
//! | [`mounts`] | what is mounted where |
//! | [`child`] | programs that end with us |
//! | [`cleanup`] | nothing is left behind |
//! | [`size`], [`table`], [`progress`], [`problem`] | what people read and write |

#![deny(unsafe_code)]

pub mod cgroup;
pub mod child;
pub mod cleanup;
pub mod counters;
pub mod disk;
pub mod machine;
pub mod model;
pub mod mounts;
pub mod order;
pub mod problem;
pub mod progress;
pub mod size;
pub mod table;
pub mod touch;
