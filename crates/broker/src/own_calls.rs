//! What a client asks about memory of its own: [`Regions`], again.

use std::sync::PoisonError;

use faultless_addr::{ObjectId, PAGE_BYTES, PageIndex, VirtAddr, VirtRange};
use faultless_engine::space::Advice;
use faultless_linux::shared::{Kind, Region};
use rustix::io::Errno;

use crate::error::errno_of;
use crate::files::Use;
use crate::own::Homes;
use crate::regions::{Regions, USER, behind, grown};

/// madvise's numbers.
const WILL_NEED: i32 = 3;
const DONT_NEED: i32 = 4;

impl Regions {
    /// The client has mapped homes that were taken for it: zeros, or a file from a page on.
    /// Nothing has been stored there.
    pub fn add_own(
        &self,
        range: VirtRange,
        homes: &Homes,
        kind: Kind,
        file: Option<(Use, PageIndex)>,
    ) -> Result<(), Errno> {
        // Whatever we believed to be there has gone unheard.
        self.lose(range);
        let shows = file.as_ref().map(|(file, first)| (file.handle.object, *first));
        let (now, home) = (range.start, homes.range.start);
        file.into_iter().for_each(|(file, _)| self.know(file));
        self.show_own(Region { range, now, home, shows, kind, gone: false })
            .inspect_err(|_| self.drop_unused())
    }

    fn show_own(&self, region: Region) -> Result<(), Errno> {
        let shown = self.show(region);
        shown.inspect_err(|_| self.own.give_back(region.homes()))
    }

    /// The parts of a range that are the client's own.
    pub fn own_in(&self, range: VirtRange) -> Vec<Region> {
        let regions = self.client.regions_in(range).into_iter();
        regions.filter(|region| region.kind.is_own() && !region.gone).collect()
    }

    /// Is all of a range the client's own?
    fn is_own(&self, range: VirtRange) -> bool {
        let len: u64 = self.own_in(range).iter().map(|region| region.range.len()).sum();
        !range.is_empty() && USER.encloses(range) && len == range.len()
    }

    /// Has the client been promised memory at an address?
    pub fn is_promised(&self, at: VirtAddr) -> bool {
        self.client.find(at).is_some_and(|region| region.kind == Kind::Own { promised: true })
    }

    /// Bytes that the client has been promised.
    pub fn promised(&self) -> u64 {
        let own = self.own_in(USER);
        let promised = own.iter().filter(|region| region.kind == Kind::Own { promised: true });
        promised.map(|region| region.range.len()).sum()
    }

    /// What the parent has of its own in a range is this client's, too.
    pub fn inherit_own(&self, parent: &Regions, range: VirtRange) -> Result<(), Errno> {
        if !self.is_own(range) {
            return Err(Errno::FAULT);
        }
        let ended = parent.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if *ended {
            return Err(Errno::SRCH);
        }
        for part in parent.own_in(range) {
            let Some((object, _)) = part.shows else { continue };
            // Nothing else of it may be this client's any more.
            self.know(parent.file(object).ok_or(Errno::FAULT)?);
            self.begin_as(part.range, part.shows)?;
        }
        self.core.fork_range(parent.space(), self.space(), range);
        Ok(())
    }

    /// What the client has of its own in a range, and hasn't touched, begins as an object's
    /// pages from one on.
    fn begin_as(
        &self,
        range: VirtRange,
        first: Option<(ObjectId, PageIndex)>,
    ) -> Result<(), Errno> {
        self.client.begin_as(range, first);
        self.core.hide(self.space(), range);
        self.own_in(range).into_iter().try_for_each(|region| self.tell(region))
    }

    /// The client asks for what it has of its own in a range to begin as that goes on which
    /// ends at `after`.
    pub fn follow(&self, range: VirtRange, after: VirtAddr) -> Result<(), Errno> {
        let last = VirtAddr(after.0.checked_sub(PAGE_BYTES).ok_or(Errno::FAULT)?);
        let before = self.own_in(VirtRange::page(last.page_start()));
        let [before] = before[..] else { return Err(Errno::FAULT) };
        if !self.is_own(range) {
            return Err(Errno::FAULT);
        }
        match before.shown_at(after) {
            None => Ok(()),
            first => self.begin_as(range, first),
        }
    }

    /// What the client has of its own at `from` it has at `to`.
    pub fn carry_own(&self, from: VirtRange, to: VirtAddr) {
        if let Err(error) = self.core.carry(self.space(), from, to) {
            faultless_runtime::say(format_args!("memory is lost that was moved: {error}"));
        }
    }

    /// The client asks for what [`carry_own`](Self::carry_own) does.
    pub fn carry_asked(&self, from: VirtRange, to: VirtRange) -> Result<(), Errno> {
        let apart = from.end <= to.start || to.end <= from.start;
        if !apart || from.len() != to.len() || !self.is_own(from) || !self.is_own(to) {
            return Err(Errno::FAULT);
        }
        self.core.dont_need(self.space(), to).map_err(|error| errno_of(&error))?;
        self.core.carry(self.space(), from, to.start).map_err(|error| errno_of(&error))?;
        for part in self.own_in(from) {
            let start = VirtAddr(to.start.0 + (part.range.start.0 - from.start.0));
            let end = VirtAddr(start.0 + part.range.len());
            self.client.begin_as(VirtRange { start, end }, part.shows);
        }
        Ok(())
    }

    /// A region of the client's own is to become longer in its place: takes the homes for it,
    /// if they are nobody's.
    pub fn may_grow(&self, start: VirtAddr, old: u64, new: u64) -> Result<(), Errno> {
        self.stay();
        let range = grown(start, old, new)?;
        let region = self.client.find(VirtAddr(range.start.0 - 1)).ok_or(Errno::FAULT)?;
        if !region.kind.is_own() || region.gone {
            return Err(Errno::FAULT);
        }
        if region.range.end != range.start {
            return Err(Errno::NOMEM);
        }
        let home = region.home_of(range.start);
        let homes = VirtRange { start: home, end: VirtAddr(home.0 + range.len()) };
        self.own.take_at(homes)?;
        *self.growing.lock().unwrap_or_else(PoisonError::into_inner) = Some(homes);
        Ok(())
    }

    /// What was to become longer has not.
    pub fn stay(&self) {
        let growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(homes) = growing {
            self.own.give_back(homes);
        }
    }

    /// It has: `range` is new.
    pub fn grow_own(&self, region: &Region, range: VirtRange) -> Result<(), Errno> {
        let home = region.home_of(range.start);
        let mut growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let homes = growing.take_if(|homes| homes.start == home && homes.len() == range.len());
        drop(growing);
        homes.ok_or(Errno::FAULT)?;
        self.lose(range);
        self.show_own(behind(region, range))
    }

    /// madvise, of what is the client's own in a range.
    pub fn advise_own(&self, range: VirtRange, advice: i32) {
        for region in self.own_in(range) {
            // Advice that can't be followed is no error.
            let _ = match advice {
                WILL_NEED => self.core.advise_range(self.space(), region.range, Advice::WillNeed),
                DONT_NEED => self.core.dont_need(self.space(), region.range),
                _ => Ok(()),
            };
        }
    }
}
