//! Areas: showing an object's pages at addresses, and ending it.

use faultless_addr::{FrameNo, ObjectId, PageIndex, PageRange, Prot, SpaceId, VirtRange};

use crate::engine::Engine;
use crate::object::reverse::Window;
use crate::plan::Plan;
use crate::space::{Backing, MapError, MapRequest, Merge, Place, Sharing, Vma, VmaFlags};

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
            merge: Merge::No,
        };
        self.map(space, request)
    }

    /// A new area (mmap(2)). What is at a fixed address is to be unmapped before.
    pub fn map(&mut self, space: SpaceId, request: MapRequest) -> Result<VirtRange, MapError> {
        let request = match request.place {
            Place::Fixed(at) => MapRequest { place: Place::FixedNoReplace(at), ..request },
            _ => request,
        };
        let mut replaced = alloc::vec::Vec::new();
        let range = self.spaces[space.index()].map(request, &mut replaced)?;
        debug_assert!(replaced.is_empty(), "nothing is replaced");
        if let Backing::Object { object, first } = request.backing {
            let pages = PageRange::from_len(first, range.pages());
            let window = Window { space, at: range.start, pages, sharing: request.sharing };
            self.object_mut(object).windows.add(window);
        }
        Ok(range)
    }

    /// The rights of an area that shows an object grow or shrink. Pages that are
    /// mapped keep what stores do to them.
    pub fn set_area_rights(&mut self, space: SpaceId, range: VirtRange, prot: Prot) {
        self.spaces[space.index()].protect(range, prot).expect("the area is there, and whole");
    }

    /// Begins to take every page of an object out of memory. To be carried out,
    /// and called again when frames have settled, until it returns `None`.
    ///
    /// Dirty pages are lost: flush first.
    pub fn close_step(&mut self, object: ObjectId, plan: &mut Plan) -> Option<FrameNo> {
        self.discard(object, PageRange::all(), plan);
        let cache = &self.object(object).cache;
        let (_, no) = cache.first_in(PageRange::all(), &self.nodes, &self.frames)?;
        self.frames[no].waited = true;
        Some(no)
    }

    /// Removes an object of which no page is in memory, and its areas. Its marks have
    /// been cleared from their addresses, and forgotten.
    pub fn remove(&mut self, id: ObjectId) {
        let object = self.objects[id.index()].take().expect("the object exists");
        assert_eq!(object.resident, 0, "an object with pages in memory is removed");
        let mut removed: alloc::vec::Vec<Vma> = alloc::vec::Vec::new();
        for window in object.windows.windows() {
            self.spaces[window.space.index()]
                .unmap(window.range(), &mut removed)
                .expect("a window is an area");
        }
        assert!(!self.has_marks(id), "marks are left behind");
        self.objects_free.push(id.0);
    }
}
