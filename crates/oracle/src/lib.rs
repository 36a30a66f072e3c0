//! Faultless is right if three agree: its engine, the model here, and the kernel.
//!
//! | module | subject |
//! |---|---|
//! | [`call`], [`flags`], [`outcome`], [`area`] | the words: what a process does, and what comes of it |
//! | [`system`] | the trait of whatever carries calls out, and the world it does that in |
//! | [`names`] | addresses by the mapping that they are in |
//! | [`kernel`] | the real kernel as a system: children that do what they are told |
//! | [`model`] | a slow system that is easy to believe |
//! | [`differ`] | random calls on a system beside the model, or beside the kernel |
//! | [`directed`] | every line of the checklist as a case |
//!
//! Anything that carries calls out can be held against model and kernel, by the random
//! runs and by the cases, as soon as it is a [`system::System`]; the tool that does it to
//! Faultless is `faultless-judge`.
//!
//! ```no_run
//! use faultless_oracle::{differ, directed, kernel::Kernel};
//!
//! // In place of the kernel: whatever makes your system in a world.
//! let make = differ::beside_model(Kernel::new);
//! let (_, found) = differ::episode(make, 7, differ::EPISODE_CALLS)?;
//! assert!(found.is_none(), "{}", found.unwrap());
//! for case in directed::cases() {
//!     println!("{}", directed::play(Kernel::new, &case)?);
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! It is told of a window of addresses, and that everything around it is taken. Where a
//! mapping may go anywhere, Linux puts it as high as there is room, and so must it: the
//! random runs compare that, too. A case that is not about places names them instead
//! ([`call::Region`]).
//!
//! What the model leaves open, it says: bytes that may be zero ([`model::Loose`]), pages
//! that may be in memory ([`model::Residency`]), and areas that may be one or two
//! ([`model::Model::follow_seams`]). It knows no swap, no huge pages and no pressure; a
//! machine with small huge pages switched on may answer mincore(2) otherwise.

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
