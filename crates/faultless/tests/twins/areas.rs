//! The verbs on areas, in both worlds: made, ended, protected, advised, resized.

use faultless::{Advice, MapOptions, Protection};

use super::PAGE;
use super::access;
use super::dice::Dice;
use super::differences::Difference;
use super::kernel::{Area, Errno, READ_WRITE};
use super::twin::{Copied, CopiedPage, Kind, Private, View};
use super::world::{DELIVERIES, Target, World};

const PRIVATES_MAX: usize = 6;
const MEMORY_PAGES_MAX: usize = 48;

/// As bits and as ours.
const RIGHTS: [(i32, Protection); 4] = [
    (libc::PROT_NONE, Protection::NONE),
    (libc::PROT_READ, Protection::READ),
    (libc::PROT_WRITE, Protection::WRITE),
    (READ_WRITE, Protection::READ_WRITE),
];

pub fn number(result: faultless::Result<()>) -> Result<(), Errno> {
    result.map_err(|error| error.errno())
}

pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: T, kernel: T) -> Result<(), String> {
    if ours == kernel { Ok(()) } else { Err(format!("{what}: {ours:?}, the kernel's {kernel:?}")) }
}

impl World<'_> {
    pub fn make(&mut self, dice: &mut Dice) -> Result<(), String> {
        if self.privates.len() == PRIVATES_MAX {
            return Ok(());
        }
        if dice.one_in(2) {
            return self.make_copy(dice);
        }
        let delivery = dice.of(&DELIVERIES);
        let len = 1 + dice.below(MEMORY_PAGES_MAX * PAGE);
        self.say(|| format!("memory of {len} bytes, {delivery:?}"));
        let memory = self.vm.anonymous_by(len, delivery).map_err(|error| error.to_string())?;
        let pages = len.div_ceil(PAGE);
        self.privates.push(Private {
            kind: Kind::Memory(memory),
            kernel: Area::anonymous(pages),
            rights: vec![READ_WRITE; pages],
            delivery,
        });
        Ok(())
    }

    fn make_copy(&mut self, dice: &mut Dice) -> Result<(), String> {
        let file = dice.below(self.files.len());
        let offset = dice.below(self.files[file].size + 1) & !(dice.of(&[0, PAGE - 1]));
        let len = 1 + dice.below(MEMORY_PAGES_MAX * PAGE);
        self.say(|| format!("private map of file {file}, {len} bytes at {offset:#x}"));
        let delivery = self.choose_home(file, dice)?;
        let options = self.options(delivery).offset(offset as u64).len(len as u64);
        // SAFETY: the bytes are used by routines that bear what happens to them.
        let map = unsafe { options.map_copy(self.vm, &self.files[file].ours_for_reading) };
        if offset + len > self.files[file].size {
            self.tally.add(Difference::BeyondEnd);
            same("a map behind the end", map.map(drop).map_err(|e| e.errno()), Err(libc::ENXIO))?;
            return self.close_home(file);
        }
        let map = map.map_err(|error| error.to_string())?;
        let (first, lead) = (offset / PAGE, offset % PAGE);
        let pages = (lead + len).div_ceil(PAGE);
        let from = &self.files[file].kernel_for_reading;
        let kernel = Area::of_file(from, first, pages, READ_WRITE, libc::MAP_PRIVATE).unwrap();
        let states = (0..pages).map(|_| CopiedPage::default()).collect();
        let copied = Copied { map, file, first, lead, pages: states };
        let rights = vec![READ_WRITE; pages];
        self.privates.push(Private { kind: Kind::Copy(copied), kernel, rights, delivery });
        self.files[file].home.as_mut().expect("it was chosen").copies += 1;
        Ok(())
    }

    pub fn options(&self, delivery: faultless::Delivery) -> MapOptions {
        let reserve = super::twin::HOME_PAGES * PAGE;
        MapOptions::new().delivery(delivery).reserve(reserve as u64)
    }

    /// The offset in a target where its file, or its own bytes, end.
    pub fn end_of(&self, index: usize) -> usize {
        let private = &self.privates[index];
        match &private.kind {
            Kind::Memory(memory) => memory.len(),
            Kind::Copy(copied) => {
                let size = self.files[copied.file].size;
                size.saturating_sub(copied.first * PAGE).min(private.kernel.pages * PAGE)
            }
        }
    }

    /// Ends one mapping; its addresses are nobody's then.
    pub fn drop_one(&mut self, dice: &mut Dice) -> Result<(), String> {
        let targets = self.targets();
        if targets.is_empty() {
            return Ok(());
        }
        match dice.of(&targets) {
            Target::Home(file) => self.drop_views(file),
            Target::Private(index) => {
                self.say(|| format!("drop private {index}"));
                let private = self.privates.remove(index);
                let (ours, kernel) = (private.ours(), private.kernel.start);
                let end = private.kernel.pages * PAGE;
                let file = match &private.kind {
                    Kind::Memory(_) => None,
                    Kind::Copy(copied) => Some(copied.file),
                };
                drop(private);
                if let Some(file) = file {
                    self.files[file].home.as_mut().expect("the copy kept it").copies -= 1;
                    self.close_home(file)?;
                }
                self.nothing_is_at(ours, kernel, dice.below(end))
            }
        }
    }

    /// A byte of what has been unmapped.
    pub fn nothing_is_at(&self, ours: usize, kernel: usize, at: usize) -> Result<(), String> {
        if !self.is_nobodys(ours + at, 1) {
            return Ok(());
        }
        let place =
            |base: usize| move |fault: access::Fault| (fault.code, fault.at - base as isize);
        let ours = access::load(ours + at, 1).map(drop).map_err(place(ours));
        let kernel = access::load(kernel + at, 1).map(drop).map_err(place(kernel));
        same("what was unmapped", ours, kernel)
    }

    pub fn protect(&mut self, dice: &mut Dice) -> Result<(), String> {
        let targets = self.targets();
        if targets.is_empty() {
            return Ok(());
        }
        let (target, (prot, protection)) = (dice.of(&targets), dice.of(&RIGHTS));
        let Target::Private(index) = target else {
            return self.protect_view(target, (prot, protection), dice);
        };
        let range = self.range(index, dice);
        self.say(|| format!("protect {range:x?} of {target:?}: {prot}"));
        let private = &mut self.privates[index];
        // SAFETY: the bytes are used by routines that bear faults.
        let ours = number(unsafe {
            match &mut private.kind {
                Kind::Memory(memory) => memory.protect(range.ours.clone(), protection),
                Kind::Copy(copied) => copied.map.protect(range.ours.clone(), protection),
            }
        });
        let (at, len) = (range.at, range.len);
        let kernel = private.kernel.protect(at, len, prot);
        same("protect", ours, kernel)?;
        if ours.is_ok() {
            private.rights[at / PAGE..(at + len).div_ceil(PAGE)].fill(prot);
        }
        Ok(())
    }

    /// All may be read and, where it could be at first, written.
    pub fn allow_all(&mut self, target: Target) -> Result<(), String> {
        match target {
            Target::Home(file) => {
                let Some(home) = &mut self.files[file].home else { return Ok(()) };
                let prot = if home.writable { READ_WRITE } else { libc::PROT_READ };
                let protection =
                    if home.writable { Protection::READ_WRITE } else { Protection::READ };
                let may = |view: &&View| view.len > 0 && view.writable == home.writable;
                for view in home.views.iter().filter(may) {
                    view.raw.protect(.., protection).map_err(|error| error.to_string())?;
                    let (start, end) = (view.offset, view.offset + view.len);
                    let pages = start / PAGE..end.div_ceil(PAGE);
                    let len = pages.len() * PAGE;
                    home.kernel.protect(pages.start * PAGE, len, prot).unwrap();
                    home.rights[pages].fill(prot);
                }
                Ok(())
            }
            Target::Private(index) => {
                let private = &mut self.privates[index];
                // SAFETY: rights are given.
                let ours = unsafe {
                    match &mut private.kind {
                        Kind::Memory(memory) => memory.protect(.., Protection::READ_WRITE),
                        Kind::Copy(copied) => copied.map.protect(.., Protection::READ_WRITE),
                    }
                };
                ours.map_err(|error| error.to_string())?;
                private.rights.fill(READ_WRITE);
                private.kernel.protect(0, private.kernel.pages * PAGE, READ_WRITE).unwrap();
                Ok(())
            }
        }
    }

    pub fn discard(&mut self, dice: &mut Dice) -> Result<(), String> {
        if self.privates.is_empty() {
            return Ok(());
        }
        let index = dice.below(self.privates.len());
        let range = self.range(index, dice);
        self.say(|| format!("discard {range:x?} of private {index}"));
        let private = &mut self.privates[index];
        let ours = number(match &mut private.kind {
            Kind::Memory(memory) => memory.discard(range.ours.clone()),
            Kind::Copy(copied) => copied.map.discard(range.ours.clone()),
        });
        let kernel = private.kernel.advise(range.at, range.len, libc::MADV_DONTNEED);
        same("discard", ours, kernel)?;
        if let (Ok(()), Some(copied)) = (ours, private.copied()) {
            for page in &mut copied.pages[range.pages()] {
                *page = CopiedPage::default();
            }
        }
        Ok(())
    }

    pub fn advise(&mut self, dice: &mut Dice) -> Result<(), String> {
        if self.privates.is_empty() {
            return Ok(());
        }
        let index = dice.below(self.privates.len());
        let range = self.range(index, dice);
        let (ours_advice, advice) = dice.of(&[
            (Advice::WillNeed, libc::MADV_WILLNEED),
            (Advice::PageOut, libc::MADV_PAGEOUT),
            (Advice::Free, libc::MADV_FREE),
        ]);
        self.say(|| format!("advise {ours_advice:?} of {range:x?} of private {index}"));
        self.note_what_is_read(index, range.pages());
        let private = &mut self.privates[index];
        let ours = number(match &mut private.kind {
            Kind::Memory(memory) => memory.advise(range.ours.clone(), ours_advice),
            Kind::Copy(copied) => copied.map.advise(range.ours.clone(), ours_advice),
        });
        let kernel = private.kernel.advise(range.at, range.len, advice);
        same("advise", ours, kernel)?;
        if ours.is_ok() && ours_advice == Advice::Free {
            self.tally.add(Difference::FreeNow);
            private.kernel.advise(range.at, range.len, libc::MADV_DONTNEED).unwrap();
        }
        Ok(())
    }

    /// Pages of a private map that are brought in may be copied now.
    pub fn note_what_is_read(&mut self, index: usize, pages: std::ops::Range<usize>) {
        let Kind::Copy(copied) = &mut self.privates[index].kind else { return };
        for page in pages.start..pages.end.min(copied.pages.len()) {
            if !copied.pages[page].own {
                copied.note(page, &self.files[copied.file]);
            }
        }
    }

    pub fn resize_memory(&mut self, dice: &mut Dice) -> Result<(), String> {
        let is_memory = |index: &usize| matches!(self.privates[*index].kind, Kind::Memory(_));
        let memories: Vec<usize> = (0..self.privates.len()).filter(is_memory).collect();
        if memories.is_empty() {
            return Ok(());
        }
        let index = dice.of(&memories);
        let len = dice.below(MEMORY_PAGES_MAX * PAGE);
        self.say(|| format!("resize private {index} to {len:#x}"));
        let private = &mut self.privates[index];
        let Kind::Memory(memory) = &mut private.kind else { return Ok(()) };
        let was = (memory.as_ptr() as usize, private.kernel.start, private.kernel.pages);
        let pages = len.div_ceil(PAGE);
        let ours = number(memory.resize(len).map(drop));
        let mut kernel = private.kernel.resize(pages);
        let last = *private.rights.last().expect("there is a page");
        let alike = private.rights.iter().all(|rights| *rights == last);
        if kernel == Err(libc::EFAULT) && alike && ours.is_ok() {
            self.tally.add(Difference::AreasApart);
            private.kernel = grown_by_copy(&private.kernel, pages, last);
            kernel = Ok(());
        }
        same("resize", ours, kernel)?;
        if ours.is_err() {
            return Ok(());
        }
        private.rights.resize(pages, last);
        let now = (private.ours(), private.kernel.start);
        if now.0 != was.0 && now.1 != was.1 {
            self.nothing_is_at(was.0, was.1, dice.below(was.2 * PAGE))?;
        }
        Ok(())
    }

    /// A range of a private mapping: as a rule one of its pages.
    fn range(&self, index: usize, dice: &mut Dice) -> Range {
        let (lead, len) = self.privates[index].extent();
        let range = Range::draw(lead, len, dice);
        if range.is_outside {
            self.tally.add(Difference::RangeFirst);
        }
        range
    }
}

