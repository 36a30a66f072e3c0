//! A [`Vm`]: a budget of memory, and the threads that keep it.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use faultless_addr::{Access, ObjectId, PAGE_BYTES, PAGE_SIZE, PageRange, VirtAddr, VirtRange};
use faultless_engine::{Addresses, Config, Joining, Pin, PolicyKind, Signal, Stats, Stops};
use faultless_linux::{INLINE, LinuxMachine, Resolved, THREAD};
use faultless_machine::Segv;
use faultless_pager::Pager;
use faultless_runtime::{
    Core, Inside, Options, Rings, Served, Threads, register_heir, watch_forks,
};

use crate::catalog::Catalog;
use crate::error::Error;
use crate::fork::{Heritage, OnFork};
use crate::memory::Room;
use crate::swap::Swap;

pub(crate) type LinuxCore = Core<LinuxMachine>;

/// A budget of memory for any number of mappings.
///
/// Cloning makes another handle to the same budget; the last one dropped, together
/// with the last mapping, ends it. Several in one process keep their budgets apart.
#[derive(Clone)]
pub struct Vm {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    // Dropped in this order: the threads end before the machine goes.
    pub(crate) threads: Threads<LinuxMachine>,
    /// To be had by [`core`](Inner::core) only, but by who forks.
    pub(crate) core: Arc<LinuxCore>,
    pub catalog: Catalog,
    pub room: Room,
    pub heritage: Heritage,
    memory: u64,
}

/// The runtime, in the hands of a thread that is inside of it as long as this lives.
pub(crate) struct Entered<'a> {
    core: &'a LinuxCore,
    _inside: Inside,
}

impl Deref for Entered<'_> {
    type Target = LinuxCore;

    fn deref(&self) -> &LinuxCore {
        self.core
    }
}

impl Inner {
    /// The only way to the runtime: whoever goes it is inside.
    pub fn core(&self) -> Entered<'_> {
        Entered { _inside: Inside::enter(), core: &self.core }
    }

    /// As [`LinuxCore::pin_again`], which needs no one to be inside.
    #[inline]
    pub fn pin_again(&self, object: ObjectId, pages: PageRange) -> Option<Pin> {
        self.core.pin_again(object, pages)
    }

    /// As [`LinuxCore::leave`].
    #[inline]
    pub fn leave(&self, pin: Pin) -> Option<Pin> {
        self.core.leave(pin)
    }

    /// A pager of memory that leaves to swap.
    pub fn scratch(&self, size: u64) -> Arc<dyn Pager> {
        let _inside = Inside::enter();
        self.core.swap_for(size)
    }
}

/// Says how a [`Vm`] is to be.
#[derive(Clone, Debug)]
pub struct VmBuilder {
    memory: u64,
    policy: PolicyKind,
    options: Options,
    swap: Option<Swap>,
    on_fork: OnFork,
}

impl Vm {
    /// The least budget: 16 pages.
    pub const MEMORY_MIN: u64 = 16 * PAGE_BYTES;

    /// A `Vm` that holds at most `bytes` of memory.
    pub fn with_memory(bytes: u64) -> Result<Vm, Error> {
        Vm::builder().memory(bytes).build()
    }

    /// For more than the budget.
    pub fn builder() -> VmBuilder {
        VmBuilder {
            memory: 256 << 20,
            policy: PolicyKind::TwoList,
            options: Options::default(),
            swap: None,
            on_fork: OnFork::Copy,
        }
    }

    /// The budget in bytes.
    pub fn memory(&self) -> u64 {
        self.inner.memory
    }

    /// Counters, and what they count now.
    pub fn stats(&self) -> Stats {
        self.inner.core().stats()
    }
}

impl std::fmt::Debug for Vm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vm").field("memory", &self.inner.memory).finish_non_exhaustive()
    }
}

