//! One client: its requests, in order with its events.
//!
//! A call such as munmap returns to the client when its event has been read, and only then
//! can the client ask for something that builds on it. So events are heard before each
//! request.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use faultless_addr::{PAGE_BYTES, PageIndex, VirtAddr, VirtRange};
use faultless_engine::Pattern;
use faultless_linux::shared::{Kind, Region};
use faultless_protocol::{FileId, How, Reason, Reply, Request, VERSION};
use faultless_sys::awake::{A_WHILE, awake};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::{Errno, retry_on_intr};

use crate::broker::{Shared, new_name};
use crate::file_calls;
use crate::files::Use;
use crate::limits::{Comes, Limits, Place, has_room};
use crate::link::{Came, Link};
use crate::own::Homes;
use crate::regions::{Regions, USER};

/// Maps that a client may have asked for and not made, at once.
const TICKETS_MAX: usize = 64;

/// A client that asks, or changes its mappings, again so soon is expected to do so once more,
/// and is waited for without sleep.
const DIALOGUE: Duration = Duration::from_micros(200);

const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// mmap's flags, on every machine that Linux and we run on.
const ANONYMOUS: i32 = 0x20;
const NO_RESERVE: i32 = 0x4000;

/// A connection.
pub(crate) struct Session {
    shared: Arc<Shared>,
    link: Link,
    /// Since `Hello`.
    member: Option<Member>,
    staging: Option<OwnedFd>,
    tickets: BTreeMap<u64, Ticket>,
    next_ticket: u64,
    /// What it did last came soon after what it did before.
    in_dialogue: bool,
}

/// A client that has said who it is.
struct Member {
    token: u64,
    regions: Arc<Regions>,
    /// Whom it was forked from.
    parent: Weak<Regions>,
    _place: Place,
}

/// What a client has been offered.
struct Ticket {
    of: Offered,
    how: How,
    offset: u64,
    len: u64,
}

enum Offered {
    File(Use),
    /// Memory of its own: zeros, or a file from a page on.
    Own(Homes, Kind, Option<(Use, PageIndex)>),
}

impl Offered {
    fn memory(&self, how: How) -> BorrowedFd<'_> {
        match (self, how) {
            (Offered::File(file), How::Private) => file.memory.reader(),
            (Offered::File(file), _) => file.memory.writer(),
            (Offered::Own(homes, ..), _) => homes.memory(),
        }
    }
}

/// mmap's arguments, but for the file.
struct Wanted {
    offset: u64,
    len: u64,
    prot: i32,
    flags: i32,
}

/// What is sent beside a reply.
enum Beside {
    Nothing,
    Board,
    Memory(u64),
}

impl Session {
    pub fn new(shared: Arc<Shared>, socket: OwnedFd) -> Session {
        Session {
            shared,
            link: Link::new(socket),
            member: None,
            staging: None,
            tickets: BTreeMap::new(),
            next_ticket: 1,
            in_dialogue: false,
        }
    }

    /// Serves the client until it is gone.
    pub fn run(mut self) {
        while self.wait() {
            if let Some(member) = &self.member {
                member.regions.hear();
            }
            if !self.has_request() {
                continue;
            }
            let answered = match self.link.receive() {
                Ok(Came::Request(request, descriptor)) => self.answer(request, descriptor),
                Ok(Came::Malformed) => {
                    self.shared.counters.malformed.fetch_add(1, Ordering::Relaxed);
                    self.link.reply(Reply::Error { errno: Errno::PROTO.raw_os_error() }, None)
                }
                Ok(Came::End) | Err(_) => break,
            };
            if answered.is_err() {
                break;
            }
        }
    }

    /// Waits for a request or an event; false when the broker ends.
    fn wait(&mut self) -> bool {
        let mut fds = vec![
            PollFd::new(&self.link, PollFlags::IN),
            PollFd::new(&self.shared.stop, PollFlags::IN),
        ];
        let bell = self.member.as_ref().map(|member| member.regions.client.bell());
        fds.extend(bell.map(|bell| PollFd::new(bell, PollFlags::IN)));
        let begun = Instant::now();
        let came = self.in_dialogue
            && awake(A_WHILE, || poll(&mut fds, Some(&NOW)).is_ok_and(|ready| ready > 0));
        let polled = if came { Ok(1) } else { retry_on_intr(|| poll(&mut fds, None)) };
        self.in_dialogue = begun.elapsed() < DIALOGUE;
        polled.is_ok() && fds[1].revents().is_empty()
    }

