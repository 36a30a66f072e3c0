//! What may be done to a machine, drawn at random.

use faultless_addr::PAGE_BYTES;
use faultless_machine::{Stores, Then};
use proptest::prelude::*;

use crate::tests::*;

pub const FRAMES: u32 = 6;
pub const CPUS: u32 = 3;
pub const SPACES: u32 = 2;

/// Pages that share all tables, some or none; and some that share a set of the TLB.
const PAGES: [u64; 14] = [
    0,
    1,
    2,
    3,
    16,
    32,
    48,
    64, // One table; 0, 16 … 64 share a set of the TLB.
    511,
    512,
    513, // Two tables that meet.
    1 << 18,
    1 << 27,            // Another directory, and another PDPT.
    0xf_fff8_0000_0000, // The upper half.
];

#[derive(Clone, Debug)]
pub enum Step {
    Back(FrameNo),
    Release(FrameNo),
    Copy(FrameNo, FrameNo),
    Zero(FrameNo),
    Map(SpaceId, VirtAddr, FrameNo, Rights),
    /// The same by the trait, for two frames.
    MapRun(SpaceId, VirtAddr, [FrameNo; 2], WriteAccess),
    Unmap(SpaceId, VirtAddr, Then),
    Protect(SpaceId, VirtAddr, Rights),
    SetWrite(SpaceId, VirtRange, WriteAccess),
    Mark(SpaceId, VirtRange, Marker),
    Unmark(SpaceId, VirtRange, Marker),
    ClearAccessed(SpaceId, VirtAddr),
    ClearDirty(SpaceId, VirtAddr),
    Flush(SpaceId, VirtRange),
    Load(CpuNo, SpaceId, VirtAddr, usize),
    Fetch(CpuNo, SpaceId, VirtAddr, usize),
    Store(CpuNo, SpaceId, VirtAddr, Vec<u8>),
    Exchange(CpuNo, SpaceId, VirtAddr, u64),
}

pub fn step() -> impl Strategy<Value = Step> {
    prop_oneof![2 => frame_step(), 4 => translation_step(), 4 => access_step()]
}

fn frame_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => frame().prop_map(Step::Back),
        1 => frame().prop_map(Step::Release),
        1 => (frame(), frame()).prop_map(|(from, to)| Step::Copy(from, to)),
        1 => frame().prop_map(Step::Zero),
    ]
}

fn translation_step() -> impl Strategy<Value = Step> {
    let rights = || (0..8u8).prop_map(Rights::from_bits_retain);
    let write =
        || prop::sample::select(vec![WriteAccess::Allowed, WriteAccess::Tracked]).no_shrink();
    let marker = || prop::sample::select(vec![Marker::Poison, Marker::Guard]);
    let then = prop::sample::select(vec![Then::Keep(Stores::Stopped), Then::Drop]);
    prop_oneof![
        3 => (space(), at(), frame(), rights()).prop_map(|(s, at, f, r)| Step::Map(s, at, f, r)),
        3 => (space(), at(), [frame(), frame()], write())
            .prop_map(|(s, at, f, w)| Step::MapRun(s, at, f, w)),
        4 => (space(), at(), then).prop_map(|(s, at, then)| Step::Unmap(s, at, then)),
        2 => (space(), at(), rights()).prop_map(|(s, at, r)| Step::Protect(s, at, r)),
        1 => (space(), range(), write()).prop_map(|(s, range, w)| Step::SetWrite(s, range, w)),
        1 => (space(), range(), marker()).prop_map(|(s, range, m)| Step::Mark(s, range, m)),
        2 => (space(), range(), marker()).prop_map(|(s, range, m)| Step::Unmark(s, range, m)),
        1 => (space(), at()).prop_map(|(s, at)| Step::ClearAccessed(s, at)),
        1 => (space(), at()).prop_map(|(s, at)| Step::ClearDirty(s, at)),
        1 => (space(), range()).prop_map(|(s, range)| Step::Flush(s, range)),
    ]
}

fn access_step() -> impl Strategy<Value = Step> {
    let cpu = || (0..CPUS).prop_map(CpuNo);
    let bytes = prop::collection::vec(any::<u8>(), 1..20);
    prop_oneof![
        3 => (cpu(), space(), addr(), 1..20usize).prop_map(|(c, s, a, n)| Step::Load(c, s, a, n)),
        1 => (cpu(), space(), addr(), 1..20usize).prop_map(|(c, s, a, n)| Step::Fetch(c, s, a, n)),
        3 => (cpu(), space(), addr(), bytes).prop_map(|(c, s, a, b)| Step::Store(c, s, a, b)),
        1 => (cpu(), space(), addr(), any::<u64>())
            .prop_map(|(c, s, a, new)| Step::Exchange(c, s, a, new)),
    ]
}

fn frame() -> impl Strategy<Value = FrameNo> {
    (0..FRAMES).prop_map(FrameNo)
}

fn space() -> impl Strategy<Value = SpaceId> {
    (0..SPACES).prop_map(SpaceId)
}

fn at() -> impl Strategy<Value = VirtAddr> {
    prop::sample::select(PAGES.as_slice()).prop_map(|page| VirtAddr(page * PAGE_BYTES))
}

fn range() -> impl Strategy<Value = VirtRange> {
    (at(), 0..5u64).prop_map(|(at, count)| VirtRange::new(at, at.plus_pages(count)))
}

/// Often near the end of a page.
fn addr() -> impl Strategy<Value = VirtAddr> {
    let offset = prop_oneof![0..PAGE_BYTES, PAGE_BYTES - 20..PAGE_BYTES];
    (at(), offset).prop_map(|(at, offset)| VirtAddr(at.0 + offset))
}
