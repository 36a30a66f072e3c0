//! `Config`: how big a system is, and what its first process begins with.

use faultless_addr::{VirtAddr, VirtRange};
use faultless_engine::References;
use faultless_engine::space::{Limits, SpaceConfig};

use crate::flags::TASK_END;

/// Can loads be kept from what may only be executed?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecOnly {
    /// By protection keys.
    Kept,
    /// Whoever may execute may read.
    Readable,
}

/// What happens to locked pages when there is nothing else to take a frame from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locked {
    /// They stay, and whoever needs a frame gets none: see [`Trouble::NoMemory`](crate::Trouble).
    Stay,
    /// They leave, the last of all. A system with less memory than it says can be held
    /// against one that has it all.
    Last,
}

/// How big a system is. Begin with [`Config::new`] and change what should differ.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The budget.
    pub frames: u32,
    /// Frames of devices, beyond the budget.
    pub device_frames: u32,
    /// Pages that fit into swap.
    pub swap_slots: u64,
    /// Addresses of a process. An ordinary user's begin behind the first page.
    pub bounds: VirtRange,
    /// Where the break begins.
    pub brk: VirtAddr,
    /// The most areas that a process may have.
    pub areas_max: usize,
    /// Limits of the first process; children have their parent's.
    pub limits: Limits,
    /// What the processor knows.
    pub exec_only: ExecOnly,
    /// What happens to locked pages at last.
    pub locked: Locked,
    /// How the engine learns that a page is used: the machine has accessed bits.
    pub references: References,
}

impl Config {
    /// A budget of `frames`, and Linux's defaults.
    pub fn new(frames: u32) -> Config {
        Config {
            frames,
            device_frames: 0,
            swap_slots: 1 << 16,
            bounds: VirtRange::new(VirtAddr(1 << 16), VirtAddr(TASK_END)),
            brk: VirtAddr(1 << 32),
            areas_max: SpaceConfig::AREAS_MAX,
            limits: Limits::NONE,
            exec_only: ExecOnly::Readable,
            locked: Locked::Stay,
            references: References::Bits,
        }
    }
}
