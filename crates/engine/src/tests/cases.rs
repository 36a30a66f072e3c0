//! The drawn cases of a fault, one test each.
