//! A map as `std::io` has it.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use crate::pin::Pinned;
use crate::raw::MapRaw;

/// Bytes that a reader holds in memory at a time.
const WINDOW: u64 = 64 << 10;

/// Reads a map from front to back, or from where it is told to. As a [`BufRead`] it
/// lends bytes of the map itself, without a copy.
pub struct Reader<'a> {
    map: &'a MapRaw,
    at: u64,
    /// The pinned window and where it begins.
    window: Option<(u64, Pinned)>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(map: &'a MapRaw) -> Reader<'a> {
        Reader { map, at: 0, window: None }
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let from = self.fill_buf()?;
        let len = from.len().min(into.len());
        into[..len].copy_from_slice(&from[..len]);
        self.consume(len);
        Ok(len)
    }
}

impl BufRead for Reader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let there = matches!(&self.window, Some((start, pinned))
            if (*start..*start + pinned.len() as u64).contains(&self.at));
        if !there {
            self.window = None; // Its room may be needed for the next one.
            let left = (self.map.len() as u64).saturating_sub(self.at);
            let len = (WINDOW - self.at % WINDOW).min(left);
            let len = len.min(WINDOW) as usize;
            self.window = Some((self.at, self.map.pin(self.at.min(self.map.len() as u64), len)?));
        }
        let (start, pinned) = self.window.as_ref().expect("just filled");
        Ok(&pinned[((self.at - start) as usize).min(pinned.len())..])
    }

    fn consume(&mut self, len: usize) {
        self.at += len as u64;
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, by) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::End(by) => (self.map.len() as u64, by),
            SeekFrom::Current(by) => (self.at, by),
        };
        let at = base.checked_add_signed(by).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "seek to before the start of the map")
        })?;
        self.at = at;
        Ok(at)
    }
}
