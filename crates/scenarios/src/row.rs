//! The rows of the table "The system of the seeds": what the texts describe, and what it
//! is called here. Each is ticked by scenarios.

macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident = ($says:literal, $here:literal),)*) => {
        /// What the texts describe.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Row {
            $(#[doc = $says] $name,)*
        }

        impl Row {
            /// All rows, in the table's order.
            pub const ALL: &[Row] = &[$(Row::$name,)*];

            /// What the texts say.
            pub fn says(self) -> &'static str {
                match self {
                    $(Row::$name => $says,)*
                }
            }

            /// What it is called here.
            pub fn here(self) -> &'static str {
                match self {
                    $(Row::$name => $here,)*
                }
            }
        }
    };
}

rows! {
    MmStruct = (
        "`mm_struct`: list and tree of areas, code/data/brk/stack/mmap_base bounds",
        "`AddressSpace`, `Layout`"
    ),
    VmArea = ("`vm_area_struct`: start, end, prot, flags, pgoff, file", "`Vma`"),
    Calls = (
        "`mmap(start, length, prot, flags, fd, offset)`, `munmap`, `msync` and their errno",
        "one file per verb"
    ),
    ThreeStates = (
        "three states of a virtual page",
        "unallocated · allocated, not mapped · mapped"
    ),
    PageTable = ("page table, PTE, TLB", "trait `Machine`; crate `software`"),
    PageFault = (
        "page fault: find the area, check rights, swap cache, then read, then map",
        "`fault`"
    ),
    PageCache = ("`address_space` + radix tree of cached pages", "`Object`, `PageCache`"),
    Nopage = (
        "`nopage`/`fault` on demand vs `remap_pfn_range` at mmap time",
        "`Mapping::OnFault` vs `Mapping::AtOnce`"
    ),
    FourKinds = ("file/anonymous × shared/private", "`Object` and `AnonPage` layers"),
    CopyOnWrite = ("copy on write", "`promote`"),
    ReverseMap = ("`i_mmap` priority tree, `anon_vma`", "`ReverseMap`, `Translations`"),
    Lists = ("active and inactive lists, LRU", "`reclaim`, trait `Policy`"),
    WriteBack = ("dirty pages written \"after a while\", or at `msync`", "`writeback`"),
    Swap = ("swap area, swap cache", "`swap`, `SwapSlot`"),
    LastPage = (
        "last page: zeros past end of file, never written back",
        "size of an `Object`"
    ),
    Fork = ("fork, inherited mappings", "`fork`"),
    Malloc = ("brk, malloc: small from brk, large from mmap", "`brk`; crate `heap`"),
    Elf = (
        "ELF segments, bss, shared libraries as private file maps",
        "`elf` of the software machine"
    ),
    Driver = ("driver with `file_operations.mmap`", "trait `Device`"),
    ReadWrite = (
        "read()/write() through the same page cache (two copies)",
        "`pread`, `pwrite`; `MapRaw::read_at`, `write_at`"
    ),
    Outside = ("access outside any area ends the process", "`Signal`"),
    Pipes = ("pipes and ttys cannot be mapped", "`ENODEV`"),
}
