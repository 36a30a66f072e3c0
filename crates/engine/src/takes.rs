//! Takes: loads by which a private area has a page of an object from those who share it.
//!
//! Where it can't be at both, it is at one after the other, so that either sees what is stored
//! to it. An instruction that reads it here and stores to it there would go on for ever so: who
//! takes a page again and again, with few other takes in between, is given a copy.

use crate::frame::Site;
use crate::policy::PageKey;

/// Takes in a row that are of use. (More than one: a page may be taken, and stored to by
/// others, and be looked at again.)
const IN_A_ROW: u8 = 4;

/// So many takes are remembered.
const REMEMBERED: usize = 16;

/// Who took what, lately.
#[derive(Default)]
pub struct Takes {
    recent: [Option<(Site, PageKey, u8)>; REMEMBERED],
    next: usize,
}

impl Takes {
    /// May the page be taken once more?
    pub fn once_more(&mut self, site: Site, key: PageKey) -> bool {
        let is_it = |it: &&mut (Site, PageKey, u8)| (it.0, it.1) == (site, key);
        if let Some((_, _, count)) = self.recent.iter_mut().flatten().find(is_it) {
            *count = count.saturating_add(1);
            return *count <= IN_A_ROW;
        }
        self.recent[self.next] = Some((site, key, 1));
        self.next = (self.next + 1) % REMEMBERED;
        true
    }
}
