//! Where each frame of the engine is, and whether that may change so.
//!
//! ```text
//!           back              map                map, at another address
//!   Empty ────────► Aside ──────────► Mapped(1) ──────────────────────► Mapped(2) …
//!     ▲               │ ▲                │  │  ◄──────────────────────
//!     │   release     │ └────────────────┘  │            unmap
//!     ├───────────────┘     unmap, Keep     │
//!     └─────────────────────────────────────┘
//!                   unmap, Drop
//! ```

use faultless_addr::FrameNo;
use faultless_machine::Then;

/// Where a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It holds nothing.
    Empty,
    /// It holds bytes, at no address.
    Aside,
    /// It is at so many addresses, of one space or of several.
    Mapped(u32),
}

/// The places of all frames. A change that the picture doesn't have panics: a driver
/// has broken its promise.
#[derive(Debug)]
pub struct Frames(Vec<Place>);

impl Frames {
    /// `count` empty frames.
    pub fn new(count: u32) -> Frames {
        Frames(vec![Place::Empty; count as usize])
    }

    /// Where `frame` is.
    pub fn place(&self, frame: FrameNo) -> Place {
        match self.0.get(frame.index()) {
            Some(place) => *place,
            None => panic!("there is no {frame:?}, only {}", self.0.len()),
        }
    }

    /// Empty → Aside.
    pub fn back(&mut self, frame: FrameNo) {
        assert_eq!(self.place(frame), Place::Empty, "{frame:?} is not empty");
        self.0[frame.index()] = Place::Aside;
    }

    /// One address more.
    pub fn map(&mut self, frame: FrameNo) {
        self.0[frame.index()] = match self.place(frame) {
            Place::Empty => panic!("{frame:?} is empty and can't be mapped"),
            Place::Aside => Place::Mapped(1),
            Place::Mapped(addresses) => Place::Mapped(addresses + 1),
        };
    }

    /// One address less. Without its last one, the frame is where `then` says.
    pub fn unmap(&mut self, frame: FrameNo, then: Then) -> Place {
        let place = match (self.place(frame), then) {
            (Place::Mapped(1), Then::Keep(_)) => Place::Aside,
            (Place::Mapped(1), Then::Drop) => Place::Empty,
            (Place::Mapped(addresses), _) => Place::Mapped(addresses - 1),
            (place, _) => panic!("{frame:?} is {place:?} and can't be unmapped"),
        };
        self.0[frame.index()] = place;
        place
    }

    /// Aside → Empty; nothing where it is empty. Answers whether it changed.
    pub fn release(&mut self, frame: FrameNo) -> bool {
        let place = self.place(frame);
        assert!(!matches!(place, Place::Mapped(_)), "{frame:?} is {place:?} and can't be released");
        self.0[frame.index()] = Place::Empty;
        place == Place::Aside
    }

    /// Every frame's place.
    pub fn iter(&self) -> impl Iterator<Item = (FrameNo, Place)> {
        self.0.iter().enumerate().map(|(frame, place)| (FrameNo(frame as u32), *place))
    }

    /// Bytes that the table takes.
    pub fn bookkeeping_bytes(&self) -> usize {
        self.0.capacity() * size_of::<Place>()
    }
}

#[cfg(test)]
mod tests {
    use faultless_machine::Stores;

    use super::*;

    const FRAME: FrameNo = FrameNo(0);

    #[test]
    fn a_frame_goes_as_drawn() {
        let mut frames = Frames::new(1);
        frames.back(FRAME);
        frames.map(FRAME);
        frames.map(FRAME);
        assert_eq!(frames.place(FRAME), Place::Mapped(2));
        assert_eq!(frames.unmap(FRAME, Then::Drop), Place::Mapped(1));
        assert_eq!(frames.unmap(FRAME, Then::Keep(Stores::Stopped)), Place::Aside);
        assert!(frames.release(FRAME) && !frames.release(FRAME));
        frames.back(FRAME);
        frames.map(FRAME);
        assert_eq!(frames.unmap(FRAME, Then::Drop), Place::Empty);
    }

    #[test]
    #[should_panic(expected = "can't be mapped")]
    fn an_empty_frame_is_not_mapped() {
        Frames::new(1).map(FRAME);
    }

    #[test]
    #[should_panic(expected = "there is no FrameNo(1)")]
    fn a_frame_beyond_the_budget_is_found() {
        Frames::new(1).back(FrameNo(1));
    }
}
