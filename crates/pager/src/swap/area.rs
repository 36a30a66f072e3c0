//! What a swap area must be able to do besides paging, so that forked children have one.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::open::OpenError;
use crate::pager::Pager;

/// A swap area that others like it can be made beside.
pub trait SwapArea: Pager {
    /// The directory whose file system it is on.
    fn dir(&self) -> &Path;

    /// An empty one of the same kind and the same limit, for a forked child.
    fn beside(&self) -> Result<Arc<dyn SwapArea>, OpenError>;

    /// Makes it `size` bytes of pages, where it has fewer, and whatever it has stored is
    /// not counted against its limit from now on: a forked child reads that.
    fn lend(&self, size: u64) -> io::Result<()>;
}
