//! Pages that go to other addresses: `mremap`.
//!
//! ```text
//!   before   0x5000 ──► anonymous page 7          after   0x5000    (nothing, or zeros)
//!                                                         0xc000 ──► anonymous page 7
//! ```
//!
//! No byte is copied. The areas change first; then the old addresses are closed, and the
//! space's own pages are meant at the new ones. They are shown there when they are
//! touched. Pages of an object are found at their new address by the area alone.

use alloc::vec::Vec;

use faultless_addr::{SpaceId, VirtAddr, VirtRange};

use crate::anon::numbers;
use crate::engine::Engine;
use crate::plan::Plan;
use crate::space::{Left, Moved, RemapEffects, RemapError, RemapRequest};

/// What a remap has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remapped {
    /// Where the area begins now.
    pub start: VirtAddr,
    /// New addresses of a locked area, to be brought in.
    pub populate: Vec<VirtRange>,
}

impl Engine {
    /// Makes an area longer or shorter, or moves areas (mremap(2)). To be followed by
    /// [`clear_step`](Self::clear_step) of the whole space, also after an error.
    pub fn remap(
        &mut self,
        space: SpaceId,
        request: RemapRequest,
        plan: &mut Plan,
    ) -> Result<Remapped, RemapError> {
        let mut effects = RemapEffects::default();
        let result = self.spaces[space.index()].remap(request, &mut effects);
        self.clear_pieces(space, &effects.removed, plan);
        for moved in &effects.moved {
            self.move_pages(space, moved, plan);
        }
        let start = result?;
        let len = request.new_len.next_multiple_of(faultless_addr::PAGE_BYTES);
        self.show(space, VirtRange::new(start, VirtAddr(start.0 + len)));
        Ok(Remapped { start, populate: effects.populate })
    }

    /// A piece is elsewhere: its own pages go along, and leave their old addresses.
    fn move_pages(&mut self, space: SpaceId, moved: &Moved, plan: &mut Plan) {
        let from = moved.from.range;
        self.heal_range(space, from, plan);
        self.close(space, &moved.from, |_| true, plan);
        let first = from.start.0 >> faultless_addr::PAGE_SHIFT;
        let to = moved.to.0 >> faultless_addr::PAGE_SHIFT;
        let pages = &mut self.privates[space.index()];
        let own: Vec<_> = pages.range(numbers(from)).collect();
        for (number, id) in own {
            pages.remove(number);
            let before = pages.insert(number - first + to, id);
            debug_assert!(before.is_none(), "pages are moved to where nothing is");
        }
        if let (Left::Nothing, Some(object)) = (moved.left, moved.from.object()) {
            self.object_mut(object).windows.remove(space, from);
        }
        self.show(space, VirtRange::new(moved.to, moved.to.plus_pages(from.pages())));
    }
}
