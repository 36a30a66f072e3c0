//! The verbs on files and their shared maps, in both worlds.

use std::os::unix::fs::FileExt as _;

use faultless::{Delivery, Pattern, Protection};

use super::PAGE;
use super::areas::{Range, number, same};
use super::dice::Dice;
use super::differences::Difference;
use super::kernel::{self, Area, READ_WRITE};
use super::twin::{CopiedPage, HOME_PAGES, Home, View};
use super::world::{DELIVERIES, Target, World};

const VIEWS_MAX: usize = 3;
/// What `read_at` and `write_at` do in one go, and the least budget has room to pin.
const ONE_GO: usize = 3 * PAGE;

fn flags(writable: bool) -> (i32, i32) {
    (if writable { READ_WRITE } else { libc::PROT_READ }, libc::MAP_SHARED)
}

impl World<'_> {
    /// The delivery of a file's maps. Where it isn't mapped, it is now, for reading.
    pub fn choose_home(&mut self, file: usize, dice: &mut Dice) -> Result<Delivery, String> {
        if let Some(home) = &self.files[file].home {
            return Ok(home.delivery);
        }
        let delivery = dice.of(&DELIVERIES);
        let options = self.options(delivery);
        let twin = &mut self.files[file];
        // Tells where the file's maps are; what is mapped afterwards keeps it there.
        let map = options.map_raw(self.vm, &twin.ours_for_reading);
        let map = map.map_err(|error| error.to_string())?;
        let (prot, flags) = flags(false);
        let kernel = Area::of_file(&twin.kernel_for_reading, 0, HOME_PAGES, prot, flags);
        twin.home = Some(Home {
            ours: map.as_ptr() as usize,
            kernel: kernel.map_err(|errno| format!("the kernel doesn't map it: {errno}"))?,
            rights: vec![prot; HOME_PAGES],
            views: vec![View { offset: 0, len: map.len(), raw: map, writable: false }],
            copies: 0,
            writable: false,
            delivery,
        });
        Ok(delivery)
    }

    /// Nobody may need the file any more: it is closed then, and what was stored is in it.
    pub fn close_home(&mut self, file: usize) -> Result<(), String> {
        let twin = &mut self.files[file];
        let Some(home) = twin.home.take_if(|home| home.views.is_empty() && home.copies == 0) else {
            return Ok(());
        };
        let (ours, start) = (home.ours, home.kernel.start);
        drop(home);
        twin.compare(0, twin.size)?;
        self.nothing_is_at(ours, start, 0)
    }

    pub fn drop_views(&mut self, file: usize) -> Result<(), String> {
        self.say(|| format!("drop all shared maps of file {file}"));
        self.files[file].home.as_mut().expect("mapped").views.clear();
        self.close_home(file)
    }

    pub fn drop_view(&mut self, dice: &mut Dice) -> Result<(), String> {
        let Some((file, view)) = self.a_view(dice) else { return Ok(()) };
        self.say(|| format!("drop shared map {view} of file {file}"));
        self.files[file].home.as_mut().expect("mapped").views.remove(view);
        self.close_home(file)
    }

    fn a_view(&self, dice: &mut Dice) -> Option<(usize, usize)> {
        let views = |(file, twin): (usize, &super::twin::TwinFile)| {
            let count = twin.home.as_ref().map_or(0, |home| home.views.len());
            (0..count).map(move |view| (file, view)).collect::<Vec<_>>()
        };
        let all: Vec<_> = self.files.iter().enumerate().flat_map(views).collect();
        (!all.is_empty()).then(|| dice.of(&all))
    }

    fn parts(&mut self, (file, view): (usize, usize)) -> (&mut super::twin::TwinFile, usize) {
        (&mut self.files[file], view)
    }

    /// One more shared map.
    pub fn view(&mut self, dice: &mut Dice) -> Result<(), String> {
        let file = dice.below(self.files.len());
        let views = self.files[file].home.as_ref().map_or(0, |home| home.views.len());
        if views == VIEWS_MAX {
            return Ok(());
        }
        let delivery = self.choose_home(file, dice)?;
        let size = self.files[file].size;
        let (offset, writable) = (dice.below(size + 1), dice.one_in(2));
        let offset = if dice.one_in(2) { 0 } else { offset };
        let len = if dice.one_in(2) { size - offset } else { dice.below(size + 2) };
        self.say(|| {
            format!("map {len:#x} bytes at {offset:#x} of file {file}, writable: {writable}")
        });
        let mut options = self.options(delivery).offset(offset as u64).len(len as u64);
        if dice.one_in(4) {
            options = options.populate();
        }
        let options =
            options.read_ahead(dice.of(&[Pattern::Normal, Pattern::Random, Pattern::Sequential]));
        let twin = &mut self.files[file];
        let map = match writable {
            true => options.map_raw_mut(self.vm, &twin.ours),
            false => options.map_raw(self.vm, &twin.ours_for_reading),
        };
        let home = twin.home.as_mut().expect("it was chosen");
        if writable && !home.writable {
            home.upgrade(&twin.kernel);
        }
        match map {
            Ok(raw) if offset + len <= size => {
                same("a shared map's address", raw.as_ptr() as usize, home.ours + offset)?;
                home.views.push(View { raw, offset, len, writable });
                Ok(())
            }
            Err(error) if offset + len > size && error.errno() == libc::ENXIO => {
                self.tally.add(Difference::BeyondEnd);
                Ok(())
            }
            map => Err(format!("{len} bytes at {offset} of {size} are mapped: {map:?}")),
        }
    }

    pub fn protect_view(
        &mut self,
        target: Target,
        (prot, protection): (i32, Protection),
        dice: &mut Dice,
    ) -> Result<(), String> {
        let Target::Home(file) = target else { return Ok(()) };
        let home = self.files[file].home.as_mut().expect("mapped");
        let views: Vec<usize> = (0..home.views.len()).filter(|n| home.views[*n].len > 0).collect();
        if views.is_empty() {
            return Ok(());
        }
        let number_of = dice.of(&views);
        let view = &home.views[number_of];
        let lead = view.offset % PAGE;
        let range = Range::draw(lead, view.len, dice);
        let at = view.offset - lead + range.at;
        let ours = number(view.raw.protect(range.ours.clone(), protection));
        let writes = prot & libc::PROT_WRITE != 0;
        let expected = match range.is_outside {
            true => {
                self.tally.add(Difference::RangeFirst);
                Err(libc::ENOMEM)
            }
            false if writes && !view.writable && home.writable && range.is_real() => {
                self.tally.add(Difference::ViewIsReadOnly);
                Err(libc::EACCES)
            }
            false => {
                let expected = home.kernel.protect(at, range.len, prot);
                if expected.is_ok() {
                    home.rights[at / PAGE..(at + range.len).div_ceil(PAGE)].fill(prot);
                }
                expected
            }
        };
        if home.views.len() + home.copies > 1 {
            self.tally.add(Difference::SameRights);
        }
        self.say(|| format!("protect {range:x?} of map {number_of} of file {file}: {prot}"));
        same("protect", ours, expected)
    }

    /// May a map's `read_at` or `write_at` have these bytes of the file? What it says if not.
    fn call_is_allowed(&self, file: usize, at: usize, len: usize, prot: i32) -> Result<(), i32> {
        let twin = &self.files[file];
        let home = twin.home.as_ref().expect("mapped");
        if at + len > twin.size {
            self.tally.add(Difference::BeyondEnd);
            return Err(libc::ENXIO);
        }
        let may = |rights: &i32| match prot {
            libc::PROT_READ => rights & READ_WRITE != 0,
            _ => rights & libc::PROT_WRITE != 0,
        };
        if len > 0 && !home.rights[at / PAGE..(at + len).div_ceil(PAGE)].iter().all(may) {
            self.tally.add(Difference::CallsObeyRights);
            return Err(libc::EACCES);
        }
        Ok(())
    }

    pub fn read_at(&mut self, dice: &mut Dice) -> Result<(), String> {
        let Some((file, view)) = self.a_view(dice) else { return Ok(()) };
        let (twin, view) = self.parts((file, view));
        let view = &twin.home.as_ref().expect("mapped").views[view];
        let at = dice.below(view.len + 2);
        let len = dice.of(&[1, 8, PAGE, ONE_GO]);
        let len = dice.below(len + 1);
        let (mut ours, mut kernel) = (vec![0; len], vec![0; len]);
        let result = view.raw.read_at(at as u64, &mut ours).map_err(|error| error.errno());
        let count = view.len.saturating_sub(at).min(len);
        let from = view.offset + at;
        self.say(|| format!("read {len:#x} bytes at {from:#x} of file {file}"));
        let allowed = if count == 0 {
            Ok(())
        } else {
            self.call_is_allowed(file, from, count, libc::PROT_READ)
        };
        same("read_at", result, allowed.map(|()| count))?;
        if allowed.is_ok() && count > 0 {
            let done = self.files[file].kernel.read_at(&mut kernel[..count], from as u64);
            same("bytes that there are", count, done.unwrap())?;
            same("what is read", &ours, &kernel)?;
        }
        Ok(())
    }

    pub fn write_at(&mut self, dice: &mut Dice) -> Result<(), String> {
        let Some((file, view)) = self.a_view(dice) else { return Ok(()) };
        let (twin, number_of) = self.parts((file, view));
        let view = &twin.home.as_ref().expect("mapped").views[number_of];
        let at = dice.below(view.len + 1);
        let len = dice.of(&[1, 8, PAGE, ONE_GO]);
        let len = dice.below(len + 1);
        let len = if dice.one_in(16) { len } else { len.min(view.len - at) };
        let (from, bytes) = (view.offset + at, dice.bytes(len));
        let result = number(view.raw.write_at(at as u64, &bytes));
        let (writable, outside) = (view.writable, at + len > view.len);
        self.say(|| format!("write {len:#x} bytes at {from:#x} of file {file} by map {number_of}"));
        let allowed = match (writable, outside) {
            (false, _) => Err(libc::EACCES),
            (true, true) => Err(libc::ENXIO),
            _ => self.call_is_allowed(file, from, len, libc::PROT_WRITE),
        };
        same("write_at", result, allowed)?;
        if allowed.is_ok() {
            self.files[file].kernel.write_all_at(&bytes, from as u64).unwrap();
        }
        Ok(())
    }

    pub fn flush(&mut self, dice: &mut Dice) -> Result<(), String> {
        let Some((file, view)) = self.a_view(dice) else { return Ok(()) };
        let (twin, number_of) = self.parts((file, view));
        let home = twin.home.as_mut().expect("mapped");
        let view = &home.views[number_of];
        let which = dice.below(4);
        let error = |error: faultless::Error| format!("flush: {error}");
        home.kernel.sync(0, HOME_PAGES * PAGE, libc::MS_ASYNC).unwrap();
        let compared = match which {
            0 => view.raw.flush_async().map_err(error),
            1 => {
                let at = dice.below(view.len + 1);
                let len = dice.below(view.len - at + 1);
                let (start, end) = (view.offset + at, view.offset + at + len);
                let flushed = view.raw.flush_range(at as u64, len as u64);
                match flushed {
                    Err(error) if end > twin.size && error.errno() == libc::ENXIO => {
                        self.tally.add(Difference::BeyondEnd);
                        Ok(())
                    }
                    result => result.map_err(error).and_then(|()| twin.compare(start, end)),
                }
            }
            _ => view.raw.flush().map_err(error).and_then(|()| twin.compare(0, twin.size)),
        };
        self.say(|| format!("flush {which} of file {file} by map {number_of}"));
        compared
    }

    pub fn release(&mut self, dice: &mut Dice) -> Result<(), String> {
        let Some((file, view)) = self.a_view(dice) else { return Ok(()) };
        let (twin, number_of) = self.parts((file, view));
        let home = twin.home.as_ref().expect("mapped");
        let view = &home.views[number_of];
        let result = match dice.below(3) {
            0 => view.raw.advise(dice.of(&[Pattern::Normal, Pattern::Random, Pattern::Sequential])),
            1 => view.raw.prefetch([(0, view.len as u64)]).map(drop),
            _ => view.raw.release(0, view.len as u64),
        };
        let end = view.offset + view.len;
        let advice = dice.of(&[libc::MADV_DONTNEED, libc::MADV_WILLNEED, libc::MADV_SEQUENTIAL]);
        home.kernel.advise(0, HOME_PAGES * PAGE, advice).unwrap();
        self.say(|| format!("advise or release file {file} by map {number_of}"));
        match number(result) {
            Err(libc::ENXIO) if end > self.files[file].size => {
                self.tally.add(Difference::BeyondEnd);
                Ok(())
            }
            result => same("release", result, Ok(())),
        }
    }

    pub fn punch(&mut self, dice: &mut Dice) -> Result<(), String> {
        let Some((file, view)) = self.a_view(dice) else { return Ok(()) };
        let (twin, number_of) = self.parts((file, view));
        let view = &twin.home.as_ref().expect("mapped").views[number_of];
        let at = dice.below(view.len + 1);
        let len = dice.below((view.len - at).min(ONE_GO) + 1);
        let (start, end) = (view.offset + at, view.offset + at + len);
        let writable = view.writable;
        let result = number(view.raw.punch_hole(at as u64, len as u64));
        self.say(|| format!("punch {start:#x}..{end:#x} of file {file} by map {number_of}"));
        // What leaves the file is refused first, whatever the rights are. Where the range has a
        // page in part, zeros are stored.
        let whole = start.next_multiple_of(PAGE).min(end);
        let parts = [start..whole, (end - end % PAGE).max(whole)..end];
        let expected = match writable {
            false => Err(libc::EACCES),
            true if end > self.files[file].size => {
                self.tally.add(Difference::BeyondEnd);
                Err(libc::ENXIO)
            }
            true => parts.into_iter().filter(|part| !part.is_empty()).try_for_each(|part| {
                self.call_is_allowed(file, part.start, part.len(), libc::PROT_WRITE)
            }),
        };
        same("punch", result, expected)?;
        if expected.is_ok() && len > 0 {
            kernel::punch(&self.files[file].kernel, start as u64, len as u64).unwrap();
        }
        Ok(())
    }

    /// Another length, by a map.
    pub fn set_len(&mut self, dice: &mut Dice) -> Result<(), String> {
        let Some((file, view)) = self.a_view(dice) else { return Ok(()) };
        let size = self.new_size(file, dice) + if dice.one_in(16) { HOME_PAGES * PAGE } else { 0 };
        let (twin, number_of) = self.parts((file, view));
        let view = &mut twin.home.as_mut().expect("mapped").views[number_of];
        let size = size.max(view.offset);
        let len = size - view.offset;
        let result = number(view.raw.resize(len as u64));
        let writable = view.writable;
        if result.is_ok() {
            view.len = len;
        }
        self.say(|| format!("resize file {file} to {size:#x} by map {number_of}"));
        let expected = match writable {
            false => Err(libc::EACCES),
            true if size > HOME_PAGES * PAGE => {
                self.tally.add(Difference::GrowthIsReserved);
                Err(libc::EFBIG)
            }
            true => Ok(()),
        };
        same("resize", result, expected)?;
        if expected.is_ok() {
            self.kernels_size(file, size);
        }
        Ok(())
    }

    /// Another length, by somebody else, of which the `Vm` is told. From then on all is as if
    /// it had set the length itself.
    pub fn cut(&mut self, dice: &mut Dice) -> Result<(), String> {
        let file = dice.below(self.files.len());
        let size = self.new_size(file, dice);
        self.say(|| format!("somebody sets the length of file {file} to {size:#x}"));
        let twin = &self.files[file];
        let dirty = |map: &faultless::MapRaw| map.resident().expect("it is ours").1;
        let views = twin.home.iter().flat_map(|home| &home.views);
        let had_changes = views.map(|view| dirty(&view.raw)).any(|dirty| dirty > 0);
        twin.ours.set_len(size as u64).unwrap();
        if let Some(home) = &twin.home {
            let options = self.options(home.delivery);
            let map = options.len(0).map_raw(self.vm, &twin.ours_for_reading);
            let map = map.map_err(|error| format!("mapped again: {error}"))?;
            let refresh = || map.refresh().map_err(|error| error.errno());
            let mut seen = refresh();
            while let Ok(regrown) = seen
                && regrown > size as u64
            {
                self.tally.add(Difference::Regrown);
                twin.check_regrown(size, regrown as usize)?;
                twin.ours.set_len(size as u64).unwrap();
                seen = refresh();
            }
            same("the new size", seen, Ok(size as u64))?;
            for view in &home.views {
                match view.raw.check() {
                    Err(error) if error.is_beyond_end() && size < twin.size && had_changes => {
                        self.tally.add(Difference::LossIsTold);
                    }
                    told => told.map_err(|error| format!("check: {error}"))?,
                }
            }
        }
        self.kernels_size(file, size);
        Ok(())
    }

    fn new_size(&self, file: usize, dice: &mut Dice) -> usize {
        let old = self.files[file].size;
        match dice.below(4) {
            0 => dice.below(HOME_PAGES * PAGE),
            1 => dice.below(HOME_PAGES) * PAGE,
            2 => (old + dice.below(2 * PAGE)).min(HOME_PAGES * PAGE),
            _ => old.saturating_sub(dice.below(2 * PAGE)),
        }
    }

    pub fn kernels_size(&mut self, file: usize, size: usize) {
        let twin = &mut self.files[file];
        twin.kernel.set_len(size as u64).unwrap();
        twin.tail.resize(twin.size, size);
        twin.size = size;
        let kept = size.div_ceil(PAGE);
        for copied in self.privates.iter_mut().filter_map(|private| private.copied()) {
            if copied.file == file {
                let kept = kept.saturating_sub(copied.first).min(copied.pages.len());
                copied.pages[kept..].fill_with(CopiedPage::default);
            }
        }
    }
}

impl Home {
    /// What could be read can be written from now on.
    fn upgrade(&mut self, file: &std::fs::File) {
        let (prot, flags) = flags(true);
        self.kernel.replace(file, prot, flags).unwrap();
        self.writable = true;
        for (page, rights) in self.rights.iter_mut().enumerate() {
            *rights = if *rights == libc::PROT_READ { READ_WRITE } else { *rights };
            self.kernel.protect(page * PAGE, PAGE, *rights).unwrap();
        }
    }
}