    fn has_request(&self) -> bool {
        let mut fds = [PollFd::new(&self.link, PollFlags::IN)];
        poll(&mut fds, Some(&NOW)).is_ok_and(|ready| ready > 0)
    }

    fn answer(&mut self, request: Request, descriptor: Option<OwnedFd>) -> Result<(), Errno> {
        let result = self.serve(request, descriptor);
        let (mut reply, beside) = result.unwrap_or_else(|errno| {
            (Reply::Error { errno: errno.raw_os_error() }, Beside::Nothing)
        });
        if let (Reply::Done { healed, .. }, Some(member)) = (&mut reply, &self.member) {
            *healed = member.regions.client.has_healed();
        }
        let descriptor: Option<BorrowedFd<'_>> = match beside {
            Beside::Nothing => None,
            Beside::Board => Some(self.shared.files.board.reader()),
            Beside::Memory(ticket) => {
                self.tickets.get(&ticket).map(|ticket| ticket.of.memory(ticket.how))
            }
        };
        self.link.reply(reply, descriptor)
    }

    fn serve(
        &mut self,
        request: Request,
        descriptor: Option<OwnedFd>,
    ) -> Result<(Reply, Beside), Errno> {
        if let Request::Hello { version, parent, .. } = request {
            return self.hello(version, parent, descriptor.ok_or(Errno::BADF)?);
        }
        let regions = self.member.as_ref().ok_or(Errno::PERM)?.regions.clone();
        let done = Reply::DONE;
        let reply = match request {
            Request::Hello { .. } => return Err(Errno::ALREADY),
            Request::Staging => {
                self.staging = Some(descriptor.ok_or(Errno::BADF)?);
                done
            }
            Request::Map { len, offset, prot, flags } => {
                let wanted = Wanted { offset, len, prot, flags };
                return match descriptor {
                    Some(file) => self.map(&regions, file.as_fd(), wanted),
                    None => self.map_own(&regions, wanted),
                };
            }
            Request::Mapped { ticket, start, len, offset } => {
                self.mapped(&regions, ticket, start, len, offset)?;
                done
            }
            Request::Grown { start, old, new } => {
                regions.grow(VirtAddr(start), old, new)?;
                done
            }
            Request::Sync { start, len, .. } => {
                regions.sync(range_of(start, len)?)?;
                done
            }
            Request::Advise { start, len, advice } => {
                advise(&self.shared, &regions, range_of(start, len)?, advice)?;
                done
            }
            Request::Region { index } => region(&regions, index)?,
            Request::Healed => {
                let healed = regions.client.next_healed().ok_or(Errno::NOENT)?;
                Reply::Region { start: healed.start.0, len: healed.len() }
            }
            Request::Inherit { start, len } => {
                let parent = self.member.as_ref().and_then(|member| member.parent.upgrade());
                regions.inherit_own(&*parent.ok_or(Errno::SRCH)?, range_of(start, len)?)?;
                done
            }
            Request::Grow { start, old, new } => {
                let more = new.saturating_sub(old);
                if regions.is_promised(VirtAddr(start)) && !self.has_room_for(more) {
                    return Err(Errno::NOMEM);
                }
                regions.may_grow(VirtAddr(start), old, new)?;
                done
            }
            Request::Carry { from, to, len } => {
                regions.carry_asked(range_of(from, len)?, range_of(to, len)?)?;
                done
            }
            Request::Follow { start, len, after } => {
                regions.follow(range_of(start, len)?, VirtAddr(after))?;
                done
            }
            Request::Stats => self.stats()?,
            Request::Clean { .. }
            | Request::Write { .. }
            | Request::Truncate { .. }
            | Request::Allocate { .. }
            | Request::Settle => {
                let file = descriptor.ok_or(Errno::BADF)?;
                let staging = self.staging.as_ref().map(AsFd::as_fd);
                let client = regions.client.space;
                file_calls::serve(&self.shared.files, request, file.as_fd(), staging, client)?
            }
        };
        Ok((reply, Beside::Nothing))
    }

    fn hello(
        &mut self,
        version: u64,
        parent: u64,
        uffd: OwnedFd,
    ) -> Result<(Reply, Beside), Errno> {
        if version != VERSION {
            return Err(Errno::PROTONOSUPPORT);
        }
        if self.member.is_some() {
            return Err(Errno::ALREADY);
        }
        check_uffd(&uffd)?;
        let parent = match parent {
            0 => None,
            token => Some(self.shared.member(token).ok_or(Errno::SRCH)?),
        };
        let comes = parent.as_ref().map_or(Comes::New, |_| Comes::Forked);
        let place = self.shared.places.take(comes)?;
        let again = uffd.try_clone().map_err(|_| Errno::MFILE)?;
        let token = new_name()?;
        let core = &self.shared.core;
        let space = core.create_space(USER);
        match (&parent, self.shared.frames_of_client) {
            (Some(parent), _) => core.join_account(space, parent.client.space),
            (None, Some(frames)) => core.open_account(space, frames),
            (None, None) => {}
        }
        let client = core.machine().add_client(space, uffd);
        let client = client.inspect_err(|_| core.remove_space(space))?;
        let regions = Arc::new(Regions::new(core.clone(), client));
        self.shared.enter(token, &regions);
        let _ = self.shared.will.name(token, again.as_fd());
        drop(again);
        let known = parent.as_ref().map(Arc::downgrade).unwrap_or_default();
        self.member =
            Some(Member { token, regions: regions.clone(), parent: known, _place: place });
        if let Some(parent) = parent {
            regions.inherit(&parent)?;
        }
        let (min, anonymous) = (self.shared.min, self.shared.room_bytes > 0);
        Ok((Reply::Welcome { token, min, anonymous }, Beside::Board))
    }

    fn map(
        &mut self,
        regions: &Regions,
        file: BorrowedFd<'_>,
        wanted: Wanted,
    ) -> Result<(Reply, Beside), Errno> {
        let Wanted { offset, len, prot, flags } = wanted;
        let kernel = |session: &Session, reason: Reason| {
            session.shared.counters.left_to_kernel(reason);
            Ok((Reply::Kernel { reason }, Beside::Nothing))
        };
        let opened = rustix::fs::fcntl_getfl(file)?;
        let stat = rustix::fs::fstat(file)?;
        let is_regular = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
        let end = len.checked_next_multiple_of(PAGE_BYTES).and_then(|len| offset.checked_add(len));
        let fits = end.is_some_and(|end| end < 1 << 46);
        let kind = flags & 0xf;
        // What is an error is the kernel's to refuse, with its own number.
        let can_read = !opened.contains(OFlags::PATH) && opened & OFlags::RWMODE != OFlags::WRONLY;
        let odd = match () {
            () if !is_regular => Some(Reason::SpecialFile),
            () if !fits || len == 0 || !offset.is_multiple_of(PAGE_BYTES) => {
                Some(Reason::Arguments)
            }
            () if !can_read => Some(Reason::Descriptor),
            () if !(1..=3).contains(&kind) => Some(Reason::Flags),
            () => None,
        };
        if let Some(reason) = odd {
            return kernel(self, reason);
        }
        let shared = kind != 2;
        let can_write = opened & OFlags::RWMODE == OFlags::RDWR;
        let wants_write = prot & 2 != 0;
        if shared && wants_write && !can_write {
            return Err(Errno::ACCESS);
        }
        if self.tickets.len() >= TICKETS_MAX {
            return Err(Errno::AGAIN);
        }
        let id = FileId { device: stat.st_dev, inode: stat.st_ino };
        if let Some(reason) = self.beyond(regions, id) {
            if self.shared.files.leave_to_kernel(id) {
                return kernel(self, reason);
            }
            self.shared.counters.maps_refused.fetch_add(1, Ordering::Relaxed);
            return Err(Errno::NOMEM);
        }
        let used = match self.shared.files.open(file, end.unwrap_or(0)) {
            Ok(Ok(used)) => used,
            Ok(Err(reason)) => return kernel(self, reason),
            Err(Errno::FBIG) if self.shared.files.leave_to_kernel(id) => {
                return kernel(self, Reason::TooLong);
            }
            Err(errno) => return Err(errno),
        };
        if !shared
            && wants_write
            && let Some(offered) = self.own_of(regions, &used, &wanted)
        {
            return Ok(self.offer(offered));
        }
        let how = if shared && can_write { How::Shared } else { How::Private };
        if how == How::Shared {
            used.allow_writes(file)?;
        }
        Ok(self.offer(Ticket { of: Offered::File(used), how, offset, len }))
    }

    /// A private map of a file whose pages are to be stored to, as memory of the client's own.
    /// Where that isn't served, or can't be promised, its kernel makes the copies.
    fn own_of(&self, regions: &Regions, file: &Use, wanted: &Wanted) -> Option<Ticket> {
        let whole = wanted.len.next_multiple_of(PAGE_BYTES);
        let promised = self.promise(whole, wanted)?;
        let homes = regions.own.take(whole).ok()?;
        let first = PageIndex::containing(wanted.offset);
        let offset = homes.offset;
        let of = Offered::Own(homes, Kind::Own { promised }, Some((file.again(), first)));
        Some(Ticket { of, how: How::Own, offset, len: wanted.len })
    }

    /// Is memory to be promised? None where there isn't so much, or none at all is served.
    fn promise(&self, bytes: u64, wanted: &Wanted) -> Option<bool> {
        let promised = wanted.prot & 2 != 0 && wanted.flags & NO_RESERVE == 0;
        let fits = !promised || self.has_room_for(bytes);
        (self.shared.room_bytes > 0 && fits).then_some(promised)
    }

    /// Can so much be promised beyond what has been?
    fn has_room_for(&self, bytes: u64) -> bool {
        self.shared.promised().saturating_add(bytes) <= self.shared.room_bytes
    }

    fn offer(&mut self, offered: Ticket) -> (Reply, Beside) {
        self.shared.counters.maps_served.fetch_add(1, Ordering::Relaxed);
        let (ticket, offset, how) = (self.next_ticket, offered.offset, offered.how);
        self.next_ticket += 1;
        self.tickets.insert(ticket, offered);
        (Reply::Served { ticket, offset, how }, Beside::Memory(ticket))
    }

    /// Memory of the client's own. What is promised has room in budget and swap, or ENOMEM.
    fn map_own(&mut self, regions: &Regions, wanted: Wanted) -> Result<(Reply, Beside), Errno> {
        let Wanted { len, flags, .. } = wanted;
        let is_private = flags & 0xf == 2 && flags & ANONYMOUS != 0;
        let whole = len.checked_next_multiple_of(PAGE_BYTES).filter(|len| *len > 0);
        let limits = self.shared.limits.client_mappings;
        let reason = match () {
            () if self.shared.room_bytes == 0 || !is_private => Some(Reason::Anonymous),
            () if whole.is_none_or(|len| len >= 1 << 46) => Some(Reason::Arguments),
            () if !has_room(limits, regions.count() + self.tickets.len()) => {
                Some(Reason::ClientMappings)
            }
            () => None,
        };
        let kernel = |session: &Session, reason: Reason| {
            session.shared.counters.left_to_kernel(reason);
            Ok((Reply::Kernel { reason }, Beside::Nothing))
        };
        let Some(whole) = whole.filter(|_| reason.is_none()) else {
            return kernel(self, reason.unwrap_or(Reason::Arguments));
        };
        if self.tickets.len() >= TICKETS_MAX {
            return Err(Errno::AGAIN);
        }
        let Some(promised) = self.promise(whole, &wanted) else {
            self.shared.counters.maps_refused.fetch_add(1, Ordering::Relaxed);
            return Err(Errno::NOMEM);
        };
        let Ok(homes) = regions.own.take(whole) else {
            return kernel(self, Reason::NoAddresses);
        };
        let offset = homes.offset;
        let of = Offered::Own(homes, Kind::Own { promised }, None);
        Ok(self.offer(Ticket { of, how: How::Own, offset, len }))
    }

    /// The limit that one more mapping of a file would be beyond. What has been offered counts.
    fn beyond(&self, regions: &Regions, file: FileId) -> Option<Reason> {
        let Limits { client_mappings, client_files, .. } = self.shared.limits;
        let offered = self.tickets.values().filter_map(|ticket| match &ticket.of {
            Offered::File(file) | Offered::Own(_, _, Some((file, _))) => Some(file.id),
            Offered::Own(_, _, None) => None,
        });
        if client_mappings.is_some()
            && !has_room(client_mappings, regions.count() + self.tickets.len())
        {
            return Some(Reason::ClientMappings);
        }
        if client_files.is_some() {
            let files: BTreeSet<FileId> = regions.files().into_iter().chain(offered).collect();
            let is_more = !files.contains(&file) && !has_room(client_files, files.len());
            return is_more.then_some(Reason::ClientFiles);
        }
        None
    }

    fn mapped(
        &mut self,
        regions: &Regions,
        ticket: u64,
        start: u64,
        len: u64,
        offset: u64,
    ) -> Result<(), Errno> {
        let ticket = self.tickets.remove(&ticket).ok_or(Errno::INVAL)?;
        let range = range_of(start, len).ok().filter(|_| {
            offset == ticket.offset
                && len == ticket.len.next_multiple_of(PAGE_BYTES)
                && start.is_multiple_of(PAGE_BYTES)
        });
        let kind = if ticket.how == How::Private { Kind::Private } else { Kind::Shared };
        match (ticket.of, range) {
            (Offered::File(file), Some(range)) => {
                let first = PageIndex::containing(offset);
                let (now, home) = (range.start, file.home_of(first));
                let shows = Some((file.handle.object, first));
                regions.add(file, Region { range, now, home, shows, kind, gone: false })
            }
            (Offered::Own(homes, kind, file), Some(range)) => {
                regions.add_own(range, &homes, kind, file)
            }
            (Offered::File(_), None) => Err(Errno::INVAL),
            (Offered::Own(homes, ..), None) => {
                regions.own.give_back(homes.range);
                Err(Errno::INVAL)
            }
        }
    }

    fn stats(&self) -> Result<Reply, Errno> {
        let staging = self.staging.as_ref().ok_or(Errno::INVAL)?;
        let text = serde_json::to_vec(&self.shared.stats()).map_err(|_| Errno::IO)?;
        let bytes = rustix::io::pwrite(staging, &text, 0)?;
        Ok(Reply::done(bytes as u64, 0))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.tickets.clear();
        let Some(member) = self.member.take() else { return };
        let space = member.regions.client.space;
        member.regions.end();
        self.shared.note_account(space);
        // Nothing more comes from it, and whoever still waits is let go, or is the heir's.
        self.shared.core.machine().remove_client(space);
        self.shared.core.remove_space(space);
        // Only now is nothing left of it.
        self.shared.leave(member.token);
        self.shared.will.leave(member.token);
    }
}

