//! mmap(2).

use crate::area::{AreaFlags, Sharing};
use crate::call::{Addr, Fd, PAGE, ProcessId};
use crate::flags::{MapFlags, Prot};
use crate::outcome::{Errno, Outcome};
use crate::system::{Person, Store};

use super::Model;
use super::allowed::{Allowed, Answer};
use super::object::{Kind, Object, ObjectId};
use super::page::{Backing, Lock, Page, Traits};
use super::place::{self, TASK_END};
use super::process::{Descriptor, Open, Pages, RIGHTS, is_aligned, round_up};

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub addr: Addr,
    pub len: u64,
    pub prot: Prot,
    pub flags: MapFlags,
    pub fd: Fd,
    pub offset: u64,
}

/// Bytes of a huge page.
const HUGE_PAGE: u64 = 2 << 20;

/// Stands for the object that a shared map of `/dev/zero` is about to get.
const NEW_OBJECT: ObjectId = ObjectId(u32::MAX);

/// The four bits that say which type of mapping.
const TYPE: MapFlags = MapFlags::from_bits_retain(0xf);
/// SHARED, and flags that aren't known are errors.
const SHARED_VALIDATE: MapFlags = MapFlags::SHARED.union(MapFlags::PRIVATE);
/// MAP_UNINITIALIZED, and the sizes of huge pages.
const HUGE_SIZES: MapFlags = MapFlags::from_bits_retain(0x7c00_0000);
/// Flags that SHARED_VALIDATE knows.
const KNOWN: MapFlags = TYPE
    .union(MapFlags::FIXED)
    .union(MapFlags::ANONYMOUS)
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

impl Model {
    pub(super) fn mmap(&mut self, process: ProcessId, mut request: Request) -> Answer {
        if !request.offset.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        let file = self.file_of(process, request)?;
        if request.flags.contains(MapFlags::HUGETLB) {
            // The pool of huge pages is empty here.
            let crooked = !request.addr.bytes.is_multiple_of(HUGE_PAGE);
            let fixed = request.flags.contains(MapFlags::FIXED);
            return Err(if fixed && crooked { Errno::EINVAL } else { Errno::ENOMEM });
        }
        if request.len == 0 {
            return Err(Errno::EINVAL);
        }
        let pages = round_up(request.len) / PAGE;
        if pages == 0 {
            return Err(Errno::ENOMEM);
        }
        if (request.offset / PAGE).checked_add(pages).is_none() {
            return Err(Errno::EOVERFLOW);
        }
        let noreplace = request.flags.contains(MapFlags::FIXED_NOREPLACE);
        if noreplace {
            request.flags |= MapFlags::FIXED;
        }
        let start = self.place(process, request, pages)?;
        let range = start..start + pages;
        if noreplace
            && (!place::is_inside(&self.world, start, pages)
                || self.process(process).any(range.clone()))
        {
            return Err(Errno::EEXIST);
        }
        let lock = self.lock_of(process, request, pages)?;
        let traits = match file {
            Some(file) => self.file_traits(request, file, pages)?,
            None => anonymous_traits(request)?,
        };
        let traits = Traits { lock, birth: self.birth(), ..traits };
        self.replace(process, range.clone(), traits)?;
        let traits = self.with_object(traits, pages);
        for number in range.clone() {
            let page = Page::new(traits.after(number - start));
            self.process_mut(process).pages.insert(number, page);
        }
        let populate = request.flags & (MapFlags::POPULATE | MapFlags::NONBLOCK);
        if lock != Lock::No || populate == MapFlags::POPULATE {
            self.populate_quietly(process, range);
        }
        Ok(Allowed::Only(Outcome::Address(Addr::at(start * PAGE))))
    }

    fn file_of(&self, process: ProcessId, request: Request) -> Result<Option<Descriptor>, Errno> {
        if request.flags.contains(MapFlags::ANONYMOUS) {
            return Ok(None);
        }
        let file = self.process(process).descriptor(request.fd)?;
        match request.flags.contains(MapFlags::HUGETLB) {
            true => Err(Errno::EINVAL),
            false => Ok(Some(file)),
        }
    }

