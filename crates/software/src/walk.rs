//! From an address to a frame, as a processor finds it.
//!
//! ```text
//!                      ┌───────────── TLB ─────────────┐
//!   access ──────────► │ known, allowed,               │ ──► frame
//!                      │ and not the first store       │
//!                      └──────────────┬────────────────┘
//!                                     │ no
//!                      ┌──────────────▼────────────────┐
//!                      │ walk: PML4 ► PDPT ► PD ► PT   │ ──► page fault
//!                      └──────────────┬────────────────┘
//!                                     │ set A in all four, D in the last for a store
//!                                     ▼
//!                              into the TLB ──► frame
//! ```
//!
//! The rights of a page are what *all four* entries allow. The tables are looked at
//! again when the TLB refuses an access, so rights that were given need no flush; a real
//! processor may raise a "spurious" fault first (Intel SDM vol. 3A, section 4.10.4.3),
//! and forgets the entry then. `A` and `D` are set as section 4.8 has it, but only by an
//! access that happens.

use faultless_addr::{Access, FrameNo, SpaceId, VirtAddr};

use crate::cpu::CpuNo;
use crate::entry::{Flags, Rights};
use crate::fault::{Cause, PageFault};
use crate::level::is_canonical;
use crate::state::State;
use crate::tables::Slot;
use crate::tlb::Cached;

impl State {
    /// The frame that an access by `cpu` to `addr` goes to.
    pub fn translate(
        &mut self,
        cpu: CpuNo,
        space: SpaceId,
        addr: VirtAddr,
        access: Access,
    ) -> Result<FrameNo, PageFault> {
        match self.tlb(cpu).look_up(space, addr).copied() {
            Some(cached) if cached.serves(access) => {
                self.stats.tlb_hits += 1;
                return Ok(cached.frame);
            }
            Some(_) => self.tlb(cpu).forget(space, addr),
            None => self.stats.tlb_misses += 1,
        }
        match self.walk(space, addr, access) {
            Ok(cached) => {
                self.tlb(cpu).insert(cached);
                Ok(cached.frame)
            }
            Err(cause) => {
                self.stats.faults += 1;
                Err(PageFault { addr, access, cause })
            }
        }
    }

    fn walk(&mut self, space: SpaceId, addr: VirtAddr, access: Access) -> Result<Cached, Cause> {
        self.stats.walks += 1;
        if !is_canonical(addr) {
            return Err(Cause::NotCanonical);
        }
        let path: Vec<Slot> = self.tables.walk(self.root(space), addr).collect();
        let mut rights = Rights::all();
        for slot in &path {
            let entry = self.tables.entry(*slot);
            if !entry.is_present() {
                return Err(entry.marker().map_or(Cause::Absent, Cause::Marked));
            }
            rights &= entry.rights();
        }
        if !rights.allow(access) {
            return Err(Cause::Denied);
        }
        for slot in &path {
            self.tables.set(*slot, self.tables.entry(*slot).with(Flags::ACCESSED));
        }
        let leaf = path[3];
        if access == Access::Write {
            self.tables.set(leaf, self.tables.entry(leaf).with(Flags::DIRTY));
        }
        let entry = self.tables.entry(leaf);
        let (at, dirty) = (addr.page_start(), entry.has(Flags::DIRTY));
        Ok(Cached { space, at, frame: entry.frame(), rights, dirty })
    }
}
