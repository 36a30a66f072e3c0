//! Loads and stores in both worlds, and what is the same of them.

use std::time::{Duration, Instant};

use super::PAGE;
use super::access::{self, Fault};
use super::differences::Difference;
use super::kernel::errno;
use super::twin::{Copied, Kind, TwinFile};
use super::world::{Target, World};

/// Enough for what takes microseconds.
const SOON: Duration = Duration::from_secs(5);

/// What an access of some bytes came to: how many of them it did, and what ended it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub done: usize,
    pub fault: Option<Fault>,
}

impl Outcome {
    fn new(base: usize, done: usize, fault: Option<Fault>) -> Outcome {
        let fault = fault.map(|fault| Fault { at: fault.at - base as isize, ..fault });
        Outcome { done, fault }
    }
}

/// How bytes are touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By one instruction, 1, 2, 4 or 8 bytes.
    Once,
    /// By many, page by page.
    Many,
    /// By the kernel, in a system call.
    Call,
}

fn load(base: usize, at: isize, len: usize, how: How) -> (Vec<u8>, Outcome) {
    let from = base.wrapping_add_signed(at);
    let mut bytes = vec![0; len];
    let outcome = match how {
        How::Once => match access::load(from, len) {
            Ok(value) => {
                bytes.copy_from_slice(&value.to_le_bytes()[..len]);
                Outcome::new(base, len, None)
            }
            Err(fault) => Outcome::new(base, 0, Some(fault)),
        },
        How::Many => {
            let (done, fault) = access::load_many(from, &mut bytes);
            Outcome::new(base, done, fault)
        }
        How::Call => by_call(from, &mut bytes),
    };
    (bytes, outcome)
}

/// `write(2)` from there to a pipe. An error's number stands as a fault's code.
fn by_call(from: usize, bytes: &mut [u8]) -> Outcome {
    let mut ends = [0; 2];
    // SAFETY: a pipe of this function's own; the kernel checks the addresses.
    unsafe {
        assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
        let count = libc::write(ends[1], from as *const _, bytes.len());
        let errno = errno();
        let outcome = match usize::try_from(count) {
            Ok(done) => {
                assert_eq!(libc::read(ends[0], bytes.as_mut_ptr().cast(), done), count);
                Outcome { done, fault: None }
            }
            Err(_) => Outcome { done: 0, fault: Some(Fault { signal: 0, code: errno, at: 0 }) },
        };
        libc::close(ends[0]);
        libc::close(ends[1]);
        outcome
    }
}

fn store(base: usize, at: isize, bytes: &[u8], how: How) -> Outcome {
    let to = base.wrapping_add_signed(at);
    match how {
        How::Once => {
            let mut value = [0; 8];
            value[..bytes.len()].copy_from_slice(bytes);
            match access::store(to, bytes.len(), u64::from_le_bytes(value)) {
                Ok(()) => Outcome::new(base, bytes.len(), None),
                Err(fault) => Outcome::new(base, 0, Some(fault)),
            }
        }
        How::Many | How::Call => {
            let (done, fault) = access::store_many(to, bytes);
            Outcome::new(base, done, fault)
        }
    }
}

/// The pieces of `len` bytes that are in one page each: page, first byte in it, length.
fn pieces(at: usize, len: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let left = len - done;
        let (page, from) = ((at + done) / PAGE, (at + done) % PAGE);
        let piece = left.min(PAGE - from);
        done += piece;
        (piece > 0).then_some((page, from, piece))
    })
}

