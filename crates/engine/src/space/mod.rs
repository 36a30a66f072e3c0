//! Address spaces and their areas.
