//! Accounts: how many frames some spaces may have together.
//!
//! ```text
//!   space 3 ─┐ forked                 frame   0   1   2   3   4
//!   space 5 ─┴─► account 1            pays    –   1   2   1   –
//!   space 4 ───► account 2                        ▲ hand of account 1
//!   space 6 ───► none
//! ```
//!
//! A frame counts for the space whose fault, or call, brought its page in, until the page
//! leaves; others may use it meanwhile and pay nothing (as memory cgroups of Linux have it). A
//! forked space is in its parent's account: nobody gets more by forking. When the last space
//! of an account has gone, nobody pays for what it has left behind.
//!
//! Whoever needs a frame beyond the limit is told to reclaim in [`Scope::Account`], where the
//! account's own pages leave: in the order of frames, which is about that in which they came,
//! and whether they are used or not. Pages of others stay.
//!
//! [`Scope::Account`]: crate::Scope::Account

use alloc::vec::Vec;
use core::num::NonZeroU16;

use faultless_addr::{FrameNo, SpaceId};

use crate::engine::Engine;
use crate::plan::Plan;

/// An account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccountId(NonZeroU16);

impl AccountId {
    fn index(self) -> usize {
        usize::from(self.0.get()) - 1
    }
}

/// Who pays for a frame, if anybody does.
pub(crate) type Payer = Option<AccountId>;

/// How an account stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// The most frames that it may have.
    pub limit: u32,
    /// Those that it has.
    pub used: u32,
    /// The most that it has had.
    pub used_max: u32,
    /// Spaces in it; it is nobody's with none.
    spaces: u32,
    /// Where the search for a page that can leave goes on.
    hand: u32,
}

/// All accounts, and who is in them.
#[derive(Default)]
pub(crate) struct Accounts {
    accounts: Vec<Account>,
    of_space: Vec<Payer>,
    /// Empty until there is an account.
    of_frame: Vec<Payer>,
}

impl Accounts {
    fn open(&mut self, limit: u32, frames: u32) -> AccountId {
        self.of_frame.resize(frames as usize, None);
        let new = Account { limit, used: 0, used_max: 0, spaces: 0, hand: 0 };
        let index = self.accounts.iter().position(|account| account.spaces == 0);
        let index = index.unwrap_or_else(|| {
            self.accounts.push(new);
            self.accounts.len() - 1
        });
        self.accounts[index] = new;
        let number = u16::try_from(index + 1).ok().and_then(NonZeroU16::new);
        AccountId(number.expect("there are fewer accounts than spaces, of which 2^16"))
    }

    fn enter(&mut self, space: SpaceId, account: AccountId) {
        if self.of_space.len() <= space.index() {
            self.of_space.resize(space.index() + 1, None);
        }
        debug_assert_eq!(self.of_space[space.index()], None, "a space in two accounts");
        self.of_space[space.index()] = Some(account);
        self.accounts[account.index()].spaces += 1;
    }

    /// The space is no more.
    pub fn leave(&mut self, space: SpaceId) {
        let Some(account) = self.of_space.get_mut(space.index()).and_then(Option::take) else {
            return;
        };
        let it = &mut self.accounts[account.index()];
        it.spaces -= 1;
        if it.spaces > 0 {
            return;
        }
        let left = core::mem::take(&mut it.used) as usize;
        let paid = self.of_frame.iter_mut().filter(|payer| **payer == Some(account));
        paid.take(left).for_each(|payer| *payer = None);
    }

    /// Who pays for what the space brings in.
    pub fn payer(&self, space: SpaceId) -> Payer {
        self.of_space.get(space.index()).copied().flatten()
    }

    /// Who pays for a frame.
    pub fn of_frame(&self, no: FrameNo) -> Payer {
        self.of_frame.get(no.index()).copied().flatten()
    }

