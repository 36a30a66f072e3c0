//! The page cache's index: a radix tree from page numbers to frames.
//!
//! Sixteen slots to a node. A page hangs at the highest node where it is alone,
//! because the frame table knows each frame's full page number: pages scattered
//! over a big file cost a few bytes each instead of a path of nodes.
//!
//! ```text
//!   pages 3, 0x127, 0x12a           root (height 2)
//!                                  ┌─┴──────┐
//!                                  0        1
//!                               frame of 3  node ── 2 ── node ─┬─ 7: frame of 0x127
//!                               (alone here)                   └─ a: frame of 0x12a
//! ```
//!
//! Each node knows below which of its slots a page is dirty, so that a flush of many
//! pages finds the few that it has to write without a look at the others (Linux tags
//! its nodes in the same way).
//!
//! All objects share one pool of nodes, so ten thousand small files cost ten
//! thousand roots, not ten thousand pools. A lone page needs no node of its own; two
//! neighbours far from all others need a path of them. The idea of hanging a lone leaf high is ART's "lazy expansion" (Leis
//! et al., ICDE 2013); Linux's `address_space` uses the same tree without it.

use alloc::vec::Vec;

use faultless_addr::{FrameNo, PageIndex, PageRange};

const BITS: u32 = 4;
/// Slots of a node.
pub const FANOUT: usize = 1 << BITS;
/// Nodes over each other, at most.
const LEVELS_MAX: usize = u64::BITS.div_ceil(BITS) as usize;

/// The frames of the pages of one leaf, aligned, in the order of pages.
pub type Leaf = [Option<FrameNo>; FANOUT];

/// Says which page a frame holds; the frame table implements it.
pub trait PageOf {
    /// The page that `frame` holds in its object.
    fn page_of(&self, frame: FrameNo) -> PageIndex;

    /// Does it differ from its backing?
    fn is_dirty(&self, frame: FrameNo) -> bool;
}

/// Which pages are looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    Dirty,
}

/// What hangs in a slot: nothing, a frame, or a node. Four bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Slot(u32);

enum Hangs {
    Nothing,
    Frame(FrameNo),
    Node(usize),
}

impl Slot {
    const EMPTY: Slot = Slot(u32::MAX);
    const FRAME_BIT: u32 = 1 << 31;

    fn frame(frame: FrameNo) -> Slot {
        debug_assert!(frame.0 < Self::FRAME_BIT - 1);
        Slot(frame.0 | Self::FRAME_BIT)
    }

    fn node(index: usize) -> Slot {
        Slot(u32::try_from(index).expect("fewer nodes than frames"))
    }

    fn hangs(self) -> Hangs {
        if self == Slot::EMPTY {
            Hangs::Nothing
        } else if self.0 & Self::FRAME_BIT != 0 {
            Hangs::Frame(FrameNo(self.0 & !Self::FRAME_BIT))
        } else {
            Hangs::Node(self.0 as usize)
        }
    }
}

#[derive(Clone)]
struct Node {
    slots: [Slot; FANOUT],
    /// The slots where something hangs, one bit each.
    used: u16,
    /// Those below which a page is dirty.
    dirty: u16,
}

impl Node {
    const EMPTY: Node = Node { slots: [Slot::EMPTY; FANOUT], used: 0, dirty: 0 };

    fn hang(&mut self, place: usize, slot: Slot, dirty: bool) {
        self.slots[place] = slot;
        let bit = 1 << place;
        self.used = if slot == Slot::EMPTY { self.used & !bit } else { self.used | bit };
        self.dirty = if dirty { self.dirty | bit } else { self.dirty & !bit };
    }
}

/// The nodes of every object's tree.
#[derive(Default)]
pub struct NodePool {
    nodes: Vec<Node>,
    free: Vec<u32>,
}

impl NodePool {
    fn take(&mut self) -> usize {
        if let Some(index) = self.free.pop() {
            self.nodes[index as usize] = Node::EMPTY;
            return index as usize;
        }
        if self.nodes.len() == self.nodes.capacity() {
            // Doubling would waste up to as much again as the tree needs.
            self.nodes.reserve_exact((self.nodes.len() / 4).max(64));
        }
        self.nodes.push(Node::EMPTY);
        self.nodes.len() - 1
    }

