//! From a program's file to what must be mapped where.
//!
//! Only static programs for x86-64: those at fixed addresses (`ET_EXEC`), and those that
//! can be moved and relocate themselves (`ET_DYN`, `-static-pie`). Nothing is mapped here,
//! and no byte is trusted: whatever is wrong with a file is an [`ElfError`].
//!
//! Sources: System V gABI, chapters 4 and 5; x86-64 psABI; `elf(5)`; Linux's
//! `fs/binfmt_elf.c`.

mod error;
mod segment;
#[cfg(test)]
mod tests;

use faultless_addr::{PAGE_BYTES, Prot, VirtAddr};
use object::LittleEndian as LE;
use object::elf::{self, FileHeader64, ProgramHeader64};
use object::read::elf::FileHeader;

pub use error::{ElfError, Part};
pub use segment::{FilePages, Segment};

/// Programs end before the last page of the lower half, as on Linux (`TASK_SIZE`).
const END_OF_PROGRAMS: VirtAddr = VirtAddr((1 << 47) - PAGE_BYTES);

type Header = ProgramHeader64<LE>;

/// All that a loader needs to know of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadPlan {
    /// Where the program may go.
    pub placement: Placement,
    /// The address of its first instruction.
    pub entry: VirtAddr,
    /// What to load, with ascending addresses and no page in common; at least one.
    pub segments: Vec<Segment>,
    /// The rights of its stack. Executable only where the file asks for it: on x86-64,
    /// Linux takes a missing `PT_GNU_STACK` for a no.
    pub stack: Prot,
    /// Where its program headers will be in memory, for the auxiliary vector; `None`
    /// where no segment holds them.
    pub headers: Option<ProgramHeaders>,
}

/// Where a program may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Where the plan says.
    Fixed,
    /// Anywhere, by [`LoadPlan::moved`].
    Movable {
        /// It must be moved by a multiple of this, which is one of a page.
        align: u64,
    },
}

/// `AT_PHDR` and `AT_PHNUM` of `getauxval(3)`: the C library finds its thread-local data
/// by them. `AT_PHENT` is 56.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramHeaders {
    /// Where the first one will be.
    pub at: VirtAddr,
    /// How many.
    pub count: usize,
}

impl LoadPlan {
    /// The plan for a program whose file holds `file`.
    ///
    /// ```
    /// use faultless_software::elf::{ElfError, LoadPlan};
    /// assert_eq!(LoadPlan::new(b"#!/bin/sh\n"), Err(ElfError::NotElf));
    /// ```
    pub fn new(file: &[u8]) -> Result<LoadPlan, ElfError> {
        let header = file_header(file)?;
        let headers = program_headers(header, file)?;
        if let Some(header) = headers.iter().find(|header| header.p_type.get(LE) == elf::PT_INTERP)
        {
            return Err(ElfError::Interpreter { path: interpreter(header, file) });
        }
        let segments = segments(headers, file.len() as u64)?;
        let entry = VirtAddr(header.e_entry.get(LE));
        let is_code = |segment: &&Segment| segment.prot.contains(Prot::EXEC);
        let holds_entry = |segment: &Segment| segment.at <= entry && entry < segment.end();
        if !segments.iter().filter(is_code).any(holds_entry) {
            return Err(ElfError::Entry { entry });
        }
        Ok(LoadPlan {
            placement: placement(header, headers),
            entry,
            headers: headers_in_memory(header, &segments, headers.len()),
            segments,
            stack: stack(headers),
        })
    }

    /// The end of its data, where the heap begins: the first address for `brk(2)`.
    pub fn end_of_data(&self) -> VirtAddr {
        let ends = self.segments.iter().map(|segment| segment.pages().end);
        ends.max().expect("a plan has a segment")
    }

    /// The plan for the program `bytes` further on.
    ///
    /// An [`ElfError::Beyond`] names the first segment that would end too far away.
    ///
    /// # Panics
    ///
    /// Where the program is fixed, or `bytes` is not a multiple of its alignment.
    pub fn moved(mut self, bytes: u64) -> Result<LoadPlan, ElfError> {
        let Placement::Movable { align } = self.placement else {
            panic!("a fixed program can't be moved");
        };
        assert!(bytes.is_multiple_of(align), "moved by {bytes:#x}, not a multiple of {align:#x}");
        for (index, Segment { at, memory_size, .. }) in self.segments.iter().enumerate() {
            let end = bytes.checked_add(at.0 + memory_size);
            if end.is_none_or(|end| end > END_OF_PROGRAMS.0) {
                return Err(ElfError::Beyond { index, at: *at, size: *memory_size });
            }
        }
        let addresses = self.segments.iter_mut().map(|segment| &mut segment.at);
        let addresses = addresses.chain(self.headers.iter_mut().map(|headers| &mut headers.at));
        addresses.chain([&mut self.entry]).for_each(|at| at.0 += bytes);
        Ok(self)
    }
}

