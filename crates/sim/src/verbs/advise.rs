//! madvise and mlock: what goes, what comes, what nobody may touch.

use faultless_addr::{PageRange, SpaceId, VirtRange};
use faultless_engine::space::{Advice, LockKind, Vma};

use super::numbers;
use crate::access::Pending;
use crate::model::AtFork;
use crate::world::World;

const ADVICE: [Advice; 16] = [
    Advice::DontNeed,
    Advice::DontNeed,
    Advice::DontNeed,
    Advice::DontNeedLocked,
    Advice::Free,
    Advice::PageOut,
    Advice::Cold,
    Advice::WillNeed,
    Advice::PopulateRead,
    Advice::PopulateWrite,
    Advice::GuardInstall,
    Advice::GuardRemove,
    Advice::DontFork,
    Advice::DoFork,
    Advice::WipeOnFork,
    Advice::KeepOnFork,
];

fn name(advice: Advice) -> &'static str {
    match advice {
        Advice::DontNeed | Advice::DontNeedLocked | Advice::Free => "madvise: discards",
        Advice::GuardInstall => "madvise: installs guards",
        Advice::GuardRemove => "madvise: removes guards",
        Advice::PageOut | Advice::Cold => "madvise: pages out",
        Advice::WillNeed | Advice::PopulateRead | Advice::PopulateWrite => "madvise: brings in",
        _ => "madvise: for forks",
    }
}

impl World {
    pub(super) fn madvise(&mut self, process: u32) {
        let range = self.choose_range();
        let advice = ADVICE[self.rng.usize(..ADVICE.len())];
        self.tally.note(name(advice));
        if matches!(advice, Advice::PopulateRead | Advice::PopulateWrite) {
            return self.populate(process, range);
        }
        self.advise_model(process, range, advice);
        let (space, mut pieces) = (SpaceId(process), Vec::new());
        let bytes = (range.start, range.len());
        self.clear(space, range, |engine, plan| {
            // What is refused, and where, is the differential tester's.
            let _ = engine.advise_range(space, bytes, advice, &mut pieces, plan);
        });
        if advice == Advice::WillNeed {
            self.plan(|engine, plan| engine.will_need(space, range, plan));
        }
        if advice == Advice::Cold {
            self.cool(&pieces);
        }
    }

    /// Clean pages of objects leave first.
    fn cool(&mut self, pieces: &[Vma]) {
        for piece in pieces {
            let (Some(object), Some(first)) = (piece.object(), piece.page_at(piece.range.start))
            else {
                continue;
            };
            let mut pages = PageRange::from_len(first, piece.range.pages());
            self.plan(|engine, plan| engine.drop_clean(object, &mut pages, plan));
        }
    }

    /// What madvise(2) says, page by page, up to the first that refuses.
    fn advise_model(&mut self, process: u32, range: VirtRange, advice: Advice) {
        for number in numbers(range) {
            let space = self.engine.space(SpaceId(process));
            let locked = space.find(super::addr(number)).is_some_and(|area| area.is_locked());
            let Some(page) = self.model.pages_mut(process).get_mut(&number) else { continue };
            let own = page.object.is_none();
            match advice {
                Advice::DontNeed | Advice::GuardInstall if locked => return,
                Advice::Free if locked || !own => return,
                Advice::DontNeed | Advice::DontNeedLocked | Advice::Free => page.copy = None,
                Advice::GuardInstall => {
                    page.copy = None;
                    page.guard = true;
                }
                Advice::GuardRemove => page.guard = false,
                Advice::WipeOnFork if !own => return,
                Advice::WipeOnFork => page.wiped = true,
                Advice::KeepOnFork => page.wiped = false,
                Advice::DontFork => page.at_fork = AtFork::Stays,
                Advice::DoFork => page.at_fork = AtFork::GoesAlong,
                _ => {}
            }
        }
    }

    /// Pages are brought in before they are touched: a few, as far as the area lets us.
    pub(super) fn populate(&mut self, process: u32, range: VirtRange) {
        for number in numbers(range).take(6) {
            self.access_to_end(process, Pending::load(number, 0));
        }
    }

    /// Pages are locked, and brought in; or locked no more.
    pub(super) fn mlock(&mut self, process: u32) {
        self.tally.note("verb: mlock or munlock");
        let range = self.choose_range();
        let (space, bytes) = (SpaceId(process), (range.start, range.len()));
        match self.rng.u32(..3) {
            0 => drop(self.engine.unlock(space, bytes)),
            1 => drop(self.engine.lock(space, bytes, LockKind::OnFault)),
            _ if self.engine.lock(space, bytes, LockKind::Full).is_ok() => {
                self.populate(process, range);
            }
            _ => {}
        }
    }
}
