//! The scenarios, one file each, in the order in which they are told.

mod active_and_inactive;
mod after_a_while;
mod areas;
mod beyond_the_end;
mod bigger_than_memory;
mod brk;
mod byte_at_an_offset;
mod copy_on_write;
mod dev_zero;
mod dropped_and_read_again;
mod exec;
mod flags_and_errors;
mod four_kinds;
mod fragments;
mod frame_buffer;
mod last_page;
mod loader_maps;
mod lost_update;
mod malloc;
mod many_updates;
mod one_page_driver;
mod one_page_driver_nopage;
mod outside;
mod page_tables;
mod parent_and_child;
mod partial_munmap;
mod pipes_and_ttys;
mod placement;
mod read_and_write;
mod reverse_map;
mod rights;
mod static_file_server;
mod swap_cache;
mod three_states;
mod tlb;
mod two_copies;
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
    &three_states::SCENARIO,
    &page_tables::SCENARIO,
    &tlb::SCENARIO,
    &four_kinds::SCENARIO,
    &dev_zero::SCENARIO,
    &swap_cache::SCENARIO,
    &reverse_map::SCENARIO,
    &active_and_inactive::SCENARIO,
    &after_a_while::SCENARIO,
    &many_updates::SCENARIO,
    &read_and_write::SCENARIO,
    &two_copies::SCENARIO,
    &partial_munmap::SCENARIO,
    &areas::SCENARIO,
    &placement::SCENARIO,
    &rights::SCENARIO,
    &flags_and_errors::SCENARIO,
    &dropped_and_read_again::SCENARIO,
    &bigger_than_memory::SCENARIO,
    &byte_at_an_offset::SCENARIO,
    &fragments::SCENARIO,
    &lost_update::SCENARIO,
];
