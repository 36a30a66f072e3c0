//! madvise(2): every mapped part is done; a hole is told afterwards.

use crate::area::AreaFlags;
use crate::call::{Addr, PAGE, ProcessId};
use crate::flags::{Advice, FallocFlags, Prot};
use crate::outcome::Errno;

use super::Model;
use super::access::Access;
use super::allowed::{Allowed, Answer, Residency};
use super::page::{Backing, Lock, Traits};
use super::process::{Pages, is_aligned, number, round_up};

const KNOWN: &[Advice] = &[
    Advice::NORMAL,
    Advice::RANDOM,
    Advice::SEQUENTIAL,
    Advice::WILLNEED,
    Advice::DONTNEED,
    Advice::FREE,
    Advice::REMOVE,
    Advice::DONTFORK,
    Advice::DOFORK,
    Advice::MERGEABLE,
    Advice::UNMERGEABLE,
    Advice::HUGEPAGE,
    Advice::NOHUGEPAGE,
    Advice::DONTDUMP,
    Advice::DODUMP,
    Advice::WIPEONFORK,
    Advice::KEEPONFORK,
    Advice::COLD,
    Advice::PAGEOUT,
    Advice::POPULATE_READ,
    Advice::POPULATE_WRITE,
    Advice::DONTNEED_LOCKED,
    Advice::COLLAPSE,
    Advice::GUARD_INSTALL,
    Advice::GUARD_REMOVE,
];

impl Model {
    pub(super) fn madvise(&mut self, p: ProcessId, addr: Addr, len: u64, advice: Advice) -> Answer {
        let rounded = round_up(len);
        if !KNOWN.contains(&advice) || !is_aligned(addr) || len != 0 && rounded == 0 {
            return Err(Errno::EINVAL);
        }
        let end = addr.bytes.checked_add(rounded).ok_or(Errno::EINVAL)?;
        let range = number(addr)..end / PAGE;
        if advice == Advice::POPULATE_READ || advice == Advice::POPULATE_WRITE {
            return self.populate_advised(p, range, advice);
        }
        let mut hole = false;
        let runs = self.process(p).runs(range);
        for (run, traits) in runs {
            match traits {
                Some(traits) => self.advise(p, run, traits, advice)?,
                None => hole = true,
            }
        }
        if hole { Err(Errno::ENOMEM) } else { Ok(Allowed::DONE) }
    }

    /// One area, or a part of it.
    fn advise(
        &mut self,
        p: ProcessId,
        run: Pages,
        traits: Traits,
        advice: Advice,
    ) -> Result<(), Errno> {
        let locked = traits.lock != Lock::No;
        if discards(advice) && traits.is_sealed() && !is_open(traits) {
            return Err(Errno::EPERM);
        }
        match advice {
            Advice::DONTNEED | Advice::FREE | Advice::COLD | Advice::PAGEOUT if locked => {
                Err(Errno::EINVAL)
            }
            Advice::FREE if !traits.is_anonymous() || traits.is_shared() => Err(Errno::EINVAL),
            Advice::REMOVE => self.remove(run, traits),
            Advice::WIPEONFORK if !is_plainly_anonymous(traits) => Err(Errno::EINVAL),
            Advice::GUARD_INSTALL if locked => Err(Errno::EINVAL),
            // Less than a huge page.
            Advice::COLLAPSE => Err(Errno::EINVAL),
            Advice::KEEPONFORK | Advice::DODUMP if traits.flags.contains(AreaFlags::DROPPABLE) => {
                Err(Errno::EINVAL)
            }
            _ => {
                self.advise_pages(p, run.clone(), advice);
                self.mark(p, run, advice);
                Ok(())
            }
        }
    }

    fn advise_pages(&mut self, process: ProcessId, run: Pages, advice: Advice) {
        if advice == Advice::GUARD_INSTALL {
            self.process_mut(process).mark_guarded(run.start);
        }
        let process = self.processes.get_mut(&process).expect("looked up before the call");
        for (_, page) in process.pages.range_mut(run) {
            match advice {
                Advice::PAGEOUT if page.traits.flags.contains(AreaFlags::DROPPABLE) => {
                    page.own.iter_mut().for_each(|own| own.loosen(0));
                }
                Advice::PAGEOUT => {
                    if let Backing::Object { object, page } = page.traits.backing {
                        self.objects.get_mut(&object).map(|object| object.doubtful.insert(page));
                    }
                }
                Advice::DONTNEED | Advice::DONTNEED_LOCKED => page.drop_own(),
                Advice::FREE => {
                    if let Some(own) = &mut page.own {
                        own.loosen(0);
                    }
                    // The page of zeros may be let go, too.
                    if page.own.is_none() && page.touched == Residency::In {
                        page.touched = Residency::Unsure;
                    }
                }
                Advice::GUARD_INSTALL => {
                    if !page.guard {
                        page.drop_own();
                    }
                    page.guard = true;
                }
                Advice::GUARD_REMOVE => page.guard = false,
                _ => {}
            }
        }
    }

