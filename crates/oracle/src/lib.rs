//! Faultless is right if three agree: its engine, the model here, and the kernel.
//!
//! | module | subject |
//! |---|---|
//! | [`call`], [`flags`], [`outcome`], [`area`] | the words: what a process does, and what comes of it |
//! | [`system`] | the trait of whatever carries calls out, and the world it does that in |
//! | [`names`] | addresses by the mapping that they are in |
//! | [`kernel`] | the real kernel as a system: children that do what they are told |
//! | [`model`] | a slow system that is easy to believe |
//! | [`differ`] | random calls on a system and the model |
//! | [`directed`] | every line of the checklist as a case |

#![deny(unsafe_code)]

pub mod area;
pub mod call;
pub mod differ;
pub mod directed;
pub mod flags;
pub mod kernel;
pub mod model;
pub mod names;
pub mod outcome;
pub mod system;
