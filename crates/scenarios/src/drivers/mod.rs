//! Devices of the texts.

mod frame_buffer;
mod one_page;

pub use frame_buffer::{FrameBuffer, Geometry};
pub use one_page::{How, OnePage};