/// The file's header, which is one of a program for this processor.
fn file_header(file: &[u8]) -> Result<&FileHeader64<LE>, ElfError> {
    if !file.starts_with(&elf::ELFMAG) {
        return Err(ElfError::NotElf);
    }
    let truncated = ElfError::Truncated { part: Part::Header };
    let &[_, _, _, _, class, order, version, ..] = file else { return Err(truncated) };
    if class != elf::ELFCLASS64 {
        return Err(ElfError::Class { class });
    }
    if order != elf::ELFDATA2LSB {
        return Err(ElfError::ByteOrder { order });
    }
    if version != elf::EV_CURRENT {
        return Err(ElfError::Version { version });
    }
    let header = FileHeader64::<LE>::parse(file).map_err(|_| truncated)?;
    let (machine, kind) = (header.e_machine.get(LE), header.e_type.get(LE));
    if machine != elf::EM_X86_64 {
        return Err(ElfError::Processor { machine });
    }
    if !matches!(kind, elf::ET_EXEC | elf::ET_DYN) {
        return Err(ElfError::NotAProgram { kind });
    }
    Ok(header)
}

fn program_headers<'a>(
    header: &FileHeader64<LE>,
    file: &'a [u8],
) -> Result<&'a [Header], ElfError> {
    let size = header.e_phentsize.get(LE);
    if header.e_phnum.get(LE) > 0 && usize::from(size) != size_of::<Header>() {
        return Err(ElfError::HeaderSize { size });
    }
    let truncated = ElfError::Truncated { part: Part::ProgramHeaders };
    header.program_headers(LE, file).map_err(|_| truncated)
}

/// The segments to load that have bytes.
fn segments(headers: &[Header], file_len: u64) -> Result<Vec<Segment>, ElfError> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut end = VirtAddr(0);
    for (index, header) in headers.iter().enumerate() {
        if header.p_type.get(LE) != elf::PT_LOAD {
            continue;
        }
        let segment = Segment::new(index, header, file_len)?;
        if segment.memory_size == 0 {
            continue;
        }
        if segment.pages().start < end {
            return Err(ElfError::Overlap { index, end });
        }
        end = segment.pages().end;
        segments.push(segment);
    }
    match segments.is_empty() {
        true => Err(ElfError::NoSegments),
        false => Ok(segments),
    }
}

/// The path in the bytes of `PT_INTERP`, which ends with a zero.
fn interpreter(header: &Header, file: &[u8]) -> String {
    let start = header.p_offset.get(LE) as usize;
    let end = start.saturating_add(header.p_filesz.get(LE) as usize);
    let path = file.get(start..end).unwrap_or_default();
    let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(path).into_owned()
}

fn placement(header: &FileHeader64<LE>, headers: &[Header]) -> Placement {
    if header.e_type.get(LE) == elf::ET_EXEC {
        return Placement::Fixed;
    }
    let loads = headers.iter().filter(|header| header.p_type.get(LE) == elf::PT_LOAD);
    // As Linux does: what is no power of two says nothing.
    let aligns = loads.map(|header| header.p_align.get(LE)).filter(|align| align.is_power_of_two());
    Placement::Movable { align: aligns.max().unwrap_or(0).max(PAGE_BYTES) }
}

fn stack(headers: &[Header]) -> Prot {
    let stack = headers.iter().rfind(|header| header.p_type.get(LE) == elf::PT_GNU_STACK);
    let is_executable = stack.is_some_and(|header| header.p_flags.get(LE) & elf::PF_X != 0);
    let mut prot = Prot::READ | Prot::WRITE;
    prot.set(Prot::EXEC, is_executable);
    prot
}

/// The address of the first program header: in the segment that brings it from the file.
fn headers_in_memory(
    header: &FileHeader64<LE>,
    segments: &[Segment],
    count: usize,
) -> Option<ProgramHeaders> {
    let offset = header.e_phoff.get(LE);
    let len = (count * size_of::<Header>()) as u64;
    let found = segments.iter().find_map(|segment| {
        let within = offset.checked_sub(segment.file_offset)?;
        (within.checked_add(len)? <= segment.file_size).then_some(segment.at.0 + within)
    });
    found.map(|at| ProgramHeaders { at: VirtAddr(at), count })
}
