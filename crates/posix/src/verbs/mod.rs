//! The calls, one file per verb.

mod brk;
mod exec;
mod fallocate;
mod files;
mod madvise;
mod mincore;
mod mlock;
mod mmap;
mod mprotect;
mod mremap;
mod msync;
mod munmap;
mod processes;
mod remap_file_pages;
mod seal;
mod transfer;

pub use exec::Started;
pub use mincore::Presence;
pub use mmap::Mmap;
