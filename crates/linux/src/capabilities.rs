//! What this kernel, this user and this sandbox let us do.

use std::fmt;

use faultless_sys::uffd::{self, Features, OpenError, Rung};

/// What [`LinuxMachine`](crate::LinuxMachine) works with, as `faultless doctor` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// How userfaultfds are opened.
    pub rung: Rung,
    /// All that the kernel's userfaultfd has.
    pub features: Features,
}

/// The features that matter here, by name, and whether a machine can't be without.
const KNOWN: [(&str, Features, Need); 7] = [
    ("MOVE", Features::MOVE, Need::Must),
    ("POISON", Features::POISON, Need::Must),
    ("PAGEFAULT_FLAG_WP", Features::WRITE_PROTECT, Need::Must),
    ("SIGBUS", Features::SIGBUS, Need::Must),
    ("THREAD_ID", Features::THREAD_ID, Need::Must),
    ("EXACT_ADDRESS", Features::EXACT_ADDRESS, Need::Must),
    ("WP_ASYNC", Features::WP_ASYNC, Need::May),
];

#[derive(Clone, Copy, PartialEq)]
enum Need {
    Must,
    May,
}

impl Capabilities {
    /// Asks the kernel, changing nothing.
    pub fn probe() -> Result<Capabilities, OpenError> {
        let found = uffd::probe()?;
        Ok(Capabilities { rung: found.rung, features: found.features })
    }

    /// Are faults of system calls lost (EFAULT), because only those of user mode are
    /// permitted?
    pub fn is_user_mode_only(&self) -> bool {
        self.rung == Rung::UserModeOnly
    }

    /// The names of the features that a machine needs and that aren't there.
    pub fn missing(&self) -> Vec<&'static str> {
        let needed = KNOWN.iter().filter(|(_, _, need)| *need == Need::Must);
        needed.filter(|(_, f, _)| !self.features.has(*f)).map(|(name, ..)| *name).collect()
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.rung)?;
        for (name, feature, _) in KNOWN {
            let sign = if self.features.has(feature) { '+' } else { '-' };
            write!(f, " {sign}{name}")?;
        }
        Ok(())
    }
}
