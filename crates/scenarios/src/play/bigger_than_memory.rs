//! `bigger-than-memory`: a file and memory far bigger than what there is (texts A, C).

use faultless_posix::{MapFlags, Pid, SyncFlags};

use crate::linux::Host;
use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{PAGE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "bigger-than-memory",
    summary: "a file of 64 pages and 40 anonymous ones in 16 frames: the disk serves in place of memory",
    claims: &["A20", "C4", "C9"],
    rows: &[Row::Lists, Row::Swap],
    frames: 16,
    software,
    linux: Some(linux),
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("64 pages of a file are read through 16 frames");
    let content: Vec<u8> = (0..64u8).flat_map(|page| [page; PAGE as usize]).collect();
    let file = stage.file("/big", &content);
    let at = stage.map_file(a, file, 64 * PAGE, MapFlags::SHARED)?;
    for page in 0..64u8 {
        let byte = stage.bytes(a, at + u64::from(page) * PAGE + 7, 1)?[0];
        if byte != page {
            stage.equal(format!("byte of page {page}"), byte, page)?;
        }
    }
    stage.check("each page has its byte", true)?;
    let most = stage.engine().stats().frames_used_max;
    stage.check(format!("frames ever in use: {most} of 16"), most <= 16)?;

    stage.step("each page is changed, and the file written back");
    for page in 0..64 {
        stage.store(a, at + page * PAGE, &[100 + page as u8])?;
    }
    stage.msync(a, at, 64 * PAGE, SyncFlags::SYNC)?;
    let firsts: Vec<u8> = (0..64).flat_map(|page| stage.disk(file, page * PAGE, 1)).collect();
    stage.check(
        "the disk has every change",
        firsts.iter().eq((100..164).collect::<Vec<u8>>().iter()),
    )?;

    stage.step("40 pages of anonymous memory: the rest is in swap");
    let own = stage.map_anonymous(a, 40 * PAGE, MapFlags::PRIVATE)?;
    for page in 0..40 {
        stage.store(a, own + page * PAGE, &[page as u8])?;
    }
    let found: Result<Vec<_>, _> =
        (0..40).map(|page| stage.bytes(a, own + page * PAGE, 1)).collect();
    let found = found?.concat();
    stage.check(
        "all of it is as it was stored",
        found.iter().eq((0..40).collect::<Vec<u8>>().iter()),
    )?;
    stage.check("swap was used", stage.io().swap.read > 0)?;
    let most = stage.engine().stats().frames_used_max;
    stage.check(format!("frames ever in use: {most} of 16"), most <= 16)
}

fn linux(host: &mut Host) -> Played {
    host.step("8 MiB of memory under a budget of 1 MiB");
    let mut memory = host.vm.anonymous(8 << 20)?;
    for (page, bytes) in memory.chunks_mut(4096).enumerate() {
        bytes[..8].copy_from_slice(&page.to_le_bytes());
    }
    let stats = host.vm.stats();
    host.check(
        format!("slots of swap in use: {}", stats.swap_slots_used),
        stats.swap_slots_used > 1000,
    )?;

    host.step("all of it is read again");
    let right = |(page, bytes): (usize, &[u8])| bytes[..8] == page.to_le_bytes();
    let wrong = memory.chunks(4096).enumerate().filter(|page| !right(*page)).count();
    host.equal("pages that are not as they were stored", wrong, 0)?;
    let stats = host.vm.stats();
    let within = stats.frames_used_max <= stats.frames_total;
    host.check(
        format!("frames ever in use: {} of {}", stats.frames_used_max, stats.frames_total),
        within,
    )
}
