//! One file of four pages and a bit, and what a directed case makes of it in both worlds.

use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use faultless::{Delivery, MapOptions, Protection, Vm};

use super::PAGE;
use super::areas::{number, same};
use super::dice::Dice;
use super::differences::Tally;
use super::kernel::{self, Area, GUARD_INSTALL, READ_WRITE};
use super::touch::How;
use super::twin::{Copied, CopiedPage, HOME_PAGES, Home, Kind, Private, TwinFile, View};
use super::world::{Target, World, directory};

/// How long the file is: its end is inside of its fifth page.
pub const LEN: usize = 4 * PAGE + 100;
pub const HOME: Target = Target::Home(0);

pub type Seen = Result<(), String>;

pub struct Bench<'a> {
    pub world: World<'a>,
    pub delivery: Delivery,
}

impl<'a> Bench<'a> {
    pub fn new(vm: &'a Vm, tally: &'a Tally, delivery: Delivery) -> Bench<'a> {
        let mut dice = Dice::new(1);
        let mut world = World::new(vm, tally, true, &mut dice);
        world.files = vec![TwinFile::new(&directory(), &dice.bytes(LEN))];
        Bench { world, delivery }
    }

    pub fn file(&mut self) -> &mut TwinFile {
        &mut self.world.files[0]
    }

    pub fn options(&self) -> MapOptions {
        self.world.options(self.delivery)
    }

    /// A shared map of the whole file.
    pub fn share(&mut self) -> Target {
        let (options, file) = (self.options(), &mut self.world.files[0]);
        let raw = options.map_raw_mut(self.world.vm, &file.ours).unwrap();
        let kernel =
            Area::of_file(&file.kernel, 0, HOME_PAGES, READ_WRITE, libc::MAP_SHARED).unwrap();
        file.home = Some(Home {
            ours: raw.as_ptr() as usize,
            kernel,
            rights: vec![READ_WRITE; HOME_PAGES],
            views: vec![View { offset: 0, len: raw.len(), raw, writable: true }],
            copies: 0,
            writable: true,
            delivery: self.delivery,
        });
        HOME
    }

    pub fn map(&self) -> &faultless::MapRaw {
        &self.world.files[0].home.as_ref().expect("it is shared").views[0].raw
    }

    /// A private map of all pages.
    pub fn copy(&mut self) -> Target {
        let file = &self.world.files[0];
        // SAFETY: its bytes are used by routines that bear what happens to them.
        let map = unsafe { self.options().map_copy(self.world.vm, &file.ours_for_reading) };
        let from = &file.kernel_for_reading;
        let kernel = Area::of_file(from, 0, 5, READ_WRITE, libc::MAP_PRIVATE).unwrap();
        let pages = (0..5).map(|_| CopiedPage::default()).collect();
        let kind = Kind::Copy(Copied { map: map.unwrap(), file: 0, first: 0, lead: 0, pages });
        self.push(kind, kernel)
    }

    pub fn memory(&mut self, pages: usize) -> Target {
        let memory = self.world.vm.anonymous_by(pages * PAGE, self.delivery).unwrap();
        self.push(Kind::Memory(memory), Area::anonymous(pages))
    }

    fn push(&mut self, kind: Kind, kernel: Area) -> Target {
        let (rights, delivery) = (vec![READ_WRITE; kernel.pages], self.delivery);
        self.world.privates.push(Private { kind, kernel, rights, delivery });
        Target::Private(self.world.privates.len() - 1)
    }

    pub fn load(&mut self, target: Target, at: usize) -> Seen {
        self.world.load(target, at as isize, 1, How::Once)
    }

    /// A load by a system call.
    pub fn call(&mut self, target: Target, at: usize, len: usize) -> Seen {
        self.world.load(target, at as isize, len, How::Call)
    }

    pub fn store(&mut self, target: Target, at: usize, byte: u8) -> Seen {
        self.world.store(target, at as isize, &[byte], How::Once)
    }

    /// Loads and stores a byte of every page.
    pub fn touch(&mut self, target: Target, pages: Range<usize>) -> Seen {
        for page in pages {
            self.load(target, page * PAGE + 7)?;
            self.store(target, page * PAGE + 8, page as u8 + 1)?;
        }
        Ok(())
    }

    /// Other rights for a range of bytes; the errors are compared.
    pub fn protect(&mut self, target: Target, range: Range<usize>, prot: i32) -> Seen {
        let protection = match prot {
            libc::PROT_NONE => Protection::NONE,
            libc::PROT_READ => Protection::READ,
            libc::PROT_WRITE => Protection::WRITE,
            _ => Protection::READ_WRITE,
        };
        let (at, len) = (range.start, range.len());
        let (ours, kernel) = match target {
            Target::Home(_) => {
                let home = self.world.files[0].home.as_mut().expect("it is shared");
                let ours = home.views[0].raw.protect(range.clone(), protection);
                (ours, home.kernel.protect(at, len, prot))
            }
            Target::Private(index) => {
                let private = &mut self.world.privates[index];
                // SAFETY: as for `copy`.
                let ours = unsafe {
                    match &mut private.kind {
                        Kind::Memory(memory) => memory.protect(range.clone(), protection),
                        Kind::Copy(copied) => copied.map.protect(range.clone(), protection),
                    }
                };
                (ours, private.kernel.protect(at, len, prot))
            }
        };
        if kernel.is_ok()
            && let Target::Private(index) = target
        {
            self.world.privates[index].rights[at / PAGE..(at + len).div_ceil(PAGE)].fill(prot);
        }
        same("protect", number(ours), kernel)
    }

    /// Locks a range of memory.
    pub fn lock(&mut self, target: Target, range: Range<usize>) -> Seen {
        let Target::Private(index) = target else { return Err("not private".into()) };
        let private = &mut self.world.privates[index];
        let Kind::Memory(memory) = &mut private.kind else { return Err("not memory".into()) };
        let ours = number(memory.lock(range.clone()));
        same("lock", ours, private.kernel.lock(range.start, range.len()))
    }

    pub fn discard(&mut self, target: Target, range: Range<usize>) -> Seen {
        let Target::Private(index) = target else { return Err("not private".into()) };
        let private = &mut self.world.privates[index];
        let ours = match &mut private.kind {
            Kind::Memory(memory) => memory.discard(range.clone()),
            Kind::Copy(copied) => copied.map.discard(range.clone()),
        };
        let kernel = private.kernel.advise(range.start, range.len(), libc::MADV_DONTNEED);
        if let (Ok(()), Some(copied)) = (kernel, private.copied()) {
            let pages = range.start / PAGE..range.end.div_ceil(PAGE);
            copied.pages[pages].fill_with(CopiedPage::default);
        }
        same("discard", number(ours), kernel)
    }

    /// Makes guards of a range, or none.
    pub fn guard(&mut self, target: Target, range: Range<usize>, advice: i32) -> Seen {
        let Target::Private(index) = target else { return Err("not private".into()) };
        let private = &mut self.world.privates[index];
        let installs = advice == GUARD_INSTALL;
        // SAFETY: it is touched by pointers only.
        let ours = unsafe {
            match &mut private.kind {
                Kind::Memory(memory) if installs => memory.guard(range.clone()),
                Kind::Memory(memory) => memory.unguard(range.clone()),
                Kind::Copy(copied) if installs => copied.map.guard(range.clone()),
                Kind::Copy(copied) => copied.map.unguard(range.clone()),
            }
        };
        let kernel = private.kernel.advise(range.start, range.len(), advice);
        if let (Ok(()), Some(copied)) = (kernel, private.copied()) {
            let pages = range.start / PAGE..range.end.div_ceil(PAGE);
            copied.pages[pages].fill_with(CopiedPage::default);
        }
        same("guard", number(ours), kernel)
    }

    /// Memory of another length.
    pub fn resize(&mut self, target: Target, pages: usize) -> Seen {
        let Target::Private(index) = target else { return Err("not private".into()) };
        let private = &mut self.world.privates[index];
        let Kind::Memory(memory) = &mut private.kind else { return Err("not memory".into()) };
        let ours = memory.resize(pages * PAGE).map(drop);
        let kernel = private.kernel.resize(pages);
        if kernel.is_ok() {
            private.rights.resize(pages, READ_WRITE);
        }
        same("resize", number(ours), kernel)
    }

    /// The file's length, by its shared map.
    pub fn set_len(&mut self, len: usize) -> Seen {
        self.map().resize(len as u64).map_err(|error| error.to_string())?;
        self.world.kernels_size(0, len);
        Ok(())
    }

    /// Bytes of the file, by its shared map.
    pub fn write(&mut self, at: usize, bytes: &[u8]) -> Seen {
        self.map().write_at(at as u64, bytes).map_err(|error| error.to_string())?;
        self.file().kernel.write_all_at(bytes, at as u64).unwrap();
        Ok(())
    }

    pub fn punch(&mut self, at: usize, len: usize) -> Seen {
        let ours = self.map().punch_hole(at as u64, len as u64);
        same("punch", number(ours), kernel::punch(&self.file().kernel, at as u64, len as u64))
    }

    pub fn flush_and_compare(&mut self) -> Seen {
        self.map().flush().map_err(|error| error.to_string())?;
        self.file().compare(0, usize::MAX)
    }
}
