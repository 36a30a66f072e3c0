//! A pager that fails as a test tells it to.
//!
//! A test injects [`Fault`]s: on which operation, where, what happens, how
//! often. The first fault that matches a call decides it; a call that none
//! matches goes to the pager inside. The same seed and the same calls in the
//! same order fail in the same places.

use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::pager::Pager;
use crate::transfer::total;

/// A call that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// [`Pager::read`]
    Read,
    /// [`Pager::write`]
    Write,
    /// [`Pager::sync`]; it touches every offset.
    Sync,
    /// [`Pager::resize`]; it touches every offset.
    Resize,
    /// [`Pager::punch`]
    Punch,
}

impl Operation {
    const COUNT: usize = 5;
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing is done, and the error is this errno.
    Errno(i32),
    /// A read ends after so many bytes, a write is torn after so many and fails
    /// with `EIO`. To other operations it is `Errno(EIO)`.
    Short(usize),
    /// The call is done after this time.
    Delay(Duration),
    /// The call waits until the fault is healed, and is then done.
    Hold,
}

/// How often a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// So many calls, then never again.
    Count(u64),
    /// Every call until it is healed.
    UntilHealed,
    /// One call in so many, by the seed.
    OneIn(u64),
}

/// One line of the script.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The operation it strikes.
    pub operation: Operation,
    /// It strikes calls that touch any of these bytes.
    pub range: Range<u64>,
    /// What happens then.
    pub effect: Effect,
    /// How often.
    pub times: Times,
}

impl Fault {
    /// Every call of `operation` has this effect, wherever, until it is healed.
    pub fn always(operation: Operation, effect: Effect) -> Fault {
        Fault { operation, range: 0..u64::MAX, effect, times: Times::UntilHealed }
    }

    /// The next `count` calls of `operation` that touch `range` have this effect.
    pub fn next(operation: Operation, range: Range<u64>, effect: Effect, count: u64) -> Fault {
        Fault { operation, range, effect, times: Times::Count(count) }
    }
}

/// Names an injected fault, to heal it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultId(u64);

/// A pager that passes calls on to another one, except where its script says
/// otherwise. It never offers [`Pager::direct`]: nobody gets past the script.
///
/// ```
/// use faultless_pager::{Effect, Fault, FaultyPager, MemoryPager, Operation, Pager};
///
/// let pager = FaultyPager::new(MemoryPager::new(8192), 1);
/// let fault = pager.inject(Fault::always(Operation::Sync, Effect::Errno(5)));
/// assert_eq!(pager.sync().unwrap_err().raw_os_error(), Some(5));
/// pager.heal(fault);
/// pager.sync()?;
/// assert_eq!(pager.calls(Operation::Sync), 2);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct FaultyPager<P> {
    inner: P,
    /// Never held during a call of the inner pager, nor while a call waits.
    script: Mutex<Script>,
    /// Told when a fault is healed.
    healed: Condvar,
    calls: [AtomicU64; Operation::COUNT],
    struck: [AtomicU64; Operation::COUNT],
}

struct Script {
    faults: Vec<(FaultId, Fault)>,
    next_id: u64,
    random: u64,
}

impl<P: Pager> FaultyPager<P> {
    /// Passes every call on to `inner` until a fault is injected. `seed`
    /// decides for [`Times::OneIn`].
    pub fn new(inner: P, seed: u64) -> FaultyPager<P> {
        FaultyPager {
            inner,
            script: Mutex::new(Script { faults: Vec::new(), next_id: 0, random: seed }),
            healed: Condvar::new(),
            calls: Default::default(),
            struck: Default::default(),
        }
    }

    /// The pager inside.
    pub fn inner(&self) -> &P {
        &self.inner
    }

    /// Adds a fault to the end of the script.
    pub fn inject(&self, fault: Fault) -> FaultId {
        let mut script = self.lock();
        let id = FaultId(script.next_id);
        script.next_id += 1;
        script.faults.push((id, fault));
        id
    }

    /// Takes one fault out of the script and lets go of the calls it holds.
    pub fn heal(&self, id: FaultId) {
        self.lock().faults.retain(|(other, _)| *other != id);
        self.healed.notify_all();
    }

    /// Takes all faults out of the script and lets go of the calls they hold.
    pub fn heal_all(&self) {
        self.lock().faults.clear();
        self.healed.notify_all();
    }

    /// How many calls of `operation` there were, failed or not.
    pub fn calls(&self, operation: Operation) -> u64 {
        self.calls[operation as usize].load(Ordering::SeqCst)
    }

