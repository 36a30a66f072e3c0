//! How a file is to be mapped.

use std::os::fd::AsFd;
use std::sync::Arc;

use faultless_addr::{PAGE_BYTES, Prot, SpaceId};
use faultless_engine::{ObjectOptions, OnError, Pattern, Rights};
use faultless_linux::{INLINE, THREAD};
use faultless_pager::{FilePager, Pager, Rights as FileRights};
use faultless_runtime::NewObject;

use crate::copy::MapCopy;
use crate::error::Error;
use crate::map::{Map, MapMut};
use crate::mapping::Mapping;
use crate::raw::MapRaw;
use crate::vm::Vm;

/// Who serves the faults of a mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Threads of the `Vm`. Every access works, also by the kernel on your behalf:
    /// `write(2)` from the mapping, `read(2)` into it.
    #[default]
    Thread,
    /// The thread that faults, by a SIGBUS that never gets further: about twice as
    /// quick. A system call that touches a page that isn't in memory answers EFAULT,
    /// so pin what you hand to the kernel.
    Inline,
}

impl Delivery {
    pub(crate) fn space(self) -> SpaceId {
        match self {
            Delivery::Thread => THREAD,
            Delivery::Inline => INLINE,
        }
    }
}

/// How a file is to be mapped: which part, and how it behaves.
///
/// All maps of one file in one `Vm` share its pages; what they are like
/// (`delivery`, `granule`, `memory`, `reserve`, `on_error`) is decided by the first.
#[derive(Clone, Debug, Default)]
pub struct MapOptions {
    offset: u64,
    len: Option<u64>,
    delivery: Option<Delivery>,
    pattern: Pattern,
    granule: Option<u64>,
    memory: Option<u64>,
    reserve: Option<u64>,
    populate: bool,
    on_error: Option<OnError>,
}

/// A part of a file.
pub(crate) struct Part {
    pub mapping: Arc<Mapping>,
    pub offset: u64,
    pub len: u64,
    /// There is to be room for a copy of every page.
    pub reserved: bool,
}

impl MapOptions {
    /// The whole file, by handler threads, with read-ahead as the accesses suggest.
    pub fn new() -> MapOptions {
        MapOptions::default()
    }

    /// The first byte of the map: any byte of the file, not only multiples of the
    /// page size.
    pub fn offset(mut self, bytes: u64) -> MapOptions {
        self.offset = bytes;
        self
    }

    /// The map's length; up to the end of the file if not said.
    pub fn len(mut self, bytes: u64) -> MapOptions {
        self.len = Some(bytes);
        self
    }

    /// Who serves faults.
    pub fn delivery(mut self, delivery: Delivery) -> MapOptions {
        self.delivery = Some(delivery);
        self
    }

    /// What to read ahead.
    pub fn read_ahead(mut self, pattern: Pattern) -> MapOptions {
        self.pattern = pattern;
        self
    }

    /// Bytes that come into memory together: a power of two, 4 KiB to 2 MiB.
    pub fn granule(mut self, bytes: u64) -> MapOptions {
        self.granule = Some(bytes);
        self
    }

    /// The most memory that this file may hold, within the budget of the `Vm`.
    pub fn memory(mut self, bytes: u64) -> MapOptions {
        self.memory = Some(bytes);
        self
    }

    /// Bytes of addresses to set aside, so that the file can grow in place. If not
    /// said, a map for writing gets twice the file's size and at least 1 GiB.
    pub fn reserve(mut self, bytes: u64) -> MapOptions {
        self.reserve = Some(bytes);
        self
    }

    /// Set no addresses aside for growth.
    pub fn no_reserve(self) -> MapOptions {
        self.reserve(0)
    }

    /// Begin at once to read what is mapped, as far as the budget allows.
    pub fn populate(mut self) -> MapOptions {
        self.populate = true;
        self
    }

    /// What a plain pointer gets where a page can't be had: SIGBUS if not said.
    pub fn on_error(mut self, on_error: OnError) -> MapOptions {
        self.on_error = Some(on_error);
        self
    }

