//! `lost-update`: shared memory brings no order: programs need their own locks (text D).

use faultless_addr::{SpaceId, VirtAddr};
use faultless_posix::{MapFlags, Pid, Signal};
use faultless_software::CpuNo;

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::Stage;

pub const SCENARIO: Scenario = Scenario {
    name: "lost-update",
    summary: "two processes count in shared memory: one count is lost without an atomic instruction",
    claims: &["D12"],
    rows: &[Row::FourKinds],
    frames: 16,
    software,
    linux: None,
};

fn count(stage: &mut Stage, pid: Pid, at: u64) -> Result<u64, Signal> {
    let mut bytes = [0; 8];
    stage.load(pid, at, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("both load the counter, then both store what they loaded and one");
    let at = stage.map_anonymous(a, 8, MapFlags::SHARED)?;
    let b = stage.fork_as(a, "B")?;
    let loaded = [count(stage, a, at)?, count(stage, b, at)?];
    stage.store(a, at, &(loaded[0] + 1).to_le_bytes())?;
    stage.store(b, at, &(loaded[1] + 1).to_le_bytes())?;
    let now = count(stage, a, at)?;
    stage.equal("the counter, counted up twice", now, 1)?;

    stage.step("the same by compare and exchange: who comes second sees it, and tries again");
    let spaces = [a, b].map(|pid| SpaceId(pid.0));
    let mut tries = 0;
    for space in spaces {
        // Both loaded 1.
        let mut expected = 1;
        loop {
            tries += 1;
            let machine = stage.machine();
            let found =
                machine.compare_exchange_u64(CpuNo(0), space, VirtAddr(at), expected, expected + 1);
            let found = found.expect("both have stored there");
            if found == expected {
                break;
            }
            expected = found;
        }
    }
    let now = count(stage, b, at)?;
    stage.equal("the counter, counted up twice more", now, 3)?;
    stage.equal("tries", tries, 3)
}
