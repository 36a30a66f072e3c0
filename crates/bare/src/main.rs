//! The engine without the standard library: a program with its own panic handler and its
//! own allocator that stores, forks, swaps and reads back.
//!
//! Were there std anywhere below, its panic handler would be a second one, and nothing
//! would link. libc is here for the entry and for memcpy(3), and is asked for nothing else.
//!
//! It ends with 0 if every byte was right, else with the number of the step that was not;
//! with 101 after a panic.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod allocator;
mod machine;
mod platform;

use machine::Computer;

/// Pages of the program: three times what there is memory for.
const PAGES: u64 = 24;

/// What each step found to be wrong.
enum Wrong {
    Parent = 1,
    Child = 2,
    NoSwap = 3,
    NoMemory = 4,
}

fn run() -> Result<(), Wrong> {
    let mut computer = Computer::new(PAGES);
    let parent = computer.first();
    for page in 0..PAGES {
        computer.store(parent, page, 0, page + 1).ok_or(Wrong::NoMemory)?;
    }
    let child = computer.fork(parent);
    for page in (0..PAGES).step_by(3) {
        computer.store(child, page, 1, page + 100).ok_or(Wrong::NoMemory)?;
    }
    for page in 0..PAGES {
        let own = if page.is_multiple_of(3) { page + 100 } else { 0 };
        if computer.load(child, page) != Some([page + 1, own]) {
            return Err(Wrong::Child);
        }
        if computer.load(parent, page) != Some([page + 1, 0]) {
            return Err(Wrong::Parent);
        }
    }
    match computer.has_swapped() {
        true => Ok(()),
        false => Err(Wrong::NoSwap),
    }
}