/// A range as a map's own bytes, and as bytes of its pages.
#[derive(Clone, Debug)]
pub struct Range {
    pub ours: std::ops::Range<usize>,
    pub at: usize,
    pub len: usize,
    /// It leaves the map: for the kernel it is the part that does.
    pub is_outside: bool,
}

impl Range {
    /// A range of a map of `len` bytes that begins `lead` bytes behind its first page's start.
    pub fn draw(lead: usize, len: usize, dice: &mut Dice) -> Range {
        let pages = (lead + len).div_ceil(PAGE);
        let first = dice.below(pages);
        let start = (first * PAGE).saturating_sub(lead).min(len);
        if dice.one_in(12) {
            let behind = pages * PAGE;
            let ours = start..behind - lead + 1 + dice.below(PAGE);
            return Range { ours, at: behind, len: PAGE, is_outside: true };
        }
        let start = if dice.one_in(16) { (start + dice.below(PAGE)).min(len) } else { start };
        let count = if dice.one_in(8) { pages } else { dice.below(8) };
        let end = ((first + count) * PAGE).saturating_sub(lead + dice.of(&[0, 1, PAGE - 1]));
        let end = end.clamp(start, len);
        // A map's own first byte may be inside of a page; its ranges begin there.
        let at = if start == 0 { 0 } else { lead + start };
        let bytes = if start == end { 0 } else { lead + end - at };
        Range { ours: start..end, at, len: bytes, is_outside: false }
    }

    /// It has bytes, and begins with a page.
    pub fn is_real(&self) -> bool {
        self.len > 0 && self.at.is_multiple_of(PAGE)
    }

    pub fn pages(&self) -> std::ops::Range<usize> {
        self.at / PAGE..(self.at + self.len).div_ceil(PAGE)
    }
}

fn grown_by_copy(old: &Area, pages: usize, prot: i32) -> Area {
    let new = Area::anonymous(pages);
    let mut bytes = vec![0; old.pages * PAGE];
    old.protect(0, bytes.len(), READ_WRITE).unwrap();
    assert_eq!(access::load_many(old.start, &mut bytes), (bytes.len(), None));
    assert_eq!(access::store_many(new.start, &bytes), (bytes.len(), None));
    new.protect(0, pages * PAGE, prot).unwrap();
    new
}
