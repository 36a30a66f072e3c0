//! Areas as text: `/proc/PID/maps` and `/proc/PID/smaps`, to the column.
//!
//! ```text
//!   55d8c1a00000-55d8c1a02000 r--p 00000000 fe:00 247030                     /usr/bin/cat
//!   start        end          rwx  offset   dev   inode                      name, column 74
//!                                p private, s shared
//! ```
//!
//! The engine knows no files: whoever calls says what an object is called, and how many
//! pages of an area are in memory.
//!
//! Source: proc_pid_maps(5), proc_pid_smaps(5), and `fs/proc/task_mmu.c`.

use core::fmt::{self, Write};

use faultless_addr::{ObjectId, PAGE_BYTES, Prot, VirtRange};

use super::{AddressSpace, Sharing, Vma, VmaFlags};

/// Where a name begins, counted from 0.
const NAME_COLUMN: usize = 73;

/// Where the numbers of `smaps` end.
const NUMBER_END: usize = 24;

/// What an object is outside of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectName<'a> {
    /// The device with the file system, major and minor.
    pub device: (u32, u32),
    /// The file's number there.
    pub inode: u64,
    /// Its path, or another name.
    pub name: &'a str,
}

/// A line of `maps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapsLine<'a> {
    /// The area's addresses.
    pub range: VirtRange,
    /// What the program may do.
    pub prot: Prot,
    /// Who sees what is stored.
    pub sharing: Sharing,
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// What it shows.
    pub object: ObjectName<'a>,
}

impl fmt::Display for MapsLine<'_> {
    /// Writes the line, and no line end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = Counting { out: f, written: 0 };
        let right = |right, letter| if self.prot.contains(right) { letter } else { '-' };
        let sharing = if self.sharing == Sharing::Shared { 's' } else { 'p' };
        let (major, minor) = self.object.device;
        write!(line, "{:08x}-{:08x} ", self.range.start.0, self.range.end.0)?;
        write!(line, "{}{}", right(Prot::READ, 'r'), right(Prot::WRITE, 'w'))?;
        write!(line, "{}{sharing} ", right(Prot::EXEC, 'x'))?;
        write!(line, "{:08x} {major:02x}:{minor:02x} {} ", self.offset, self.object.inode)?;
        if self.object.name.is_empty() {
            return Ok(());
        }
        let padding = (NAME_COLUMN - 1).saturating_sub(line.written) + 1;
        write!(line, "{:padding$}", "")?;
        // A name must not look like a line.
        for (index, part) in self.object.name.split('\n').enumerate() {
            line.write_str(if index == 0 { "" } else { "\\012" })?;
            line.write_str(part)?;
        }
        Ok(())
    }
}

/// Counts bytes on their way.
struct Counting<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    written: usize,
}

impl Write for Counting<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.written += text.len();
        self.out.write_str(text)
    }
}

/// What of an area is in memory, in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Clean, and mapped by others, too.
    pub shared_clean: u64,
    /// Dirty, and mapped by others, too.
    pub shared_dirty: u64,
    /// Clean, and mapped here only.
    pub private_clean: u64,
    /// Dirty, and mapped here only.
    pub private_dirty: u64,
    /// Touched of late.
    pub referenced: u64,
    /// Own pages, of no object.
    pub anonymous: u64,
    /// To be dropped unless written again (`MADV_FREE`).
    pub lazy_free: u64,
    /// Out in swap.
    pub swap: u64,
    /// Bytes in memory, those of a page divided by who maps it.
    pub proportional_bytes: u64,
    /// Of these, dirty ones.
    pub proportional_dirty_bytes: u64,
    /// Bytes in swap, divided likewise.
    pub proportional_swap_bytes: u64,
}

impl Usage {
    /// Adds what another part of the area has.
    pub fn add(&mut self, other: &Usage) {
        self.shared_clean += other.shared_clean;
        self.shared_dirty += other.shared_dirty;
        self.private_clean += other.private_clean;
        self.private_dirty += other.private_dirty;
        self.referenced += other.referenced;
        self.anonymous += other.anonymous;
        self.lazy_free += other.lazy_free;
        self.swap += other.swap;
        self.proportional_bytes += other.proportional_bytes;
        self.proportional_dirty_bytes += other.proportional_dirty_bytes;
        self.proportional_swap_bytes += other.proportional_swap_bytes;
    }

    /// Pages in memory.
    pub fn resident(&self) -> u64 {
        self.shared_clean + self.shared_dirty + self.private_clean + self.private_dirty
    }

