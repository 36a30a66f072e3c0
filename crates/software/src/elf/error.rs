//! Why a file can't be loaded.

use faultless_addr::VirtAddr;

use super::END_OF_PROGRAMS;

/// Why a file can't be loaded as a program; `execve(2)` says ENOEXEC to most of it.
///
/// Segments are named by the index of their program header, as `readelf -l` lists them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// It doesn't begin as ELF does.
    #[error("not an ELF file")]
    NotElf,
    /// It ends too early.
    #[error("the file ends within its {part}")]
    Truncated {
        /// What isn't all there.
        part: Part,
    },
    /// A program for 32 bits, or for nothing known.
    #[error("the ELF class is {class}, not 2 (64 bits)")]
    Class {
        /// `EI_CLASS`
        class: u8,
    },
    /// A program for processors that store numbers the other way round.
    #[error("the byte order is {order}, not 1 (little-endian)")]
    ByteOrder {
        /// `EI_DATA`
        order: u8,
    },
    /// A form of ELF that is not known.
    #[error("the ELF version is {version}, not 1")]
    Version {
        /// `EI_VERSION`
        version: u8,
    },
    /// A program for another processor.
    #[error("the processor is {machine}, not 62 (x86-64)")]
    Processor {
        /// `e_machine`
        machine: u16,
    },
    /// An object file, a core dump.
    #[error("the ELF type is {kind}, neither 2 (a program) nor 3 (one that can be moved)")]
    NotAProgram {
        /// `e_type`
        kind: u16,
    },
    /// Program headers of another size than this class has.
    #[error("program headers of {size} bytes, not 56")]
    HeaderSize {
        /// `e_phentsize`
        size: u16,
    },
    /// It needs a program that loads it; only static programs load here.
    #[error("a dynamic program that wants to be loaded by {path}: link it with -static")]
    Interpreter {
        /// What `PT_INTERP` says.
        path: String,
    },
    /// Nothing to load.
    #[error("no segment to load")]
    NoSegments,
    /// More bytes from the file than there is memory for.
    #[error("segment {index}: {file_size} bytes in the file, but only {memory_size} in memory")]
    FileSize {
        /// Which segment.
        index: usize,
        /// `p_filesz`
        file_size: u64,
        /// `p_memsz`
        memory_size: u64,
    },
    /// Its bytes would have to be moved within pages, and mapping can't do that.
    #[error("segment {index}: offset {offset:#x} and address {at:?} differ within their pages")]
    Misaligned {
        /// Which segment.
        index: usize,
        /// `p_offset`
        offset: u64,
        /// `p_vaddr`
        at: VirtAddr,
    },
    /// It wraps around, or reaches where programs can't be.
    #[error("segment {index}: {size} bytes at {at:?} pass {END_OF_PROGRAMS:?}")]
    Beyond {
        /// Which segment.
        index: usize,
        /// `p_vaddr`
        at: VirtAddr,
        /// `p_memsz`
        size: u64,
    },
    /// A page can't be of two segments; and segments ascend.
    #[error("segment {index} begins at or before {end:?}, where those before it end")]
    Overlap {
        /// The second one.
        index: usize,
        /// The end of the pages of the segments before it.
        end: VirtAddr,
    },
    /// The first instruction is nowhere, or may not be executed. (A shared library.)
    #[error("the entry {entry:?} is in no segment that can be executed")]
    Entry {
        /// `e_entry`
        entry: VirtAddr,
    },
}

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The first 64 bytes.
    Header,
    /// The table of segments.
    ProgramHeaders,
    /// A segment's bytes, by the index of its header.
    Segment(usize),
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Part::Header => write!(f, "header"),
            Part::ProgramHeaders => write!(f, "program headers"),
            Part::Segment(index) => write!(f, "segment {index}"),
        }
    }
}
