//! [`Connected`]: files by way of a broker, whose cache and budget other processes share.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use faultless_client::{Errno, Hint, Mapping};
use faultless_engine::Pattern;
use faultless_runtime::Operation;

use crate::error::Error;
use crate::vm::Vm;

/// A process's connection to a broker (`faultless broker`), by [`Vm::connect`].
///
/// Mappings made by it are the same memory in every process that has them: those that run
/// under `faultless run`, those that connect, and forked children, which have their parent's
/// mappings and stay coherent with it. The budget is the broker's.
///
/// If the broker ends, touching what isn't in memory is SIGBUS, and `flush` is EIO; connecting
/// again, to the broker that is there then, serves what is mapped anew.
#[derive(Clone, Debug)]
pub struct Connected {
    socket: PathBuf,
}

impl Vm {
    /// Connects this process to the broker that listens at `socket`. The first time it is to
    /// be called before there are threads that fork. A process has one broker: connecting
    /// again, to the same one, is the same connection.
    ///
    /// ```no_run
    /// # fn main() -> faultless::Result<()> {
    /// let shared = faultless::Vm::connect("/run/faultless")?;
    /// let file = std::fs::File::open("/data/large").expect("the file");
    /// let map = shared.map(file)?;
    /// let mut header = [0; 16];
    /// map.read_at(0, &mut header)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Broker`] with ENOENT or ECONNREFUSED where nobody listens, EACCES or ECONNRESET
    /// where this user may not, EUSERS where it serves as many processes as it may, EALREADY
    /// where the process is connected elsewhere.
    pub fn connect(socket: impl AsRef<Path>) -> Result<Connected, Error> {
        let socket = socket.as_ref().to_owned();
        let path: &OsStr = socket.as_os_str();
        match faultless_client::start(path.as_bytes()) {
            Ok(()) => Ok(Connected { socket }),
            Err(errno) => Err(Error::Broker { socket, source: errno.into() }),
        }
    }
}

impl Connected {
    /// Where the broker listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Maps a file as long as it is now, shared. Stores are allowed where it was opened for
    /// reading and writing.
    ///
    /// Files that the broker doesn't serve (short ones, those of `/proc`, devices) are mapped
    /// by the kernel, as [`ConnectedMap::is_served`] says.
    ///
    /// # Errors
    ///
    /// As mmap(2): EACCES where the file isn't open for reading, ENODEV where it can't be
    /// mapped, EINVAL where it is empty, ENOMEM where it is served and this process has as many
    /// mappings, or files, as the broker lets it have.
    pub fn map(&self, file: File) -> Result<ConnectedMap, Error> {
        let name = faultless_pager::name_of(file.as_fd());
        let size = |source| Error::Size { name: name.clone(), source };
        let bytes = file.metadata().map_err(size)?.len();
        let len = usize::try_from(bytes).map_err(|error| size(std::io::Error::other(error)))?;
        match Mapping::new(file, len) {
            Ok(mapping) => Ok(ConnectedMap { name, mapping }),
            Err(errno) => Err(Error::Map { name, source: errno.into() }),
        }
    }
}

/// A shared mapping of a file, served by a broker. Dropping it gives the addresses back;
/// what has been stored stays, and is written to the file in time.
#[derive(Debug)]
pub struct ConnectedMap {
    name: String,
    mapping: Mapping<File>,
}

impl ConnectedMap {
    /// The first byte. Its bytes may change at any time, by
    /// other processes: read them as volatile, or as atomics.
    pub fn as_ptr(&self) -> *const u8 {
        self.as_mut_ptr()
    }

    /// As [`as_ptr`](Self::as_ptr). Storing is SIGSEGV where the file was opened for reading.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.mapping.start()
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.mapping.len()
    }

    /// Never: there is no mapping of nothing.
    pub fn is_empty(&self) -> bool {
        self.mapping.is_empty()
    }

    /// Does the broker serve it, or the kernel?
    pub fn is_served(&self) -> bool {
        self.mapping.is_served()
    }

    /// Copies bytes of the file from `offset` on, as all mappings have them; answers how many
    /// there were. An error where the file can't be read, rather than a signal.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, Error> {
        self.mapping.read_at(into, offset).map_err(self.failed(Operation::Read, offset))
    }

    /// Stores bytes at `offset`, for all mappings to see.
    ///
    /// # Errors
    ///
    /// EBADF where the file was opened for reading; else as pwrite(2).
    pub fn write_at(&self, mut offset: u64, mut from: &[u8]) -> Result<(), Error> {
        while !from.is_empty() {
            match self.mapping.write_at(from, offset) {
                Ok(written) => {
                    from = &from[written..];
                    offset += written as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.failed(Operation::Write, offset)(errno)),
            }
        }
        Ok(())
    }

    /// Writes all that differs from the file, whoever has stored it, and waits until it is
    /// durable. An error that has happened since the last flush is told once.
    pub fn flush(&self) -> Result<(), Error> {
        self.flush_range(0, self.len())
    }

    /// As [`flush`](Self::flush), of some bytes.
    pub fn flush_range(&self, offset: usize, len: usize) -> Result<(), Error> {
        self.mapping.sync(offset, len).map_err(self.failed(Operation::Sync, offset as u64))
    }

    /// Says how the bytes will be touched.
    pub fn advise(&self, pattern: Pattern) -> Result<(), Error> {
        let hint = match pattern {
            Pattern::Normal => Hint::Normal,
            Pattern::Random => Hint::Random,
            Pattern::Sequential => Hint::Sequential,
        };
        self.hint(0, self.len(), hint)
    }

    /// Has these bytes read, without waiting for them.
    pub fn prefetch(&self, offset: usize, len: usize) -> Result<(), Error> {
        self.hint(offset, len, Hint::WillNeed)
    }

    fn hint(&self, offset: usize, len: usize, hint: Hint) -> Result<(), Error> {
        self.mapping.advise(offset, len, hint).map_err(self.failed(Operation::Read, offset as u64))
    }

    fn failed(&self, operation: Operation, offset: u64) -> impl Fn(Errno) -> Error {
        let name = self.name.clone();
        move |errno| {
            let (name, source) = (name.clone(), errno.into());
            faultless_runtime::Error::Io { operation, name, offset, source }.into()
        }
    }
}