    /// Maps a file for reading.
    pub fn map_raw(&self, vm: &Vm, file: &impl AsFd) -> Result<MapRaw, Error> {
        self.make(vm, file, FileRights::ReadOnly)
    }

    /// Maps a file, open for reading and writing, for both.
    pub fn map_raw_mut(&self, vm: &Vm, file: &impl AsFd) -> Result<MapRaw, Error> {
        self.make(vm, file, FileRights::ReadWrite)
    }

    /// Maps a file for reading, as a `&[u8]`.
    ///
    /// # Safety
    ///
    /// As long as a slice of it lives, nobody may change the bytes it shows: no
    /// other process writes to the file, and this one doesn't by another map, by
    /// `write_at` or by `pin_mut`, nor takes rights away by `protect`. Nor may the file become shorter, or the page of a
    /// slice be unreadable, without a handler for SIGBUS that doesn't return.
    #[allow(unsafe_code)]
    pub unsafe fn map(&self, vm: &Vm, file: &impl AsFd) -> Result<Map, Error> {
        Ok(Map::new(self.map_raw(vm, file)?))
    }

    /// Maps a file for reading and writing, as a `&mut [u8]`.
    ///
    /// # Safety
    ///
    /// As for [`map`](Self::map); and as long as a mutable slice of it lives, nobody
    /// may read the bytes it shows by another map or pin of the same file.
    #[allow(unsafe_code)]
    pub unsafe fn map_mut(&self, vm: &Vm, file: &impl AsFd) -> Result<MapMut, Error> {
        Ok(MapMut::new(self.map_raw_mut(vm, file)?))
    }

    /// Maps a file, open for reading, as a `&mut [u8]` whose stores are one's own: they go
    /// to copies of its pages, which leave to swap when memory is short.
    ///
    /// Budget and swap must have room for a copy of every page, unless
    /// [`no_reserve`](Self::no_reserve) says that few will be stored to; should there be
    /// none for a copy then, the store ends in SIGBUS.
    ///
    /// # Safety
    ///
    /// As for [`map`](Self::map), but that this map may be stored to: pages that it has
    /// not stored to are the file's.
    #[allow(unsafe_code)]
    pub unsafe fn map_copy(&self, vm: &Vm, file: &impl AsFd) -> Result<MapCopy, Error> {
        let part = self.private_part(vm, file)?;
        MapCopy::new(part.mapping, part.offset, part.len, part.reserved)
    }

    /// What a private map of a file shows.
    pub(crate) fn private_part(&self, vm: &Vm, file: &impl AsFd) -> Result<Part, Error> {
        let mapping = self.mapping(vm, file, FileRights::ReadOnly)?;
        let size = mapping.size()?;
        let len = self.len.unwrap_or(size.saturating_sub(self.offset));
        mapping.bytes(self.offset, len)?;
        Ok(Part { mapping, offset: self.offset, len, reserved: self.reserve != Some(0) })
    }

    /// Maps whatever a pager reads (and, if you will, writes). Every call makes
    /// pages of its own.
    pub fn map_pager(&self, vm: &Vm, pager: Arc<dyn Pager>) -> Result<MapRaw, Error> {
        let name = pager.name();
        let size = pager.size().map_err(|source| Error::Size { name, source })?;
        let mapping = self.open(vm, pager, size, None, FileRights::ReadWrite)?;
        self.view(Arc::new(mapping), FileRights::ReadWrite)
    }

    fn make(&self, vm: &Vm, file: &impl AsFd, rights: FileRights) -> Result<MapRaw, Error> {
        self.view(self.mapping(vm, file, rights)?, rights)
    }

