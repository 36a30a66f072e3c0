//! `/proc/PID/smaps` as areas.

use std::fs;

use super::Kernel;
use crate::area::{Area, AreaFlags, Backing, Sharing, join};
use crate::call::ProcessId;
use crate::flags::Prot;

/// The areas of a process inside the window.
pub fn of(kernel: &Kernel, process: ProcessId) -> Vec<Area> {
    let path = format!("/proc/{}/smaps", kernel.number(process));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (base, end) = (kernel.world.base, kernel.world.end());
    let mut areas: Vec<Area> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(area) = head(kernel, line) {
            inside = base <= area.start && area.end <= end;
            if inside {
                areas.push(area);
            }
        } else if let (true, Some(flags)) = (inside, line.strip_prefix("VmFlags:")) {
            areas.last_mut().expect("flags follow a head").flags = flags_of(flags);
        }
    }
    join(areas)
}

/// Where the areas of a process begin.
pub fn seams(kernel: &Kernel, process: ProcessId) -> Vec<u64> {
    let path = format!("/proc/{}/maps", kernel.number(process));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let window = kernel.world.base..kernel.world.end();
    let starts =
        text.lines().filter_map(|line| u64::from_str_radix(line.split_once('-')?.0, 16).ok());
    starts.filter(|start| window.contains(start)).collect()
}

/// `start-end perms offset device inode path`, or `None` on another line.
fn head(kernel: &Kernel, line: &str) -> Option<Area> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let start = u64::from_str_radix(start, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    let rights = words.next()?;
    let offset = u64::from_str_radix(words.next()?, 16).ok()?;
    let inode: u64 = words.nth(1)?.parse().ok()?;
    let path: Vec<&str> = words.collect();
    let backing = match (kernel.files.of_inode(inode), path.as_slice()) {
        (Some(file), [path, ..]) if path.starts_with('/') && !path.starts_with("/dev/zero") => {
            Backing::File(file)
        }
        (_, ["/dev/zero", "(deleted)"]) => Backing::Shared,
        (_, [path, ..]) if path.starts_with("/memfd:") => Backing::Memory,
        _ => Backing::Anonymous,
    };
    let sharing = if rights.ends_with('s') { Sharing::Shared } else { Sharing::Private };
    let offset = if backing == Backing::Anonymous { 0 } else { offset };
    Some(Area {
        start,
        end,
        prot: prot(rights),
        sharing,
        backing,
        offset,
        flags: AreaFlags::empty(),
    })
}

fn prot(rights: &str) -> Prot {
    let pairs = [('r', Prot::READ), ('w', Prot::WRITE), ('x', Prot::EXEC)];
    pairs.into_iter().filter(|(letter, _)| rights.contains(*letter)).map(|(_, prot)| prot).collect()
}

fn flags_of(words: &str) -> AreaFlags {
    let known = [
        ("lo", AreaFlags::LOCKED),
        ("dc", AreaFlags::DONTFORK),
        ("wf", AreaFlags::WIPEONFORK),
        ("gd", AreaFlags::GROWSDOWN),
        ("sl", AreaFlags::SEALED),
        ("dd", AreaFlags::DONTDUMP),
        ("nr", AreaFlags::NORESERVE),
        ("sr", AreaFlags::SEQUENTIAL),
        ("rr", AreaFlags::RANDOM),
        ("mg", AreaFlags::MERGEABLE),
        ("hg", AreaFlags::HUGEPAGE),
        ("dp", AreaFlags::DROPPABLE),
        ("nh", AreaFlags::NOHUGEPAGE),
    ];
    let has = |name: &str| words.split_ascii_whitespace().any(|word| word == name);
    known.into_iter().filter(|(name, _)| has(name)).map(|(_, flag)| flag).collect()
}
