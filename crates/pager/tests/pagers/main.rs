//! The pagers from outside, on the files of this machine.

mod common;
#[cfg(feature = "lz4")]
mod compressed;
mod faulty;
mod file;
mod object_swap;
mod open;
mod swap;