    /// The file's mapping in the `Vm`, which is made if there is none.
    fn mapping(
        &self,
        vm: &Vm,
        file: &impl AsFd,
        rights: FileRights,
    ) -> Result<Arc<Mapping>, Error> {
        vm.inner.core().check_birthplace()?;
        let pager = Arc::new(FilePager::new(file, rights)?);
        let id = pager.identity();
        let (mapping, mut catalog) = vm.inner.catalog.look_up(id);
        if let Some(mapping) = mapping {
            // Before anything that may drop the mapping, whose end needs the catalog.
            drop(catalog);
            self.check_against(&mapping)?;
            mapping.core().refresh(mapping.object())?;
            if rights == FileRights::ReadWrite {
                mapping.make_writable(file)?;
            }
            return Ok(mapping);
        }
        let name = pager.name();
        let size = pager.size().map_err(|source| Error::Size { name, source })?;
        let mapping = Arc::new(self.open(vm, pager.clone(), size, Some((id, pager)), rights)?);
        catalog.insert(id, &mapping);
        drop(catalog);
        Ok(mapping)
    }

    fn open(
        &self,
        vm: &Vm,
        pager: Arc<dyn Pager>,
        size: u64,
        file: Option<(faultless_pager::FileId, Arc<FilePager>)>,
        rights: FileRights,
    ) -> Result<Mapping, Error> {
        let name = pager.name();
        let writable = rights == FileRights::ReadWrite;
        let prot = if writable { Prot::READ | Prot::WRITE } else { Prot::READ };
        let ahead = if writable { size.saturating_mul(2).max(1 << 30) } else { 0 };
        let handle = vm.inner.core().open(NewObject {
            pager,
            options: self.object_options(size, rights)?,
            space: self.delivery.unwrap_or_default().space(),
            prot,
            reserve: self.reserve.unwrap_or(ahead).max(size),
        })?;
        Ok(Mapping::new(vm.inner.clone(), handle, name, file, writable))
    }

    fn object_options(&self, size: u64, rights: FileRights) -> Result<ObjectOptions, Error> {
        let granule = self.granule.unwrap_or(PAGE_BYTES);
        if !granule.is_power_of_two() || !(PAGE_BYTES..=2 << 20).contains(&granule) {
            return Err(Error::Option {
                option: "the granule",
                value: format!("{granule} bytes"),
                remedy: "give a power of two from 4 KiB to 2 MiB",
            });
        }
        let limit = self.memory.map_or(u64::from(u32::MAX), |bytes| bytes / PAGE_BYTES);
        if limit < 8 {
            return Err(Error::Option {
                option: "the memory of a mapping",
                value: format!("{} bytes", limit * PAGE_BYTES),
                remedy: "give at least 32 KiB",
            });
        }
        let rights = match rights {
            FileRights::ReadOnly => Rights::ReadOnly,
            FileRights::ReadWrite => Rights::ReadWrite,
        };
        Ok(ObjectOptions {
            on_error: self.on_error.unwrap_or(OnError::Signal),
            granule: (granule / PAGE_BYTES) as u32,
            limit: limit.min(u64::from(u32::MAX)) as u32,
            ..ObjectOptions::file(size, rights)
        })
    }

    /// The file is mapped already: is it as this call wants it?
    fn check_against(&self, mapping: &Mapping) -> Result<(), Error> {
        let is = match mapping.handle.space {
            THREAD => Delivery::Thread,
            _ => Delivery::Inline,
        };
        match self.delivery {
            Some(asked) if asked != is => Err(Error::AlreadyMapped {
                name: mapping.name.clone(),
                option: "delivery",
                is: format!("{is:?}"),
                asked: format!("{asked:?}"),
            }),
            _ => Ok(()),
        }
    }

    /// The part of the mapping that the options ask for.
    fn view(&self, mapping: Arc<Mapping>, rights: FileRights) -> Result<MapRaw, Error> {
        let size = mapping.size()?;
        let len = self.len.unwrap_or(size.saturating_sub(self.offset));
        mapping.bytes(self.offset, len)?;
        if self.pattern != Pattern::Normal {
            mapping.core().advise(mapping.object(), self.pattern)?;
        }
        let map = MapRaw::new(mapping, self.offset, len, rights)?;
        if self.populate {
            map.prefetch([(0, len)])?;
        }
        Ok(map)
    }
}
