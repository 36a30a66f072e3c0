//! What kind of area a call of mmap(2) makes, and whether it may.

use crate::area::{AreaFlags, Sharing};
use crate::call::PAGE;
use crate::flags::{MapFlags, Prot};
use crate::outcome::Errno;

use super::Model;
use super::mmap::Request;
use super::object::ObjectId;
use super::page::{Backing, Lock, Traits};
use super::process::{Descriptor, Open, RIGHTS};

/// Stands for the object that a shared map of `/dev/zero` is about to get.
pub const NEW_OBJECT: ObjectId = ObjectId(u32::MAX);

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

impl Model {
    pub(super) fn file_traits(
        &self,
        request: Request,
        file: Descriptor,
        pages: u64,
    ) -> Result<Traits, Errno> {
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
}

pub fn anonymous_traits(request: Request) -> Result<Traits, Errno> {
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
