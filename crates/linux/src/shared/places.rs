//! Where each frame's bytes are: nowhere, in a buffer, or at its page's home.
//!
//! A frame that the engine has freed keeps its place until it is used again, as on the other
//! machines. Here that place may be the home of a page which another frame holds by then: a
//! home belongs to the frame that was brought there last.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use faultless_addr::{FrameNo, VirtAddr};

/// In place of an owner: the page is being taken away.
const LEAVING: FrameNo = FrameNo(u32::MAX);

/// The places of all frames.
#[derive(Debug)]
pub struct Places {
    /// 0: nowhere.
    of: Box<[AtomicU64]>,
    /// The frame at each home that is in use.
    owners: Mutex<HashMap<VirtAddr, FrameNo>>,
}

impl Places {
    pub fn new(frames: u32) -> Places {
        Places { of: (0..frames).map(|_| AtomicU64::new(0)).collect(), owners: Mutex::default() }
    }

    /// Where a frame's bytes are.
    pub fn of(&self, frame: FrameNo) -> Option<VirtAddr> {
        match self.of[frame.index()].load(Ordering::Acquire) {
            0 => None,
            at => Some(VirtAddr(at)),
        }
    }

    /// They are somewhere else now.
    pub fn set(&self, frame: FrameNo, at: Option<VirtAddr>) {
        self.of[frame.index()].store(at.map_or(0, |at| at.0), Ordering::Release);
    }

    /// The frame is about to be brought to a home. A frame that was freed there has nothing
    /// any more; if it is just leaving, that is waited for.
    pub fn claim(&self, frame: FrameNo, home: VirtAddr) {
        loop {
            let mut owners = self.owners();
            match owners.get(&home) {
                Some(&LEAVING) => {}
                before => {
                    if let Some(before) = before.filter(|before| **before != frame) {
                        self.set(*before, None);
                    }
                    owners.insert(home, frame);
                    return;
                }
            }
            drop(owners);
            std::thread::yield_now();
        }
    }

    /// The frame is about to leave a home; answers whether that was its. To be followed by
    /// [`end_leaving`](Self::end_leaving).
    pub fn begin_leaving(&self, frame: FrameNo, home: VirtAddr) -> bool {
        let mut owners = self.owners();
        let is_its = owners.get(&home) == Some(&frame);
        if is_its {
            owners.insert(home, LEAVING);
        }
        is_its
    }

    /// Nothing is at these homes any more.
    pub fn end_leaving(&self, homes: &[VirtAddr]) {
        if !homes.is_empty() {
            let mut owners = self.owners();
            owners.retain(|home, _| homes.binary_search(home).is_err());
        }
    }

    pub fn bookkeeping_bytes(&self) -> usize {
        let owner = size_of::<(VirtAddr, FrameNo)>() + 1;
        self.of.len() * size_of::<AtomicU64>() + self.owners().capacity() * owner
    }

    fn owners(&self) -> MutexGuard<'_, HashMap<VirtAddr, FrameNo>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_was_freed_at_a_home_does_not_empty_it() {
        let places = Places::new(2);
        let (old, new, home) = (FrameNo(0), FrameNo(1), VirtAddr(0x5000));
        let bring = |frame| {
            places.claim(frame, home);
            places.set(frame, Some(home));
        };
        bring(old);
        // The engine frees `old`, reads the page anew into `new`, and then uses `old` again.
        bring(new);
        assert_eq!(places.of(old), None);
        assert!(!places.begin_leaving(old, home));
        assert_eq!(places.of(new), Some(home));
        assert!(places.begin_leaving(new, home));
        places.end_leaving(&[home]);
        bring(old);
    }

    #[test]
    fn who_is_brought_home_waits_until_the_one_before_has_left() {
        let places = std::sync::Arc::new(Places::new(2));
        let (old, new, home) = (FrameNo(0), FrameNo(1), VirtAddr(0x5000));
        places.claim(old, home);
        assert!(places.begin_leaving(old, home));
        let comes = std::thread::spawn({
            let places = places.clone();
            move || places.claim(new, home)
        });
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!comes.is_finished());
        places.end_leaving(&[home]);
        comes.join().unwrap();
    }
}
