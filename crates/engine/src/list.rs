//! Doubly linked lists of frames, linked by number.
//!
//! ```text
//!  ends     0: 3 ⇄ 1 ⇄ 4      1: (empty)      2: 0
//!             front  back
//!
//!  links    frame   0      1      2      3      4
//!           prev    –      3      –      –      1
//!           next    –      4      –      1      –
//!  marks    list    2      0      –      0      0
//! ```
//!
//! Every frame has one link and one mark, allocated with the table; so a frame is in one
//! list at most, every operation is O(1), and nothing allocates after [`Lists::new`]. A
//! mark has four spare bits, which the lists carry for whoever uses them: a [tag].
//!
//! [tag]: Lists::tag

use alloc::{vec, vec::Vec};
use core::mem::size_of;

use faultless_addr::FrameNo;

/// How many lists a [`Lists`] holds.
pub const LISTS: usize = 8;

/// One of the [`LISTS`] lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListId(u8);

impl ListId {
    /// List number `number`, which is below [`LISTS`].
    pub const fn new(number: u8) -> ListId {
        assert!((number as usize) < LISTS, "there are only LISTS lists");
        ListId(number)
    }

    /// The list's place in tables.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// No frame: the end of a list. A table never has this many frames.
const NIL: u32 = u32::MAX;

/// The list of a frame that is in none.
const NO_LIST: u8 = 0xf;

/// Tags are below this.
const TAGS: u8 = 16;

#[derive(Clone, Copy)]
struct Link {
    prev: u32,
    next: u32,
}

/// A list and a tag, four bits each.
#[derive(Clone, Copy)]
struct Mark(u8);

impl Mark {
    fn new(list: u8, tag: u8) -> Mark {
        Mark(list << 4 | tag)
    }

    fn list(self) -> u8 {
        self.0 >> 4
    }

    fn tag(self) -> u8 {
        self.0 % TAGS
    }
}

#[derive(Clone, Copy)]
struct Ends {
    front: u32,
    back: u32,
    len: u32,
}

/// A frame's neighbour on one side, where there is one.
fn frame(number: u32) -> Option<FrameNo> {
    (number != NIL).then_some(FrameNo(number))
}

/// [`LISTS`] doubly linked lists over the frames `0..frames`.
pub struct Lists {
    links: Vec<Link>,
    marks: Vec<Mark>,
    ends: [Ends; LISTS],
}

impl Lists {
    /// Empty lists for the frames `0..frames`.
    pub fn new(frames: u32) -> Lists {
        assert!(frames < NIL, "the last number means the end of a list");
        let unlinked = Link { prev: NIL, next: NIL };
        let empty = Ends { front: NIL, back: NIL, len: 0 };
        Lists {
            links: vec![unlinked; frames as usize],
            marks: vec![Mark::new(NO_LIST, 0); frames as usize],
            ends: [empty; LISTS],
        }
    }

    /// The number of frames in `list`.
    pub fn len(&self, list: ListId) -> u32 {
        self.ends[list.index()].len
    }

    /// Is no frame in `list`?
    pub fn is_empty(&self, list: ListId) -> bool {
        self.len(list) == 0
    }

    /// The number of frames in any list.
    pub fn total(&self) -> u32 {
        self.ends.iter().map(|ends| ends.len).sum()
    }

    /// The list that `frame` is in.
    pub fn list_of(&self, frame: FrameNo) -> Option<ListId> {
        let list = self.marks[frame.index()].list();
        (list != NO_LIST).then_some(ListId(list))
    }

    /// The first frame of `list`.
    pub fn front(&self, list: ListId) -> Option<FrameNo> {
        frame(self.ends[list.index()].front)
    }

    /// The last frame of `list`.
    pub fn back(&self, list: ListId) -> Option<FrameNo> {
        frame(self.ends[list.index()].back)
    }

    /// The frame behind `this` in its list.
    pub fn next(&self, this: FrameNo) -> Option<FrameNo> {
        frame(self.links[this.index()].next)
    }

    /// The frame before `this` in its list.
    pub fn prev(&self, this: FrameNo) -> Option<FrameNo> {
        frame(self.links[this.index()].prev)
    }

    /// The frames of `list`, from front to back.
    pub fn iter(&self, list: ListId) -> impl Iterator<Item = FrameNo> + '_ {
        core::iter::successors(self.front(list), |&this| self.next(this))
    }

    /// The bits that `frame`'s mark carries for the lists' user; 0 in a frame that
    /// was never tagged. They stay when the frame changes lists.
    pub fn tag(&self, frame: FrameNo) -> u8 {
        self.marks[frame.index()].tag()
    }

    /// Makes `tag`, which has four bits, what `frame`'s mark carries.
    pub fn set_tag(&mut self, frame: FrameNo, tag: u8) {
        debug_assert!(tag < TAGS, "a tag has four bits");
        let mark = &mut self.marks[frame.index()];
        *mark = Mark::new(mark.list(), tag);
    }

    /// Puts `frame`, which is in no list, at the end of `list`.
    pub fn push_back(&mut self, list: ListId, frame: FrameNo) {
        let last = self.ends[list.index()].back;
        self.link(list, frame, last, NIL);
    }

    /// Puts `frame`, which is in no list, at the beginning of `list`.
    pub fn push_front(&mut self, list: ListId, frame: FrameNo) {
        let first = self.ends[list.index()].front;
        self.link(list, frame, NIL, first);
    }