    fn place(&self, process: ProcessId, request: Request, pages: u64) -> Result<u64, Errno> {
        if !request.flags.contains(MapFlags::FIXED) {
            return place::choose(&self.world, self.process(process), request.addr.bytes, pages);
        }
        if pages > TASK_END / PAGE || request.addr.bytes > TASK_END - pages * PAGE {
            return Err(Errno::ENOMEM);
        }
        if !is_aligned(request.addr) {
            return Err(Errno::EINVAL);
        }
        // Nobody but root may map where a null pointer leads.
        if request.addr.bytes < PAGE && self.world.person == Person::Ordinary {
            return Err(Errno::EPERM);
        }
        Ok(request.addr.bytes / PAGE)
    }

    fn lock_of(&self, process: ProcessId, request: Request, pages: u64) -> Result<Lock, Errno> {
        let process = self.process(process);
        let asks = request.flags.contains(MapFlags::LOCKED);
        let lock = match process.future {
            Lock::No if asks => Lock::Full,
            future => future,
        };
        if asks && process.locked_max == 0 && !self.is_exempt() {
            return Err(Errno::EPERM);
        }
        if lock != Lock::No && !self.may_lock(process, pages) {
            return Err(Errno::EAGAIN);
        }
        Ok(lock)
    }

    fn file_traits(&self, request: Request, file: Descriptor, pages: u64) -> Result<Traits, Errno> {
        let mut may = RIGHTS;
        if self.is_beyond(request, file, pages) {
            return Err(Errno::EOVERFLOW);
        }
        let kind = request.flags & TYPE;
        let shared = kind == MapFlags::SHARED || kind == SHARED_VALIDATE;
        // FIXED_NOREPLACE and SYNC are the two that came after plain SHARED stopped looking.
        let sync = matches!(file.open, Open::Object(object) if self.objects[&object].is_on_disk());
        let known = if sync { KNOWN | MapFlags::SYNC } else { KNOWN };
        if kind == SHARED_VALIDATE && !known.contains(request.flags) {
            return Err(Errno::EOPNOTSUPP);
        }
        if shared && !file.writes() {
            if request.prot.contains(Prot::WRITE) {
                return Err(Errno::EACCES);
            }
            may -= Prot::WRITE;
        }
        if !shared && kind != MapFlags::PRIVATE {
            return Err(Errno::EINVAL);
        }
        if !file.reads() {
            return Err(Errno::EACCES);
        }
        let object = match file.open {
            // A pipe is on a file system from which nothing is executed.
            Open::Pipe if request.prot.contains(Prot::EXEC) => return Err(Errno::EPERM),
            Open::Directory | Open::Pipe => return Err(Errno::ENODEV),
            Open::Zero => None,
            Open::Object(object) => Some(object),
        };
        if request.flags.contains(MapFlags::GROWSDOWN) {
            return Err(Errno::EINVAL);
        }
        if object.is_some_and(|object| self.objects[&object].sealed) && shared {
            if request.prot.contains(Prot::WRITE) {
                return Err(Errno::EPERM);
            }
            may -= Prot::WRITE;
        }
        let on_disk = object.is_some_and(|object| self.objects[&object].is_on_disk());
        if request.flags.contains(MapFlags::SYNC) && on_disk {
            return Err(Errno::EOPNOTSUPP);
        }
        let page = request.offset / PAGE;
        let backing = match (object, shared) {
            (Some(object), _) => Backing::Object { object, page },
            (None, true) => Backing::Object { object: NEW_OBJECT, page },
            (None, false) => Backing::ZeroDevice,
        };
        let sharing = if shared { Sharing::Shared } else { Sharing::Private };
        // A shared map of `/dev/zero` has a new file of its own.
        let opened = if backing.is_new() { 0 } else { file.opened };
        Ok(Traits { opened, ..traits(request, sharing, backing, may) })
    }

