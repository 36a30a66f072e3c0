//! [`Limits`]: how much of a broker one client may have, and how many clients there may be.
//!
//! A client at the limit of its memory loses pages of its own, and nobody else does.
//!
//! A mapping beyond a client's limits is the kernel's, if nobody has the file by the broker:
//! then it is the kernel's for all from there on. Of a file that is served there would be two
//! truths: such a mapping is ENOMEM, as one beyond the kernel's own limit is
//! (`vm.max_map_count`).

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::io::Errno;

/// Limits; without one there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Processes that are served at once. A child that is forked from one, with its mappings,
    /// comes in all the same: it would have nothing but errors where its parent has files.
    pub clients: Option<NonZeroU64>,
    /// Mappings that one process may have. Where it has cut one in two by a call, these are
    /// two, which isn't prevented.
    pub client_mappings: Option<NonZeroU64>,
    /// Files that one process may map.
    pub client_files: Option<NonZeroU64>,
    /// Bytes of the budget that one process may have, together with the children that are
    /// forked from it: those of pages that it was the first to need. At least
    /// [`CLIENT_MEMORY_MIN`].
    pub client_memory: Option<NonZeroU64>,
}

/// Less than this would let a client hardly go on: a step of its writes to mapped files takes
/// a sixteenth of it.
pub const CLIENT_MEMORY_MIN: u64 = 1 << 20;

/// Is there room for one more than there are?
pub(crate) fn has_room(limit: Option<NonZeroU64>, are: usize) -> bool {
    limit.is_none_or(|limit| (are as u64) < limit.get())
}

/// How long a process waits for another one to leave: who has called exec, or has just ended,
/// is still there for a moment.
const PATIENCE: Duration = Duration::from_millis(250);

/// How often is looked whether one has left.
const LOOK: Duration = Duration::from_millis(5);

/// Room for clients.
#[derive(Debug)]
pub(crate) struct Places {
    limit: Option<NonZeroU64>,
    taken: AtomicU64,
    refused: AtomicU64,
    /// The first refusal has been told.
    said: AtomicBool,
}

/// How a client comes to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comes {
    /// As a program that begins.
    New,
    /// As the child of a client, whose mappings it has.
    Forked,
}

/// One client's room, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Place(Arc<Places>);

impl Places {
    pub fn new(limit: Option<NonZeroU64>) -> Arc<Places> {
        let (taken, refused) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Places { limit, taken, refused, said: AtomicBool::new(false) })
    }

    /// Clients that were turned away.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Room for one more; EUSERS where there is none.
    pub fn take(self: &Arc<Places>, comes: Comes) -> Result<Place, Errno> {
        let most = match (comes, self.limit) {
            (Comes::New, Some(limit)) => limit.get(),
            _ => u64::MAX,
        };
        let until = Instant::now() + PATIENCE;
        loop {
            let more = |taken: u64| (taken < most).then_some(taken + 1);
            if self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok() {
                return Ok(Place(self.clone()));
            }
            if Instant::now() > until {
                self.refused.fetch_add(1, Ordering::Relaxed);
                if !self.said.swap(true, Ordering::Relaxed) {
                    faultless_runtime::say(format_args!(
                        "as many programs as may be ({most}) are served: others run without"
                    ));
                }
                return Err(Errno::USERS);
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_had_again_when_it_is_left() {
        let places = Places::new(NonZeroU64::new(1));
        let first = places.take(Comes::New).expect("room");
        assert_eq!(places.take(Comes::New).map(drop), Err(Errno::USERS));
        let child = places.take(Comes::Forked).expect("a child is never turned away");
        assert_eq!(places.refused(), 1);
        drop(first);
        let leaves = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            drop(child);
        });
        places.take(Comes::New).map(drop).expect("somebody leaves in time");
        leaves.join().unwrap();
        assert!(has_room(None, 7) && has_room(NonZeroU64::new(8), 7));
        assert!(!has_room(NonZeroU64::new(7), 7));
    }
}
