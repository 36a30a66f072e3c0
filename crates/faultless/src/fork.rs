//! A [`Vm`](crate::Vm) in forked children: what they have of it, and how they get it.
//!
//! ```text
//!   prepare      nobody is at work (faultless_runtime::Heir)
//!                slots of swap are kept for the child, arenas and pool are lent
//!   go_on        the parent: they are lent no longer
//!   take_over    the child, in its only thread:
//!                  1 descriptors for faults, for the copies of arenas and pool
//!                  2 a swap file; what is in swap is read from the parent's
//!                  3 the engine's copy: shared pages are the parent's; stores to pages
//!                    whose first one must be seen are stopped again
//!                  4 threads
//!                or, where any of it can't be had, SIGBUS and `Error::Forked`
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use faultless_pager::{InheritedSwap, Pager};
use faultless_runtime::{Heir, Lending, say};

use crate::error::Error;
use crate::vm::Inner;

/// What a child made by fork(2) has of a [`Vm`](crate::Vm).
///
/// The `Vm` is always the parent's in what is *shared*: maps of files, and pins of them,
/// are SIGBUS in the child, and calls on them [`Error::Forked`](faultless_runtime::Error).
///
/// Whatever is chosen:
///
/// - `vfork`, `posix_spawn` and a `std::process::Command` without `pre_exec` don't fork in
///   this sense: they cost nothing.
/// - What a handler of `pthread_atfork` does may touch memory of a `Vm`, unless it was
///   registered before `main`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFork {
    /// Its own copy of all private memory: [`Memory`](crate::Memory),
    /// [`MapCopy`](crate::MapCopy), `VmHeap`, [`GlobalHeap`](crate::GlobalHeap). This is
    /// what Linux does with memory of its own.
    ///
    /// Parent and child each have the whole budget, and a swap file each; pages are
    /// copied when one of them stores. As long as a child lives that has not called
    /// exec, the parent keeps what it had in swap at the fork, and its swap file may
    /// grow beyond its limit by as much.
    ///
    /// Pages of a `MapCopy` that were not copied yet the child reads from the file: what
    /// its parent has stored by another map and not written yet, it does not see.
    ///
    /// The child has none where it may not do what its parent may (userfaultfd after a
    /// change of user, descriptors, room for a swap file), where the fork comes from
    /// within a call of the `Vm`, or calls of other threads don't come to an end within
    /// seconds: then it is as with `Nothing`.
    Copy,
    /// Nothing: SIGBUS at every address, and [`Error::Forked`](faultless_runtime::Error)
    /// from every call (`MADV_DONTFORK` with an error instead of a hole). For processes
    /// that fork much only to call exec.
    Nothing,
}

/// What of a `Vm` is changed by forks only.
pub(crate) struct Heritage {
    swap: Mutex<Option<Arc<InheritedSwap>>>,
    lending: Mutex<Option<Lending>>,
}

impl Heritage {
    pub fn new(swap: Option<Arc<InheritedSwap>>) -> Heritage {
        Heritage { swap: Mutex::new(swap), lending: Mutex::new(None) }
    }

    /// The swap area.
    pub fn swap(&self) -> Option<Arc<InheritedSwap>> {
        lock(&self.swap).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    fn become_own(&self) -> Result<(), Error> {
        self.core.machine().adopt()?;
        let lending = lock(&self.heritage.lending).take();
        self.core.take_over(|held| {
            let swap = self.heritage.swap().zip(lending);
            let Some((parents, lending)) = swap else { return Ok(None) };
            let own = parents.for_child(lending.into_childs_end(), held.into_iter());
            let own = Arc::new(own.map_err(|error| faultless_runtime::Error::Setup {
                what: "a swap file",
                source: std::io::Error::other(error),
            })?);
            *lock(&self.heritage.swap) = Some(own.clone());
            Ok(Some(own as Arc<dyn Pager>))
        })?;
        self.catalog.forget_all();
        Ok(self.threads.start_again()?)
    }
}

/// The child is to have nothing.
fn refuse(why: &dyn std::fmt::Display) -> bool {
    say(format_args!("a forked child has nothing of its parent's memory: {why}"));
    false
}

impl Heir for Inner {
    fn is_at_rest(&self) -> bool {
        self.core.check_birthplace().is_err() || self.core.is_at_rest()
    }

    fn prepare(&self) -> bool {
        if self.core.check_birthplace().is_err() {
            return false;
        }
        let lending = match self.core.lend_swap() {
            Ok(lending) => lending,
            Err(error) => return refuse(&error),
        };
        let lent = self.core.machine().lend();
        *lock(&self.heritage.lending) = lending;
        lent.map_or_else(
            |errno| {
                self.go_on();
                refuse(&errno)
            },
            |()| true,
        )
    }

    fn go_on(&self) {
        self.core.machine().end_lending();
        self.core.keep_lending(lock(&self.heritage.lending).take());
    }

    fn take_over(&self) {
        if let Err(error) = self.become_own() {
            say(format_args!("this forked child has nothing of its parent's memory: {error}"));
            self.core.renounce();
            if self.core.machine().renounce().is_err() {
                // Nothing may be seen at addresses that nobody serves.
                std::process::abort();
            }
        }
    }
}