impl VmBuilder {
    /// The budget in bytes, rounded down to pages. Every page that the `Vm` holds
    /// counts, whatever for: mapped, read ahead, being read or written.
    pub fn memory(mut self, bytes: u64) -> VmBuilder {
        self.memory = bytes;
        self
    }

    /// Which page leaves when room is needed.
    pub fn policy(mut self, policy: PolicyKind) -> VmBuilder {
        self.policy = policy;
        self
    }

    /// Threads that handle faults of mappings with [`Delivery::Thread`] and read
    /// ahead; 2 if not said, 1 at least.
    ///
    /// [`Delivery::Thread`]: crate::Delivery::Thread
    pub fn handlers(mut self, threads: usize) -> VmBuilder {
        self.options.handlers = threads.max(1);
        self
    }

    /// After how long a changed page is written without a flush; 5 s if not said.
    pub fn write_after(mut self, age: std::time::Duration) -> VmBuilder {
        self.options.write_age_ms = age.as_millis().min(u32::MAX as u128 / 2) as u32;
        self
    }

    /// Let anonymous and shared memory leave to a file of at most `bytes` in `dir`. The file has no
    /// name and takes room only as it fills. Without it [`Vm::anonymous`] memory has to
    /// fit into the budget.
    /// Room that nobody uses any more is given back to the file system.
    pub fn swap(mut self, dir: impl Into<PathBuf>, bytes: u64) -> VmBuilder {
        self.swap = Some(Swap::file(dir.into(), bytes));
        self
    }

