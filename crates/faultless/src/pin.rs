//! Pins: bytes that are in memory, and stay there, while a guard lives.

use std::fmt;
use std::sync::Arc;

use faultless_engine::Pin;

use crate::bytes::Address;
use crate::mapping::Mapping;

/// What both kinds of guard hold.
struct Held {
    mapping: Arc<Mapping>,
    pin: Option<Pin>,
    start: Address,
    len: usize,
}

impl Held {
    #[inline]
    fn new(mapping: Arc<Mapping>, pin: Pin, offset: u64, len: usize) -> Held {
        let start = Address(mapping.addr(offset));
        Held { mapping, pin: Some(pin), start, len }
    }
}

impl Drop for Held {
    #[inline]
    fn drop(&mut self) {
        if let Some(pin) = self.pin.take() {
            self.mapping.unpin(pin);
        }
    }
}

/// Bytes that are in memory and can't change while this lives: a safe `&[u8]`, even if
/// the file is rewritten or cut by others meanwhile.
///
/// Pages that hold some of the bytes can't be pinned for writing meanwhile. It owns
/// what it needs and may outlive the map it was made from, so it can become a
/// `bytes::Bytes` by `Bytes::from_owner`.
pub struct Pinned(Held);

/// Bytes that are in memory and nobody else's while this lives: a safe `&mut [u8]`.
/// What is written reaches the file at the next flush after the guard is dropped, or
/// earlier by itself.
pub struct PinnedMut(Held);

impl Pinned {
    pub(crate) fn new(mapping: Arc<Mapping>, pin: Pin, offset: u64, len: usize) -> Pinned {
        Pinned(Held::new(mapping, pin, offset, len))
    }

    pub(crate) fn place(&self) -> (*const u8, usize) {
        (self.0.start.0, self.0.len)
    }
}

impl PinnedMut {
    pub(crate) fn new(mapping: Arc<Mapping>, pin: Pin, offset: u64, len: usize) -> PinnedMut {
        PinnedMut(Held::new(mapping, pin, offset, len))
    }

    pub(crate) fn place(&self) -> (*mut u8, usize) {
        (self.0.start.0, self.0.len)
    }
}

impl AsRef<[u8]> for Pinned {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsRef<[u8]> for PinnedMut {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned").field("len", &self.0.len).finish_non_exhaustive()
    }
}

impl fmt::Debug for PinnedMut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinnedMut").field("len", &self.0.len).finish_non_exhaustive()
    }
}

#[cfg(feature = "bytes")]
impl From<Pinned> for bytes::Bytes {
    fn from(pinned: Pinned) -> bytes::Bytes {
        bytes::Bytes::from_owner(pinned)
    }
}
