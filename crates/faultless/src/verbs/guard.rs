//! Guards: pages of private memory that no access may touch (`MADV_GUARD_INSTALL`), as below
//! a stack or behind a buffer. Unlike `protect` they cost no area, and no room.

use std::ops::RangeBounds;

use faultless_engine::space::Advice;

use crate::copy::MapCopy;
use crate::error::Error;
use crate::memory::Memory;

macro_rules! guard_verbs {
    ($mapping:ty, $core:ident => $enter:expr) => {
        impl $mapping {
            /// Makes the pages of a range guards: what they hold is lost, and an access is
            /// SIGSEGV (`SEGV_MAPERR`), by a system call EFAULT, whatever `protect` allows.
            /// The range begins with a page and is rounded up to whole ones. A forked child
            /// has the guards, too.
            ///
            /// # Errors
            ///
            /// EINVAL where the range doesn't begin with a page or pages are locked, ENOMEM
            /// where it leaves the mapping.
            ///
            /// # Safety
            ///
            /// As long as a page is a guard, no slice of its bytes may be used: a compiler
            /// may believe that what a reference leads to can be read.
            #[allow(unsafe_code)]
            pub unsafe fn guard(&mut self, range: impl RangeBounds<usize>) -> Result<(), Error> {
                let extent = self.extent();
                let (pages, $core) = (extent.pages(range)?, &*self);
                Ok($enter.advise_range(extent.space, pages, Advice::GuardInstall)?)
            }

            /// Pages of a range that are guards are none any more (`MADV_GUARD_REMOVE`): they
            /// begin anew, as zeros or as the file has them.
            ///
            /// # Errors
            ///
            /// As for [`guard`](Self::guard).
            pub fn unguard(&mut self, range: impl RangeBounds<usize>) -> Result<(), Error> {
                let extent = self.extent();
                let (pages, $core) = (extent.pages(range)?, &*self);
                Ok($enter.advise_range(extent.space, pages, Advice::GuardRemove)?)
            }
        }
    };
}

guard_verbs!(Memory, it => it.vm().core());
guard_verbs!(MapCopy, it => it.mapping().vm.core());
