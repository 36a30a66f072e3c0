//! Stored bytes to the store and back: neighbours go in one transfer.

use std::io::{self, IoSlice, IoSliceMut};

use super::codec::{self, Stored, UNIT};
use super::slabs::Unit;
use crate::pager::Pager;

/// Where a page's stored bytes are: 12 bytes of memory for each page of the area.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) start: Unit,
    pub(super) stored: Stored,
}

/// The extent of a page of zeros.
pub(super) const NOTHING: Extent = Extent { start: 0, stored: Stored::ZEROS };

impl Extent {
    fn offset(self) -> u64 {
        u64::from(self.start) * UNIT as u64
    }

    fn end(self) -> Unit {
        self.start + self.stored.units() as Unit
    }
}

/// A page on its way into the store.
pub(super) struct Packed {
    pub(super) slot: usize,
    /// Where its stored bytes are among those of its batch.
    pub(super) at: usize,
    pub(super) extent: Extent,
}

/// Writes the pages of `batch`, whose stored bytes are in `bytes`.
pub(super) fn write(store: &impl Pager, batch: &[Packed], bytes: &[u8]) -> io::Result<()> {
    let packed: Vec<&Packed> =
        batch.iter().filter(|packed| packed.extent.stored != Stored::ZEROS).collect();
    for group in packed.chunk_by(|a, b| a.extent.end() == b.extent.start) {
        let stored = |packed: &&Packed| &bytes[packed.at..][..packed.extent.stored.units() * UNIT];
        let pieces: Vec<IoSlice<'_>> = group.iter().map(stored).map(IoSlice::new).collect();
        store.write(group[0].extent.offset(), &pieces)?;
    }
    Ok(())
}

/// Reads the pages of `extents` into pages `from..` of `bufs`; answers which of
/// them, if one, isn't what was stored.
pub(super) fn read(
    store: &impl Pager,
    extents: &[Extent],
    bufs: &mut [IoSliceMut<'_>],
    from: usize,
) -> io::Result<Option<usize>> {
    let mut order: Vec<(usize, Extent)> = extents.iter().copied().enumerate().collect();
    order.sort_by_key(|(_, extent)| extent.start);
    for group in order.chunk_by(|(_, a), (_, b)| a.end() == b.start) {
        let (first, last) = (group[0].1, group[group.len() - 1].1);
        let mut bytes = vec![0; (last.end() - first.start) as usize * UNIT];
        let count = match bytes.len() {
            0 => 0,
            _ => store.read(first.offset(), &mut [IoSliceMut::new(&mut bytes)])?,
        };
        for (nth, extent) in group {
            let at = (extent.offset() - first.offset()) as usize;
            let stored = bytes[..count].get(at..).unwrap_or_default();
            let Some(page) = codec::decode(extent.stored, stored) else {
                return Ok(Some(*nth));
            };
            codec::scatter(&page, bufs, from + nth);
        }
    }
    Ok(None)
}
