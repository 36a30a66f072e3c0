//! One segment of a program: which pages come from the file, which from nowhere.
//!
//! ```text
//!   file        ┌──────────────────────┐
//!               │ file_size bytes      │
//!               └──────────────────────┘
//!   memory   ┌──┬──────┬─────────┬─────┬────┬─────────┬───────┐
//!            │..│      ¦         ¦     │ 00 │ 00 00 00 00 00  │
//!            └──┴──────┴─────────┴─────┴────┴─────────┴───────┘
//!               at                     zeroed │ anonymous
//!            └────────── from the file ───────┘
//!   pages    |         |         |          |         |       |
//! ```
//!
//! Mapping takes whole pages: `..` are bytes of the file that lie before the segment and
//! come along; past its end the page would hold the file's next bytes, and must hold
//! zeros where the program's `.bss` begins (gABI, "Program Loading"; Linux's `padzero`).

use faultless_addr::{PAGE_BYTES, Prot, VirtAddr, VirtRange};
use object::elf::{PF_R, PF_W, PF_X};

use super::error::{ElfError, Part};
use super::{END_OF_PROGRAMS, Header, LE};

/// A segment to load (`PT_LOAD`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where its first byte goes.
    pub at: VirtAddr,
    /// Where its first byte is in the file.
    pub file_offset: u64,
    /// How many bytes come from the file.
    pub file_size: u64,
    /// How many bytes it has in memory; those past `file_size` are zeros.
    pub memory_size: u64,
    /// What the program may do with it.
    pub prot: Prot,
}

/// Whole pages of a file, and where they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilePages {
    /// Where they go.
    pub range: VirtRange,
    /// Where they are in the file, whose end may lie within the last one.
    pub offset: u64,
}

impl Segment {
    /// The segment of header `index` of a file of `file_len` bytes.
    pub(super) fn new(index: usize, header: &Header, file_len: u64) -> Result<Segment, ElfError> {
        let segment = Segment {
            at: VirtAddr(header.p_vaddr.get(LE)),
            file_offset: header.p_offset.get(LE),
            file_size: header.p_filesz.get(LE),
            memory_size: header.p_memsz.get(LE),
            prot: prot(header.p_flags.get(LE)),
        };
        let Segment { at, file_offset, file_size, memory_size, .. } = segment;
        if file_size > memory_size {
            return Err(ElfError::FileSize { index, file_size, memory_size });
        }
        if file_offset % PAGE_BYTES != at.0 % PAGE_BYTES {
            return Err(ElfError::Misaligned { index, offset: file_offset, at });
        }
        if at.checked_add(memory_size).is_none_or(|end| end > END_OF_PROGRAMS) {
            return Err(ElfError::Beyond { index, at, size: memory_size });
        }
        if file_offset.checked_add(file_size).is_none_or(|end| end > file_len) {
            return Err(ElfError::Truncated { part: Part::Segment(index) });
        }
        Ok(segment)
    }

    /// The pages to map from the file, privately; `None` where nothing comes from it.
    pub fn file_pages(&self) -> Option<FilePages> {
        let start = self.at.page_start();
        let range = VirtRange::new(start, page_end(self.file_end()));
        let offset = self.file_offset - (self.at.0 - start.0);
        (self.file_size > 0).then_some(FilePages { range, offset })
    }

    /// The bytes of the last page from the file that must be made zeros.
    pub fn zeroed(&self) -> VirtRange {
        let end = match self.file_size > 0 && self.memory_size > self.file_size {
            true => page_end(self.file_end()),
            false => self.file_end(),
        };
        VirtRange::new(self.file_end(), end)
    }

    /// The pages to map anonymously.
    pub fn anonymous(&self) -> VirtRange {
        let pages = self.pages();
        let start = self.file_pages().map_or(pages.start, |file| file.range.end);
        VirtRange::new(start, pages.end)
    }

    /// All of its pages.
    pub fn pages(&self) -> VirtRange {
        VirtRange::new(self.at.page_start(), page_end(self.end()))
    }

    /// The address after its last byte.
    pub fn end(&self) -> VirtAddr {
        VirtAddr(self.at.0 + self.memory_size)
    }

    fn file_end(&self) -> VirtAddr {
        VirtAddr(self.at.0 + self.file_size)
    }
}

/// `addr`, or the next address between pages.
pub(super) fn page_end(addr: VirtAddr) -> VirtAddr {
    VirtAddr(addr.0.next_multiple_of(PAGE_BYTES))
}

fn prot(flags: u32) -> Prot {
    let mut prot = Prot::empty();
    prot.set(Prot::READ, flags & PF_R != 0);
    prot.set(Prot::WRITE, flags & PF_W != 0);
    prot.set(Prot::EXEC, flags & PF_X != 0);
    prot
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(at: u64, file_size: u64, memory_size: u64) -> Segment {
        let file_offset = 0x3000 + at % PAGE_BYTES;
        Segment { at: VirtAddr(at), file_offset, file_size, memory_size, prot: Prot::READ }
    }

    fn range(start: u64, end: u64) -> VirtRange {
        VirtRange::new(VirtAddr(start), VirtAddr(end))
    }

    fn file(start: u64, end: u64) -> Option<FilePages> {
        Some(FilePages { range: range(start, end), offset: 0x3000 })
    }

    #[test]
    fn pages_come_from_the_file_and_from_nowhere() {
        // Text: no zeros, and what follows in the file comes along.
        let text = segment(0x1234, 0x1000, 0x1000);
        assert_eq!(text.file_pages(), file(0x1000, 0x3000));
        assert!(text.zeroed().is_empty() && text.anonymous().is_empty());

        // Data and .bss within the last page.
        let small = segment(0x1010, 0x100, 0x200);
        assert_eq!(small.file_pages(), file(0x1000, 0x2000));
        assert_eq!(small.zeroed(), range(0x1110, 0x2000));
        assert!(small.anonymous().is_empty());

        // Data and .bss beyond it, as drawn.
        let drawn = segment(0x1010, 0x2100, 0x4100);
        assert_eq!(drawn.file_pages(), file(0x1000, 0x4000));
        assert_eq!(drawn.zeroed(), range(0x3110, 0x4000));
        assert_eq!(drawn.anonymous(), range(0x4000, 0x6000));

        // The file's part ends between pages.
        let even = segment(0x1000, 0x1000, 0x1001);
        assert_eq!((even.zeroed().len(), even.anonymous()), (0, range(0x2000, 0x3000)));

        // Only .bss.
        let bss = segment(0x1010, 0, 0x1000);
        assert_eq!((bss.file_pages(), bss.zeroed().len()), (None, 0));
        assert_eq!(bss.anonymous(), range(0x1000, 0x3000));
    }
}
