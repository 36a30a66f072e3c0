//! What a client maps: told by it, and by its kernel.
//!
//! Memory of its own (`own_calls.rs` has what is asked of it alone) is a region as those of
//! files are. What it holds the engine knows by address, so it is carried where those of files
//! are only shown anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use faultless_addr::{ObjectId, PAGE_BYTES, PageRange, Prot, SpaceId, VirtAddr, VirtRange};
use faultless_engine::ErrorsSeen;
use faultless_linux::shared::{Client, Event, Kind, Region};
use faultless_protocol::FileId;
use rustix::io::Errno;

use crate::error::errno_of;
use crate::files::Use;
use crate::own::Own;
use crate::served::SharedCore;

/// Addresses that a program can have.
pub(crate) const USER: VirtRange =
    VirtRange { start: VirtAddr(PAGE_BYTES), end: VirtAddr((1 << 47) - PAGE_BYTES) };

/// A client's regions, and the files that they show.
pub(crate) struct Regions {
    pub core: Arc<SharedCore>,
    pub client: Arc<Client>,
    files: Mutex<BTreeMap<ObjectId, Shown>>,
    pub own: Own,
    /// Homes behind a region that may be about to grow.
    pub growing: Mutex<Option<VirtRange>>,
    /// Its space may be another client's. Locked while a child is given what is in it.
    pub ended: Mutex<bool>,
}

/// A file that a client maps.
struct Shown {
    file: Use,
    /// The errors that the client has been told.
    seen: ErrorsSeen,
}

impl Regions {
    pub fn new(core: Arc<SharedCore>, client: Arc<Client>) -> Regions {
        Regions {
            own: Own::new(core.clone()),
            core,
            client,
            files: Mutex::default(),
            growing: Mutex::default(),
            ended: Mutex::default(),
        }
    }

    pub fn space(&self) -> SpaceId {
        self.client.space
    }

    /// The client has mapped a part of a file's memory.
    pub fn add(&self, file: Use, region: Region) -> Result<(), Errno> {
        // Whatever we believed to be there has gone unheard.
        self.lose(region.range);
        self.know(file);
        self.show(region).inspect_err(|_| self.drop_unused())
    }

    /// One of the client's regions shows a file.
    pub fn know(&self, file: Use) {
        let seen = file.errors_seen();
        let mut files = self.lock();
        let before = files.insert(file.handle.object, Shown { file, seen });
        if let Some(before) = before {
            // The same file again: its errors are told once.
            let now = files.get_mut(&before.file.handle.object);
            now.into_iter().for_each(|now| now.seen = before.seen);
            drop(files);
            drop(before);
        }
    }

    /// Tells the machine and the engine of a region.
    pub fn show(&self, region: Region) -> Result<(), Errno> {
        self.client.add(region);
        self.tell(region).inspect_err(|_| drop(self.client.remove(region.range)))
    }

    /// Tells the engine of a region that it doesn't know.
    pub fn tell(&self, region: Region) -> Result<(), Errno> {
        let Region { range, shows, .. } = region;
        if shows.is_some_and(|(object, _)| self.file(object).is_none()) {
            return Err(Errno::FAULT);
        }
        let shown = match (region.kind, shows) {
            (Kind::Own { .. }, shows) => self.core.show_own(self.space(), range, shows),
            (Kind::Private, Some(first)) => self.core.show(self.space(), range, first, Prot::READ),
            (Kind::Shared, Some(first)) => {
                self.core.show(self.space(), range, first, Prot::READ | Prot::WRITE)
            }
            (Kind::Private | Kind::Shared, None) => return Err(Errno::FAULT),
        };
        shown.map_err(|error| errno_of(&error))
    }

    /// How many mappings there are, in as many parts as they have.
    pub fn count(&self) -> usize {
        self.client.regions_in(USER).iter().filter(|region| !region.gone).count()
    }

    /// The files that are mapped.
    pub fn files(&self) -> BTreeSet<FileId> {
        self.lock().values().map(|shown| shown.file.id).collect()
    }

    /// A child has what its parent has.
    pub fn inherit(&self, parent: &Regions) -> Result<(), Errno> {
        let regions = parent.client.regions_in(USER);
        let mut mine = self.lock();
        for (object, shown) in parent.lock().iter() {
            mine.insert(*object, Shown { file: shown.file.again(), seen: shown.seen });
        }
        drop(mine);
        for region in regions.into_iter().filter(|region| !region.gone) {
            // As the parent's kernel has it, whatever its session has heard by now.
            let region = Region { range: region.range_now(), ..region };
            if !region.kind.is_own() {
                self.show(region)?;
            }
        }
        Ok(())
    }

    /// What the kernel has told, in order.
    pub fn hear(&self) {
        self.client.bell().drain();
        while let Some(event) = self.client.next_event() {
            match event {
                Event::Unmap(range) => self.lose(range),
                Event::Remap { from, to } => self.carry(from, to),
                // What has been dropped is asked for again by a fault.
                Event::Remove(_) | Event::PageFault(_) | Event::Other(_) => {}
            }
        }
    }

    /// A range has been unmapped.
    pub fn lose(&self, range: VirtRange) {
        if self.client.mark_gone(range).is_empty() {
            return;
        }
        self.core.hide(self.space(), range);
        self.forget(range);
        self.drop_unused();
    }

