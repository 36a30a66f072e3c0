//! [`Swap`]: where pages of clients' anonymous memory leave to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use faultless_addr::PAGE_BYTES;
use faultless_pager::SwapFile;

use crate::error::BrokerError;
use crate::served::SharedCore;

/// Where temporary files are that may be large: on a disk, as the hierarchy of file systems
/// has it (`/tmp` often is memory).
const USUAL: &str = "/var/tmp";

/// No swap file is longer if nobody says how long it is to be.
const USUAL_MOST: u64 = 256 << 30;

/// A file without a name, which takes room on the disk for the pages that are there only, and
/// is gone with the broker.
#[derive(Clone, Debug, Default)]
pub struct Swap {
    /// The directory; if not said, `/var/tmp`, or where temporary files are.
    pub dir: Option<PathBuf>,
    /// Bytes of pages that there is room for; if not said, half of what is free on the disk.
    pub bytes: Option<u64>,
}

impl Swap {
    /// Makes the file; answers how many bytes there are.
    pub(crate) fn add_to(&self, core: &SharedCore) -> Result<u64, BrokerError> {
        let dir = match &self.dir {
            Some(dir) => dir.clone(),
            None if Path::new(USUAL).is_dir() => USUAL.into(),
            None => std::env::temp_dir(),
        };
        let bytes = match self.bytes {
            Some(bytes) => bytes,
            None => half_of_free(&dir)?,
        };
        let bytes = bytes.next_multiple_of(PAGE_BYTES);
        let file = SwapFile::create(&dir, bytes)
            .map_err(|source| BrokerError::Swap { dir: dir.clone(), source: source.into() })?;
        core.add_swap(Arc::new(file), bytes);
        Ok(bytes)
    }
}

fn half_of_free(dir: &Path) -> Result<u64, BrokerError> {
    let system = rustix::fs::statvfs(dir)
        .map_err(|errno| BrokerError::Swap { dir: dir.to_owned(), source: errno.into() })?;
    Ok((system.f_bavail.saturating_mul(system.f_frsize) / 2).clamp(PAGE_BYTES, USUAL_MOST))
}
