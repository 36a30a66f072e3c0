//! Operations, drawn from a seed. Each has dice of its own and is told to whatever twins
//! there are when its turn comes: so any part of a sequence is a sequence, and a failing
//! one can be made shorter.

use super::PAGE;
use super::access::SIZES;
use super::dice::Dice;
use super::touch::How;
use super::world::{Target, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Load,
    Store,
    Sweep,
    Make,
    Drop,
    Protect,
    Discard,
    Advise,
    Resize,
    View,
    DropView,
    Read,
    Write,
    Flush,
    SetLen,
    Cut,
    Punch,
    Release,
}

const WEIGHTS: [(Verb, usize); 18] = [
    (Verb::Load, 30),
    (Verb::Store, 30),
    (Verb::Sweep, 4),
    (Verb::Make, 3),
    (Verb::Drop, 2),
    (Verb::Protect, 8),
    (Verb::Discard, 4),
    (Verb::Advise, 4),
    (Verb::Resize, 4),
    (Verb::View, 3),
    (Verb::DropView, 1),
    (Verb::Read, 5),
    (Verb::Write, 5),
    (Verb::Flush, 3),
    (Verb::SetLen, 3),
    (Verb::Cut, 1),
    (Verb::Punch, 2),
    (Verb::Release, 2),
];

#[derive(Clone, Copy, Debug)]
pub struct Op {
    pub verb: Verb,
    pub seed: u64,
    pub step: usize,
}

pub fn draw(seed: u64, steps: usize) -> Vec<Op> {
    let mut dice = Dice::new(seed ^ 0x7477_696e_7300_0000);
    let all: usize = WEIGHTS.iter().map(|(_, weight)| weight).sum();
    (0..steps)
        .map(|step| {
            let mut left = dice.below(all);
            let verb = WEIGHTS.iter().find(|(_, weight)| {
                let found = left < *weight;
                left = left.wrapping_sub(*weight);
                found
            });
            Op { verb: verb.expect("the weights add up").0, seed: dice.any(), step }
        })
        .collect()
}

impl World<'_> {
    pub fn apply(&mut self, op: &Op) -> Result<(), String> {
        let dice = &mut Dice::new(op.seed);
        match op.verb {
            Verb::Load | Verb::Store | Verb::Sweep => self.touch(op.verb, dice),
            Verb::Make => self.make(dice),
            Verb::Drop => self.drop_one(dice),
            Verb::Protect => self.protect(dice),
            Verb::Discard => self.discard(dice),
            Verb::Advise => self.advise(dice),
            Verb::Resize => self.resize_memory(dice),
            Verb::View => self.view(dice),
            Verb::DropView => self.drop_view(dice),
            Verb::Read => self.read_at(dice),
            Verb::Write => self.write_at(dice),
            Verb::Flush => self.flush(dice),
            Verb::SetLen => self.set_len(dice),
            Verb::Cut => self.cut(dice),
            Verb::Punch => self.punch(dice),
            Verb::Release => self.release(dice),
        }
    }

    fn touch(&mut self, verb: Verb, dice: &mut Dice) -> Result<(), String> {
        let targets = self.targets();
        if targets.is_empty() {
            return self.make(dice);
        }
        let target = dice.of(&targets);
        let how = match verb {
            Verb::Sweep => How::Many,
            _ if verb == Verb::Load && dice.one_in(8) => How::Call,
            _ => How::Once,
        };
        let len = match how {
            How::Once => dice.of(&SIZES),
            How::Many => 1 + dice.below(12 * PAGE),
            How::Call => 1 + dice.below(2 * PAGE),
        };
        let at = self.somewhere(target, len, dice);
        let stores = verb == Verb::Store || verb == Verb::Sweep && dice.one_in(2);
        if !stores {
            self.say(|| format!("load {len} bytes {how:?} at {at:#x} of {target:?}"));
            return self.load(target, at, len, how);
        }
        let bytes = dice.bytes(len);
        self.say(|| {
            format!(
                "store {len} bytes {how:?} at {at:#x} of {target:?}: {:x?}",
                &bytes[..len.min(8)]
            )
        });
        self.store(target, at, &bytes, how)
    }

    /// An offset that is worth a look: at the border of a page, near the end of the file, or
    /// outside, where nobody is.
    fn somewhere(&self, target: Target, len: usize, dice: &mut Dice) -> isize {
        let place = self.place(target);
        let all = place.pages * PAGE;
        let end = match target {
            Target::Home(file) => self.files[file].size,
            Target::Private(index) => self.end_of(index),
        };
        let near = |byte: usize, dice: &mut Dice| {
            byte as isize + dice.below(2 * len.min(16) + 1) as isize - len.min(16) as isize
        };
        let at = match dice.below(16) {
            0..4 => near(dice.below(place.pages + 1) * PAGE, dice),
            4..6 => near(end, dice),
            6 => near(end.next_multiple_of(PAGE), dice),
            7 => dice.below(all + 2 * PAGE) as isize - PAGE as isize,
            _ => dice.below(all.min(end).max(1)) as isize,
        };
        let inside = 0..all as isize - len as isize + 1;
        if inside.contains(&at) {
            return at;
        }
        let start = place.ours.wrapping_add_signed(at);
        let before = at.min(0).unsigned_abs().min(len);
        let behind = (at + len as isize - all as isize).clamp(0, len as isize) as usize;
        let free = self.is_nobodys(start, before) && self.is_nobodys(start + len - behind, behind);
        if free { at } else { at.clamp(0, (all.saturating_sub(len)) as isize) }
    }
}
