//! The best that any cache could do: Belady's rule (1966), which evicts the page that is
//! needed last. It knows the future, so no policy on line reaches it.

use std::collections::{BTreeSet, HashMap};

/// How many of the accesses after the first `warm` find their page in a cache of `frames`
/// pages, at best.
pub fn hits(pages: &[u64], warm: usize, frames: usize) -> u64 {
    let mut next = vec![usize::MAX; pages.len()];
    let mut seen: HashMap<u64, usize> = HashMap::new();
    for (index, page) in pages.iter().enumerate().rev() {
        next[index] = seen.insert(*page, index).unwrap_or(usize::MAX);
    }
    // When each cached page is needed next, the last of them at the end.
    let mut cached: BTreeSet<(usize, u64)> = BTreeSet::new();
    let mut hits = 0;
    for (index, page) in pages.iter().enumerate() {
        let hit = cached.remove(&(index, *page));
        hits += u64::from(hit && index >= warm);
        // Room first: a page that is accessed by a pointer has to come in.
        if !hit && cached.len() == frames {
            cached.pop_last();
        }
        cached.insert((next[index], *page));
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_textbook_string() {
        // Silberschatz and others, "Operating System Concepts", page replacement: with three
        // frames the optimal algorithm has nine faults in twenty references.
        let pages = [7, 0, 1, 2, 0, 3, 0, 4, 2, 3, 0, 3, 2, 1, 2, 0, 1, 7, 0, 1];
        assert_eq!(hits(&pages, 0, 3), 11);
    }

    #[test]
    fn what_is_warm_is_not_counted() {
        assert_eq!(hits(&[1, 1, 1, 1], 2, 1), 2);
        assert_eq!(hits(&[1, 2, 1, 2], 2, 2), 2);
    }
}
