//! What the five texts say, sentence by sentence, in short. Each claim is shown by a
//! scenario, or [`UNSHOWN`] says why not.
//!
//! The letter is the text, in the order of their files; the number is the place in it.

/// The texts, by their letters.
pub const TEXTS: &[(char, &str)] = &[
    ('A', "What Is Mmap and How It Works?"),
    ('B', "一文搞懂 mmap 涉及的所有内容 (No. 583)"),
    ('C', "操作系统之MMAP"),
    ('D', "what is mmap"),
    ('E', "深入理解内存映射mmap"),
];

/// One thing that a text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The text's letter and a number.
    pub id: &'static str,
    /// What it says, in short.
    pub says: &'static str,
}

/// The claim with this number.
pub fn find(id: &str) -> Option<&'static Claim> {
    CLAIMS.iter().find(|claim| claim.id == id)
}

macro_rules! claims {
    ($($id:ident $says:literal)*) => {
        /// All of them, text by text.
        pub const CLAIMS: &[Claim] = &[$(Claim { id: stringify!($id), says: $says },)*];
    };
}

claims! {
    A1 "a file's bytes are at addresses, one for one: a program works on them without read() and write()"
    A2 "mmap seeks free addresses in a row, makes an area for them and puts it among the others"
    A3 "the descriptor leads to the open file, and that to the driver's own mmap, which is told of the area"
    A4 "mmap makes addresses and relations only: no data is in memory yet"
    A5 "the first access is a page fault, and a handler runs once the access is known to be legal"
    A6 "the handler looks in the swap cache first; only then nopage reads from the disk"
    A7 "what was changed is on the disk after a while, or at once by msync"
    A8 "with no address given, the kernel chooses one between pages"
    A9 "rights: execute, read, write, none"
    A10 "MAP_SHARED is seen by others, MAP_PRIVATE is a copy at the first write"
    A11 "MAP_SHARED_VALIDATE refuses flags that MAP_SHARED ignores"
    A12 "MAP_32BIT: within the first 2 GiB of addresses"
    A13 "MAP_ANON is another word for MAP_ANONYMOUS"
    A14 "mmap answers with the address, or with MAP_FAILED and errno"
    A15 "read() finds the page in the page cache, or puts it there from the disk, and then copies it again to the program"
    A16 "through a map, one copy does: from the disk to memory"
    A17 "only the part of a file that is used comes into memory: good for large files"
    A18 "what either side changes, program or kernel, the other sees at once"
    A19 "processes can talk to each other by it"
    A20 "large amounts of data don't make memory short"
    A21 "a process reaches only what is mapped in its own space; beyond, the system throws it out"

    B1 "the rest of a file's last page is zeros"
    B2 "munmap takes a range of addresses away again"
    B3 "stores behind the file's end are not written to it"
    B4 "the offset is a multiple of the page size"
    B5 "shared memory stays while it is used and is not written back each time; that comes at the end"
    B6 "shared memory needs two copies, from the input file and to the output file"
    B7 "three uses: input and output, anonymous memory, communication"
    B8 "malloc(10) calls brk, malloc(10 MiB) calls mmap"
    B9 "a file lets any two processes share memory"
    B10 "what a parent mapped before fork is at the same address in the child, and shared"
    B11 "other variables are inherited as copies, which each has for itself"
    B12 "a driver maps its one page by remap_pfn_range and then writes ten bytes, which the program prints"
    B13 "with read(), each process has its own copy of the same page"
    B14 "with maps, the second process's fault finds the page in memory and only sets its page table's entry"
    B15 "the watcher closes the file after mmap: the map stays"
    B16 "the watcher sees the change by another process; a private map can't change the file"
    B17 "father and son leave each other messages in an anonymous map"
    B18 "the end of a process unmaps by itself"
    B19 "an area knows its file, and where it begins in it, in pages"
    B20 "remap_pfn_range makes all entries of the page table at once"
    B21 "nopage makes one entry at a time"
    B22 "a cached page is named by its address_space and its offset"
    B23 "one file has one address_space, whoever opens it"
    B24 "a fault in shared memory looks in the swap cache, then in the swap area, else takes a new page"
    B25 "a fault in a file's map looks in the page cache, else reads from the disk"
    B26 "all who map one shared region access the same frames, at whatever addresses"
    B27 "an X server maps a device's memory"
    B28 "MongoDB maps its data"

    C1 "dirty pages are written back by the system"
    C2 "an address space is areas: code, data, bss, heap, maps, stack; maps lie between heap and stack"
    C3 "strangers share by a file, relatives also without; who comes second needs no disk"
    C4 "the disk serves in place of memory that isn't there"
    C5 "write() goes to the page cache, too, and to the disk later"
    C6 "mapped pages are as all others: a tree finds cached pages, a tree finds areas, two lists serve reclaim"
    C7 "maps don't suit files that change their length"
    C8 "many updates become many dirty pages, written at random"
    C9 "a database can't bound the memory that the system takes for its maps"

    D1 "every page of a program caches some file"
    D2 "a server of static files: open, map, send, unmap"
    D3 "two properties, four kinds of maps: private or shared, file or anonymous"
    D4 "strace shows how the loader maps its cache and libc"
    D5 "a file of 31 bytes takes a page of memory"
    D6 "areas need addresses in a row, and leave fragments"
    D7 "for a byte at offset X, map from the page below and add the rest"
    D8 "pipes and ttys can't be mapped"
    D9 "the system can drop pages and get them back from the file that they were mapped from"
    D10 "anonymous memory begins as zeros and touches no disk"
    D11 "malloc uses sbrk for a little and mmap for much"
    D12 "shared memory brings no order: programs need their own locks"

    E1 "an address in no area is a segmentation fault"
    E2 "in an area, an entry that is not there is a page fault, and one that is leads to the frame"
    E3 "a virtual page is unallocated, allocated, or allocated and mapped"
    E4 "a map has a file behind it, or an anonymous one"
    E5 "mm_struct knows the bounds: code and data, which stay, start_brk and brk, which moves, the stack's top, task_size, mmap_base"
    E6 "mmap_base is not random, and at a third of task_size"
    E7 "an address is split: indexes into page tables, and 12 bits within the page"
    E8 "where tables are missing, they come first, then the frame, then the entry"
    E9 "areas don't overlap; a list and a tree hold the same ones"
    E10 "vm_page_prot is what accesses to an area may do"
    E11 "by a page, all who map it are found: a search tree for files, a list for anonymous pages"
    E12 "areas are made, removed, merged and found"
    E13 "shared file maps: others see changes, which are written back"
    E14 "private file maps: changes are copies, unseen, never written back, and leave to swap"
    E15 "shared anonymous maps: zeros, seen by all who share, and leave to swap"
    E16 "private anonymous maps: zeros, one's own, and leave to swap; malloc's large blocks"
    E17 "/dev/zero mapped private is anonymous memory"
    E18 "libraries' code and data are private file maps"
    E19 "brk is private anonymous memory, page by page, upwards from start_brk"
}

/// A claim that no scenario shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unshown {
    /// Which.
    pub id: &'static str,
    /// Why.
    pub why: &'static str,
}

/// Claims that no scenario shows.
pub const UNSHOWN: &[Unshown] = &[
    Unshown { id: "A13", why: "the two names have one number" },
    Unshown { id: "B28", why: "a database of others" },
    Unshown {
        id: "E6",
        why: "so it was on 32 bits; on x86-64 the base is below the stack, and maps go down \
              (`Layout::mmap_base_bottom_up` is the old one)",
    },
];
