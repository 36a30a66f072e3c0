//! What programs do: loads, stores, instruction fetches, locked instructions; and what a
//! system call does to their memory.
//!
//! Bytes of one page are accessed at once: no other CPU sees half of it. Between pages
//! anything may happen, and an access stops at the first page that faults; the bytes
//! before it are done, as with a copy of bytes one by one. Serve the fault, try again.

use std::ops::Range;

use faultless_addr::{Access, FrameNo, PAGE_SIZE, SpaceId, VirtAddr};

use crate::fault::{PageFault, Stopped};
use crate::machine::SoftwareMachine;
use crate::memory::Memory;

/// The number of a CPU, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CpuNo(pub u32);

impl CpuNo {
    /// The CPU's place in tables.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Any CPU runs any space at any time: entries of TLBs know whose they are. A CPU or a
/// space that doesn't exist panics.
impl SoftwareMachine {
    /// Loads bytes from `addr` on.
    pub fn load(
        &self,
        cpu: CpuNo,
        space: SpaceId,
        addr: VirtAddr,
        into: &mut [u8],
    ) -> Result<(), PageFault> {
        self.read(cpu, space, addr, into, Access::Read).map_err(|stopped| stopped.fault)
    }

    /// Fetches instructions from `addr` on.
    pub fn fetch(
        &self,
        cpu: CpuNo,
        space: SpaceId,
        addr: VirtAddr,
        into: &mut [u8],
    ) -> Result<(), PageFault> {
        self.read(cpu, space, addr, into, Access::Execute).map_err(|stopped| stopped.fault)
    }

    /// Stores bytes from `addr` on.
    pub fn store(
        &self,
        cpu: CpuNo,
        space: SpaceId,
        addr: VirtAddr,
        from: &[u8],
    ) -> Result<(), PageFault> {
        self.copy_out(cpu, space, addr, from).map_err(|stopped| stopped.fault)
    }

    /// Stores `new` if the eight bytes at `addr`, little-endian, are `expected`; answers
    /// what they were. One step for all CPUs, wherever `addr` is.
    ///
    /// It needs the right to store, and makes the page dirty, even where nothing is
    /// stored: so does `LOCK CMPXCHG` (Intel SDM vol. 2A), which always writes.
    pub fn compare_exchange_u64(
        &self,
        cpu: CpuNo,
        space: SpaceId,
        addr: VirtAddr,
        expected: u64,
        new: u64,
    ) -> Result<u64, PageFault> {
        let mut state = self.state();
        let mut bytes = [0; 8];
        let mut frames = [FrameNo(0); 2];
        // Both pages, before anything is read.
        for (frame, (at, _)) in frames.iter_mut().zip(pieces(addr, bytes.len())) {
            *frame = state.translate(cpu, space, at, Access::Write)?;
        }
        for (frame, (at, piece)) in frames.iter().zip(pieces(addr, bytes.len())) {
            self.memory().read(*frame, offset(at), &mut bytes[piece]);
        }
        let found = u64::from_le_bytes(bytes);
        if found == expected {
            for (frame, (at, piece)) in frames.iter().zip(pieces(addr, bytes.len())) {
                self.memory().write(*frame, offset(at), &new.to_le_bytes()[piece]);
            }
        }
        Ok(found)
    }

    /// Copies from a program's memory into the kernel's, as `write(2)` does, on behalf of
    /// the program that `cpu` runs.
    pub fn copy_in(
        &self,
        cpu: CpuNo,
        space: SpaceId,
        from: VirtAddr,
        into: &mut [u8],
    ) -> Result<(), Stopped> {
        self.read(cpu, space, from, into, Access::Read)
    }

    /// Copies from the kernel's memory into a program's, as `read(2)` does, on behalf of
    /// the program that `cpu` runs.
    pub fn copy_out(
        &self,
        cpu: CpuNo,
        space: SpaceId,
        to: VirtAddr,
        from: &[u8],
    ) -> Result<(), Stopped> {
        let access = Access::Write;
        self.each_page(cpu, space, to, from.len(), access, |memory, frame, offset, piece| {
            memory.write(frame, offset, &from[piece]);
        })
    }

    fn read(
        &self,
        cpu: CpuNo,
        space: SpaceId,
        addr: VirtAddr,
        into: &mut [u8],
        access: Access,
    ) -> Result<(), Stopped> {
        self.each_page(cpu, space, addr, into.len(), access, |memory, frame, offset, piece| {
            memory.read(frame, offset, &mut into[piece]);
        })
    }

    /// Translates page by page; the lock is held for one page at a time.
    fn each_page(
        &self,
        cpu: CpuNo,
        space: SpaceId,
        addr: VirtAddr,
        len: usize,
        access: Access,
        mut act: impl FnMut(&Memory, FrameNo, usize, Range<usize>),
    ) -> Result<(), Stopped> {
        for (at, piece) in pieces(addr, len) {
            let mut state = self.state();
            let frame = state
                .translate(cpu, space, at, access)
                .map_err(|fault| Stopped { done: piece.start, fault })?;
            act(self.memory(), frame, offset(at), piece);
        }
        Ok(())
    }
}

/// Where an address is within its page.
fn offset(addr: VirtAddr) -> usize {
    addr.0 as usize % PAGE_SIZE
}

/// Takes `len` bytes from `addr` on apart into pages: where each piece is, and which of
/// the bytes it is. Past the last address comes address 0, as on the processor.
fn pieces(addr: VirtAddr, len: usize) -> impl Iterator<Item = (VirtAddr, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = VirtAddr(addr.0.wrapping_add(done as u64));
        let start = done;
        done = len.min(done + PAGE_SIZE - offset(at));
        (start < len).then_some((at, start..done))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(addr: u64, len: usize) -> Vec<(u64, Range<usize>)> {
        pieces(VirtAddr(addr), len).map(|(at, piece)| (at.0, piece)).collect()
    }

    #[test]
    fn pieces_end_with_pages() {
        assert_eq!(of(100, 0), []);
        assert_eq!(of(4096, 4096), [(4096, 0..4096)]);
        assert_eq!(of(4090, 8), [(4090, 0..6), (4096, 6..8)]);
        assert_eq!(of(4095, 4098), [(4095, 0..1), (4096, 1..4097), (8192, 4097..4098)]);
        assert_eq!(of(u64::MAX, 2), [(u64::MAX, 0..1), (0, 1..2)]);
    }
}
