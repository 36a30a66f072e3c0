//! Where a mapping goes that may go anywhere: as high as there is room in the window.

use crate::call::PAGE;
use crate::outcome::Errno;

use super::process::Process;
use crate::system::World;

/// Pages that stay free below an area that grows down.
pub const GAP_PAGES: u64 = 256;
/// RLIMIT_STACK, the usual 8 MiB.
pub const STACK_PAGES_MAX: u64 = 2048;
/// The end of what a program can map on x86-64.
pub const TASK_END: u64 = 0x7fff_ffff_f000;

/// The address for `pages` pages, near `hint` if there is one; in pages.
pub fn choose(world: &World, process: &Process, hint: u64, pages: u64) -> Result<u64, Errno> {
    if pages > TASK_END / PAGE {
        return Err(Errno::ENOMEM);
    }
    let hint = hint / PAGE;
    if hint != 0 && hint < TASK_END / PAGE && is_free(world, process, hint, pages) {
        return Ok(hint);
    }
    let window = world.base / PAGE..world.end() / PAGE;
    let mut end = window.end;
    loop {
        let start = end.checked_sub(pages).filter(|start| *start >= window.start);
        let start = start.ok_or(Errno::ENOMEM)?;
        match process.pages.range(start..end).next_back() {
            // Everything above the highest page in the way is too short.
            Some((&taken, _)) => end = lowest_of_area(process, taken).min(taken),
            None if is_free(world, process, start, pages) => return Ok(start),
            // What grows down wants room: the search goes on below that, even where
            // other areas would be in between.
            None => end = next_start(process, start) - GAP_PAGES,
        }
    }
}

/// The same below 2 GiB: as low as there is room in the second GiB.
pub fn choose_low(world: &World, process: &Process, hint: u64, pages: u64) -> Result<u64, Errno> {
    let (from, to) = ((1 << 30) / PAGE, (2 << 30) / PAGE);
    let (hint, last) = (hint / PAGE, to.checked_sub(pages).ok_or(Errno::ENOMEM)?);
    if hint != 0 && hint <= last && is_free(world, process, hint, pages) {
        return Ok(hint);
    }
    let free = (from..=last).find(|start| is_free(world, process, *start, pages));
    free.ok_or(Errno::ENOMEM)
}

fn next_start(process: &Process, number: u64) -> u64 {
    process.pages.range(number..).next().map_or(u64::MAX, |(next, _)| *next)
}

/// Going down from a page that is in the way: those right below it are, too.
fn lowest_of_area(process: &Process, mut number: u64) -> u64 {
    while number > 0 && process.pages.contains_key(&(number - 1)) {
        number -= 1;
    }
    number
}

/// Is nothing there, and far enough from what grows down towards it?
fn is_free(world: &World, process: &Process, start: u64, pages: u64) -> bool {
    let inside = start >= world.base / PAGE && start + pages <= world.end() / PAGE;
    let next = process.pages.range(start..).next();
    let clear = next.is_none_or(|(&next, page)| {
        let gap = if page.traits.grows_down() { GAP_PAGES } else { 0 };
        start + pages + gap <= next
    });
    inside && clear
}

/// Is this range inside the window? Everything outside belongs to the harness.
pub fn is_inside(world: &World, start: u64, pages: u64) -> bool {
    start >= world.base / PAGE && start.saturating_add(pages) <= world.end() / PAGE
}
