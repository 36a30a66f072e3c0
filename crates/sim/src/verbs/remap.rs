//! mremap, in all its forms: pages go elsewhere with what they hold.

use faultless_addr::{PAGE_BYTES, SpaceId, VirtAddr};
use faultless_engine::space::{RemapFlags, RemapRequest};

use super::addr;
use crate::model::Page;
use crate::world::{BOUNDS, World};

/// A request in page numbers.
#[derive(Clone, Copy)]
struct Move {
    old: u64,
    old_pages: u64,
    new: u64,
    new_pages: u64,
    flags: RemapFlags,
}

impl Move {
    fn names_target(self) -> bool {
        self.flags.intersects(RemapFlags::FIXED | RemapFlags::DONT_UNMAP)
    }

    fn name(self, moved: bool) -> &'static str {
        match (self.flags.contains(RemapFlags::DONT_UNMAP), self.old_pages) {
            (_, 0) => "mremap: second map",
            (true, _) => "mremap: old area stays",
            _ if self.flags.contains(RemapFlags::FIXED) => "mremap: to an address",
            _ if moved => "mremap: elsewhere to grow",
            (_, old) if old < self.new_pages => "mremap: grows in place",
            _ => "mremap: shrinks",
        }
    }

    /// Area by area, holes kept.
    fn moves_all(self) -> bool {
        self.flags.contains(RemapFlags::FIXED) && self.old_pages == self.new_pages
    }
}

impl World {
    pub(super) fn mremap(&mut self, process: u32) {
        let ask = self.choose_move(process);
        let request = RemapRequest {
            old: addr(ask.old),
            old_len: ask.old_pages * PAGE_BYTES,
            new_len: ask.new_pages * PAGE_BYTES,
            flags: ask.flags,
            new: addr(ask.new),
        };
        let space = SpaceId(process);
        // Others run only after the model has changed, too.
        let remapped = self.plan(|engine, plan| engine.remap(space, request, plan));
        match &remapped {
            Ok(remapped) => {
                self.tally.note(ask.name(addr(ask.old) != remapped.start));
                self.move_in_model(process, ask, remapped.start);
            }
            Err(_) => {
                self.tally.note("mremap: refused");
                self.forget_what_is_gone(process, ask);
            }
        }
        self.clear(space, BOUNDS, |_, _| {});
        for range in remapped.map(|it| it.populate).unwrap_or_default() {
            self.populate(process, range);
        }
    }

    fn choose_move(&mut self, process: u32) -> Move {
        let forms = [
            RemapFlags::empty(),
            RemapFlags::MAY_MOVE,
            RemapFlags::MAY_MOVE,
            RemapFlags::MAY_MOVE | RemapFlags::FIXED,
            RemapFlags::MAY_MOVE | RemapFlags::FIXED,
            RemapFlags::MAY_MOVE | RemapFlags::DONT_UNMAP,
            RemapFlags::MAY_MOVE | RemapFlags::DONT_UNMAP | RemapFlags::FIXED,
        ];
        let first = BOUNDS.start.0 / PAGE_BYTES;
        let last = first + BOUNDS.pages();
        let mapped: Vec<u64> = self.model.processes[&process].keys().copied().collect();
        let old = match self.rng.choice(&mapped) {
            Some(number) => *number,
            None => self.rng.u64(first..last),
        };
        // Mostly within one area; a move to an address takes several, and holes.
        let longest = match self.rng.bool() {
            true => self.run_of_alike(process, old).min(16),
            false => 16.min(last - old),
        };
        let old_pages = if self.rng.u32(..8) == 0 { 0 } else { self.rng.u64(1..=longest) };
        let new_pages = if self.rng.bool() { old_pages.max(1) } else { self.rng.u64(1..20) };
        let flags = forms[self.rng.usize(..forms.len())];
        let overlaps = |new: u64| old + old_pages > new && new + new_pages > old;
        let targets = || self.rng.u64(first..=last - new_pages);
        let new = std::iter::repeat_with(targets).take(8).find(|new| !overlaps(*new));
        Move { old, old_pages, new: new.unwrap_or(first), new_pages, flags }
    }

    /// How many pages from this one on are alike.
    fn run_of_alike(&self, process: u32, old: u64) -> u64 {
        let pages = &self.model.processes[&process];
        let Some(first) = pages.get(&old) else { return 1 };
        let alike = |number: &u64| pages.get(number).is_some_and(|page| page.is_like(first));
        (old..).take_while(alike).count() as u64
    }

    /// What mremap(2) says, page by page.
    fn move_in_model(&mut self, process: u32, ask: Move, start: VirtAddr) {
        let start = start.0 / PAGE_BYTES;
        let pages = self.model.pages_mut(process);
        let like = pages.get(&ask.old).cloned();
        let kept = ask.old_pages.min(ask.new_pages);
        if ask.flags.contains(RemapFlags::FIXED) && !ask.moves_all() {
            pages.retain(|number, _| !(ask.new..ask.new + ask.new_pages).contains(number));
        }
        pages.retain(|number, _| !(ask.old + kept..ask.old + ask.old_pages).contains(number));
        if ask.names_target() || start != ask.old {
            for n in 0..kept {
                let Some(page) = pages.remove(&(ask.old + n)) else { continue };
                if ask.flags.contains(RemapFlags::DONT_UNMAP) {
                    let empty = Page { copy: None, guard: false, ..page.clone() };
                    pages.insert(ask.old + n, empty);
                }
                pages.insert(start + n, page);
            }
        }
        for n in kept..ask.new_pages {
            let like = like.as_ref().expect("an area was there");
            let object = like.object.map(|(object, index)| (object, index.plus(n)));
            let page = Page { object, copy: None, guard: false, ..like.clone() };
            pages.insert(start + n, page);
        }
    }

    /// After an error, the target may have been unmapped already, or not.
    fn forget_what_is_gone(&mut self, process: u32, ask: Move) {
        if !ask.flags.contains(RemapFlags::FIXED) {
            return;
        }
        let space = self.engine.space(SpaceId(process));
        let target = ask.new..ask.new + ask.new_pages;
        let gone = |number: &u64| target.contains(number) && space.find(addr(*number)).is_none();
        let pages = self.model.processes.get_mut(&process).expect("it lives");
        pages.retain(|number, _| !gone(number));
    }
}
