//! Where a [`Vm`](crate::Vm) puts anonymous pages that leave memory, as its builder was told.

use std::path::PathBuf;
use std::sync::Arc;

use faultless_addr::PAGE_BYTES;
#[cfg(feature = "lz4")]
use faultless_pager::{CompressedSwap, IoMode};
use faultless_pager::{InheritedSwap, SwapFile};

use crate::error::Error;

/// What swap is to be like.
#[derive(Clone, Debug)]
pub(crate) struct Swap {
    dir: PathBuf,
    /// Bytes of pages that there is a slot for.
    pub memory: u64,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    /// Pages as they are.
    Plain,
    /// Compressed into so many bytes of the disk.
    #[cfg(feature = "lz4")]
    Lz4 { disk: u64 },
}

impl Swap {
    pub fn file(dir: PathBuf, bytes: u64) -> Swap {
        Swap { dir, memory: bytes.next_multiple_of(PAGE_BYTES), form: Form::Plain }
    }

    #[cfg(feature = "lz4")]
    pub fn compressed(dir: PathBuf, disk: u64, memory: u64) -> Swap {
        Swap { form: Form::Lz4 { disk }, ..Swap::file(dir, memory) }
    }

    pub fn create(&self) -> Result<Arc<InheritedSwap>, Error> {
        let area = match self.form {
            Form::Plain => InheritedSwap::new(SwapFile::create(&self.dir, self.memory)?),
            #[cfg(feature = "lz4")]
            Form::Lz4 { disk } => {
                let store = SwapFile::with_mode(&self.dir, disk, IoMode::Buffered)?;
                let area = CompressedSwap::new(store, self.memory / PAGE_BYTES);
                InheritedSwap::new(area.map_err(|source| faultless_runtime::Error::Setup {
                    what: "compressed swap",
                    source,
                })?)
            }
        };
        Ok(Arc::new(area))
    }
}