fn region(regions: &Regions, index: u64) -> Result<Reply, Errno> {
    let all = regions.client.regions_in(USER);
    let region = usize::try_from(index).ok().and_then(|index| all.get(index));
    let range = region.ok_or(Errno::NOENT)?.range;
    Ok(Reply::Region { start: range.start.0, len: range.len() })
}

fn advise(shared: &Shared, regions: &Regions, range: VirtRange, advice: i32) -> Result<(), Errno> {
    const REMOVE: i32 = 9;
    if advice == REMOVE {
        return regions.punch(range);
    }
    regions.advise_own(range, advice);
    for (file, pages) in regions.files_in(range) {
        let object = file.handle.object;
        // Advice that can't be followed is no error.
        let _ = match advice {
            0 => shared.core.advise(object, Pattern::Normal),
            1 => shared.core.advise(object, Pattern::Random),
            2 => shared.core.advise(object, Pattern::Sequential),
            3 => shared.core.prefetch_of(regions.client.space, object, pages).map(drop),
            _ => Ok(()),
        };
    }
    Ok(())
}

/// Is it a userfaultfd, and one that never makes its reader wait?
fn check_uffd(uffd: &OwnedFd) -> Result<(), Errno> {
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(uffd));
    let name = rustix::fs::readlink(path, Vec::new())?;
    if name.as_bytes() != b"anon_inode:[userfaultfd]" {
        return Err(Errno::INVAL);
    }
    let flags = rustix::fs::fcntl_getfl(uffd)?;
    rustix::fs::fcntl_setfl(uffd, flags | OFlags::NONBLOCK)
}

/// The pages of a range of a program.
fn range_of(start: u64, len: u64) -> Result<VirtRange, Errno> {
    let end = start.checked_add(len).and_then(|end| end.checked_next_multiple_of(PAGE_BYTES));
    let range =
        end.map(|end| VirtRange { start: VirtAddr(start).page_start(), end: VirtAddr(end) });
    range.filter(|range| len > 0 && USER.encloses(*range)).ok_or(Errno::INVAL)
}