    /// Is the end further than the file system lets any file go?
    fn is_beyond(&self, request: Request, file: Descriptor, pages: u64) -> bool {
        let Open::Object(object) = file.open else { return false };
        let max = match self.objects[&object].is_on_disk() {
            // Of ext4: as many blocks as 32 bits count.
            true => u64::from(u32::MAX),
            false => i64::MAX as u64 / PAGE,
        };
        max.checked_sub(pages).is_none_or(|max| request.offset / PAGE > max)
    }

    /// Takes what is there away, if that may be, and if the limits let the new come.
    pub(super) fn replace(
        &mut self,
        process: ProcessId,
        range: Pages,
        traits: Traits,
    ) -> Result<(), Errno> {
        let here = self.process_mut(process);
        let there: Vec<Traits> = here.pages.range(range.clone()).map(|(_, p)| p.traits).collect();
        if there.iter().any(|traits| traits.is_sealed()) {
            self.rebirth(process, range);
            return Err(Errno::EPERM);
        }
        // What goes is taken off what comes, whatever kind it is.
        let added = range.end - range.start - there.len() as u64;
        if !here.may_add(traits, added) {
            // Areas have been cut at both ends already, and stay so.
            self.rebirth(process, range);
            return Err(Errno::ENOMEM);
        }
        here.pages.retain(|number, _| !range.contains(number));
        Ok(())
    }

    /// Shared memory without a file gets an object of its own.
    fn with_object(&mut self, traits: Traits, pages: u64) -> Traits {
        let page = match traits.backing {
            Backing::Anonymous if traits.is_shared() => 0,
            // The new object is as long as the mapping, wherever in it that begins.
            Backing::Object { object: NEW_OBJECT, page } => page,
            _ => return traits,
        };
        let object = self.add_object(Object::new(Kind::Anonymous, pages * PAGE));
        Traits { backing: Backing::Object { object, page }, ..traits }
    }

    /// Brings pages in; in each area up to the first that can't be.
    pub(super) fn populate_quietly(&mut self, process: ProcessId, range: Pages) {
        for (run, _) in self.process(process).runs(range) {
            for number in run {
                if self.populate(process, number).is_err() {
                    break;
                }
            }
        }
    }
}

fn anonymous_traits(request: Request) -> Result<Traits, Errno> {
    let kind = request.flags & TYPE;
    let grows = request.flags.contains(MapFlags::GROWSDOWN);
    let sharing = match kind {
        MapFlags::SHARED if !grows => Sharing::Shared,
        MapFlags::PRIVATE | MapFlags::DROPPABLE => Sharing::Private,
        _ => return Err(Errno::EINVAL),
    };
    let mut traits = traits(request, sharing, Backing::Anonymous, RIGHTS);
    if kind == MapFlags::DROPPABLE {
        traits.flags |= AreaFlags::DROPPABLE
            | AreaFlags::NORESERVE
            | AreaFlags::WIPEONFORK
            | AreaFlags::DONTDUMP;
    }
    Ok(traits)
}

fn traits(request: Request, sharing: Sharing, backing: Backing, may: Prot) -> Traits {
    let marks = [
        (MapFlags::GROWSDOWN, AreaFlags::GROWSDOWN),
        (MapFlags::NORESERVE, AreaFlags::NORESERVE),
        // The kernel takes a stack for no place for huge pages.
        (MapFlags::STACK, AreaFlags::NOHUGEPAGE),
    ];
    let set = marks.into_iter().filter(|(flag, _)| request.flags.contains(*flag));
    Traits {
        prot: request.prot & RIGHTS,
        may,
        sharing,
        backing,
        lock: Lock::No,
        opened: 0,
        flags: set.map(|(_, mark)| mark).collect(),
        birth: 0,
    }
}

impl Backing {
    fn is_new(self) -> bool {
        matches!(self, Backing::Object { object: NEW_OBJECT, .. })
    }
}

impl Store {
    /// Does its file system take COLLAPSE, INSERT and ZERO?
    pub(super) fn shifts(self) -> bool {
        self == Store::Disk
    }
}
