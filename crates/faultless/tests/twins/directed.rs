//! One row for each line of `crates/oracle/CHECKLIST.md`, and the table that they make
//! (`written`).

use super::bench::{Bench, Seen};
use super::cases as c;
use super::differences::Tally;
use super::world::{DELIVERIES, directory};
use super::{access, opened, watch, written};

type Case = fn(&mut Bench) -> Seen;

enum Verdict {
    /// As the kernel does, case by case.
    Same(Case),
    /// Otherwise, on purpose; the case shows how.
    Differs(Case, &'static str),
    /// Other tests show it.
    Elsewhere(&'static str),
    /// The crate has no call for it.
    Not(&'static str),
}

use Verdict::{Differs, Elsewhere, Not, Same};

/// Line of the checklist, what it is about, and what comes of it.
const ROWS: &[(u32, &str, Verdict)] = &[
    (
        1,
        "length and offset of a map",
        Differs(c::any_offset, "any byte may be the first; what leaves the file is ENXIO"),
    ),
    (2, "directories, pipes, O_PATH", Same(opened::what_cannot_be_mapped)),
    (3, "rights of the descriptor", Same(opened::rights_of_descriptors)),
    (4, "O_APPEND", Same(opened::append)),
    (5, "PROT_EXEC", Differs(c::never_executable, "memory of a Vm is never executable: EINVAL")),
    (6, "hints", Not("addresses are the Vm's to choose")),
    (7, "MAP_FIXED replaces", Same(c::fixed_places)),
    (8, "MAP_FIXED_NOREPLACE refuses", Same(c::fixed_places)),
    (9, "MAP_SHARED_VALIDATE", Not("there are no flags")),
    (10, "MAP_SYNC", Not("there are no flags")),
    (11, "MAP_GROWSDOWN", Not("there are no stacks")),
    (12, "MAP_POPULATE, MAP_LOCKED", Not("a map can't begin behind the end")),
    (13, "MAP_HUGETLB, MAP_DROPPABLE", Not("there are no huge pages")),
    (14, "ignored flags", Not("there are no flags")),
    (15, "RLIMIT_AS, RLIMIT_DATA", Not("the budget is the limit")),
    (
        16,
        "overcommit",
        Differs(
            c::overcommit,
            "what budget and swap can't hold is ENOMEM when it is asked for, whatever the machine's mode",
        ),
    ),
    (17, "/dev/zero", Not("`Vm::anonymous` is private")),
    (18, "seals", Same(opened::sealed)),
    (
        18,
        "… of what is mapped",
        Differs(
            opened::sealed_later,
            "a file may be sealed though it is mapped, as the kernel sees no map: what was stored and not written is an EPERM of `flush`",
        ),
    ),
    (19, "SIGSEGV with code and address", Same(c::rights)),
    (19, "rights come before the end of the file", Same(c::rights_come_first)),
    (20, "SIGBUS behind the end", Same(c::behind_the_end)),
    (21, "the tail of the last page", Same(c::tail)),
    (22, "growth over a tail", Same(c::growth_over_a_tail)),
    (23, "a file that is cut", Same(c::cut)),
    (24, "holes", Same(c::hole)),
    (
        25,
        "a private page shows later writes until it is copied",
        Same(c::private_sees_later_writes),
    ),
    (
        25,
        "… which may be when it is read",
        Differs(
            c::private_copies_early,
            "a page is at one address only: where another map shows it, a private reader gets its copy at once",
        ),
    ),
    (26, "SHARED agrees with read and write", Same(c::coherent)),
    (
        26,
        "… by others",
        Differs(
            c::others_write,
            "the Vm has a page cache of its own: what others write is seen when the page has left memory (`release`)",
        ),
    ),
    (27, "EFAULT of system calls", Same(c::system_calls)),
    (28, "a map outlives its descriptor", Same(c::outlives_its_descriptor)),
    (29, "COLLAPSE, INSERT, ZERO", Not("there are only holes")),
    (30, "munmap of a part", Not("a map ends as a whole")),
    (31, "vm.max_map_count", Not("there is no such limit")),
    (32, "errors of mprotect", Same(c::protect_errors)),
    (
        33,
        "mprotect over a hole",
        Differs(c::range_first, "ENOMEM, too, but before anything changes"),
    ),
    (34, "areas split and join again", Same(c::areas_join_again)),
    (35, "which areas join", Not("areas are not told")),
    (36, "mseal", Not("there is no such call")),
    (37, "errors of mremap", Same(c::resize_errors)),
    (38, "mremap of old size 0", Not("map the file again")),
    (39, "growth over several areas", Same(c::growth_over_areas)),
    (40, "shrinking over areas", Same(c::shrinking_over_areas)),
    (41, "mremap to a fixed place", Not("there is no such call")),
    (42, "MREMAP_DONTUNMAP", Not("there is no such call")),
    (43, "shared anonymous memory", Not("there is none")),
    (44, "mremap of locked memory", Elsewhere("tests/verbs_lock.rs")),
    (45, "errors of msync", Not("there are no flags")),
    (46, "PRIVATE is never written", Same(c::private_is_never_written)),
    (47, "errors of mincore", Not("what is in memory is the budget's to decide")),
    (48, "what mincore says", Not("as 47")),
    (49, "errors of madvise, DONTNEED", Same(c::advice)),
    (50, "DONTNEED of locked memory", Same(c::advice_on_locked_memory)),
    (51, "FREE", Differs(c::free_now, "done at once, as Linux may")),
    (51, "FREE of a file's pages", Same(c::free_of_a_file)),
    (52, "REMOVE", Same(c::holes_need_the_right)),
    (
        52,
        "… of a part of a page",
        Differs(
            c::holes_in_part_need_the_right,
            "zeros are stored there: EACCES, and nothing is done, where that is not permitted",
        ),
    ),
    (53, "POPULATE", Elsewhere("tests/verbs_lock.rs")),
    (54, "WIPEONFORK", Not("there is no such advice")),
    (55, "guards", Same(c::guards)),
    (56, "other advice", Not("there is none")),
    (57, "errors of mlock", Same(c::lock)),
    (58, "RLIMIT_MEMLOCK", Not("the budget is the limit")),
    (59, "brk", Not("`VmHeap` is the allocator")),
    (
        60,
        "fork",
        Elsewhere(
            "private memory is copied (tests/fork_private.rs), shared maps of files are SIGBUS in the child (tests/fork.rs)",
        ),
    ),
    (61, "vfork, exec, threads", Not("not on the checklist")),
    (62, "remap_file_pages", Not("there is no such call")),
];

fn play(case: Case, tally: &Tally) -> Seen {
    for delivery in DELIVERIES {
        access::catch_signals();
        let swap = (directory(), 4 << 20);
        let vm = faultless::Vm::builder().memory(faultless::Vm::MEMORY_MIN).swap(swap.0, swap.1);
        let vm = vm.build().unwrap();
        case(&mut Bench::new(&vm, tally, delivery))
            .map_err(|why| format!("{delivery:?}: {why}"))?;
    }
    Ok(())
}

#[test]
fn table() {
    let _one = watch::one_at_a_time();
    watch::begin();
    let (tally, mut wrong, mut rows) = (Tally::default(), Vec::new(), Vec::new());
    for (line, what, verdict) in ROWS {
        let (case, said) = match verdict {
            Same(case) => (Some(case), "same".to_string()),
            Differs(case, why) => (Some(case), format!("different on purpose: {why}")),
            Elsewhere(tests) => (None, format!("not compared here: {tests}")),
            Not(why) => (None, format!("not expressible: {why}")),
        };
        rows.push(format!("| {line} | {what} | {said} |"));
        if let Some(Err(why)) = case.map(|case| play(*case, &tally)) {
            wrong.push(format!("line {line}, {what}: {why}"));
        }
    }
    println!("{}", rows.join("\n"));
    watch::end();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    written::compare(&rows).unwrap();
}

#[test]
fn every_line_of_the_checklist_has_a_row() {
    let list = include_str!("../../../oracle/CHECKLIST.md");
    let number = |line: &str| line.strip_prefix('|')?.split('|').next()?.trim().parse().ok();
    let lines: Vec<u32> = list.lines().filter_map(number).collect();
    assert_eq!(lines, (1..=62).collect::<Vec<_>>(), "the checklist has other lines");
    let missing = lines.iter().filter(|line| ROWS.iter().all(|row| row.0 != **line));
    assert_eq!(missing.count(), 0);
}
