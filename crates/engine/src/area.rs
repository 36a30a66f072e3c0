//! Areas: showing an object's pages at addresses, and ending it.

use alloc::vec::Vec;

use faultless_addr::{FrameNo, ObjectId, PageIndex, PageRange, Prot, SpaceId, VirtAddr, VirtRange};

use crate::engine::Engine;
use crate::object::reverse::Window;
use crate::plan::Plan;
use crate::space::{
    Backing, FilePagesError, MapError, MapRequest, Merge, Place, Sharing, Vma, VmaFlags,
};

impl Engine {
    /// Shows `count` pages of an object from `first` on, somewhere in `space`.
    pub fn map_object(
        &mut self,
        space: SpaceId,
        object: ObjectId,
        first: PageIndex,
        count: u64,
        prot: Prot,
    ) -> Result<VirtRange, MapError> {
        let request = MapRequest {
            place: Place::Anywhere,
            len: count << faultless_addr::PAGE_SHIFT,
            prot,
            sharing: Sharing::Shared,
            backing: Backing::Object { object, first },
            flags: VmaFlags::empty(),
            merge: Merge::Like(object.0),
        };
        self.map(space, request)
    }

    /// A new area (mmap(2)). What is at a fixed address is to be unmapped before.
    pub fn map(&mut self, space: SpaceId, request: MapRequest) -> Result<VirtRange, MapError> {
        let request = match request.place {
            Place::Fixed(at) => MapRequest { place: Place::FixedNoReplace(at), ..request },
            _ => request,
        };
        let mut replaced = Vec::new();
        let range = self.spaces[space.index()].map(request, &mut replaced)?;
        debug_assert!(replaced.is_empty(), "nothing is replaced");
        self.show(space, range);
        Ok(range)
    }

    /// A new area, in place of what is at a fixed address. To be followed by
    /// [`clear_step`](Self::clear_step).
    pub fn map_over(
        &mut self,
        space: SpaceId,
        request: MapRequest,
        plan: &mut Plan,
    ) -> Result<VirtRange, MapError> {
        let mut replaced = Vec::new();
        let range = self.spaces[space.index()].map(request, &mut replaced)?;
        self.clear_pieces(space, &replaced, plan);
        self.show(space, range);
        Ok(range)
    }

    /// Other pages of the object that an area shows (remap_file_pages(2)). To be followed
    /// by [`clear_step`](Self::clear_step).
    pub fn remap_file_pages(
        &mut self,
        space: SpaceId,
        range: (VirtAddr, u64),
        prot: u32,
        first: PageIndex,
        plan: &mut Plan,
    ) -> Result<VirtRange, FilePagesError> {
        let mut replaced = Vec::new();
        let areas = &mut self.spaces[space.index()];
        let range = areas.remap_file_pages(range.0, range.1, prot, first, &mut replaced)?;
        self.clear_pieces(space, &replaced, plan);
        self.show(space, range);
        Ok(range)
    }

    /// The objects in new areas, or in areas that have become longer, learn of it.
    pub(crate) fn show(&mut self, space: SpaceId, range: VirtRange) {
        for piece in self.pieces(space, range) {
            let Backing::Object { object, first } = piece.backing else { continue };
            let pages = PageRange::from_len(first, piece.range.pages());
            let window = Window { space, at: piece.range.start, pages, sharing: piece.sharing };
            let windows = &mut self.object_mut(object).windows;
            windows.remove(space, piece.range);
            windows.add(window);
        }
    }

    /// What could be read in a range may be written as well. Pages that are mapped keep
    /// what stores do to them.
    pub fn allow_area_writes(&mut self, space: SpaceId, range: VirtRange) {
        let read_only = |piece: &Vma| piece.prot == Prot::READ;
        for piece in self.pieces(space, range).into_iter().filter(read_only) {
            let both = Prot::READ | Prot::WRITE;
            self.spaces[space.index()].protect(piece.range, both).expect("the area is there");
        }
    }

    /// Begins to take every page of an object out of memory. To be carried out,
    /// and called again when frames have settled, until it returns `None`.
    ///
    /// Dirty pages are lost: flush first.
    pub fn close_step(&mut self, object: ObjectId, plan: &mut Plan) -> Option<FrameNo> {
        self.discard_step(object, PageRange::all(), plan)
    }

    /// As [`close_step`](Self::close_step), for some pages.
    pub fn discard_step(
        &mut self,
        object: ObjectId,
        pages: PageRange,
        plan: &mut Plan,
    ) -> Option<FrameNo> {
        self.discard(object, pages, plan);
        let cache = &self.object(object).cache;
        let (_, no) = cache.first_in(pages, &self.nodes, &self.frames)?;
        self.frames[no].waited = true;
        Some(no)
    }

    /// Removes an object of which no page is in memory, and its areas. Its marks have
    /// been cleared from their addresses, and forgotten.
    pub fn remove(&mut self, id: ObjectId) {
        let object = self.objects[id.index()].take().expect("the object exists");
        assert_eq!(object.resident, 0, "an object with pages in memory is removed");
        let mut removed: Vec<Vma> = Vec::new();
        for window in object.windows.windows() {
            self.spaces[window.space.index()]
                .unmap(window.range(), &mut removed)
                .expect("a window is an area");
        }
        assert!(!self.has_marks(id), "marks are left behind");
        self.end_sweep(id);
        self.objects_free.push(id.0);
    }
}