    fn give(&mut self, index: usize) {
        self.free.push(index as u32);
    }

    fn has_dirty(&self, slot: Slot, of: &impl PageOf) -> bool {
        match slot.hangs() {
            Hangs::Nothing => false,
            Hangs::Frame(frame) => of.is_dirty(frame),
            Hangs::Node(node) => self.nodes[node].dirty != 0,
        }
    }

    fn hang(&mut self, node: usize, place: usize, slot: Slot, of: &impl PageOf) {
        let dirty = self.has_dirty(slot, of);
        self.nodes[node].hang(place, slot, dirty);
    }

    /// What takes a node's place, if `slot`, nothing or a frame, comes to hang at `place` there:
    /// the lone frame that it would have then, or nothing. A node with more stays.
    fn gives_way(&self, node: u32, place: usize, slot: Slot) -> Option<Slot> {
        let node = &self.nodes[node as usize];
        let others = node.used & !(1 << place);
        if others == 0 {
            return Some(slot);
        }
        if slot != Slot::EMPTY || !others.is_power_of_two() {
            return None;
        }
        let alone = node.slots[others.trailing_zeros() as usize];
        (!matches!(alone.hangs(), Hangs::Node(_))).then_some(alone)
    }

    /// Nodes in use.
    pub fn in_use(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Bytes that the pool takes.
    pub fn bookkeeping_bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>() + self.free.capacity() * size_of::<u32>()
    }
}

/// The way from the root to where a page is, or would be.
struct Path {
    nodes: [u32; LEVELS_MAX],
    len: usize,
    /// What hangs at its end: no node.
    slot: Slot,
}

impl Path {
    fn nodes(&self) -> &[u32] {
        &self.nodes[..self.len]
    }

    fn frame(&self) -> Option<FrameNo> {
        if let Hangs::Frame(frame) = self.slot.hangs() { Some(frame) } else { None }
    }

    fn push(&mut self, node: usize) {
        self.nodes[self.len] = node as u32;
        self.len += 1;
    }
}

/// One object's tree.
pub struct PageCache {
    root: Slot,
    /// Levels of nodes that the root spans; page numbers have `height * BITS` bits.
    height: u32,
}

impl Default for PageCache {
    fn default() -> Self {
        PageCache { root: Slot::EMPTY, height: 0 }
    }
}

fn digit(page: PageIndex, level: u32) -> usize {
    (page.0 >> (level * BITS)) as usize & (FANOUT - 1)
}

fn levels_for(page: PageIndex) -> u32 {
    (u64::BITS - page.0.leading_zeros()).div_ceil(BITS)
}

impl PageCache {
    /// The frame that holds `page`.
    pub fn get(&self, page: PageIndex, pool: &NodePool, of: &impl PageOf) -> Option<FrameNo> {
        if levels_for(page) > self.height {
            return None;
        }
        let mut slot = self.root;
        let mut level = self.height;
        loop {
            match slot.hangs() {
                Hangs::Nothing => return None,
                Hangs::Frame(frame) => return (of.page_of(frame) == page).then_some(frame),
                Hangs::Node(node) => {
                    level -= 1;
                    slot = pool.nodes[node].slots[digit(page, level)];
                }
            }
        }
    }

    /// The pages of the leaf that `page` would be in: none, if it would be alone.
    pub fn leaf(&self, page: PageIndex, pool: &NodePool) -> Leaf {
        let (mut slot, mut level) = (self.root, self.height);
        while let Hangs::Node(node) = slot.hangs()
            && levels_for(page) <= self.height
        {
            let slots = &pool.nodes[node].slots;
            level -= 1;
            if level == 0 {
                return slots.map(|slot| match slot.hangs() {
                    Hangs::Frame(frame) => Some(frame),
                    Hangs::Nothing | Hangs::Node(_) => None,
                });
            }
            slot = slots[digit(page, level)];
        }
        [None; FANOUT]
    }

