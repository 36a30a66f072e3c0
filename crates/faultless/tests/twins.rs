//! Twins: the same random and directed calls to Faultless and to the real kernel, side by
//! side in one process; bytes, errors, signals with their addresses, and files are compared.
//!
//! ```text
//! cargo test -p faultless --test twins                          a few seeds, in seconds
//! SEED=7 STEPS=1000 cargo test -p faultless --test twins random one seed again
//! COUNT=2500 STEPS=400 cargo test … --test twins random         a million operations; `-- --nocapture`
//!                                                               says how many of what differs
//! COUNT=100 STEPS=2500 cargo test … --test twins threads        a million, by four threads
//! cargo test -p faultless --test twins table                    the checklist, line by line
//! WRITE=1 cargo test -p faultless --test twins table            and writes it down (`written`)
//! ```
#![cfg(target_arch = "x86_64")]

#[path = "twins/access.rs"]
mod access;
#[path = "twins/areas.rs"]
mod areas;
#[path = "twins/bench.rs"]
mod bench;
#[path = "twins/cases.rs"]
mod cases;
#[path = "twins/dice.rs"]
mod dice;
#[path = "twins/differences.rs"]
mod differences;
#[path = "twins/directed.rs"]
mod directed;
#[path = "twins/files.rs"]
mod files;
#[path = "twins/kernel.rs"]
mod kernel;
#[path = "twins/op.rs"]
mod op;
#[path = "twins/opened.rs"]
mod opened;
#[path = "twins/random.rs"]
mod random;
#[path = "twins/tail.rs"]
mod tail;
#[path = "twins/touch.rs"]
mod touch;
#[path = "twins/twin.rs"]
mod twin;
#[path = "twins/watch.rs"]
mod watch;
#[path = "twins/world.rs"]
mod world;
#[path = "twins/written.rs"]
mod written;

const PAGE: usize = 4096;