impl World<'_> {
    /// Loads in both worlds, and compares.
    pub fn load(&mut self, target: Target, at: isize, len: usize, how: How) -> Result<(), String> {
        let place = self.place(target);
        if let Target::Private(index) = target {
            // If only up to a fault in the next page.
            let end = usize::try_from(at + len as isize).unwrap_or(0);
            self.note_what_is_read(index, at.max(0) as usize / PAGE..end.div_ceil(PAGE));
        }
        let (ours, outcome) = load(place.ours, at, len, how);
        let (mut kernel, expected) = load(place.kernel, at, len, how);
        if how == How::Call && place.is_inline() && outcome != expected {
            self.tally.add(Difference::InlineCalls);
            if outcome.done > expected.done || outcome.done > 0 && outcome.fault.is_some() {
                return Err(format!("a call does {outcome:?}, the kernel {expected:?}"));
            }
            kernel.truncate(outcome.done);
        } else if outcome != expected {
            return Err(format!("a load ends in {outcome:?}, the kernel's in {expected:?}"));
        }
        let mut done = 0;
        for (page, from, len) in pieces(at.max(0) as usize, outcome.done) {
            let range = done..done + len;
            self.judge(target, page, from, &ours[range.clone()], &kernel[range])?;
            done += len;
        }
        Ok(())
    }

    /// Stores in both worlds, and compares.
    pub fn store(
        &mut self,
        target: Target,
        at: isize,
        bytes: &[u8],
        how: How,
    ) -> Result<(), String> {
        let place = self.place(target);
        let ours = store(place.ours, at, bytes, how);
        let kernel = store(place.kernel, at, bytes, how);
        if ours != kernel && self.is_early(target, at, &ours, &kernel) {
            return self.lose_stores(target, at as usize, bytes.len());
        }
        if ours != kernel {
            return Err(format!("a store ends in {ours:?}, the kernel's in {kernel:?}"));
        }
        let at = at.max(0) as usize;
        if let Target::Home(file) = target {
            let file = &mut self.files[file];
            file.tail.store(file.size, at, &bytes[..ours.done]);
        }
        for (page, from, len) in pieces(at, ours.done) {
            self.stored(target, page, from, len)?;
        }
        match ours.fault {
            Some(_) => self.forget_half_a_store(target, at + ours.done, bytes.len() - ours.done),
            None => Ok(()),
        }
    }

    /// One instruction's store ended with a fault in its second page: it may have made a copy
    /// of its first one, in either world. In both the page is the file's again.
    fn forget_half_a_store(&mut self, target: Target, at: usize, len: usize) -> Result<(), String> {
        let Target::Private(index) = target else { return Ok(()) };
        let private = &mut self.privates[index];
        let (Some((copied, _)), page) = (copied(&mut private.kind, &self.files), at / PAGE) else {
            return Ok(());
        };
        if len > 8 || at % PAGE + len <= PAGE || copied.pages.get(page).is_none_or(|it| it.own) {
            return Ok(());
        }
        let start = (page * PAGE).saturating_sub(copied.lead);
        let end = ((page + 1) * PAGE - copied.lead).min(copied.map.len());
        copied.map.discard(start..end).map_err(|error| error.to_string())?;
        private.kernel.advise(page * PAGE, PAGE, libc::MADV_DONTNEED).unwrap();
        copied.pages[page] = super::twin::CopiedPage::default();
        Ok(())
    }

    /// Did a store to a file that is mapped for reading go further than the kernel's, because
    /// a page had just arrived?
    fn is_early(&self, target: Target, at: isize, ours: &Outcome, kernel: &Outcome) -> bool {
        let (Target::Home(file), Ok(at)) = (target, usize::try_from(at)) else { return false };
        let home = self.files[file].home.as_ref().expect("mapped");
        let denied = |outcome: &Outcome| {
            let fault = outcome.fault.as_ref();
            fault.is_none_or(|fault| (fault.signal, fault.code) == (libc::SIGSEGV, 2))
        };
        let reached = ours.fault.as_ref().map_or(at + ours.done, |fault| fault.at as usize);
        let pages = (at + kernel.done) / PAGE..reached.div_ceil(PAGE).min(home.rights.len());
        !home.writable
            && kernel.fault.is_some()
            && denied(kernel)
            && denied(ours)
            && reached > at + kernel.done
            && home.rights[pages].iter().all(|rights| *rights == libc::PROT_READ)
    }

    /// What is said of such a store: the next one is refused, soon; the bytes are gone when
    /// the page has left; and the file never had them.
    fn lose_stores(&self, target: Target, at: usize, len: usize) -> Result<(), String> {
        let Target::Home(file) = target else { return Ok(()) };
        self.tally.add(Difference::EarlyStore);
        let (twin, place) = (&self.files[file], self.place(target));
        let map = self.options(place.delivery).map_raw(self.vm, &twin.ours_for_reading);
        let map = map.map_err(|error| error.to_string())?;
        let in_time = Instant::now() + SOON;
        for (page, from, len) in pieces(at, len) {
            let byte = (page * PAGE + from) as isize;
            while store(place.ours, byte, &[0x5a], How::Once).fault.is_none() {
                if Instant::now() > in_time {
                    return Err(format!("page {page} of a map for reading is stored to"));
                }
            }
            loop {
                map.release(0, map.len() as u64).map_err(|error| error.to_string())?;
                let [(ours, _), (kernel, _)] =
                    [place.ours, place.kernel].map(|base| load(base, byte, len, How::Many));
                if first_wrong(twin, byte as usize, &ours, &kernel).is_none() {
                    break;
                }
                if Instant::now() > in_time {
                    return Err(format!("what was stored to page {page} too early stays"));
                }
            }
        }
        twin.compare(at, at + len)
    }

    /// Bytes of a page were loaded: may they be so?
    fn judge(
        &mut self,
        target: Target,
        page: usize,
        from: usize,
        ours: &[u8],
        kernel: &[u8],
    ) -> Result<(), String> {
        let differs = ours.iter().zip(kernel).position(|(ours, kernel)| ours != kernel);
        let error = |at: usize| {
            let at_byte = page * PAGE + from + at;
            Err(format!("byte {at_byte} is {}, the kernel's {}", ours[at], kernel[at]))
        };
        let index = match target {
            Target::Private(index) => index,
            Target::Home(file) => {
                let file = &self.files[file];
                return match first_wrong(file, page * PAGE + from, ours, kernel) {
                    Some(at) => error(at),
                    None => {
                        differs.inspect(|_| self.tally.add(Difference::Tail));
                        Ok(())
                    }
                };
            }
        };
        let Some((copied, file)) = copied(&mut self.privates[index].kind, &self.files) else {
            return differs.map_or(Ok(()), error);
        };
        if copied.pages[page].own {
            return differs.map_or(Ok(()), error);
        }
        let of_file = copied.first + page;
        match first_wrong(file, of_file * PAGE + from, ours, kernel) {
            Some(_) => self.settle(index, page, &[]),
            None => Ok(()),
        }
    }

    /// Bytes of a page were stored to: a page of a private map may be a copy only now.
    fn stored(
        &mut self,
        target: Target,
        page: usize,
        from: usize,
        len: usize,
    ) -> Result<(), String> {
        let Target::Private(index) = target else { return Ok(()) };
        match self.privates[index].copied() {
            Some(copied) if !copied.pages[page].own => {
                let stored: Vec<usize> = (from..from + len).collect();
                self.settle(index, page, &stored)
            }
            _ => Ok(()),
        }
    }

    /// A page of a private map is compared as a whole. If Faultless copied it when it was
    /// read, the kernel's is made the same: it is a copy in both worlds from now on.
    fn settle(&mut self, index: usize, page: usize, stored: &[usize]) -> Result<(), String> {
        let (ours_at, private) = (self.privates[index].ours(), &mut self.privates[index]);
        let at = (page * PAGE) as isize;
        let (ours, outcome) = load(ours_at, at, PAGE, How::Many);
        let (kernel, expected) = load(private.kernel.start, at, PAGE, How::Many);
        if (outcome.done, expected.done) != (PAGE, PAGE) {
            return Err(format!("page {page} can't be read again: {outcome:?}, {expected:?}"));
        }
        let rights = private.rights[page];
        let (copied, file) = copied(&mut private.kind, &self.files).expect("a private map");
        let of_file = copied.first + page;
        let state = &mut copied.pages[page];
        let wrong = first_wrong(file, of_file * PAGE, &ours, &kernel);
        if let Some(at) = wrong {
            if !state.seen.iter().any(|seen| seen.is(of_file, &ours, stored)) {
                return Err(format!(
                    "byte {} of page {page} is {}, the kernel's {}, and it was nothing that has \
                     been read here",
                    at, ours[at], kernel[at]
                ));
            }
            self.tally.add(Difference::EarlyCopy);
        } else if stored.is_empty() {
            return Err(format!("page {page} changes while it is looked at"));
        }
        if ours != kernel {
            private.kernel.amend(page, &ours, rights);
        }
        *state = super::twin::CopiedPage { own: true, seen: Vec::new() };
        Ok(())
    }
}

/// Whose bytes a private map has, if they are a file's.
fn copied<'a>(kind: &'a mut Kind, files: &'a [TwinFile]) -> Option<(&'a mut Copied, &'a TwinFile)> {
    match kind {
        Kind::Memory(_) => None,
        Kind::Copy(copied) => {
            let file = &files[copied.file];
            Some((copied, file))
        }
    }
}

/// The first of a file's bytes that differs and may not.
fn first_wrong(file: &TwinFile, at: usize, ours: &[u8], kernel: &[u8]) -> Option<usize> {
    let mut pairs = ours.iter().zip(kernel).enumerate();
    pairs
        .find(|(n, (ours, kernel))| {
            ours != kernel && !(at + n >= file.size && file.tail.permits(at + n, **ours))
        })
        .map(|(n, _)| n)
}
