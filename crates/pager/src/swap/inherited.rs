//! A swap area that a forked child shares with its parent as far as it must.
//!
//! ```text
//!   slots of the child     0     1     2     3     4
//!   file                   own   1st   1st   own   2nd
//!                           │     └──┬──┘     │     └─ the grandparent's, read only
//!                           │        └──────────────── the parent's, read only
//!                           └─────────────────┴─────── written here
//! ```
//!
//! The child reads what its parent wrote before the fork from the parent's file, whose
//! descriptor it has inherited, and writes to a file of its own: a slot that is written
//! is its own from then on. What else an area knows, where its file has which page, fork
//! has copied; it stays true, since the parent doesn't touch the slots that it has lent. The parent keeps what the child may read for as long as
//! somebody has the *lease* open, the end of a pipe: exec and exit close it, and so does
//! a child that needs nothing of that file any more, when it forks.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::area::SwapArea;
use crate::open::OpenError;
use crate::pager::{Direct, Direction, PAGE_SIZE, Pager};
use crate::transfer::{first_mut, rest_mut, total};

/// In place of a layer: the file of one's own.
const OWN: u8 = 0;

/// So many generations can be read from at once.
const LAYERS_MAX: usize = u8::MAX as usize;

/// A file of an earlier process, and what keeps its bytes.
struct Layer {
    area: Arc<dyn SwapArea>,
    _lease: Arc<OwnedFd>,
}

/// A swap area, and those of the processes that this one was forked from.
pub struct InheritedSwap {
    own: Arc<dyn SwapArea>,
    layers: Vec<Layer>,
    /// By slot: [`OWN`], or the number of the layer, from 1. Slots behind the last are own.
    layer_of: Vec<AtomicU8>,
}

impl InheritedSwap {
    /// An area that is inherited from nobody.
    pub fn new(own: impl SwapArea + 'static) -> InheritedSwap {
        InheritedSwap { own: Arc::new(own), layers: Vec::new(), layer_of: Vec::new() }
    }

    /// In a forked child: its area, of which `held` are the slots that may be read, in
    /// order. `lease` is what the parent waits for.
    ///
    /// # Errors
    ///
    /// Where there is no file for it, or it has too many forebears.
    pub fn for_child(
        &self,
        lease: OwnedFd,
        held: impl Iterator<Item = u32>,
    ) -> Result<InheritedSwap, OpenError> {
        if self.layers.len() + 1 >= LAYERS_MAX {
            let (dir, source) = (self.own.dir().to_owned(), io::ErrorKind::QuotaExceeded.into());
            return Err(OpenError::NoSwapFile { dir, source });
        }
        let own = self.own.beside()?;
        let mut used = [false; LAYERS_MAX + 1];
        let mut layer_of: Vec<u8> = Vec::new();
        for slot in held.map(|slot| slot as usize) {
            let layer = self.layer(slot);
            layer_of.resize(slot + 1, OWN);
            // What was its parent's own file is the last layer.
            layer_of[slot] = if layer == OWN { self.layers.len() as u8 + 1 } else { layer };
            used[layer_of[slot] as usize] = true;
        }
        let parents = Layer { area: self.own.clone(), _lease: Arc::new(lease) };
        let earlier = self
            .layers
            .iter()
            .map(|layer| Layer { area: layer.area.clone(), _lease: layer._lease.clone() });
        // Layers of which nothing is held go, and with them their leases.
        let mut numbers = [OWN; LAYERS_MAX + 1];
        let mut layers = Vec::new();
        for (n, layer) in (1..).zip(earlier.chain([parents])).filter(|(n, _)| used[*n]) {
            layers.push(layer);
            numbers[n] = layers.len() as u8;
        }
        let layer_of = layer_of.iter().map(|n| AtomicU8::new(numbers[*n as usize])).collect();
        Ok(InheritedSwap { own, layers, layer_of })
    }

    /// From how many files of earlier processes it may still read.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    fn layer(&self, slot: usize) -> u8 {
        self.layer_of.get(slot).map_or(OWN, |layer| layer.load(Ordering::Acquire))
    }

    fn area(&self, layer: u8) -> &dyn SwapArea {
        match layer {
            OWN => &*self.own,
            n => &*self.layers[n as usize - 1].area,
        }
    }

    /// The bytes `offset..offset + len`, as those of one file after the other.
    fn pieces(&self, offset: u64, len: u64) -> impl Iterator<Item = (u8, u64, u64)> {
        let end = offset + len;
        let mut at = offset;
        std::iter::from_fn(move || {
            let from = at;
            let layer = self.layer((from / PAGE_SIZE) as usize);
            while at < end && self.layer((at / PAGE_SIZE) as usize) == layer {
                at = (at / PAGE_SIZE + 1) * PAGE_SIZE;
            }
            at = at.min(end);
            (from < end).then_some((layer, from, at - from))
        })
    }

    /// From now on these slots are read from the file of one's own.
    fn become_own(&self, offset: u64, len: u64) {
        let slots = (offset / PAGE_SIZE) as usize..(offset + len).div_ceil(PAGE_SIZE) as usize;
        let end = slots.end.min(self.layer_of.len());
        for layer in &self.layer_of[slots.start.min(end)..end] {
            layer.store(OWN, Ordering::Release);
        }
    }
}

impl Pager for InheritedSwap {
    fn name(&self) -> String {
        self.own.name()
    }

    fn size(&self) -> io::Result<u64> {
        self.own.size()
    }

    fn read(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let len = total(bufs);
        let mut read = 0;
        for (layer, at, len) in self.pieces(offset, len) {
            while read < at + len - offset {
                let mut rest = rest_mut(bufs, read);
                let left = at + len - offset - read;
                let now = self.area(layer).read(offset + read, &mut first_mut(&mut rest, left))?;
                if now == 0 {
                    return Ok(read as usize);
                }
                read += now as u64;
            }
        }
        Ok(read as usize)
    }

    fn write(&self, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<()> {
        self.own.write(offset, bufs)?;
        self.become_own(offset, total(bufs));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.own.sync()
    }

    /// Makes room for a fork: see [`SwapArea::lend`].
    fn resize(&self, size: u64) -> io::Result<()> {
        self.own.lend(size)
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.become_own(offset, len);
        self.own.punch(offset, len)
    }

    fn bookkeeping_bytes(&self) -> usize {
        let areas = self.layers.iter().map(|layer| &layer.area).chain([&self.own]);
        self.layer_of.capacity() + areas.map(|area| area.bookkeeping_bytes()).sum::<usize>()
    }

    /// A slot that is about to be written is not read before that has ended well: the page
    /// stays in memory until then.
    fn direct(&self, direction: Direction, offset: u64, len: u64) -> Option<Direct<'_>> {
        let area = match direction {
            Direction::Read => {
                let (layer, _, one) = self.pieces(offset, len).next()?;
                (one == len).then(|| self.area(layer))?
            }
            Direction::Write => &*self.own,
        };
        let direct = area.direct(direction, offset, len)?;
        if direction == Direction::Write {
            self.become_own(offset, len);
        }
        Some(direct)
    }
}
