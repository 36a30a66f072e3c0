//! How big a machine is.

/// How big a machine is. Begin with [`Config::new`] and change what should differ.
///
/// The memory of all frames is taken when the machine is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Frames for the engine: the budget.
    pub frames: u32,
    /// Frames beyond that, for page tables. Each space takes one from its beginning.
    pub table_frames: u32,
    /// CPUs, each with a TLB of its own.
    pub cpus: u32,
    /// Spaces that are there from the beginning: `SpaceId(0)` and so on.
    pub spaces: u32,
    /// A bug to plant.
    #[cfg(any(test, feature = "canary"))]
    pub canary: Option<Canary>,
}

impl Config {
    /// One CPU, one space, and table frames that suffice unless pages are far apart:
    /// a quarter of `frames` and 256.
    pub fn new(frames: u32) -> Config {
        Config {
            frames,
            table_frames: frames / 4 + 256,
            cpus: 1,
            spaces: 1,
            #[cfg(any(test, feature = "canary"))]
            canary: None,
        }
    }
}

/// A bug that a checker must find: one that doesn't checks nothing.
#[cfg(any(test, feature = "canary"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// Taking a page out of its address leaves it in the TLBs.
    MissingFlush,
}
