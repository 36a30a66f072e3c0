//! The systems that are compared.

use serde::{Deserialize, Serialize};

/// Who carries accesses out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum System {
    /// The kernel's mmap with the advice that suits the workload.
    Kernel,
    /// The same with a read-ahead of 128 KiB, as most machines have it.
    KernelSmallAhead,
    /// The same, told of each batch of pages by `MADV_WILLNEED`.
    KernelWillNeed,
    /// pread(2) past the page cache, and a cache in user space (`quick_cache`).
    Pread,
    /// The same with another cache (`moka`).
    PreadMoka,
    /// Faultless by plain pointers, faults served by the thread that has them.
    Inline,
    /// Faultless by plain pointers, faults served by handler threads.
    Thread,
    /// Faultless by pins, one at a time.
    Pin,
    /// Faultless by pins, a batch at a time.
    PinMany,
    /// Faultless by plain pointers, each batch of pages prefetched.
    Prefetch,
    /// userfaultfd with nothing around it.
    Bare,
    /// pread(2) past all caches: what the device gives.
    Device,
    /// A program built elsewhere.
    Peer(String),
}

impl System {
    /// All but peers.
    pub const ALL: [System; 12] = {
        use System::*;
        [
            Kernel,
            KernelSmallAhead,
            KernelWillNeed,
            Pread,
            PreadMoka,
            Inline,
            Thread,
            Pin,
            PinMany,
            Prefetch,
            Bare,
            Device,
        ]
    };

    /// Is it Faultless?
    pub fn is_ours(&self) -> bool {
        use System::*;
        matches!(self, Inline | Thread | Pin | PinMany | Prefetch)
    }

    /// What it is, in a line.
    pub fn about(&self) -> &'static str {
        match self {
            System::Kernel => "the kernel's mmap, advised",
            System::KernelSmallAhead => "the kernel's mmap with 128 KiB read-ahead",
            System::KernelWillNeed => "the kernel's mmap, told of each batch by MADV_WILLNEED",
            System::Pread => "pread(O_DIRECT) and a cache in user space (quick_cache)",
            System::PreadMoka => "pread(O_DIRECT) and a cache in user space (moka)",
            System::Inline => "Faultless by pointer, inline delivery",
            System::Thread => "Faultless by pointer, handler threads",
            System::Pin => "Faultless by pin",
            System::PinMany => "Faultless by pin_many, a batch at a time",
            System::Prefetch => "Faultless by prefetch of a batch, then by pointer",
            System::Bare => "userfaultfd alone: signal, pread(O_DIRECT), copy; no Faultless",
            System::Device => "pread(O_DIRECT) without a cache: the device",
            System::Peer(_) => "a program given by --peer",
        }
    }
}

/// By its name; a name that is nobody else's is a peer's.
impl From<String> for System {
    fn from(name: String) -> System {
        let mut all = System::ALL.into_iter();
        all.find(|system| system.to_string() == name).unwrap_or(System::Peer(name))
    }
}

impl From<System> for String {
    fn from(system: System) -> String {
        system.to_string()
    }
}

impl std::fmt::Display for System {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            System::Kernel => "kernel",
            System::KernelSmallAhead => "kernel-128k",
            System::KernelWillNeed => "kernel-willneed",
            System::Pread => "pread",
            System::PreadMoka => "pread-moka",
            System::Inline => "inline",
            System::Thread => "thread",
            System::Pin => "pin",
            System::PinMany => "pin-many",
            System::Prefetch => "prefetch",
            System::Bare => "bare",
            System::Device => "device",
            System::Peer(name) => name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_system() {
        for system in System::ALL {
            assert_eq!(System::from(system.to_string()), system);
        }
        assert_eq!(System::from("umap".to_owned()), System::Peer("umap".to_owned()));
    }
}