    /// As [`swap`](Self::swap), with pages compressed (lz4) on their way: of anonymous memory
    /// there may be `memory` bytes more than the budget, which have to do with `disk` bytes
    /// of the file, a multiple of 32 KiB.
    ///
    /// A page takes what it compresses to, rounded up to 512 bytes; 4096 if it doesn't
    /// compress; nothing if it is zeros. Pages of one length lie together in 32 KiB, and a
    /// page that is written anew goes elsewhere before its old bytes are given up: not all
    /// of `disk` can be used, the less the more lengths change.
    ///
    /// More than `memory` bytes are refused when they are asked for (`ENOMEM`). Whether
    /// pages compress as well as `disk` counts on is known only when they leave: where it
    /// is full, they stay in memory. Who then touches a page that has no frame waits ten
    /// seconds for one, as it can become free by others who give memory back, and then gets
    /// SIGBUS. Nothing is lost: what is in memory and in swap stays as it is.
    ///
    /// The tables take 13 bytes for each page of `memory` from the start (`Stats` counts
    /// them), and each thread that reads or writes swap up to 300 KiB meanwhile. The
    /// system's page cache stands before the file.
    ///
    /// ```
    /// # fn main() -> faultless::Result<()> {
    /// let vm = faultless::Vm::builder()
    ///     .memory(1 << 20)
    ///     .swap_compressed(std::env::temp_dir(), 2 << 20, 16 << 20)
    ///     .build()?;
    /// let mut memory = vm.anonymous(12 << 20)?;
    /// memory.fill(7);
    /// assert!(memory.iter().all(|byte| *byte == 7));
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "lz4")]
    pub fn swap_compressed(mut self, dir: impl Into<PathBuf>, disk: u64, memory: u64) -> VmBuilder {
        self.swap = Some(Swap::compressed(dir.into(), disk, memory));
        self
    }

    /// What a forked child has of private memory: a copy, if not said. See [`OnFork`].
    pub fn on_fork(mut self, on_fork: OnFork) -> VmBuilder {
        self.on_fork = on_fork;
        self
    }

    /// Do without io_uring, as on systems that refuse it.
    pub fn without_io_uring(mut self) -> VmBuilder {
        self.options.rings = Rings::Refused;
        self
    }

    /// Makes it: reserves addresses, starts threads; takes no memory yet.
    pub fn build(self) -> Result<Vm, Error> {
        let _inside = Inside::enter();
        if self.on_fork == OnFork::Copy {
            // First: no fork copies what is half made.
            let failed = |errno: faultless_sys::Errno| faultless_runtime::Error::Setup {
                what: "the handlers of forks",
                source: errno.into(),
            };
            watch_forks().map_err(failed)?;
        }
        let pages = self.memory / PAGE_BYTES;
        let fits = u32::try_from(pages).ok().filter(|pages| *pages < 1 << 29);
        let Some(pages) = fits.filter(|_| self.memory >= Vm::MEMORY_MIN) else {
            return Err(Error::Option {
                option: "the memory budget",
                value: format!("{} bytes", self.memory),
                remedy: "give 64 KiB to 2 TiB",
            });
        };
        // Pages in the middle of being copied are in memory twice: they come out of
        // the budget, not on top of it.
        let spare = (pages / 64).clamp(2, 256);
        let frames = pages - spare;
        let machine = LinuxMachine::new(faultless_linux::Config {
            spare,
            ..faultless_linux::Config::new(frames)
        })?;
        // A page at either end stays free: running off the first or the last mapping is
        // to be noticed, too, and not to end in somebody else's memory.
        let spaces = [THREAD, INLINE].map(|space| machine.arena(space)).map(|arena| {
            VirtRange::new(arena.start.plus_pages(1), VirtAddr(arena.end.0 - PAGE_BYTES))
        });
        let spaces = spaces.to_vec();
        let config = Config {
            policy: self.policy,
            addresses: Addresses::One,
            joining: Joining::Always,
            stops: Stops::Ranges,
            ..Config::new(frames, spaces)
        };
        let core = Core::new(machine, config, self.options)?;
        let weak = Arc::downgrade(&core);
        core.machine()
            .on_inline_fault(Box::new(move |addr, access| serve_inline(&weak, addr, access)))?;
        let weak = Arc::downgrade(&core);
        core.machine().on_mark(Box::new(move |addr, access| judge_mark(&weak, addr, access)))?;
        let threads = core.start()?;
        let heritage = Heritage::new(self.swap.as_ref().map(Swap::create).transpose()?);
        let swap = self.swap.map_or(0, |swap| swap.memory);
        if let Some(area) = heritage.swap() {
            core.add_swap(area, swap);
        }
        let memory = pages as u64 * PAGE_SIZE as u64;
        let room = Room::new(u64::from(frames) * PAGE_BYTES + swap);
        let catalog = Catalog::default();
        let inner = Arc::new(Inner { threads, core, catalog, memory, room, heritage });
        if self.on_fork == OnFork::Copy {
            let heir: Weak<Inner> = Arc::downgrade(&inner);
            register_heir(heir);
        }
        Ok(Vm { inner })
    }
}

/// A thread touched a page of a mapping with inline delivery that isn't there.
fn serve_inline(core: &Weak<LinuxCore>, addr: VirtAddr, access: Option<Access>) -> Resolved {
    let _inside = Inside::enter();
    let Some(core) = core.upgrade() else { return Resolved::NotOurs };
    resolved(core.serve_here(INLINE, addr, access.unwrap_or(Access::Read)))
}

/// A thread touched a page of a mapping with thread delivery that is marked as an error.
fn judge_mark(core: &Weak<LinuxCore>, addr: VirtAddr, access: Option<Access>) -> Resolved {
    let _inside = Inside::enter();
    let Some(core) = core.upgrade() else { return Resolved::NotOurs };
    resolved(core.judge_mark(THREAD, addr, access.unwrap_or(Access::Read)))
}

fn resolved(served: Served) -> Resolved {
    match served {
        Served::Yes => Resolved::Yes,
        Served::Signal(Signal::Bus) => Resolved::NotOurs,
        Served::Signal(Signal::SegvMapErr) => Resolved::Segv(Segv::MapErr),
        Served::Signal(Signal::SegvAccErr) => Resolved::Segv(Segv::AccErr),
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Said here so that the field is seen to be used: it ends the threads.
        let _ = &self.threads;
    }
}