    /// Adds `page`, which isn't there yet, as held by `frame`.
    pub fn insert(
        &mut self,
        page: PageIndex,
        frame: FrameNo,
        pool: &mut NodePool,
        of: &impl PageOf,
    ) {
        self.grow_to(levels_for(page), pool, of);
        let mut path = self.path_to(page, pool);
        if let Some(other) = path.frame() {
            let other_page = of.page_of(other);
            assert_ne!(other_page, page, "page is cached already");
            // Nodes down to where the two part.
            loop {
                let level = self.height - 1 - path.len as u32;
                let node = pool.take();
                pool.hang(node, digit(other_page, level), path.slot, of);
                self.hang(path.nodes(), page, Slot::node(node), pool, of);
                path.push(node);
                if digit(other_page, level) != digit(page, level) {
                    break;
                }
            }
        }
        self.hang(path.nodes(), page, Slot::frame(frame), pool, of);
    }

    /// Gives the root enough levels. A lone frame at the root needs no node.
    fn grow_to(&mut self, height: u32, pool: &mut NodePool, of: &impl PageOf) {
        while self.height < height {
            if let Hangs::Node(_) = self.root.hangs() {
                let parent = pool.take();
                pool.hang(parent, 0, self.root, of);
                self.root = Slot::node(parent);
            }
            self.height += 1;
        }
    }

    /// Takes `page` out; returns the frame that held it. A node left with a lone frame gives
    /// way to it.
    pub fn remove(
        &mut self,
        page: PageIndex,
        pool: &mut NodePool,
        of: &impl PageOf,
    ) -> Option<FrameNo> {
        if levels_for(page) > self.height {
            return None;
        }
        let path = self.path_to(page, pool);
        let frame = path.frame().filter(|frame| of.page_of(*frame) == page)?;
        let (mut nodes, mut slot) = (path.nodes(), Slot::EMPTY);
        while let [above @ .., last] = nodes
            && let Some(left) = pool.gives_way(*last, self.place(page, above.len()), slot)
        {
            pool.give(*last as usize);
            (nodes, slot) = (above, left);
        }
        self.hang(nodes, page, slot, pool, of);
        if self.root == Slot::EMPTY {
            self.height = 0;
        }
        Some(frame)
    }

    /// The page has become dirty, or clean.
    pub fn note_dirt(&self, page: PageIndex, pool: &mut NodePool, of: &impl PageOf) {
        if levels_for(page) <= self.height {
            let path = self.path_to(page, pool);
            self.hang_below_root(path.nodes(), page, path.slot, pool, of);
        }
    }

    /// The nodes that lead to `page`, which has no more levels than the tree.
    fn path_to(&self, page: PageIndex, pool: &NodePool) -> Path {
        let mut path = Path { nodes: [0; LEVELS_MAX], len: 0, slot: self.root };
        while let Hangs::Node(node) = path.slot.hangs() {
            path.slot = pool.nodes[node].slots[self.place(page, path.len)];
            path.push(node);
        }
        path
    }

    /// In which slot of the node that has `above` others over it the page is.
    fn place(&self, page: PageIndex, above: usize) -> usize {
        digit(page, self.height - 1 - above as u32)
    }

    /// Hangs `slot` where the path `nodes` to `page` ends.
    fn hang(
        &mut self,
        nodes: &[u32],
        page: PageIndex,
        slot: Slot,
        pool: &mut NodePool,
        of: &impl PageOf,
    ) {
        if nodes.is_empty() {
            self.root = slot;
        }
        self.hang_below_root(nodes, page, slot, pool, of);
    }

    /// As [`hang`](Self::hang), where the root stays as it is. Goes up only as far as nodes come
    /// to have dirty pages below them, or none any longer.
    fn hang_below_root(
        &self,
        nodes: &[u32],
        page: PageIndex,
        slot: Slot,
        pool: &mut NodePool,
        of: &impl PageOf,
    ) {
        let mut slot = slot;
        for (above, node) in nodes.iter().enumerate().rev() {
            let node = *node as usize;
            let was_dirty = pool.nodes[node].dirty != 0;
            pool.hang(node, self.place(page, above), slot, of);
            if (pool.nodes[node].dirty != 0) == was_dirty {
                return;
            }
            slot = Slot::node(node);
        }
    }

