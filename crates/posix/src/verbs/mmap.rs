//! mmap(2): where it goes, then what it shows and whether it may, then in its place.
//!
//! The order of the checks is that of Linux 6.18.

use faultless_addr::{ObjectId, PAGE_BYTES, PageIndex, Prot, VirtAddr, VirtRange};
use faultless_engine::space::{Backing, MapRequest, Merge, Place, Sharing, VmaFlags};

use crate::device::{Asked, Mapping};
use crate::errno::Errno;
use crate::file::{File, Store};
use crate::flags::MapFlags;
use crate::process::{Descriptor, Open, Pid};
use crate::system::System;

/// The parameters.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)] // They are those of the man page.
pub struct Mmap {
    pub addr: u64,
    pub len: u64,
    pub prot: u32,
    pub flags: MapFlags,
    pub fd: i32,
    pub offset: u64,
}

/// The four bits that say which type of mapping.
const TYPE: MapFlags = MapFlags::from_bits_retain(0xf);
/// MAP_UNINITIALIZED, and the sizes of huge pages.
const HUGE_SIZES: MapFlags = MapFlags::from_bits_retain(0x7c00_0000);
/// Flags that SHARED_VALIDATE knows.
const KNOWN: MapFlags = TYPE
    .union(MapFlags::FIXED)
    .union(MapFlags::ANONYMOUS)
    .union(MapFlags::BIT32)
    .union(MapFlags::ABOVE4G)
    .union(MapFlags::GROWSDOWN)
    .union(MapFlags::DENYWRITE)
    .union(MapFlags::EXECUTABLE)
    .union(MapFlags::LOCKED)
    .union(MapFlags::NORESERVE)
    .union(MapFlags::POPULATE)
    .union(MapFlags::NONBLOCK)
    .union(MapFlags::STACK)
    .union(MapFlags::HUGETLB)
    .union(HUGE_SIZES);
/// Bytes of a huge page.
const HUGE_PAGE: u64 = 2 << 20;

impl System {
    /// mmap(2).
    pub fn mmap(&mut self, pid: Pid, call: Mmap) -> Result<VirtAddr, Errno> {
        if !call.offset.is_multiple_of(PAGE_BYTES) {
            return Err(Errno::EINVAL);
        }
        let file = self.file_to_map(pid, &call)?;
        check_length(&call)?;
        let space = pid.space();
        let request = call.request();
        let place = self.engine.space(space).find_place(&request)?;
        let request = match file {
            Some(file) => self.of_file(request, &call, file)?,
            None => self.anonymous(request, &call)?,
        };
        let mapped = self.plan(|engine, plan| engine.map_over(space, request, plan));
        self.clear(space, place);
        self.reap();
        let range = mapped?;
        self.show_devices(space);
        self.populate_mapped(pid, range, call.flags);
        Ok(range.start)
    }

    fn populate_mapped(&mut self, pid: Pid, range: VirtRange, flags: MapFlags) {
        let asks = flags & (MapFlags::POPULATE | MapFlags::NONBLOCK) == MapFlags::POPULATE;
        let future = self.engine.space(pid.space()).future_locks();
        if asks || flags.contains(MapFlags::LOCKED) || !future.is_empty() {
            self.populate_quietly(pid, range);
        }
    }

    fn file_to_map(&self, pid: Pid, call: &Mmap) -> Result<Option<Descriptor>, Errno> {
        if call.flags.contains(MapFlags::ANONYMOUS) {
            return Ok(None);
        }
        let file = self.process(pid).descriptor(call.fd)?;
        match call.flags.contains(MapFlags::HUGETLB) {
            true => Err(Errno::EINVAL),
            false => Ok(Some(file)),
        }
    }

