//! Translations: at which addresses each frame is, exactly.
//!
//! Most frames are at one address, which is in the frame itself; those at several
//! are in a table. The engine is told of every change, so it never has to ask the
//! machine. (Linux finds them by its reverse map and looks into page tables; here
//! there are none to look into.)

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use faultless_addr::{FrameNo, SpaceId, VirtAddr};

use crate::frame::{FrameTable, Shown, Site};

/// One address that shows a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Where.
    pub site: Site,
    /// Stores go through.
    pub writable: bool,
}

/// The translations of frames that are at several addresses.
#[derive(Default)]
pub struct Translations {
    often: BTreeMap<FrameNo, Vec<Translation>>,
}

impl Translations {
    /// Where `no` is, and the rights there.
    pub fn of<'a>(
        &'a self,
        frames: &FrameTable,
        no: FrameNo,
    ) -> impl Iterator<Item = Translation> + 'a {
        let frame = &frames[no];
        let once = Translation { site: frame.site, writable: frame.writable };
        let often = match frame.shown {
            Shown::Often => self.often.get(&no).map_or(&[][..], |list| list),
            _ => &[],
        };
        (frame.shown == Shown::Once).then_some(once).into_iter().chain(often.iter().copied())
    }

    /// The translation of `no` at an address.
    pub fn at(&self, frames: &FrameTable, no: FrameNo, site: Site) -> Option<Translation> {
        self.of(frames, no).find(|it| it.site == site)
    }

    /// At how many addresses `no` is.
    pub fn count(&self, frames: &FrameTable, no: FrameNo) -> usize {
        match frames[no].shown {
            Shown::Nowhere => 0,
            Shown::Once => 1,
            Shown::Often => self.often[&no].len(),
        }
    }

    /// `no` is now at `new.site`, where it was not before or was with other rights.
    pub fn show(&mut self, frames: &mut FrameTable, no: FrameNo, new: Translation) {
        let frame = &mut frames[no];
        match frame.shown {
            Shown::Nowhere => {
                frame.shown = Shown::Once;
                frame.site = new.site;
                frame.writable = new.writable;
                return;
            }
            Shown::Once if frame.site == new.site => {
                frame.writable = new.writable;
                return;
            }
            Shown::Once => {
                let first = Translation { site: frame.site, writable: frame.writable };
                frame.shown = Shown::Often;
                frame.site = Site::NONE;
                self.often.insert(no, alloc::vec![first]);
            }
            Shown::Often => {}
        }
        let list = self.often.get_mut(&no).expect("a frame at several addresses is listed");
        match list.iter_mut().find(|it| it.site == new.site) {
            Some(it) => it.writable = new.writable,
            None => list.push(new),
        }
        frames[no].writable = list.iter().any(|it| it.writable);
    }

    /// `no` is at `site` no more.
    pub fn hide(&mut self, frames: &mut FrameTable, no: FrameNo, site: Site) {
        let frame = &mut frames[no];
        if frame.shown != Shown::Often {
            debug_assert!(frame.shown == Shown::Once && frame.site == site, "{frame:?}");
            frame.shown = Shown::Nowhere;
            frame.writable = false;
            return;
        }
        let list = self.often.get_mut(&no).expect("a frame at several addresses is listed");
        list.retain(|it| it.site != site);
        frame.writable = list.iter().any(|it| it.writable);
        if let [last] = list[..] {
            self.often.remove(&no);
            frame.shown = Shown::Once;
            frame.site = last.site;
        }
    }

    /// Stores to `no` go through nowhere any more.
    pub fn stop_stores(&mut self, frames: &mut FrameTable, no: FrameNo) {
        frames[no].writable = false;
        if frames[no].shown == Shown::Often {
            for it in self.often.get_mut(&no).into_iter().flatten() {
                it.writable = false;
            }
        }
    }

    /// Bytes that the table takes.
    pub fn bookkeeping_bytes(&self) -> usize {
        let each = size_of::<(FrameNo, Vec<Translation>)>() + 2 * size_of::<Translation>();
        self.often.len() * each
    }

    /// Exactly the frames at several addresses are listed, with two different ones at least.
    pub fn check_invariants(&self, frames: &FrameTable) {
        let often = frames.iter().filter(|(_, frame)| frame.shown == Shown::Often).count();
        assert_eq!(often, self.often.len(), "frames at several addresses");
        for (no, list) in &self.often {
            assert!(list.len() > 1 && frames[*no].shown == Shown::Often, "{no:?}: {list:?}");
            let writable = list.iter().any(|it| it.writable);
            assert_eq!(frames[*no].writable, writable, "{no:?}: {list:?}");
            for (n, it) in list.iter().enumerate() {
                assert!(!list[..n].iter().any(|other| other.site == it.site), "{no:?} twice");
            }
        }
    }
}

impl Translation {
    /// The space.
    pub fn space(self) -> SpaceId {
        self.site.space()
    }

    /// The address.
    pub fn at(self) -> VirtAddr {
        self.site.at()
    }
}
