//! Regions: addresses by the name of the mapping that they are in.

use std::collections::BTreeMap;

use crate::call::{Addr, Call, PAGE, Region};
use crate::outcome::{Outcome, Signal};

/// Where a system has put the regions, and how long they were then.
#[derive(Clone, Debug, Default)]
pub struct Names(BTreeMap<Region, (u64, u64)>);

impl Names {
    /// The call with numbers in place of regions.
    ///
    /// # Panics
    /// If a region was never bound.
    pub fn resolve(&self, call: &Call) -> Call {
        let mut call = call.clone();
        for addr in addresses(&mut call) {
            if let Some(region) = addr.region {
                let (start, _) = self.0.get(&region).expect("a region is bound before it is used");
                *addr = Addr::at(start.wrapping_add(addr.bytes));
            }
        }
        call
    }

    /// If the call names what it gets, the name is bound to what it got.
    pub fn bind(&mut self, call: &Call, outcome: &Outcome) {
        let (Call::Mmap { name: Some(name), len, .. }
        | Call::Mremap { name: Some(name), new_len: len, .. }) = call
        else {
            return;
        };
        if let Outcome::Address(start) = outcome {
            self.0.insert(*name, (start.bytes, len.next_multiple_of(PAGE)));
        }
    }

    /// The outcome with regions in place of numbers.
    pub fn tell(&self, outcome: &Outcome) -> Outcome {
        match outcome {
            Outcome::Address(addr) => Outcome::Address(self.name(*addr)),
            Outcome::Signal(signal) => {
                Outcome::Signal(Signal { addr: self.name(signal.addr), ..*signal })
            }
            other => other.clone(),
        }
    }

    fn name(&self, addr: Addr) -> Addr {
        let mut regions = self.0.iter();
        let found = regions.find(|(_, (start, len))| (*start..start + len).contains(&addr.bytes));
        found.map_or(addr, |(name, (start, _))| Addr::within(*name, addr.bytes - start))
    }
}

/// The addresses in a call.
fn addresses(call: &mut Call) -> Vec<&mut Addr> {
    match call {
        Call::Mremap { old, new, .. } => vec![old, new],
        Call::Mmap { addr, .. }
        | Call::Munmap { addr, .. }
        | Call::Mprotect { addr, .. }
        | Call::Msync { addr, .. }
        | Call::Madvise { addr, .. }
        | Call::Mincore { addr, .. }
        | Call::Mlock { addr, .. }
        | Call::Mlock2 { addr, .. }
        | Call::Munlock { addr, .. }
        | Call::Brk { addr }
        | Call::RemapFilePages { addr, .. }
        | Call::Mseal { addr, .. }
        | Call::Load { addr, .. }
        | Call::Store { addr, .. }
        | Call::Fetch { addr }
        | Call::ReadInto { addr, .. }
        | Call::WriteFrom { addr, .. }
        | Call::PipeFrom { addr, .. } => vec![addr],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::NO_FD;
    use crate::flags::{MapFlags, Prot};

    #[test]
    fn a_region_is_the_same_wherever_it_is() {
        let region = Region(3);
        let map = Call::Mmap {
            addr: Addr::at(0),
            len: 5000,
            prot: Prot::READ,
            flags: MapFlags::PRIVATE,
            fd: NO_FD,
            offset: 0,
            name: Some(region),
        };
        let load = Call::Load { addr: Addr::within(region, 8191), len: 2 };
        for start in [0x10_0000, 0x7f_0000] {
            let mut names = Names::default();
            names.bind(&map, &Outcome::Address(Addr::at(start)));
            assert_eq!(names.resolve(&load), Call::Load { addr: Addr::at(start + 8191), len: 2 });
            let inside = names.tell(&Outcome::segv(1, Addr::at(start + 8191)));
            assert_eq!(inside, Outcome::segv(1, Addr::within(region, 8191)));
            let behind = Outcome::segv(1, Addr::at(start + 8192));
            assert_eq!(names.tell(&behind), behind);
        }
    }
}
