//! Looking at a system, and letting time and pressure come: for those who check, and for
//! people who want to see.

use faultless_addr::{ObjectId, PAGE_BYTES, PAGE_SIZE, PageRange, VirtAddr, VirtRange};
use faultless_engine::space::{ObjectName, Usage, Vma};
use faultless_engine::{Engine, Scope};
use faultless_software::SoftwareMachine;

use crate::file::pieces;
use crate::process::Pid;
use crate::system::System;

/// A page that has been dirty for so long is written: `vm.dirty_expire_centisecs` is 3000.
const DIRTY_AGE_MS: u32 = 30_000;

/// Pages that went to and from what is behind objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Into memory.
    pub read: u64,
    /// Out of it.
    pub written: u64,
}

/// All input and output since the system began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Io {
    /// Of files, and of shared memory without one.
    pub files: Traffic,
    /// Of swap.
    pub swap: Traffic,
}

impl Io {
    pub(crate) fn of_mut(&mut self, is_swap: bool) -> &mut Traffic {
        if is_swap { &mut self.swap } else { &mut self.files }
    }
}

impl System {
    /// The engine: areas, pages, frames, lists.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The machine: page tables, TLB, bytes of frames.
    pub fn machine(&self) -> &SoftwareMachine {
        &self.machine
    }

    /// Pages read and written so far.
    pub fn io(&self) -> Io {
        self.io
    }

    /// The object of a file by its name.
    pub fn object_of(&self, name: u32) -> Option<ObjectId> {
        self.names.get(&name).copied()
    }

    /// Every object but swap's, in order of their numbers.
    pub fn objects(&self) -> impl Iterator<Item = ObjectId> {
        self.files.keys().copied().filter(|object| *object != self.swap)
    }

    /// What is behind an object: bytes of its disk, whatever the page cache has. They end
    /// with the last page, not with the object.
    pub fn stored(&self, object: ObjectId, offset: u64, len: u64) -> Vec<u8> {
        let file = self.file(object);
        let end = (offset + len).min(file.size.next_multiple_of(PAGE_BYTES));
        let mut bytes = Vec::new();
        for (page, range) in pieces(offset, end) {
            bytes.extend_from_slice(&file.page(page).unwrap_or(&[0; PAGE_SIZE])[range]);
        }
        bytes
    }

    /// What of a range of a process's is in memory and in swap: the numbers of
    /// `/proc/PID/smaps`.
    pub fn usage(&self, pid: Pid, at: u64, len: u64) -> Usage {
        self.engine.usage(pid.space(), VirtRange::new(VirtAddr(at), VirtAddr(at + len)))
    }

    /// `/proc/PID/maps` of a process, where `name` says what areas of an object are called.
    pub fn maps<'a>(&self, pid: Pid, name: impl Fn(ObjectId) -> ObjectName<'a>) -> String {
        let mut text = String::new();
        let written = self.engine.space(pid.space()).write_maps(&mut text, name);
        written.expect("a string takes everything");
        text
    }

    /// `/proc/PID/smaps` of a process, likewise.
    ///
    /// ```
    /// use faultless_posix::{Config, MapFlags, Mmap, System};
    ///
    /// let (mut system, parent) = System::new(Config::new(64));
    /// let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS;
    /// let at = system.mmap(parent, Mmap { len: 8192, prot: 3, flags, ..Mmap::default() })?;
    /// system.store(parent, at.0, b"mine").unwrap();
    /// let smaps = system.smaps(parent, |_| unreachable!("no area has an object"));
    /// assert!(smaps.contains("Private_Dirty:         4 kB"));
    /// system.fork(parent)?;
    /// let smaps = system.smaps(parent, |_| unreachable!("no area has an object"));
    /// assert!(smaps.contains("Shared_Dirty:          4 kB"));
    /// # Ok::<(), faultless_posix::Errno>(())
    /// ```
    pub fn smaps<'a>(&self, pid: Pid, name: impl Fn(ObjectId) -> ObjectName<'a>) -> String {
        let mut text = String::new();
        let usage = |area: &Vma| self.engine.usage(pid.space(), area.range);
        let written = self.engine.space(pid.space()).write_smaps(&mut text, name, usage);
        written.expect("a string takes everything");
        text
    }

    /// Time passes: pages that have been dirty for half a minute are written.
    pub fn sleep(&mut self, milliseconds: u32) {
        self.now_ms = self.now_ms.wrapping_add(milliseconds);
        let (now, frames) = (self.now_ms, self.config.frames);
        self.plan(|engine, plan| engine.tick(now, plan));
        self.plan(|engine, plan| engine.write_aged(DIRTY_AGE_MS, frames, plan));
    }

    /// Memory becomes short: `frames` pages are to leave, those that the policy chooses.
    /// Each call is one look around; what has its accessed bit set is given another chance.
    pub fn press(&mut self, frames: u32) {
        // That nothing can leave is no error of anybody's.
        let _ = self.reclaim(Scope::All, frames);
    }

    /// sync(2): all that is dirty is written.
    pub fn sync_all(&mut self) {
        for object in self.objects().collect::<Vec<_>>() {
            self.flush(object, PageRange::all());
        }
    }
}
