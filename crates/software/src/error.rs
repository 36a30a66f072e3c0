//! Why a translation could not be made.

use std::io;

use faultless_addr::VirtAddr;

/// Why a translation could not be made. Nothing has changed.
///
/// It is the inner error of the machine's `io::Error`s, whose kinds are those of the
/// errno named here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// EEXIST: a page or a marker is there. Take it away first.
    #[error("map at {at:?}: a page or a marker is there")]
    Exists {
        /// Where.
        at: VirtAddr,
    },
    /// ENOMEM: no frame is left for a table. Take translations away that are alone in
    /// their tables, or configure more.
    #[error("map at {at:?}: no frame is left for a table")]
    OutOfTables {
        /// Where the table was needed.
        at: VirtAddr,
    },
    /// EINVAL: no processor can translate all of it.
    #[error("map at {at:?}: not canonical, or past the last address")]
    NotCanonical {
        /// The first address of what was asked for.
        at: VirtAddr,
    },
}

impl From<MapError> for io::Error {
    fn from(error: MapError) -> io::Error {
        let kind = match error {
            MapError::Exists { .. } => io::ErrorKind::AlreadyExists,
            MapError::OutOfTables { .. } => io::ErrorKind::OutOfMemory,
            MapError::NotCanonical { .. } => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}
