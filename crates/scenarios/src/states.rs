//! The states of a system as text: areas, translations, pages in memory, lists, swap.

use std::fmt::Write as _;

use faultless_addr::{FrameNo, ObjectId, SpaceId};
use faultless_engine::anon::ANON;
use faultless_engine::frame::{Frame, State};
use faultless_engine::space::ObjectName;
use faultless_posix::{Pid, Shows};
use faultless_software::{Rights, Translation};

use crate::record::Section;
use crate::stage::{PAGE, Stage};

/// All of them.
pub fn of(stage: &Stage) -> Vec<Section> {
    let section = |name, lines| Section { name, lines };
    vec![
        section("areas", areas(stage)),
        section("translations", translations(stage)),
        section("pages in memory", pages(stage)),
        section("lists", lists(stage)),
        section("swap", swap(stage)),
        section("input and output", traffic(stage)),
    ]
}

fn space(pid: Pid) -> SpaceId {
    SpaceId(pid.0)
}

/// What an object is called.
pub fn name(stage: &Stage, object: ObjectId) -> ObjectName<'static> {
    let named = |device, inode, name| ObjectName { device, inode, name };
    match stage.shows_of(object) {
        Shows::Anonymous => named((0, 0), 0, ""),
        Shows::File(number) => {
            named((8, 1), u64::from(number), stage.paths.get(&number).copied().unwrap_or("?"))
        }
        Shows::Memory => named((0, 1), u64::from(object.0), "/memfd:memory (deleted)"),
        Shows::Device(number) => {
            let path = stage.devices.get(&number).copied().unwrap_or("?");
            named((0, 5), u64::from(number) + 1, path)
        }
        Shows::Nameless => named((0, 1), u64::from(object.0), "/dev/zero (deleted)"),
    }
}

/// The lines of `/proc/PID/maps` of each process.
fn areas(stage: &Stage) -> Vec<String> {
    let mut lines = Vec::new();
    for (pid, who) in &stage.processes {
        let maps = stage.maps(*pid, |object| name(stage, object));
        lines.extend(maps.lines().map(|line| format!("{who}  {line}").trim_end().to_owned()));
    }
    lines
}

/// The entries of each process's last page tables. Letters are bits that are set; `X`
/// says that NX is not. Entries that follow each other and are alike are one line.
fn translations(stage: &Stage) -> Vec<String> {
    let mut lines = Vec::new();
    for (pid, who) in &stage.processes {
        let entries: Vec<_> = stage.machine().translations(space(*pid)).collect();
        let runs = entries.chunk_by(|one, next| {
            let follows = one.at.0 + PAGE == next.at.0 && one.frame.0 + 1 == next.frame.0;
            follows && bits(one) == bits(next)
        });
        lines.extend(runs.map(|run| {
            let (first, last) = (&run[0], &run[run.len() - 1]);
            let (at, frames) = match run.len() {
                1 => (format!("{:012x}", first.at.0), first.frame.0.to_string()),
                _ => (
                    format!("{:012x}-{:012x}", first.at.0, last.at.0 + PAGE),
                    format!("{}-{}", first.frame.0, last.frame.0),
                ),
            };
            format!("{who}  {at:<26} frame {frames:<6} {}", bits(first))
        }));
    }
    lines
}

/// The bits of an entry: present, writable, user, accessed, dirty, executable.
pub fn bits(entry: &Translation) -> String {
    let letter = |is_set: bool, letter| if is_set { letter } else { '-' };
    let right = |right| entry.rights.contains(right);
    [
        'P',
        letter(right(Rights::WRITE), 'W'),
        letter(right(Rights::USER), 'U'),
        letter(entry.accessed, 'A'),
        letter(entry.dirty, 'D'),
        letter(right(Rights::EXECUTE), 'X'),
    ]
    .iter()
    .collect()
}

/// What each frame in use holds.
fn pages(stage: &Stage) -> Vec<String> {
    let used = stage.engine().frames().filter(|(_, frame)| frame.has_page());
    let mut pages: Vec<_> = used
        .map(|(no, frame)| {
            let how = match frame.state {
                State::Device => "the device's",
                _ if frame.is_dirty() => "dirty",
                _ => "clean",
            };
            (holder(stage, no, frame), frame.page.0, no.0, how)
        })
        .collect();
    pages.sort();
    let runs = pages.chunk_by(|one, next| {
        let own = one.0.contains("own");
        !own && (&one.0, one.1 + 1, one.2 + 1, one.3) == (&next.0, next.1, next.2, next.3)
    });
    let lines = runs.map(|run| {
        let ((holder, page, no, how), last) = (&run[0], &run[run.len() - 1]);
        let (page, frame) = match run.len() {
            1 => (format!("page {page}"), format!("frame {no}")),
            _ => (format!("pages {page}-{}", last.1), format!("frames {no}-{}", last.2)),
        };
        let holder =
            if holder.contains("own") { holder.clone() } else { format!("{holder} {page}") };
        format!("{holder:<28} {frame:<9} {how}")
    });
    lines.collect()
}

/// Whose page a frame holds: an object's, or a process's own at an address.
fn holder(stage: &Stage, no: FrameNo, frame: &Frame) -> String {
    if frame.object != ANON {
        return name(stage, frame.object).name.to_owned();
    }
    let mut text = String::new();
    for (pid, who) in &stage.processes {
        let own = stage.engine().own_pages(space(*pid));
        for (at, _) in own.filter(|(_, page)| page.frame() == Some(no)) {
            let _ =
                write!(text, "{}{who}'s own {:x}", if text.is_empty() { "" } else { ", " }, at.0);
        }
    }
    text
}

/// The policy's lists; who is at the front leaves first.
fn lists(stage: &Stage) -> Vec<String> {
    let lists = stage.engine().lists();
    lists
        .iter()
        .map(|(name, frames)| {
            let numbers: Vec<String> = frames.iter().map(|no| no.0.to_string()).collect();
            format!("{name:<9} {}", if numbers.is_empty() { "–".into() } else { numbers.join(" ") })
        })
        .collect()
}

/// Own pages with a slot: those that are in a frame as well are in the swap cache.
fn swap(stage: &Stage) -> Vec<String> {
    let mut lines = Vec::new();
    for (pid, who) in &stage.processes {
        for (at, page) in stage.engine().own_pages(space(*pid)) {
            let Some(slot) = page.slot() else { continue };
            let cached = match page.frame() {
                Some(no) => format!("  in the swap cache: frame {}", no.0),
                None => String::new(),
            };
            lines.push(format!("{who}'s own {:x}  slot {}{cached}", at.0, slot.index()));
        }
    }
    lines
}

fn traffic(stage: &Stage) -> Vec<String> {
    let io = stage.io();
    vec![format!(
        "files {} read {} written, swap {} read {} written (pages)",
        io.files.read, io.files.written, io.swap.read, io.swap.written
    )]
}
