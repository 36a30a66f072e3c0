//! msync(2): what is on the disk can't be seen here, so only the errors can.

use crate::call::{Addr, PAGE, ProcessId};
use crate::flags::SyncFlags;
use crate::outcome::Errno;

use super::Model;
use super::allowed::{Allowed, Answer};
use super::page::Lock;
use super::process::{is_aligned, number, round_up};

impl Model {
    pub(super) fn msync(
        &mut self,
        process: ProcessId,
        addr: Addr,
        len: u64,
        flags: SyncFlags,
    ) -> Answer {
        let known = SyncFlags::ASYNC | SyncFlags::SYNC | SyncFlags::INVALIDATE;
        let both = SyncFlags::ASYNC | SyncFlags::SYNC;
        if !known.contains(flags) || !is_aligned(addr) || flags.contains(both) {
            return Err(Errno::EINVAL);
        }
        let end = addr.bytes.checked_add(round_up(len)).ok_or(Errno::ENOMEM)?;
        let mut hole = false;
        for page in number(addr)..end / PAGE {
            match self.process(process).traits(page) {
                // ASYNC does nothing else, and stops here.
                None if flags == SyncFlags::ASYNC => return Err(Errno::ENOMEM),
                None => hole = true,
                Some(traits) => {
                    if flags.contains(SyncFlags::INVALIDATE) && traits.lock != Lock::No {
                        return Err(Errno::EBUSY);
                    }
                }
            }
        }
        if hole { Err(Errno::ENOMEM) } else { Ok(Allowed::DONE) }
    }
}