    /// Regions are known no more, and nothing is shown there; their homes are free.
    fn forget(&self, range: VirtRange) {
        for region in self.client.remove(range).iter().filter(|region| region.kind.is_own()) {
            self.own.give_back(region.homes());
        }
    }

    /// A range has been moved: what is known of it at `from` is known at `to` from now on.
    /// An access in between finds nothing, and is tried again.
    fn carry(&self, from: VirtRange, to: VirtRange) {
        self.lose(to);
        for region in self.own_in(from) {
            self.carry_own(
                region.range,
                VirtAddr(to.start.0 + region.range.start.0 - from.start.0),
            );
        }
        self.core.hide(self.space(), from);
        for region in self.client.carry(from, to.start) {
            if !region.kind.is_own() && self.tell(region).is_err() {
                self.client.remove(region.range);
            }
        }
        self.drop_unused();
    }

    /// A region has become longer in its place.
    pub fn grow(&self, start: VirtAddr, old: u64, new: u64) -> Result<(), Errno> {
        let range = grown(start, old, new).inspect_err(|_| self.stay())?;
        let last = VirtAddr(range.start.0 - PAGE_BYTES);
        let region = self.client.find(last).filter(|region| !region.gone).ok_or(Errno::FAULT)?;
        if region.kind.is_own() {
            return self.grow_own(&region, range);
        }
        self.lose(range);
        self.show(behind(&region, range))
    }

    /// The parts of files that a range shows, and which of their pages.
    pub fn files_in(&self, range: VirtRange) -> Vec<(Use, PageRange)> {
        self.shown_in(range).map(|(_, file, pages)| (file, pages)).collect()
    }

    fn shown_in(&self, range: VirtRange) -> impl Iterator<Item = (Region, Use, PageRange)> {
        let regions = self.client.regions_in(range).into_iter().filter(|region| !region.gone);
        regions.filter_map(|region| {
            let (object, first) = region.shows?;
            let file = self.file(object)?;
            Some((region, file, PageRange::from_len(first, region.range.pages())))
        })
    }

    /// Makes holes of what a range shows of files that the client may write.
    pub fn punch(&self, range: VirtRange) -> Result<(), Errno> {
        for (region, file, pages) in self.shown_in(range) {
            if region.kind != Kind::Shared {
                return Err(Errno::ACCESS);
            }
            file.punch(self.space(), pages.start.offset(), pages.len() * PAGE_BYTES)?;
        }
        Ok(())
    }

    /// Writes and makes durable what a range shows; tells the client of errors, each once.
    pub fn sync(&self, range: VirtRange) -> Result<(), Errno> {
        let mut result = Ok(());
        for (file, pages) in self.files_in(range) {
            let object = file.handle.object;
            let mut seen = self.lock().get(&object).map(|shown| shown.seen).unwrap_or_default();
            result = result.and(file.flush(pages, &mut seen));
            if let Some(shown) = self.lock().get_mut(&object) {
                shown.seen = seen;
            }
        }
        result
    }

    /// Is it going, or gone?
    pub fn has_ended(&self) -> bool {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything goes: the client is gone, or is not ours any more.
    pub fn end(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        if self.client.is_alive() {
            // What it has is taken from it; else it would go on storing there. A page can't be
            // taken from it alone.
            self.core.machine().remove_client(self.space());
            self.core.vacate(self.space(), USER);
        }
        self.lose(USER);
        let files = std::mem::take(&mut *self.lock());
        // Their end may write: no lock is held.
        drop(files);
    }

    /// The file of an object that a region shows.
    pub fn file(&self, object: ObjectId) -> Option<Use> {
        self.lock().get(&object).map(|shown| shown.file.again())
    }

    /// Files that no region shows any more are used no more.
    pub fn drop_unused(&self) {
        let mut files = self.lock();
        let shows = |object| move |region: &Region| region.shows.is_some_and(|it| it.0 == object);
        let is_unused = |object: &ObjectId| !self.client.has_region(shows(*object));
        let unused: Vec<ObjectId> = files.keys().copied().filter(is_unused).collect();
        let unused: Vec<_> = unused.iter().filter_map(|id| files.remove(id)).collect();
        drop(files);
        // Their end may write: no lock is held.
        drop(unused);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectId, Shown>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a region has in a range right behind it when it becomes longer.
pub(crate) fn behind(region: &Region, range: VirtRange) -> Region {
    let (now, home) = (range.start, region.home_of(range.start));
    Region { range, now, home, shows: region.shown_at(now), ..*region }
}

/// The addresses that a region has when it is `new` bytes long, and had not when it was `old`.
pub(crate) fn grown(start: VirtAddr, old: u64, new: u64) -> Result<VirtRange, Errno> {
    let whole = |bytes: u64| bytes.checked_next_multiple_of(PAGE_BYTES).ok_or(Errno::INVAL);
    let (old, new) = (whole(old)?, whole(new)?);
    let ends = |len: u64| start.0.checked_add(len).map(VirtAddr).ok_or(Errno::INVAL);
    let range = VirtRange { start: ends(old)?, end: ends(new)? };
    if old == 0 || new <= old || !USER.encloses(range) {
        return Err(Errno::INVAL);
    }
    Ok(range)
}
