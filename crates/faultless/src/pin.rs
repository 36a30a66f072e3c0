//! Pins: bytes that are in memory, and stay there, while a guard lives.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use faultless_engine::Pin;

use crate::bytes::Address;
use crate::mapping::Mapping;

/// What every kind of guard holds: the mapping as a share of it, or borrowed.
struct Held<M: Deref<Target = Mapping>> {
    mapping: M,
    pin: Option<Pin>,
    start: Address,
    len: usize,
}

impl<M: Deref<Target = Mapping>> Held<M> {
    #[inline]
    fn new(mapping: M, pin: Pin, offset: u64, len: usize) -> Held<M> {
        let start = Address(mapping.addr(offset));
        Held { mapping, pin: Some(pin), start, len }
    }
}

impl<M: Deref<Target = Mapping>> Drop for Held<M> {
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
pub struct Pinned(Held<Arc<Mapping>>);

/// The same for as long as its map is borrowed: for a pin that ends where it was made. It
/// needn't keep the mapping alive, which is half of what a pin of a page in memory costs.
pub struct PinnedRef<'a>(Held<&'a Mapping>);

/// Bytes that are in memory and nobody else's while this lives: a safe `&mut [u8]`.
/// What is written reaches the file at the next flush after the guard is dropped, or
/// earlier by itself.
pub struct PinnedMut(Held<Arc<Mapping>>);

impl Pinned {
    pub(crate) fn new(mapping: Arc<Mapping>, pin: Pin, offset: u64, len: usize) -> Pinned {
        Pinned(Held::new(mapping, pin, offset, len))
    }

    pub(crate) fn place(&self) -> (*const u8, usize) {
        (self.0.start.0, self.0.len)
    }
}

impl<'a> PinnedRef<'a> {
    #[inline]
    pub(crate) fn new(mapping: &'a Mapping, pin: Pin, offset: u64, len: usize) -> PinnedRef<'a> {
        PinnedRef(Held::new(mapping, pin, offset, len))
    }

    #[inline]
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

impl AsRef<[u8]> for PinnedRef<'_> {
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

impl fmt::Debug for PinnedRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinnedRef").field("len", &self.0.len).finish_non_exhaustive()
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
