//! Address spaces and their areas.
#![allow(missing_docs)]
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use faultless_addr::{ObjectId, PAGE_SHIFT, PageIndex, Prot, VirtAddr, VirtRange};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing { Object { object: ObjectId, first: PageIndex }, Anonymous }
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing { Shared, Private }
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge { Yes, No }
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place { Anywhere }
bitflags::bitflags! { #[derive(Clone, Copy, Debug, PartialEq, Eq)] pub struct VmaFlags: u32 {} }
#[derive(Clone, Copy, Debug)]
pub struct MapRequest { pub place: Place, pub len: u64, pub prot: Prot, pub sharing: Sharing, pub backing: Backing, pub flags: VmaFlags, pub merge: Merge }
#[derive(Clone, Copy, Debug)]
pub struct Vma { pub range: VirtRange, pub prot: Prot, pub sharing: Sharing, pub backing: Backing }
impl Vma {
    pub fn page_at(&self, addr: VirtAddr) -> Option<PageIndex> {
        let Backing::Object { first, .. } = self.backing else { return None };
        Some(first.plus((addr.0 - self.range.start.0) >> PAGE_SHIFT))
    }
}
#[derive(Clone, Copy, Debug)]
pub struct MapError;
pub struct AddressSpace { bounds: VirtRange, guard: u64, areas: BTreeMap<u64, Vma>, next: u64 }
impl AddressSpace {
    pub fn new(bounds: VirtRange, guard: u64) -> Self { Self { bounds, guard, areas: BTreeMap::new(), next: bounds.end.0 } }
    pub fn map(&mut self, r: MapRequest, _: &mut Vec<Vma>) -> Result<VirtRange, MapError> {
        let end = self.next - self.guard * 4096;
        let start = end.checked_sub(r.len).filter(|s| *s >= self.bounds.start.0).ok_or(MapError)?;
        self.next = start;
        let range = VirtRange::new(VirtAddr(start), VirtAddr(end));
        self.areas.insert(start, Vma { range, prot: r.prot, sharing: r.sharing, backing: r.backing });
        Ok(range)
    }
    pub fn unmap(&mut self, r: VirtRange, out: &mut Vec<Vma>) -> Result<(), MapError> { out.extend(self.areas.remove(&r.start.0)); Ok(()) }
    pub fn protect(&mut self, r: VirtRange, prot: Prot) -> Result<(), MapError> { self.areas.get_mut(&r.start.0).ok_or(MapError)?.prot = prot; Ok(()) }
    pub fn find(&self, a: VirtAddr) -> Option<&Vma> { self.areas.range(..=a.0).next_back().map(|x| x.1).filter(|v| v.range.contains(a)) }
    pub fn check_invariants(&self) {}
}