    /// The first cached page in `range`, with its frame.
    pub fn first_in(
        &self,
        range: PageRange,
        pool: &NodePool,
        of: &impl PageOf,
    ) -> Option<(PageIndex, FrameNo)> {
        self.first(Which::All, range, pool, of)
    }

    /// The first dirty page in `range`, with its frame.
    pub fn first_dirty_in(
        &self,
        range: PageRange,
        pool: &NodePool,
        of: &impl PageOf,
    ) -> Option<(PageIndex, FrameNo)> {
        self.first(Which::Dirty, range, pool, of)
    }

    fn first(
        &self,
        which: Which,
        range: PageRange,
        pool: &NodePool,
        of: &impl PageOf,
    ) -> Option<(PageIndex, FrameNo)> {
        let highest = 1u64.checked_shl(self.height * BITS).map_or(u64::MAX, |pages| pages - 1);
        if range.is_empty() || range.start.0 > highest {
            return None;
        }
        let found = Self::first_below(which, self.root, self.height, range.start, pool, of)?;
        (found.0 < range.end).then_some(found)
    }

    /// The first page at or after `from` below `slot`. `from` is given whole; only
    /// its digits below `level` matter.
    fn first_below(
        which: Which,
        slot: Slot,
        level: u32,
        from: PageIndex,
        pool: &NodePool,
        of: &impl PageOf,
    ) -> Option<(PageIndex, FrameNo)> {
        match slot.hangs() {
            Hangs::Nothing => None,
            Hangs::Frame(frame) => {
                let page = of.page_of(frame);
                let fits = which == Which::All || of.is_dirty(frame);
                (page >= from && fits).then_some((page, frame))
            }
            Hangs::Node(node) => {
                let node = &pool.nodes[node];
                let below = |place: usize, from| {
                    Self::first_below(which, node.slots[place], level - 1, from, pool, of)
                };
                let place = digit(from, level - 1);
                let slots = if which == Which::All { node.used } else { node.dirty };
                let here = if slots & 1 << place != 0 { below(place, from) } else { None };
                here.or_else(|| {
                    let behind = u32::from(slots) & !1 << place;
                    let next = behind.trailing_zeros() as usize;
                    if behind == 0 { None } else { below(next, PageIndex(0)) }
                })
            }
        }
    }

    /// Is no page cached?
    pub fn is_empty(&self) -> bool {
        self.root == Slot::EMPTY
    }

    /// Walks the whole tree, checks its shape, and calls `visit` for every page.
    pub fn check_invariants(
        &self,
        pool: &NodePool,
        of: &impl PageOf,
        visit: &mut impl FnMut(PageIndex, FrameNo),
    ) {
        Self::check_below(self.root, self.height, None, pool, of, visit);
    }

