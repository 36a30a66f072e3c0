//! [`Reason`]: why a call about mappings is the kernel's.

/// Why the kernel does what a broker could have done. Some are seen by the client, which then
/// asks nobody; others are the broker's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Nothing at these addresses is served.
    NotServed,
    /// Arguments that the kernel is to refuse, with its own number.
    Arguments,
    /// `PROT_EXEC`.
    Executable,
    /// `MAP_ANONYMOUS`.
    Anonymous,
    /// `MAP_HUGETLB`, `MAP_GROWSDOWN`, `MAP_SYNC`, and flags that nobody knows.
    Flags,
    /// No descriptor, or one that can't read.
    Descriptor,
    /// A device, a pipe: no regular file.
    SpecialFile,
    /// The file is shorter than those that are served.
    Short,
    /// A memfd that has seals, or may get some.
    Sealed,
    /// The kernel maps the file for somebody already, and so for all.
    KernelsFile,
    /// No broker, or none any more, or one that had no room for this process.
    NoBroker,
    /// A call from within a call of the library's own.
    Nested,
    /// Its faults can't be had.
    Unregistered,
    /// The client has as many mappings as it may.
    ClientMappings,
    /// The client maps as many files as it may.
    ClientFiles,
    /// The broker has no addresses left for it.
    NoAddresses,
    /// The broker's memory for it would be longer than the broker's files may be
    /// (`RLIMIT_FSIZE`).
    TooLong,
}

impl Reason {
    /// All, by number.
    pub const ALL: [Reason; 17] = [
        Reason::NotServed,
        Reason::Arguments,
        Reason::Executable,
        Reason::Anonymous,
        Reason::Flags,
        Reason::Descriptor,
        Reason::SpecialFile,
        Reason::Short,
        Reason::Sealed,
        Reason::KernelsFile,
        Reason::NoBroker,
        Reason::Nested,
        Reason::Unregistered,
        Reason::ClientMappings,
        Reason::ClientFiles,
        Reason::NoAddresses,
        Reason::TooLong,
    ];

    /// Its name in traces and counters.
    pub fn name(self) -> &'static str {
        match self {
            Reason::NotServed => "not_served",
            Reason::Arguments => "arguments",
            Reason::Executable => "executable",
            Reason::Anonymous => "anonymous",
            Reason::Flags => "flags",
            Reason::Descriptor => "descriptor",
            Reason::SpecialFile => "special_file",
            Reason::Short => "short",
            Reason::Sealed => "sealed",
            Reason::KernelsFile => "kernels_file",
            Reason::NoBroker => "no_broker",
            Reason::Nested => "nested",
            Reason::Unregistered => "unregistered",
            Reason::ClientMappings => "client_mappings",
            Reason::ClientFiles => "client_files",
            Reason::NoAddresses => "no_addresses",
            Reason::TooLong => "too_long",
        }
    }

    /// From its number.
    pub(crate) fn from_number(number: u64) -> Option<Reason> {
        Reason::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_number_and_name() {
        for (number, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
            assert_eq!(Reason::from_number(number as u64), Some(reason));
        }
        let names: std::collections::BTreeSet<_> = Reason::ALL.map(Reason::name).into();
        assert_eq!(names.len(), Reason::ALL.len());
        assert_eq!(Reason::from_number(99), None);
    }
}
