//! The scenarios, one file each, in the order in which they are told.

mod frame_buffer;
mod one_page_driver;
mod one_page_driver_nopage;
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
];