    /// `prefix` is the page number's digits above `level`; unknown at the root.
    fn check_below(
        slot: Slot,
        level: u32,
        prefix: Option<u64>,
        pool: &NodePool,
        of: &impl PageOf,
        visit: &mut impl FnMut(PageIndex, FrameNo),
    ) {
        match slot.hangs() {
            Hangs::Nothing => {}
            Hangs::Frame(frame) => {
                let page = of.page_of(frame);
                let above = if level * BITS >= u64::BITS { 0 } else { page.0 >> (level * BITS) };
                assert_eq!(above, prefix.unwrap_or(0), "page hangs in the wrong place");
                visit(page, frame);
            }
            Hangs::Node(index) => {
                let node = &pool.nodes[index];
                assert!(node.used > 0, "an empty node stays");
                for (place, child) in node.slots.iter().enumerate() {
                    let bits = (node.used >> place & 1 != 0, node.dirty >> place & 1 != 0);
                    let real = (*child != Slot::EMPTY, pool.has_dirty(*child, of));
                    assert_eq!(bits, real, "slot {place}");
                    let prefix = prefix.unwrap_or(0) << BITS | place as u64;
                    Self::check_below(*child, level - 1, Some(prefix), pool, of, visit);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::btree_map::Entry;
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    /// Frame `n` holds page `self.0[n]`.
    struct Pages(Vec<u64>, BTreeSet<FrameNo>);

    impl PageOf for Pages {
        fn page_of(&self, frame: FrameNo) -> PageIndex {
            PageIndex(self.0[frame.index()])
        }

        fn is_dirty(&self, frame: FrameNo) -> bool {
            self.1.contains(&frame)
        }
    }

    fn page_number() -> impl Strategy<Value = u64> {
        prop_oneof![0..40u64, 0..5000u64, (0..8u64).prop_map(|n| n << 45), 0..(1u64 << 52)]
    }

    proptest! {
        #[test]
        fn agrees_with_a_btree_map(
            steps in prop::collection::vec((page_number(), 0..4), 1..300),
        ) {
            let (mut pool, mut cache) = (NodePool::default(), PageCache::default());
            let mut pages = Pages(Vec::new(), BTreeSet::new());
            let mut model = BTreeMap::new();
            for (page, step) in steps {
                let index = PageIndex(page);
                if step == 0 {
                    prop_assert_eq!(cache.remove(index, &mut pool, &pages), model.remove(&page));
                } else if step == 1 {
                    // One that is there, mostly.
                    let next = model.range(page / 2..).next();
                    if let Some((page, frame)) = next.map(|(page, frame)| (*page, *frame)) {
                        if !pages.1.remove(&frame) {
                            pages.1.insert(frame);
                        }
                        cache.note_dirt(PageIndex(page), &mut pool, &pages);
                    }
                } else if let Entry::Vacant(entry) = model.entry(page) {
                    let frame = FrameNo(pages.0.len() as u32);
                    pages.0.push(page);
                    cache.insert(index, frame, &mut pool, &pages);
                    entry.insert(frame);
                }
                prop_assert_eq!(cache.get(index, &pool, &pages), model.get(&page).copied());
                let first = page - page % FANOUT as u64;
                let near: [_; FANOUT] =
                    core::array::from_fn(|n| model.get(&(first + n as u64)).copied());
                let alone = near.iter().flatten().count() < 2;
                let near = if alone { [None; FANOUT] } else { near };
                let leaf = cache.leaf(index, &pool);
                prop_assert!(leaf == near || alone && leaf.iter().flatten().count() < 2);
                let rest = PageRange::new(PageIndex(page / 2), PageRange::all().end);
                let mut behind = model.range(page / 2..).map(|(p, f)| (PageIndex(*p), *f));
                let dirty = behind.clone().find(|(_, frame)| pages.is_dirty(*frame));
                prop_assert_eq!(cache.first_in(rest, &pool, &pages), behind.next());
                prop_assert_eq!(cache.first_dirty_in(rest, &pool, &pages), dirty);
                let mut seen = 0;
                cache.check_invariants(&pool, &pages, &mut |page, frame| {
                    assert_eq!(model.get(&page.0), Some(&frame));
                    seen += 1;
                });
                prop_assert_eq!(seen, model.len());
                prop_assert!(pool.in_use() <= model.len().max(1) * 13, "chains stay short");
            }
            for page in model.keys() {
                cache.remove(PageIndex(*page), &mut pool, &pages);
            }
            prop_assert!(cache.is_empty());
            prop_assert_eq!(pool.in_use(), 0);
        }
    }

    #[test]
    fn strewn_pages_are_cheap_and_strewn_pairs_cost_a_path() {
        for (together, kib_max) in [(1, 640), (2, 960)] {
            let mut pages = Pages(Vec::new(), BTreeSet::new());
            let (mut pool, mut cache) = (NodePool::default(), PageCache::default());
            let mut state = 1u64;
            while pages.0.len() < 16384 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let first = (state >> 44) / together * together;
                for page in (first..first + together).map(PageIndex) {
                    if cache.get(page, &pool, &pages).is_none() {
                        pages.0.push(page.0);
                        let frame = FrameNo(pages.0.len() as u32 - 1);
                        cache.insert(page, frame, &mut pool, &pages);
                    }
                }
            }
            assert!(pool.bookkeeping_bytes() < kib_max << 10, "{}", pool.bookkeeping_bytes());
        }
    }
}
