//! `one-page-driver`: text B's driver and its program, with `remap_pfn_range`.

use faultless_posix::{MapFlags, Mmap, OpenFlags, Pid};

use crate::drivers::{How, OnePage};
use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{FD, PAGE, READ_WRITE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "one-page-driver",
    summary: "a driver maps its page when mmap is called; no access is a fault",
    claims: &["A3", "B12", "B20"],
    rows: &[Row::Driver, Row::Nopage],
    frames: 8,
    software,
    linux: None,
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("the driver is registered with a page, and the program opens it");
    let node = stage.device("/dev/mymap", 1, OnePage(How::Remap));
    stage.open(a, FD, node, OpenFlags::RDWR)?;
    let memory = stage.device_memory(0);
    stage.same("the driver's page holds", &memory, &[0; PAGE as usize])?;

    stage.step("mmap: the driver has its page mapped, and writes ten bytes");
    let call =
        Mmap { len: PAGE, prot: READ_WRITE, flags: MapFlags::SHARED, fd: FD, ..Mmap::default() };
    let at = stage.mmap(a, call)?.0;
    let frame = stage.frame_at(a, at).map(|frame| frame.0);
    stage.equal("the entry names the frame behind the budget of 8", frame, Some(8))?;

    stage.step("the program prints them");
    let printed = stage.bytes(a, at, 10)?;
    stage.equal("it prints", printed, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])?;
    let faults = stage.machine().stats().faults;
    stage.equal("page faults until now", faults, 0)?;
    let used = stage.engine().stats().frames_used;
    stage.equal("frames of the budget in use", used, 0)?;

    stage.step("the program changes the first byte: the driver sees it");
    stage.store(a, at, &[42])?;
    let first = stage.device_memory(0)[0];
    stage.equal("the driver's first byte", first, 42)?;

    stage.step("memory is short: a device's page does not leave");
    stage.press(4);
    stage.check("the entry is still there", stage.frame_at(a, at).is_some())?;

    stage.step("munmap");
    stage.munmap(a, at, PAGE)?;
    stage.check("the entry is gone", stage.frame_at(a, at).is_none())?;
    let first = stage.device_memory(0)[0];
    stage.equal("the driver's page stays, with its first byte", first, 42)
}