    fn anonymous(&mut self, request: MapRequest, call: &Mmap) -> Result<MapRequest, Errno> {
        let grows = call.flags.contains(MapFlags::GROWSDOWN);
        let droppable = VmaFlags::DROPPABLE
            | VmaFlags::NO_RESERVE
            | VmaFlags::WIPE_ON_FORK
            | VmaFlags::DONT_DUMP;
        match call.flags & TYPE {
            MapFlags::SHARED if !grows => Ok(self.nameless(request, PageIndex(0))),
            MapFlags::PRIVATE => Ok(request),
            MapFlags::DROPPABLE => Ok(MapRequest { flags: request.flags | droppable, ..request }),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Shared memory without a file gets an object of its own, as long as the mapping,
    /// wherever in it that begins.
    fn nameless(&mut self, request: MapRequest, first: PageIndex) -> MapRequest {
        let size = request.len.next_multiple_of(PAGE_BYTES);
        let object = self.add_file(File::new(Store::Nameless, size));
        let backing = Backing::Object { object, first };
        MapRequest { backing, sharing: Sharing::Shared, ..request }
    }

    fn of_file(
        &mut self,
        request: MapRequest,
        call: &Mmap,
        file: Descriptor,
    ) -> Result<MapRequest, Errno> {
        let object = match file.open {
            Open::Object(object) => Some(object),
            _ => None,
        };
        let shared = self.check_type(call, file, object)?;
        if !file.reads() {
            return Err(Errno::EACCES);
        }
        match file.open {
            // A pipe is on a file system from which nothing is executed.
            Open::Pipe if request.prot.contains(Prot::EXEC) => return Err(Errno::EPERM),
            Open::Directory | Open::Pipe => return Err(Errno::ENODEV),
            Open::Zero | Open::Object(_) | Open::Device(_) => {}
        }
        if call.flags.contains(MapFlags::GROWSDOWN) {
            return Err(Errno::EINVAL);
        }
        let sealed = shared && object.is_some_and(|object| self.file(object).sealed);
        if sealed && request.prot.contains(Prot::WRITE) {
            return Err(Errno::EPERM);
        }
        let on_disk = object.is_some_and(|object| self.file(object).is_on_disk());
        if call.flags.contains(MapFlags::SYNC) && on_disk {
            return Err(Errno::EOPNOTSUPP);
        }
        if let Open::Device(number) = file.open {
            return self.of_device(
                request,
                file,
                (number, shared),
                PageIndex::containing(call.offset),
            );
        }
        let mut request = MapRequest { merge: Merge::Like(file.opened), ..request };
        if sealed || (shared && !file.writes()) {
            request.flags |= VmaFlags::NEVER_WRITE;
        }
        let first = PageIndex::containing(call.offset);
        let sharing = if shared { Sharing::Shared } else { Sharing::Private };
        Ok(match object {
            Some(object) => {
                MapRequest { backing: Backing::Object { object, first }, sharing, ..request }
            }
            None if shared => {
                let flags = request.flags - VmaFlags::NEVER_WRITE;
                let flags = if file.writes() { flags } else { request.flags };
                self.nameless(MapRequest { merge: Merge::Like(0), flags, ..request }, first)
            }
            None => MapRequest { flags: request.flags | VmaFlags::ZERO_FILE, ..request },
        })
    }

    /// A device's memory: its driver says how it is mapped.
    fn of_device(
        &mut self,
        request: MapRequest,
        file: Descriptor,
        (number, shared): (u32, bool),
        first: PageIndex,
    ) -> Result<MapRequest, Errno> {
        let asked = Asked { first: first.0, pages: request.len.div_ceil(PAGE_BYTES) };
        let mut flags = request.flags;
        flags.set(VmaFlags::NEVER_WRITE, shared && !file.writes());
        flags.set(VmaFlags::DEVICE, self.device_mapping(number, asked)? != Mapping::OnFault);
        let backing = Backing::Object { object: self.devices[number as usize].object, first };
        let sharing = if shared { Sharing::Shared } else { Sharing::Private };
        Ok(MapRequest { backing, sharing, flags, merge: Merge::Like(file.opened), ..request })
    }

    /// Is it shared, and may it be, by its flags and the descriptor's?
    fn check_type(
        &self,
        call: &Mmap,
        file: Descriptor,
        object: Option<ObjectId>,
    ) -> Result<bool, Errno> {
        if object.is_some_and(|object| is_beyond(call, self.file(object))) {
            return Err(Errno::EOVERFLOW);
        }
        let kind = call.flags & TYPE;
        let shared = kind == MapFlags::SHARED || kind == MapFlags::SHARED_VALIDATE;
        let on_disk = object.is_some_and(|object| self.file(object).is_on_disk());
        let known = if on_disk { KNOWN | MapFlags::SYNC } else { KNOWN };
        if kind == MapFlags::SHARED_VALIDATE && !known.contains(call.flags) {
            return Err(Errno::EOPNOTSUPP);
        }
        if shared && !file.writes() && call.rights().contains(Prot::WRITE) {
            return Err(Errno::EACCES);
        }
        match shared || kind == MapFlags::PRIVATE {
            true => Ok(shared),
            false => Err(Errno::EINVAL),
        }
    }
}

impl Mmap {
    fn rights(&self) -> Prot {
        Prot::from_bits_truncate(self.prot as u8)
    }

    /// Private and anonymous: what it shows is looked at later.
    fn request(&self) -> MapRequest {
        let at = VirtAddr(self.addr);
        let has = |flag| self.flags.contains(flag);
        let place = match () {
            () if has(MapFlags::FIXED_NOREPLACE) => Place::FixedNoReplace(at),
            () if has(MapFlags::FIXED) => Place::Fixed(at),
            () if has(MapFlags::BIT32) => Place::Low(at),
            () if at.page_start() == VirtAddr(0) => Place::Anywhere,
            () => Place::Hint(at),
        };
        let marks = [
            (MapFlags::GROWSDOWN, VmaFlags::GROWS_DOWN),
            (MapFlags::NORESERVE, VmaFlags::NO_RESERVE),
            (MapFlags::LOCKED, VmaFlags::LOCKED),
            (MapFlags::STACK, VmaFlags::NO_HUGE_PAGES),
        ];
        MapRequest {
            place,
            len: self.len,
            prot: self.rights(),
            sharing: Sharing::Private,
            backing: Backing::Anonymous,
            flags: marks.into_iter().filter(|(flag, _)| has(*flag)).map(|(_, mark)| mark).collect(),
            merge: Merge::Yes,
        }
    }
}

fn check_length(call: &Mmap) -> Result<(), Errno> {
    if call.flags.contains(MapFlags::HUGETLB) {
        let crooked = !call.addr.is_multiple_of(HUGE_PAGE);
        let fixed = call.flags.contains(MapFlags::FIXED);
        return Err(if fixed && crooked { Errno::EINVAL } else { Errno::ENOMEM });
    }
    if call.len == 0 {
        return Err(Errno::EINVAL);
    }
    let len = call.len.checked_next_multiple_of(PAGE_BYTES).ok_or(Errno::ENOMEM)?;
    let pages = (call.offset / PAGE_BYTES).checked_add(len / PAGE_BYTES);
    pages.map(drop).ok_or(Errno::EOVERFLOW)
}

/// Is the end further than the file system lets any file go?
fn is_beyond(call: &Mmap, file: &File) -> bool {
    let max = match file.is_on_disk() {
        // Of ext4: as many blocks as 32 bits count.
        true => u64::from(u32::MAX),
        false => i64::MAX as u64 / PAGE_BYTES,
    };
    let room = max.checked_sub(call.len.div_ceil(PAGE_BYTES));
    room.is_none_or(|room| call.offset / PAGE_BYTES > room)
}