    /// How many of them a fault struck.
    pub fn struck(&self, operation: Operation) -> u64 {
        self.struck[operation as usize].load(Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as the script says, and answers what else is to happen.
    fn strike(&self, operation: Operation, touched: Range<u64>) -> io::Result<Outcome> {
        self.calls[operation as usize].fetch_add(1, Ordering::SeqCst);
        let Some((id, effect)) = self.lock().choose(operation, &touched) else {
            return Ok(Outcome::PassOn);
        };
        self.struck[operation as usize].fetch_add(1, Ordering::SeqCst);
        match effect {
            Effect::Errno(errno) => Err(io::Error::from_raw_os_error(errno)),
            Effect::Short(bytes) => Ok(Outcome::Short(bytes)),
            Effect::Delay(time) => {
                std::thread::sleep(time);
                Ok(Outcome::PassOn)
            }
            Effect::Hold => {
                let held = |script: &mut Script| script.faults.iter().any(|(it, _)| *it == id);
                let guard = self.healed.wait_while(self.lock(), held);
                drop(guard.unwrap_or_else(PoisonError::into_inner));
                Ok(Outcome::PassOn)
            }
        }
    }

    /// [`FaultyPager::strike`] for operations that can't be done in part.
    fn strike_whole(&self, operation: Operation, touched: Range<u64>) -> io::Result<()> {
        match self.strike(operation, touched)? {
            Outcome::PassOn => Ok(()),
            Outcome::Short(_) => Err(torn()),
        }
    }
}

/// What is left to happen to a call that may go on.
enum Outcome {
    PassOn,
    Short(usize),
}

impl Script {
    fn choose(&mut self, operation: Operation, touched: &Range<u64>) -> Option<(FaultId, Effect)> {
        for index in 0..self.faults.len() {
            let (id, fault) = self.faults[index].clone();
            let overlaps = fault.range.start < touched.end && touched.start < fault.range.end;
            if fault.operation == operation && overlaps && self.is_due(index, fault.times) {
                return Some((id, fault.effect));
            }
        }
        None
    }

    fn is_due(&mut self, index: usize, times: Times) -> bool {
        match times {
            Times::UntilHealed => true,
            // The spent fault stays in the script: calls that it holds wait for
            // its healing.
            Times::Count(left) => {
                self.faults[index].1.times = Times::Count(left.saturating_sub(1));
                left > 0
            }
            Times::OneIn(calls) => self.draw().is_multiple_of(calls.max(1)),
        }
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

const EVERYWHERE: Range<u64> = 0..u64::MAX;

fn touched(offset: u64, len: u64) -> Range<u64> {
    offset..offset.saturating_add(len)
}

fn torn() -> io::Error {
    rustix::io::Errno::IO.into()
}

impl<P: Pager> Pager for FaultyPager<P> {
    fn name(&self) -> String {
        format!("faulty {}", self.inner.name())
    }

    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn read(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let len = total(bufs);
        match self.strike(Operation::Read, touched(offset, len))? {
            Outcome::PassOn => self.inner.read(offset, bufs),
            // Reading in full and counting fewer would leave the true bytes in
            // the caller's memory, where a test must not find them.
            Outcome::Short(bytes) => {
                let mut part = vec![0; bytes.min(len as usize)];
                let count = self.inner.read(offset, &mut [IoSliceMut::new(&mut part)])?;
                scatter(&part[..count], bufs);
                Ok(count)
            }
        }
    }

    fn write(&self, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<()> {
        let len = total(bufs);
        match self.strike(Operation::Write, touched(offset, len))? {
            Outcome::PassOn => self.inner.write(offset, bufs),
            Outcome::Short(bytes) => {
                let whole: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
                self.inner.write(offset, &[IoSlice::new(&whole[..bytes.min(whole.len())])])?;
                Err(torn())
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.strike_whole(Operation::Sync, EVERYWHERE)?;
        self.inner.sync()
    }

    fn resize(&self, size: u64) -> io::Result<()> {
        self.strike_whole(Operation::Resize, EVERYWHERE)?;
        self.inner.resize(size)
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.strike_whole(Operation::Punch, touched(offset, len))?;
        self.inner.punch(offset, len)
    }
}

fn scatter(mut bytes: &[u8], bufs: &mut [IoSliceMut<'_>]) {
    for buf in bufs {
        let (head, tail) = bytes.split_at(buf.len().min(bytes.len()));
        buf[..head.len()].copy_from_slice(head);
        bytes = tail;
    }
}
