//! Which page leaves when a frame is needed.