    /// The lines with numbers, in bytes, in the kernel's order.
    fn lines(&self, area: &Vma) -> [(&'static str, u64); 22] {
        let pages = |count: u64| count * PAGE_BYTES;
        [
            ("Size:", area.range.len()),
            ("KernelPageSize:", PAGE_BYTES),
            ("MMUPageSize:", PAGE_BYTES),
            ("Rss:", pages(self.resident())),
            ("Pss:", self.proportional_bytes),
            ("Pss_Dirty:", self.proportional_dirty_bytes),
            ("Shared_Clean:", pages(self.shared_clean)),
            ("Shared_Dirty:", pages(self.shared_dirty)),
            ("Private_Clean:", pages(self.private_clean)),
            ("Private_Dirty:", pages(self.private_dirty)),
            ("Referenced:", pages(self.referenced)),
            ("Anonymous:", pages(self.anonymous)),
            ("KSM:", 0),
            ("LazyFree:", pages(self.lazy_free)),
            ("AnonHugePages:", 0),
            ("ShmemPmdMapped:", 0),
            ("FilePmdMapped:", 0),
            ("Shared_Hugetlb:", 0),
            ("Private_Hugetlb:", 0),
            ("Swap:", pages(self.swap)),
            ("SwapPss:", self.proportional_swap_bytes),
            ("Locked:", if area.is_locked() { self.proportional_bytes } else { 0 }),
        ]
    }
}

/// The two letters of each property, in the order of the kernel's bits.
fn vm_flags(area: &Vma) -> impl Iterator<Item = &'static str> {
    let right = |right| area.prot.contains(right);
    let flag = |flag| area.flags.contains(flag);
    let shared = area.sharing == Sharing::Shared;
    let never_write = flag(VmaFlags::NEVER_WRITE);
    let device = flag(VmaFlags::DEVICE);
    [
        (right(Prot::READ), "rd"),
        (right(Prot::WRITE), "wr"),
        (right(Prot::EXEC), "ex"),
        // A shared map of a file that is open for reading only is as good as private.
        (shared && !never_write, "sh"),
        (true, "mr"),
        (!never_write, "mw"),
        (!flag(VmaFlags::NEVER_EXEC), "me"),
        (shared, "ms"),
        (flag(VmaFlags::GROWS_DOWN), "gd"),
        (device, "pf"),
        (flag(VmaFlags::HAD_GUARD), "gu"),
        (flag(VmaFlags::LOCKED), "lo"),
        (device, "io"),
        (flag(VmaFlags::READ_SEQUENTIAL), "sr"),
        (flag(VmaFlags::READ_RANDOM), "rr"),
        (flag(VmaFlags::DONT_FORK), "dc"),
        (device, "de"),
        (flag(VmaFlags::LOCK_ON_FAULT), "lf"),
        (!shared && right(Prot::WRITE) && !flag(VmaFlags::NO_RESERVE), "ac"),
        (flag(VmaFlags::NO_RESERVE), "nr"),
        (flag(VmaFlags::WIPE_ON_FORK), "wf"),
        (flag(VmaFlags::DONT_DUMP) || device, "dd"),
        (flag(VmaFlags::HUGE_PAGES), "hg"),
        (flag(VmaFlags::NO_HUGE_PAGES), "nh"),
        (flag(VmaFlags::MERGEABLE), "mg"),
        (flag(VmaFlags::SEALED), "sl"),
    ]
    .into_iter()
    .filter_map(|(holds, letters)| holds.then_some(letters))
}

impl AddressSpace {
    /// The line of `area` in `maps`, where `name` knows its object.
    pub fn maps_line<'a>(
        &self,
        area: &Vma,
        name: impl Fn(ObjectId) -> ObjectName<'a>,
    ) -> MapsLine<'a> {
        let layout = self.layout();
        let own_name = match layout {
            Some(layout) if layout.is_heap(area) => "[heap]",
            Some(layout) if layout.is_stack(area) => "[stack]",
            _ => "",
        };
        let unnamed = ObjectName { device: (0, 0), inode: 0, name: own_name };
        let offset = area.page_at(area.range.start).map_or(0, |page| page.offset());
        let object = area.object().map_or(unnamed, name);
        let Vma { range, prot, sharing, .. } = *area;
        MapsLine { range, prot, sharing, offset, object }
    }

    /// Writes what `/proc/PID/maps` would say.
    pub fn write_maps<'a>(
        &self,
        out: &mut impl Write,
        name: impl Fn(ObjectId) -> ObjectName<'a>,
    ) -> fmt::Result {
        self.iter().try_for_each(|area| writeln!(out, "{}", self.maps_line(area, &name)))
    }

    /// Writes what `/proc/PID/smaps` would say on a machine without protection keys.
    pub fn write_smaps<'a>(
        &self,
        out: &mut impl Write,
        name: impl Fn(ObjectId) -> ObjectName<'a>,
        usage: impl Fn(&Vma) -> Usage,
    ) -> fmt::Result {
        for area in self.iter() {
            writeln!(out, "{}", self.maps_line(area, &name))?;
            for (label, bytes) in usage(area).lines(area) {
                let width = NUMBER_END - label.len();
                writeln!(out, "{label}{:width$} kB", bytes >> 10)?;
            }
            writeln!(out, "THPeligible:           0")?;
            write!(out, "VmFlags: ")?;
            vm_flags(area).try_for_each(|letters| write!(out, "{letters} "))?;
            writeln!(out)?;
        }
        Ok(())
    }
}
