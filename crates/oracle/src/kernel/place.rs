//! Before the first call: the break moves into the window, all other addresses are
//! taken, rights are dropped, and what is counted against limits is noted.
//!
//! With everything outside the window taken, the kernel can choose addresses inside
//! it only. So its choices are the same in each run, and can be compared.

use std::{fs, io};

use super::Kernel;
use super::wire::Request;
use crate::call::{PAGE, ProcessId, Resource};
use crate::system::{Person, is_root};

/// What the worker itself has of what limits count, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Baseline {
    space: u64,
    data: u64,
}

impl Baseline {
    /// The limit that leaves `room` to the window.
    pub fn limit(self, resource: Resource, room: u64) -> u64 {
        room + match resource {
            Resource::Space => self.space,
            Resource::Data => self.data,
            Resource::Locked => 0,
        }
    }
}

const FIRST: ProcessId = ProcessId(0);
/// The end of what a program can map on x86-64.
const TASK_END: u64 = 0x7fff_ffff_f000;
/// Distance that a stack keeps to what is below it.
const STACK_GAP: u64 = 256 * PAGE;

pub fn prepare(kernel: &mut Kernel) -> io::Result<Baseline> {
    limit_locked(kernel)?;
    move_break(kernel)?;
    fill(kernel)?;
    if let Some(areas) = kernel.world.areas_max {
        crowd(kernel, areas)?;
    }
    if kernel.world.person == Person::Ordinary && is_root() {
        drop_rights(kernel)?;
    }
    baseline(kernel)
}

fn must(kernel: &mut Kernel, what: &str, request: &Request) -> io::Result<i64> {
    match kernel.syscall(FIRST, request).0 {
        error @ -4095..0 => {
            let error = io::Error::from_raw_os_error(-error as i32);
            Err(io::Error::new(error.kind(), format!("{what}: {error}")))
        }
        value => Ok(value),
    }
}

fn limit_locked(kernel: &mut Kernel) -> io::Result<()> {
    let limit = crate::system::LOCKED_BYTES_MAX;
    let both = [limit, limit].iter().flat_map(|v| v.to_ne_bytes()).collect();
    let request = Request::syscall(libc::SYS_prlimit64, &[0, libc::RLIMIT_MEMLOCK.into(), 0, 0]);
    must(kernel, "limiting locked memory", &request.with_bytes(2, both)).map(drop)
}

/// Lets the break begin in the window; the rest of the kernel's notes on where a
/// program lies stays as it is.
fn move_break(kernel: &mut Kernel) -> io::Result<()> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", kernel.number(FIRST)))?;
    // The name of the program, the second field, may contain anything.
    let (_, behind) = stat.rsplit_once(") ").unwrap_or_default();
    let fields: Vec<u64> = behind.split(' ').map(|n| n.trim().parse().unwrap_or(0)).collect();
    // By the numbers of proc_pid_stat(5), which count from 1.
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0);
    let brk = kernel.world.brk;
    let code_and_data = [field(26), field(27), field(45), field(46)];
    let stack_and_words = [field(28), field(48), field(49), field(50), field(51)];
    let no_auxv = 0;
    let no_exe = u64::from(u32::MAX) << 32;
    let all = [&code_and_data[..], &[brk, brk], &stack_and_words, &[no_auxv, no_exe]].concat();
    let bytes: Vec<u8> = all.iter().flat_map(|v| v.to_ne_bytes()).collect();
    let args = [libc::PR_SET_MM as u64, libc::PR_SET_MM_MAP as u64, 0, bytes.len() as u64, 0];
    let request = Request::syscall(libc::SYS_prctl, &args).with_bytes(2, bytes);
    must(kernel, "moving the break", &request).map(drop)
}

/// Takes every address outside the window that is free.
fn fill(kernel: &mut Kernel) -> io::Result<()> {
    let lowest: u64 = fs::read_to_string("/proc/sys/vm/mmap_min_addr")?.trim().parse().unwrap_or(0);
    let window = (kernel.world.base, kernel.world.end());
    let maps = fs::read_to_string(format!("/proc/{}/maps", kernel.number(FIRST)))?;
    let mut taken: Vec<(u64, u64)> = maps.lines().filter_map(taken).collect();
    if taken.iter().any(|(start, end)| *start < window.1 && *end > window.0) {
        return Err(io::Error::other("the window is not free"));
    }
    taken.extend([window, (TASK_END, u64::MAX)]);
    // A page on either side is shared: nothing in the window is joined with that.
    for edge in [window.0 - PAGE, window.1] {
        take(kernel, edge, edge + PAGE, libc::MAP_SHARED)?;
        taken.push((edge, edge + PAGE));
    }
    taken.sort();
    let mut at = lowest.max(PAGE);
    for (start, end) in taken {
        if start > at {
            take(kernel, at, start, libc::MAP_PRIVATE)?;
        }
        at = at.max(end);
    }
    Ok(())
}

fn take(kernel: &mut Kernel, start: u64, end: u64, sharing: i32) -> io::Result<()> {
    let flags = sharing | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
    let args = [start, end - start, 0, flags as u64, u64::MAX, 0];
    must(kernel, "taking addresses", &Request::syscall(libc::SYS_mmap, &args)).map(drop)
}

/// A line of `/proc/PID/maps`; the stack takes the room that it wants to keep, too.
fn taken(line: &str) -> Option<(u64, u64)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let start = u64::from_str_radix(start, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    let gap = if rest.ends_with("[stack]") { STACK_GAP } else { 0 };
    Some((start - gap, end))
}

/// Splits an area outside the window until only so many more areas may be made.
fn crowd(kernel: &mut Kernel, room: u64) -> io::Result<()> {
    let text = fs::read_to_string("/proc/sys/vm/max_map_count")?;
    let max: u64 = text.trim().parse().map_err(io::Error::other)?;
    let count = |kernel: &Kernel| -> io::Result<u64> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", kernel.number(FIRST)))?;
        // The last line is the page of the old system calls, which is no area.
        Ok(maps.lines().filter(|line| !line.contains("[vsyscall]")).count() as u64)
    };
    let mut at = kernel.world.base - (2 << 30);
    let mut there = count(kernel)?;
    while there + room + 1 < max {
        let args = [at, PAGE, libc::PROT_READ as u64];
        must(kernel, "splitting", &Request::syscall(libc::SYS_mprotect, &args))?;
        there += 2;
        at += 2 * PAGE;
    }
    if there + room < max {
        let at = kernel.world.base - 2 * PAGE;
        let args = [at, PAGE, libc::PROT_READ as u64];
        must(kernel, "splitting", &Request::syscall(libc::SYS_mprotect, &args))?;
    }
    match count(kernel)? {
        now if now + room == max => Ok(()),
        now => Err(io::Error::other(format!("{now} areas, {room} more wanted up to {max}"))),
    }
}

const NOBODY: u64 = 65534;

fn drop_rights(kernel: &mut Kernel) -> io::Result<()> {
    must(kernel, "setgroups", &Request::syscall(libc::SYS_setgroups, &[0, 0]))?;
    for number in [libc::SYS_setresgid, libc::SYS_setresuid] {
        must(kernel, "dropping rights", &Request::syscall(number, &[NOBODY; 3]))?;
    }
    Ok(())
}

fn baseline(kernel: &Kernel) -> io::Result<Baseline> {
    let status = fs::read_to_string(format!("/proc/{}/status", kernel.number(FIRST)))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.map(|kib| kib << 10).ok_or_else(|| io::Error::other(format!("no {name} in status")))
    };
    Ok(Baseline { space: field("VmSize:")?, data: field("VmData:")? })
}
