//! The scenarios, one file each, in the order in which they are told.

mod beyond_the_end;
mod brk;
mod copy_on_write;
mod exec;
mod frame_buffer;
mod last_page;
mod loader_maps;
mod malloc;
mod one_page_driver;
mod one_page_driver_nopage;
mod outside;
mod parent_and_child;
mod pipes_and_ttys;
mod static_file_server;
mod watcher;
mod watcher_private;

use crate::scenario::Scenario;

/// All of them.
pub const ALL: &[&Scenario] = &[
    &watcher::SCENARIO,
    &watcher_private::SCENARIO,
    &one_page_driver::SCENARIO,
    &one_page_driver_nopage::SCENARIO,
    &frame_buffer::SCENARIO,
    &parent_and_child::SCENARIO,
    &copy_on_write::SCENARIO,
    &static_file_server::SCENARIO,
    &loader_maps::SCENARIO,
    &exec::SCENARIO,
    &malloc::SCENARIO,
    &brk::SCENARIO,
    &last_page::SCENARIO,
    &outside::SCENARIO,
    &beyond_the_end::SCENARIO,
    &pipes_and_ttys::SCENARIO,
];