    /// Marks that stay with the area.
    fn mark(&mut self, process: ProcessId, run: Pages, advice: Advice) {
        let none = AreaFlags::empty();
        let order = AreaFlags::SEQUENTIAL | AreaFlags::RANDOM;
        let huge = AreaFlags::HUGEPAGE | AreaFlags::NOHUGEPAGE;
        let (clear, set) = match advice {
            Advice::NORMAL => (order, none),
            Advice::SEQUENTIAL => (order, AreaFlags::SEQUENTIAL),
            Advice::RANDOM => (order, AreaFlags::RANDOM),
            Advice::DONTFORK => (none, AreaFlags::DONTFORK),
            Advice::DOFORK => (AreaFlags::DONTFORK, none),
            Advice::WIPEONFORK => (none, AreaFlags::WIPEONFORK),
            Advice::KEEPONFORK => (AreaFlags::WIPEONFORK, none),
            Advice::DONTDUMP => (none, AreaFlags::DONTDUMP),
            Advice::DODUMP => (AreaFlags::DONTDUMP, none),
            Advice::MERGEABLE => (none, AreaFlags::MERGEABLE),
            Advice::UNMERGEABLE => (AreaFlags::MERGEABLE, none),
            Advice::HUGEPAGE => (huge, AreaFlags::HUGEPAGE),
            Advice::NOHUGEPAGE => (huge, AreaFlags::NOHUGEPAGE),
            _ => return,
        };
        for (_, page) in self.process_mut(process).pages.range_mut(run.clone()) {
            let traits = &page.traits;
            let merges = !traits.is_shared() && !traits.flags.contains(AreaFlags::DROPPABLE);
            let set = if merges { set } else { set - AreaFlags::MERGEABLE };
            page.traits.flags = (page.traits.flags - clear) | set;
        }
        self.rebirth(process, run);
    }

    /// A hole in the object.
    fn remove(&mut self, run: Pages, traits: Traits) -> Result<(), Errno> {
        if traits.lock != Lock::No {
            return Err(Errno::EINVAL);
        }
        match traits.backing {
            Backing::Anonymous => Err(Errno::EINVAL),
            Backing::ZeroDevice => Err(Errno::EACCES),
            _ if !traits.is_shared() || !traits.may.contains(Prot::WRITE) => Err(Errno::EACCES),
            Backing::Object { object, page } => {
                let hole = FallocFlags::PUNCH_HOLE | FallocFlags::KEEP_SIZE;
                self.allocate(object, hole, page * PAGE, (run.end - run.start) * PAGE)
            }
        }
    }

    fn populate_advised(&mut self, p: ProcessId, range: Pages, advice: Advice) -> Answer {
        let access = match advice {
            Advice::POPULATE_WRITE => Access::Write,
            _ => Access::Read,
        };
        for number in range {
            let traits = self.process(p).traits(number).ok_or(Errno::ENOMEM)?;
            let may = match access {
                Access::Write => traits.prot.contains(Prot::WRITE),
                _ => traits.prot.contains(Prot::READ),
            };
            if !may {
                return Err(Errno::EINVAL);
            }
            self.bring(p, number, access).map_err(|_| Errno::EFAULT)?;
        }
        Ok(Allowed::DONE)
    }
}

/// Advice that may lose what a page holds.
fn discards(advice: Advice) -> bool {
    let all = [
        Advice::DONTNEED,
        Advice::DONTNEED_LOCKED,
        Advice::FREE,
        Advice::REMOVE,
        Advice::DONTFORK,
        Advice::WIPEONFORK,
        Advice::GUARD_INSTALL,
    ];
    all.contains(&advice)
}

/// Can the process change what is there by storing, or is there a file to read it from?
fn is_open(traits: Traits) -> bool {
    !traits.is_anonymous() || traits.prot.contains(Prot::WRITE)
}

fn is_plainly_anonymous(traits: Traits) -> bool {
    traits.backing == Backing::Anonymous && !traits.is_shared()
}
