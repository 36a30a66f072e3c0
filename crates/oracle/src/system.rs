//! `System`: whatever can carry calls out; and the world it does that in.

use std::os::unix::fs::MetadataExt as _;

use crate::area::Area;
use crate::call::{Call, ProcessId};
use crate::outcome::Outcome;

/// Something that carries out calls: the kernel, the model, or what is to be judged.
pub trait System {
    /// What it is called in a difference.
    fn name(&self) -> &'static str {
        "system"
    }

    /// Lets a process do one thing. Only [`ProcessId`]`(0)` is there at first.
    fn call(&mut self, process: ProcessId, call: &Call) -> Outcome;

    /// The areas of a process inside the window, lowest first, equal neighbours joined.
    fn areas(&mut self, process: ProcessId) -> Vec<Area>;

    /// Where the areas of a process begin, equal neighbours not joined, lowest first.
    fn seams(&mut self, process: ProcessId) -> Vec<u64>;
}

/// RLIMIT_MEMLOCK at first, soft and hard.
pub const LOCKED_BYTES_MAX: u64 = 1 << 20;

/// On what the regular files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// A file system on a disk; the model knows ext4.
    Disk,
    /// A file system in memory.
    Tmpfs,
}

/// Who runs the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Person {
    /// Whoever runs the harness, root or not.
    Whoever,
    /// Root: only root can have that.
    Root,
    /// Somebody without rights beyond their own.
    Ordinary,
}

impl Person {
    /// Root or ordinary.
    pub fn settled(self) -> Person {
        match self {
            Person::Whoever if is_root() => Person::Root,
            Person::Whoever => Person::Ordinary,
            person => person,
        }
    }
}

/// Is it root who runs the harness?
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// What all systems are told before the first call.
///
/// Addresses outside the window are all taken, so whoever lets the system choose
/// an address gets one inside.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// The first address of the window.
    pub base: u64,
    /// Its length in bytes.
    pub len: u64,
    /// Where the break begins; nothing is there yet.
    pub brk: u64,
    /// What the files are on.
    pub store: Store,
    /// Who runs the processes.
    pub person: Person,
    /// The sizes of the files in bytes; `FileId` counts them. Byte `i` of file `n`
    /// is [`World::byte`]`(n, i)`.
    pub files: &'static [u64],
    /// How many more areas a process may have; `None` leaves Linux's limit.
    pub areas_max: Option<u64>,
}

impl World {
    /// 64 MiB of addresses, three files.
    pub const WIDE: World = World {
        base: 0x1000_0000_0000,
        len: 64 << 20,
        brk: 0x1000_0080_0000,
        store: Store::Disk,
        person: Person::Whoever,
        files: &[10_000, 8 * 4096, 0],
        areas_max: None,
    };

    /// The byte behind the window.
    pub fn end(&self) -> u64 {
        self.base + self.len
    }

    /// What a file holds at first.
    pub fn byte(file: usize, index: u64) -> u8 {
        1 + ((index / 64 + index * 3 + file as u64 * 77) % 255) as u8
    }
}
