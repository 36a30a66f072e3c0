//! A frame buffer: memory that is a picture, four bytes a point, row by row.

use faultless_posix::{Asked, Device, DeviceMemory, Errno, Mapping};

use crate::record::Picture;
use crate::stage::PAGE;

/// What `FBIOGET_VSCREENINFO` tells of a frame buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Points in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// Bytes of a point: blue, green, red, and one that nobody looks at.
const POINT: u64 = 4;

impl Geometry {
    /// Where a point's bytes are.
    pub fn offset(self, x: u32, y: u32) -> u64 {
        (u64::from(y) * u64::from(self.width) + u64::from(x)) * POINT
    }

    /// All bytes.
    pub fn bytes(self) -> u64 {
        self.offset(0, self.height)
    }

    /// Pages of memory.
    pub fn pages(self) -> u32 {
        self.bytes().div_ceil(PAGE) as u32
    }

    /// What the screen shows of this memory.
    pub fn picture(self, memory: &[u8]) -> Picture {
        let points = memory[..self.bytes() as usize].chunks_exact(POINT as usize);
        let rgb = points.flat_map(|point| [point[2], point[1], point[0]]).collect();
        Picture { width: self.width, height: self.height, rgb }
    }
}

/// The driver, which maps its memory at once (`fb_mmap`).
pub struct FrameBuffer;

impl Device for FrameBuffer {
    fn mmap(&mut self, asked: Asked, memory: &DeviceMemory<'_>) -> Result<Mapping, Errno> {
        match asked.first.checked_add(asked.pages) {
            Some(end) if end <= memory.pages() => Ok(Mapping::AtOnce { first: asked.first }),
            _ => Err(Errno::EINVAL),
        }
    }
}
