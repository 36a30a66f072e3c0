//! The objects' memory as this process sees it: a memfd each, at the object's home.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use faultless_addr::{VirtAddr, VirtRange};
use faultless_sys::Errno;
use faultless_sys::memory::Reservation;
use faultless_sys::shared::{SharedMemory, unmap_at};

use crate::error::NewError;

/// Where all homes are.
#[derive(Debug)]
pub struct Store {
    reservation: Reservation,
    homes: RwLock<BTreeMap<u64, Home>>,
}

/// An object's memory, and where it is seen here.
#[derive(Clone, Debug)]
struct Home {
    range: VirtRange,
    memory: Arc<SharedMemory>,
}

impl Store {
    /// Addresses for homes; fewer, down to 16 GiB, where so many are refused.
    pub fn new(mut bytes: u64) -> Result<Store, NewError> {
        let reservation = loop {
            match Reservation::new(bytes as usize) {
                Ok(reservation) => break reservation,
                Err(_) if bytes > 32 << 30 => bytes /= 2,
                Err(errno) => return Err(NewError::Addresses { bytes, errno }),
            }
        };
        Ok(Store { reservation, homes: RwLock::default() })
    }

    pub fn range(&self) -> VirtRange {
        self.reservation.range()
    }

    /// `memory` is seen at `range` from now on.
    pub fn add(&self, range: VirtRange, memory: Arc<SharedMemory>) -> Result<(), Errno> {
        // SAFETY: 1. homes are given out by the engine, each to one object; 2. their bytes
        // are reached by raw pointers only, of frames that the engine has in hand.
        unsafe { memory.map_at(&self.reservation, range)? };
        let home = Home { range, memory };
        self.homes.write().unwrap_or_else(PoisonError::into_inner).insert(range.start.0, home);
        Ok(())
    }

    /// The object's memory goes; none of its pages is in use.
    pub fn remove(&self, range: VirtRange) {
        self.homes.write().unwrap_or_else(PoisonError::into_inner).remove(&range.start.0);
        // SAFETY: 1. as in `add`; 2. the object has no frame, so nobody uses its bytes.
        let unmapped = unsafe { unmap_at(&self.reservation, range) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }

    /// Frees the pages from `at` on, all of one object, everywhere.
    pub fn punch(&self, at: VirtAddr, len: u64) -> Result<(), Errno> {
        match self.find(at) {
            Some(home) => home.memory.punch(at.0 - home.range.start.0, len),
            None => Ok(()),
        }
    }

    /// Does the object's memory reach as far as this address?
    pub fn reaches(&self, at: VirtAddr) -> bool {
        let len = |home: &Home| home.memory.len().unwrap_or(0);
        self.find(at).is_some_and(|home| at.0 - home.range.start.0 < len(&home))
    }

    /// Are both addresses of one home?
    pub fn are_together(&self, a: VirtAddr, b: VirtAddr) -> bool {
        self.find(a).is_some_and(|home| home.range.contains(b))
    }

    fn find(&self, at: VirtAddr) -> Option<Home> {
        let homes = self.homes.read().unwrap_or_else(PoisonError::into_inner);
        let (_, home) = homes.range(..=at.0).next_back()?;
        home.range.contains(at).then(|| home.clone())
    }
}
