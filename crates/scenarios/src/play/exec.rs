//! `exec`: a real static program is loaded: its segments, bss, heap and stack (texts C, E).

use faultless_addr::{SpaceId, VirtAddr};
use faultless_engine::space::Layout;
use faultless_posix::{MapFlags, Node, Pid, Trouble};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{PAGE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "exec",
    summary: "a static ELF program is mapped: code, data, bss, heap and stack, with their bounds",
    claims: &["C2", "E5", "E18"],
    rows: &[Row::Elf, Row::MmStruct],
    frames: 32,
    software,
    linux: None,
};

/// The bounds that `mm_struct` has.
fn bounds(layout: &Layout) -> Vec<String> {
    let range = |range: faultless_addr::VirtRange| format!("{:x}-{:x}", range.start.0, range.end.0);
    vec![
        format!(
            "code {}, data {}, bss {}",
            range(layout.code),
            range(layout.data),
            range(layout.bss())
        ),
        format!("start_brk {:x}, brk {:x}", layout.start_brk.0, layout.brk.0),
        format!("mmap_base {:x}, start_stack {:x}", layout.mmap_base.0, layout.start_stack.0),
    ]
}

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("exec: areas of the file and the stack, and hardly a page in memory");
    stage.file("/bin/hello", include_bytes!("../../assets/hello"));
    let started = stage.exec(a, 1, &["hello", "world"])?;
    stage.equal("the first instruction is at", started.entry, VirtAddr(0x40_1000))?;
    let layout = *stage.engine().space(SpaceId(a.0)).layout().expect("a program has a layout");
    stage.show("layout", bounds(&layout));
    let order = layout.code.end <= layout.data.start
        && layout.data.end <= layout.start_brk
        && layout.brk <= layout.mmap_base
        && layout.mmap_base <= layout.start_stack;
    stage.check("code, data, heap, maps and stack follow each other", order)?;

    stage.step("it runs: instructions, its data, its bss, its arguments");
    stage.fetch(a, started.entry.0)?;
    stage.reads("it", a, 0x40_2000, b"hello\n")?;
    stage.reads("it", a, layout.data.start.0, &7i32.to_le_bytes())?;
    let bss = layout.bss();
    let zeros = stage.bytes(a, bss.start.0, bss.len() as usize)?;
    stage
        .check(format!("its bss is {} zeros", zeros.len()), zeros.iter().all(|byte| *byte == 0))?;
    stage.reads("it", a, started.stack.0, &2u64.to_le_bytes())?;
    stage.reads("it", a, layout.args.start.0, b"hello\0world\0")?;

    stage.step("it stores to a variable: the file does not change");
    stage.store(a, layout.data.start.0, &8i32.to_le_bytes())?;
    let refused = stage.store(a, 0x40_2000, b"H");
    stage.ends("whoever stores to a constant", refused, Trouble::AccErr, 0x40_2000)?;
    stage.sync_all();
    let stored = stage.disk(Node::File(1), 0x2008, 4);
    stage.same("the file holds", &stored, &7i32.to_le_bytes())?;

    stage.step("it takes memory: the heap grows up, maps go down, the stack grows down");
    let heap = stage.brk(a, layout.start_brk.0 + 100).0;
    stage.equal("bytes of heap", heap - layout.start_brk.0, 100)?;
    let map = stage.map_anonymous(a, PAGE, MapFlags::PRIVATE)?;
    stage.equal("the first map ends at mmap_base", VirtAddr(map + PAGE), layout.mmap_base)?;
    let stack = stage.area(a, started.stack.0).map_or(0, |area| area.range.start.0);
    stage.store(a, stack - 8, b"deeper")?;
    let grown = stage.area(a, started.stack.0).map_or(0, |area| area.range.start.0);
    stage.equal("pages that the stack has grown", (stack - grown) / PAGE, 1)
}
