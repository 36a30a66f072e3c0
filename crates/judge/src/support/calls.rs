//! The calls of Linux by which the table of support is ordered, and what of them the crate
//! `faultless` has on real pointers.

use std::ops::RangeInclusive;

/// A call, or a subject that is none.
pub struct Call {
    /// Its name.
    pub name: &'static str,
    /// Its lines in the checklist.
    pub lines: RangeInclusive<u8>,
    /// What of it the cases are about.
    pub about: &'static str,
    /// What of it the crate `faultless` has.
    pub product: Product,
}

/// What the crate `faultless` has of a call.
pub enum Product {
    /// This, and a test in `tests/product.rs` does it.
    Done(&'static str, &'static str),
    /// This, and a file of tests elsewhere does it.
    Elsewhere(&'static str, &'static str),
    /// Nothing yet; in place of it, if anything, this.
    Not(&'static str),
}

use Product::{Done, Elsewhere, Not};

const fn call(
    name: &'static str,
    lines: RangeInclusive<u8>,
    about: &'static str,
    product: Product,
) -> Call {
    Call { name, lines, about, product }
}

/// Every line of the checklist is in one of these.
pub const CALLS: &[Call] = &[
    call(
        "`mmap`",
        1..=18,
        "parameters, rights of descriptors, places, FIXED, NOREPLACE, SHARED_VALIDATE, GROWSDOWN, \
         POPULATE, limits, `/dev/zero`, seals",
        Elsewhere(
            "`map`, `map_mut`, `map_raw`; `map_copy`; `anonymous`: at addresses that it chooses, \
             or FIXED in a `reserve`d range",
            "crates/faultless/tests/files.rs",
        ),
    ),
    call(
        "faults, files under maps",
        19..=29,
        "signals and their codes, ends of files, truncate, holes, fallocate, private copies, \
         read and write beside maps, system calls on bad buffers",
        Done("pins beyond the end are errors; `resize`, `punch_hole` under a map", "ends_of_files"),
    ),
    call("`munmap`", 30..=30, "parameters, holes", Done("by dropping a map, all of it", "unmap")),
    call(
        "`max_map_count`",
        31..=31,
        "splits past the limit",
        Done("one area of the kernel's for all maps of a delivery", "areas_of_the_kernel"),
    ),
    call(
        "`mprotect`",
        32..=33,
        "parameters, holes, rights of files",
        Elsewhere(
            "`protect` of parts of maps and memory; no EXEC",
            "crates/faultless/tests/verbs_protect.rs",
        ),
    ),
    call("areas", 34..=35, "what splits them, what joins them", Not("a map is one")),
    call("`mseal`", 36..=36, "what it refuses, advice that loses bytes", Not("")),
    call(
        "`mremap`",
        37..=44,
        "parameters, in place, FIXED, DONTUNMAP, old size 0, several areas, limits",
        Elsewhere(
            "`Memory::resize`: in place, or elsewhere without a copy; `MapMut::resize`: file and \
             map, at one address",
            "crates/faultless/tests/verbs_remap.rs",
        ),
    ),
    call(
        "`msync`",
        45..=46,
        "parameters, holes, locked pages; private pages stay",
        Done("`flush`, `flush_range`, `flush_async`, which tell errors", "flush"),
    ),
    call(
        "`mincore`",
        47..=48,
        "parameters, holes; after DONTNEED, after a load",
        Elsewhere("`residency`, page by page", "crates/faultless/tests/verbs_lock.rs"),
    ),
    call(
        "`madvise`",
        49..=56,
        "DONTNEED, FREE, REMOVE, POPULATE, WIPEONFORK, guards, marks",
        Elsewhere(
            "memory: `discard` (DONTNEED), `advise` (WILLNEED, PAGEOUT, FREE), `populate`; files: \
             `advise` (NORMAL, RANDOM, SEQUENTIAL), `prefetch`, `release`, `punch_hole` (REMOVE)",
            "crates/faultless/tests/verbs_advise.rs",
        ),
    ),
    call(
        "`mlock` …",
        57..=58,
        "holes, ends, limits, MCL_FUTURE, ONFAULT",
        Elsewhere(
            "`lock`, `unlock`; `pin`, `pin_mut`, `pin_many`: held while the guard lives",
            "crates/faultless/tests/verbs_lock.rs",
        ),
    ),
    call("`brk`", 59..=59, "up, down, into a mapping", Not("allocators: `VmHeap`, `GlobalHeap`")),
    call(
        "`fork`",
        60..=61,
        "copied, shared, left out, wiped, not locked",
        Elsewhere(
            "private memory is copied; shared maps of files are errors in the child",
            "crates/faultless/tests/fork_private.rs",
        ),
    ),
    call("`remap_file_pages`", 62..=62, "parameters, guards", Not("")),
];

/// Where Faultless differs from Linux on purpose, on the software machine; what shows it.
pub const DELIBERATE: &[(&str, &str)] = &[
    (
        "No frame can be had: `mlock`, `read` and MADV_POPULATE are ENOMEM, an access ends the \
         process that makes it. Linux kills one of its choice.",
        "crates/posix/tests/pressure.rs",
    ),
    (
        "Where equal neighbours are one area or two hangs on which of their pages were written \
         when. Linux promises nothing there, and Faultless joins more of them.",
        "crates/oracle/src/differ/trio.rs",
    ),
    (
        "MADV_HUGEPAGE, MERGEABLE and COLD are kept or accepted and do nothing; COLLAPSE is \
         EINVAL, as on a machine without huge pages.",
        "crates/oracle/src/directed/advice.rs",
    ),
];
