//! Areas that become longer or shorter at one end: the heap, and stacks.

use alloc::vec::Vec;

use faultless_addr::{SpaceId, VirtAddr, VirtRange};

use crate::engine::Engine;
use crate::plan::Plan;
use crate::space::{BrkError, GrowError};

impl Engine {
    /// Moves the break (brk(2)), and says which pages are new. To be followed by
    /// [`clear_step`](Self::clear_step) of what it has left.
    pub fn brk(
        &mut self,
        space: SpaceId,
        wanted: VirtAddr,
        plan: &mut Plan,
    ) -> Result<VirtRange, BrkError> {
        let mut removed = Vec::new();
        let more = self.spaces[space.index()].brk(wanted, &mut removed)?;
        self.clear_pieces(space, &removed, plan);
        Ok(more)
    }

    /// An access below a stack, where no area is, makes it longer; says by which pages.
    pub fn grow_down(&mut self, space: SpaceId, addr: VirtAddr) -> Result<VirtRange, GrowError> {
        self.spaces[space.index()].grow_down(addr)
    }
}
