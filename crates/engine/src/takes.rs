//! Takes: loads by which a private area has a page of an object from those who share it.
//!
//! Where it can't be at both, it is at one after the other, so that either sees what is stored
//! to it. An instruction that reads it here and stores to it there would go on for ever so: who
//! takes a page again and again, with little time and few other takes in between, is given a
//! copy.

use crate::Tick;
use crate::frame::Site;
use crate::policy::PageKey;

/// Takes in a row that are of use. (More than one: a page may be taken, and stored to by
/// others, and be looked at again.)
const IN_A_ROW: u8 = 4;

/// So long after the last one a take is the first of a row.
const ROW_TICKS: Tick = 1000;

/// So many rows are remembered.
const REMEMBERED: usize = 16;

/// Who took what, lately.
#[derive(Default)]
pub struct Takes {
    recent: [Row; REMEMBERED],
}

/// Takes of one page, for one address.
#[derive(Clone, Copy, Default)]
struct Row {
    what: Option<(Site, PageKey)>,
    count: u8,
    last: Tick,
}

impl Takes {
    /// May the page be taken once more?
    pub fn once_more(&mut self, site: Site, key: PageKey, now: Tick) -> bool {
        let what = Some((site, key));
        let ended = |row: &Row| now.wrapping_sub(row.last) >= ROW_TICKS;
        let row = match self.recent.iter_mut().position(|row| row.what == what) {
            Some(index) => &mut self.recent[index],
            None => {
                // The one that matters least: it has ended, or is short.
                let length = |row: &&mut Row| if ended(row) { 0 } else { row.count };
                let least = self.recent.iter_mut().min_by_key(length).expect("there are some");
                *least = Row { what, ..Row::default() };
                least
            }
        };
        row.count = if ended(row) { 1 } else { row.count.saturating_add(1) };
        row.last = now;
        row.count <= IN_A_ROW
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultless_addr::{ObjectId, PageIndex, SpaceId, VirtAddr};

    fn site(page: u64) -> Site {
        Site::new(SpaceId(1), VirtAddr(page << 12))
    }

    const KEY: PageKey = PageKey { object: ObjectId(1), page: PageIndex(5) };

    #[test]
    fn a_row_ends_with_time_and_not_because_others_take_too() {
        let mut takes = Takes::default();
        for n in 0..4 {
            assert!(takes.once_more(site(1), KEY, n));
            // More others in all than are remembered.
            let others = u64::from(100 * n + 100)..u64::from(100 * n + 114);
            others.for_each(|other| _ = takes.once_more(site(other), KEY, n));
        }
        assert!(!takes.once_more(site(1), KEY, 5));
        assert!(!takes.once_more(site(1), KEY, 5 + ROW_TICKS - 1));
        assert!(takes.once_more(site(1), KEY, 5 + 2 * ROW_TICKS));
    }
}
