//! Known bugs, planted on request: whoever checks the engine must find them.
//!
//! Only with the feature `canary`; without it nothing can be planted.

use crate::engine::Engine;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// A page that was stored to counts as clean after a while: its store is lost when it
    /// leaves.
    LostDirty,
    /// A frame that is given back is free twice.
    DoubleFree,
    /// Pages beyond a new, nearer end stay in memory.
    StaleAfterTruncate,
    /// Stores go on in what a parent shares with its child.
    UnsplitAfterFork,
}

impl Engine {
    /// Has this bug been planted?
    pub(crate) fn has(&self, canary: Canary) -> bool {
        #[cfg(feature = "canary")]
        return self.config.canary == Some(canary);
        #[cfg(not(feature = "canary"))]
        {
            let _ = canary;
            false
        }
    }
}
