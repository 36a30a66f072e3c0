//! What a program may do with memory, and what it tried to do.

bitflags::bitflags! {
    /// The rights of an area, as `mmap(2)`'s `prot` has them.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Prot: u8 {
        /// Loads are allowed.
        const READ = 1;
        /// Stores are allowed.
        const WRITE = 2;
        /// Instruction fetches are allowed.
        const EXEC = 4;
    }
}

impl Prot {
    /// Does an area with these rights let `access` happen?
    ///
    /// As on x86, a right to write or to execute brings the right to read with it.
    ///
    /// ```
    /// use faultless_addr::{Access, Prot};
    /// assert!(Prot::WRITE.allows(Access::Read));
    /// assert!(!Prot::READ.allows(Access::Write));
    /// ```
    pub fn allows(self, access: Access) -> bool {
        match access {
            Access::Read => !self.is_empty(),
            Access::Write => self.contains(Prot::WRITE),
            Access::Execute => self.contains(Prot::EXEC),
        }
    }
}

/// What an instruction did when it faulted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Execute,
}

/// What a machine lets stores do to a page that it maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriteAccess {
    /// Stores go through: the page counts as dirty already.
    Allowed,
    /// The first store must fault, without any instant in which one could pass
    /// unseen: it is how a clean page becomes known as dirty.
    Tracked,
    /// Stores are errors. A machine may take a moment to enforce it, because a
    /// program that stores here is wrong whether it is caught or not.
    Forbidden,
}
