//! The pagers from outside, on the files of this machine.

mod common;
mod faulty;
mod file;
mod open;