    /// Takes `frame` out of the list that it is in, and says which that was.
    pub fn remove(&mut self, frame: FrameNo) -> Option<ListId> {
        let list = self.list_of(frame)?;
        let Link { prev, next } = self.links[frame.index()];
        self.links[frame.index()] = Link { prev: NIL, next: NIL };
        self.marks[frame.index()] = Mark::new(NO_LIST, self.tag(frame));
        self.join(list, prev, next);
        self.ends[list.index()].len -= 1;
        Some(list)
    }

    /// Takes `frame` out of wherever it is and puts it at the end of `list`.
    pub fn move_to_back(&mut self, list: ListId, frame: FrameNo) {
        self.remove(frame);
        self.push_back(list, frame);
    }

    /// Takes `frame` out of wherever it is and puts it at the beginning of `list`.
    pub fn move_to_front(&mut self, list: ListId, frame: FrameNo) {
        self.remove(frame);
        self.push_front(list, frame);
    }

    /// The memory that the lists use.
    pub fn bookkeeping_bytes(&self) -> usize {
        size_of::<Lists>() + self.links.capacity() * (size_of::<Link>() + size_of::<Mark>())
    }

    /// Panics unless every list is whole: links agree in both directions, each frame
    /// names the list that holds it, and the lengths are right.
    pub fn check_invariants(&self) {
        for (number, ends) in self.ends.iter().enumerate() {
            let (mut before, mut this, mut count) = (NIL, ends.front, 0);
            while this != NIL {
                let link = self.links[this as usize];
                let list = self.marks[this as usize].list();
                assert_eq!(list as usize, number, "frame {this} names another list");
                assert_eq!(link.prev, before, "frame {this} names another neighbour");
                (before, this, count) = (this, link.next, count + 1);
                assert!(count <= ends.len, "list {number} is longer than its length, or a ring");
            }
            assert_eq!(ends.back, before, "list {number} ends elsewhere");
            assert_eq!(ends.len, count, "list {number} has another length");
        }
        let linked = self.marks.iter().filter(|mark| mark.list() != NO_LIST).count();
        assert_eq!(linked, self.total() as usize, "a frame names a list that doesn't hold it");
    }

    /// Puts `frame` between two neighbours in `list`.
    fn link(&mut self, list: ListId, frame: FrameNo, prev: u32, next: u32) {
        let mark = &mut self.marks[frame.index()];
        assert_eq!(mark.list(), NO_LIST, "frame {} is in a list already", frame.0);
        *mark = Mark::new(list.0, mark.tag());
        self.links[frame.index()] = Link { prev, next };
        self.join(list, prev, frame.0);
        self.join(list, frame.0, next);
        self.ends[list.index()].len += 1;
    }

    /// Makes two frames, or a frame and an end of `list`, neighbours.
    fn join(&mut self, list: ListId, left: u32, right: u32) {
        match left {
            NIL => self.ends[list.index()].front = right,
            _ => self.links[left as usize].next = right,
        }
        match right {
            NIL => self.ends[list.index()].back = left,
            _ => self.links[right as usize].prev = left,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const FRAMES: u32 = 12;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Back(u8, u32),
        Front(u8, u32),
        Remove(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        let (list, frame) = (0..3u8, 0..FRAMES);
        prop_oneof![
            (list.clone(), frame.clone()).prop_map(|(l, f)| Step::Back(l, f)),
            (list, frame.clone()).prop_map(|(l, f)| Step::Front(l, f)),
            frame.prop_map(Step::Remove),
        ]
    }

    proptest! {
        #[test]
        fn lists_behave_like_deques(steps in prop::collection::vec(step(), 0..200)) {
            let mut lists = Lists::new(FRAMES);
            let mut oracle = [const { VecDeque::<FrameNo>::new() }; 3];
            for step in steps {
                let (Step::Back(_, f) | Step::Front(_, f) | Step::Remove(f)) = step;
                let frame = FrameNo(f);
                oracle.iter_mut().for_each(|deque| deque.retain(|&other| other != frame));
                match step {
                    Step::Back(list, _) => {
                        lists.move_to_back(ListId::new(list), frame);
                        oracle[list as usize].push_back(frame);
                    }
                    Step::Front(list, _) => {
                        lists.move_to_front(ListId::new(list), frame);
                        oracle[list as usize].push_front(frame);
                    }
                    Step::Remove(_) => {
                        lists.remove(frame);
                        prop_assert_eq!(lists.list_of(frame), None);
                    }
                }
                lists.check_invariants();
                for (number, deque) in oracle.iter().enumerate() {
                    let list = ListId::new(number as u8);
                    prop_assert!(lists.iter(list).eq(deque.iter().copied()));
                    prop_assert_eq!(lists.back(list), deque.back().copied());
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "in a list already")]
    fn a_frame_is_in_one_list_at_most() {
        let mut lists = Lists::new(2);
        lists.push_back(ListId::new(0), FrameNo(1));
        lists.push_back(ListId::new(1), FrameNo(1));
    }

    #[test]
    fn a_tag_stays_when_the_frame_moves() {
        let mut lists = Lists::new(2);
        lists.push_back(ListId::new(0), FrameNo(1));
        lists.set_tag(FrameNo(1), 7);
        lists.move_to_back(ListId::new(3), FrameNo(1));
        lists.remove(FrameNo(1));
        assert_eq!(lists.tag(FrameNo(1)), 7);
    }

    #[test]
    fn a_link_stays_small() {
        assert_eq!(size_of::<Link>() + size_of::<Mark>(), 9);
    }
}
