//! The workers: the only place of this crate with `unsafe`.
//!
//! A worker is a process that [`spawn`] forks and that then does only what it is
//! told over its channel: system calls with the very arguments given, loads, stores
//! and calls at any address. It allocates nothing, so nothing but what it is told
//! changes its memory map.

#![allow(unsafe_code)]

mod access;
pub mod spawn;
mod worker;

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("the worker's loads and stores are written for Linux on x86-64");
