//! `page-tables`: an address is four indexes and an offset; tables come when they are
//! needed (text E).

use faultless_addr::SpaceId;
use faultless_posix::{MapFlags, Mmap, Pid};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{PAGE, READ_WRITE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "page-tables",
    summary: "nine bits of an address at each of four levels, then twelve within the frame",
    claims: &["E7", "E8"],
    rows: &[Row::PageTable],
    frames: 16,
    software,
    linux: None,
};

/// Entry 5 of the first table, 6 of the second, 7 of the third, 8 of the last.
const AT: u64 = 5 << 39 | 6 << 30 | 7 << 21 | 8 << 12;
const FLAGS: MapFlags = MapFlags::PRIVATE.union(MapFlags::ANONYMOUS).union(MapFlags::FIXED);

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("an area where no table is yet");
    let tables = stage.machine().free_table_frames();
    let call = Mmap { addr: AT, len: 2 * PAGE, prot: READ_WRITE, flags: FLAGS, ..Mmap::default() };
    let at = stage.mmap(a, call)?.0;
    stage.equal("mmap makes no table", stage.machine().free_table_frames(), tables)?;

    stage.step("a store at the area's byte 0x123: three tables below the root, a frame, an entry");
    stage.store(a, at + 0x123, b"here")?;
    stage.equal("tables made", tables - stage.machine().free_table_frames(), 3)?;
    let dump = stage.machine().dump(SpaceId(a.0));
    let places = ["[5]", "[6]", "[7]", "[8]"].map(|place| dump.contains(place));
    stage.show("page tables", dump.lines().map(str::to_owned).collect());
    stage.equal("the tables' entries 5, 6, 7 and 8 lead there", places, [true; 4])?;
    let frame = stage.frame_at(a, at).expect("it has just been stored to");
    let mut bytes = [0; 4];
    stage.machine().read_frame(frame, 0x123, &mut bytes);
    stage.same("the frame's bytes from 0x123 on", &bytes, b"here")?;

    stage.step("the next page: its entry is in a table that is there");
    stage.store(a, at + PAGE, b"next")?;
    stage.equal("tables made", tables - stage.machine().free_table_frames(), 3)?;

    stage.step("a page 1 GiB on: two tables more");
    let far = stage.mmap(a, Mmap { addr: AT + (1 << 30), ..call })?.0;
    stage.store(a, far, b"far")?;
    stage.equal("tables made", tables - stage.machine().free_table_frames(), 5)?;

    stage.step("munmap of all: the tables go, too");
    stage.munmap(a, at, far + 2 * PAGE - at)?;
    stage.equal("tables that are left", tables - stage.machine().free_table_frames(), 0)
}
