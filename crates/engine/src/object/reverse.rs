//! The reverse map: from a page of an object to the addresses that show it.
//!
//! An object keeps the areas that map it; a page's addresses follow from them.
//! Most objects have one area or two, so a short list searched from its start is
//! the right structure. (Linux's `i_mmap` is a tree because a C library is mapped
//! by every process.)

use alloc::vec::Vec;

use crate::space::Sharing;

use faultless_addr::{PageIndex, PageRange, SpaceId, VirtAddr, VirtRange};

/// Pages `pages` of an object are at `at`.. in `space`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The space.
    pub space: SpaceId,
    /// Where the first of the pages is.
    pub at: VirtAddr,
    /// The pages that are shown there.
    pub pages: PageRange,
    /// Do stores there go to the object?
    pub sharing: Sharing,
}

impl Window {
    /// Where `page` is shown in this window.
    pub fn addr_of(&self, page: PageIndex) -> Option<VirtAddr> {
        self.pages.contains(page).then(|| self.at.plus_pages(page.0 - self.pages.start.0))
    }

    /// All its addresses.
    pub fn range(&self) -> VirtRange {
        VirtRange::new(self.at, self.at.plus_pages(self.pages.len()))
    }
}

/// The windows onto one object.
#[derive(Default)]
pub struct ReverseMap {
    windows: Vec<Window>,
}

impl ReverseMap {
    /// Adds a window.
    pub fn add(&mut self, window: Window) {
        self.windows.push(window);
    }

    /// Takes away what the windows show at `range`, which may cut a window in two.
    pub fn remove(&mut self, space: SpaceId, range: VirtRange) {
        let mut kept = Vec::with_capacity(self.windows.len() + 1);
        for window in self.windows.drain(..) {
            let cut = window.range().intersect(range);
            if window.space != space || cut.is_empty() {
                kept.push(window);
                continue;
            }
            let lead = (cut.start.0 - window.at.0) >> faultless_addr::PAGE_SHIFT;
            let first_behind = window.pages.start.plus(lead + cut.pages());
            let before = PageRange::from_len(window.pages.start, lead);
            let behind = PageRange::new(first_behind, window.pages.end);
            if !before.is_empty() {
                kept.push(Window { pages: before, ..window });
            }
            if !behind.is_empty() {
                kept.push(Window { at: cut.end, pages: behind, ..window });
            }
        }
        self.windows = kept;
    }

    /// Every address that shows `page`.
    pub fn addresses(&self, page: PageIndex) -> impl Iterator<Item = (SpaceId, VirtAddr)> {
        self.windows.iter().filter_map(move |w| Some((w.space, w.addr_of(page)?)))
    }

    /// Is the object shown nowhere?
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// All windows.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: SpaceId = SpaceId(0);

    fn at(page: u64) -> VirtAddr {
        VirtAddr(page * 4096)
    }

    #[test]
    fn removing_the_middle_leaves_both_ends() {
        let mut map = ReverseMap::default();
        map.add(Window {
            space: SPACE,
            at: at(100),
            pages: PageRange::from_len(PageIndex(7), 10),
            sharing: Sharing::Shared,
        });
        map.remove(SPACE, VirtRange::new(at(103), at(105)));
        assert_eq!(map.addresses(PageIndex(9)).next(), Some((SPACE, at(102))));
        assert_eq!(map.addresses(PageIndex(10)).next(), None);
        assert_eq!(map.addresses(PageIndex(11)).next(), None);
        assert_eq!(map.addresses(PageIndex(12)).next(), Some((SPACE, at(105))));
        map.remove(SPACE, VirtRange::new(at(0), at(1000)));
        assert!(map.is_empty());
    }

    #[test]
    fn other_spaces_are_left_alone() {
        let mut map = ReverseMap::default();
        let pages = PageRange::from_len(PageIndex(0), 4);
        let sharing = Sharing::Shared;
        map.add(Window { space: SpaceId(0), at: at(1), pages, sharing });
        map.add(Window { space: SpaceId(1), at: at(1), pages, sharing });
        map.remove(SpaceId(0), VirtRange::new(at(0), at(9)));
        let left: Vec<_> = map.addresses(PageIndex(2)).collect();
        assert_eq!(left, [(SpaceId(1), at(3))]);
    }
}