    /// How many frames more somebody may have.
    pub fn left(&self, payer: Payer) -> u32 {
        payer.map_or(u32::MAX, |account| {
            let it = &self.accounts[account.index()];
            it.limit.saturating_sub(it.used)
        })
    }

    /// The frame begins to count for somebody.
    pub fn charge(&mut self, no: FrameNo, payer: Payer) {
        let Some(account) = payer else { return };
        let it = &mut self.accounts[account.index()];
        it.used += 1;
        it.used_max = it.used_max.max(it.used);
        self.of_frame[no.index()] = payer;
    }

    /// The frame is free.
    pub fn release(&mut self, no: FrameNo) {
        let payer = self.of_frame.get_mut(no.index()).and_then(Option::take);
        if let Some(account) = payer {
            self.accounts[account.index()].used -= 1;
        }
    }

    /// The account's next frame in the order of frames, from its hand on.
    fn next(&mut self, account: AccountId) -> Option<FrameNo> {
        let it = &mut self.accounts[account.index()];
        let (before, after) = self.of_frame.split_at(it.hand as usize);
        let is_its = |payer: &Payer| *payer == Some(account);
        let index = match after.iter().position(is_its) {
            Some(behind) => before.len() + behind,
            None => before.iter().position(is_its)?,
        };
        it.hand = (index + 1) as u32;
        Some(FrameNo(index as u32))
    }

    pub fn bookkeeping_bytes(&self) -> usize {
        self.accounts.capacity() * size_of::<Account>()
            + (self.of_space.capacity() + self.of_frame.capacity()) * size_of::<Payer>()
    }

    /// Each account has as many frames as it says, none of them free, and as many spaces.
    pub fn check_invariants(&self, is_free: impl Fn(FrameNo) -> bool) {
        for (index, account) in self.accounts.iter().enumerate() {
            let is_its = |payer: &&Payer| payer.is_some_and(|it| it.index() == index);
            assert_eq!(self.of_frame.iter().filter(is_its).count(), account.used as usize);
            assert_eq!(self.of_space.iter().filter(is_its).count(), account.spaces as usize);
            assert!(account.used <= account.limit, "account {index} has more than it may");
        }
        for (index, payer) in self.of_frame.iter().enumerate() {
            let free = is_free(FrameNo(index as u32));
            assert!(!free || payer.is_none(), "frame {index} is free and paid for");
        }
    }
}

impl Engine {
    /// What the space brings in from now on, and what those do that are forked from it, is at
    /// most `frames` frames at a time. Once for a space, before it has any.
    ///
    /// It has to be more than a pin on the account has pages, and than an instruction touches
    /// at a time.
    pub fn open_account(&mut self, space: SpaceId, frames: u32) {
        let account = self.accounts.open(frames, self.frames.count());
        self.accounts.enter(space, account);
    }

    /// What `space` brings in counts as if it were `other`'s, if that is in an account.
    pub fn join_account(&mut self, space: SpaceId, other: SpaceId) {
        if let Some(account) = self.accounts.payer(other) {
            self.accounts.enter(space, account);
        }
    }

    /// How the account stands that a space is in.
    pub fn account(&self, space: SpaceId) -> Option<Account> {
        let account = self.accounts.payer(space)?;
        Some(self.accounts.accounts[account.index()])
    }

    /// An account is at its limit: the next of its pages that can go.
    pub(crate) fn reclaim_of_account(
        &mut self,
        account: AccountId,
        target: u32,
        plan: &mut Plan,
    ) -> u32 {
        let it = self.accounts.accounts[account.index()];
        // Not so many that nothing of what is in use stays.
        let target = target.min(it.limit / 4).max(1);
        let (mut begun, mut looks) = (0, it.used.min(target.saturating_mul(4) + 64));
        while begun < target && looks > 0 {
            looks -= 1;
            let Some(no) = self.accounts.next(account) else { break };
            begun += self.evict_if_movable(no, plan);
        }
        begun
    }
}
