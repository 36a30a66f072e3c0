//! What is read ahead together leaves together, cut where groups end.

use std::vec::Vec;

use faultless_addr::*;

use super::driver::carry_out;
use crate::*;

const FILE: u64 = 400;

/// An engine that has read pages `first..end` of an object ahead, and has shown them.
fn read_ahead(first: u64, end: u64) -> (Engine, Plan) {
    let bounds = VirtRange::new(VirtAddr(1 << 30), VirtAddr(1 << 40));
    let mut engine = Engine::new(Config::new(512, std::vec![bounds]));
    let object = engine.create(ObjectOptions::file(FILE * PAGE_BYTES, Rights::ReadOnly));
    engine.map_object(SpaceId(0), object, PageIndex(0), FILE, Prot::READ).unwrap();
    let mut plan = Plan::new();
    engine.prefetch(object, PageRange::new(PageIndex(first), PageIndex(end)), &mut plan);
    carry_out(&mut engine, &mut plan);
    (engine, plan)
}

/// The pages that leave of a reclaim, by their numbers.
fn reclaim(engine: &mut Engine, target: u32, plan: &mut Plan) -> Vec<u64> {
    let begun = engine.reclaim(Scope::All, target, plan);
    assert_eq!(begun as usize, plan.drop.len());
    let page = |leaver: &Leaver| engine.frames[leaver.frame].page.0;
    let mut pages: Vec<_> = plan.drop.iter().map(page).collect();
    pages.sort_unstable();
    carry_out(engine, plan);
    pages
}

#[test]
fn a_batch_goes_on_to_the_end_of_its_group() {
    let (mut engine, mut plan) = read_ahead(10, 300);
    let mut batch = |target| {
        let pages = reclaim(&mut engine, target, &mut plan);
        (pages[0], pages[pages.len() - 1] + 1, pages.len())
    };
    assert_eq!(batch(40), (10, 64, 54));
    assert_eq!(batch(64), (64, 128, 64), "a group, and not one page more");
    // Who needs few takes few.
    assert_eq!(batch(8), (128, 136, 8));
    assert_eq!(batch(64), (136, 256, 120));
}

#[test]
fn reads_begin_anew_at_the_same_pages_whatever_is_there() {
    let (mut engine, mut plan) = read_ahead(130, 131);
    let object = ObjectId(0);
    engine.prefetch(object, PageRange::new(PageIndex(64), PageIndex(384)), &mut plan);
    let runs = plan.ops.iter().filter_map(|op| match op {
        Op::Read { run, .. } => Some((run.first.0, run.pages().end.0)),
        _ => None,
    });
    let runs: Vec<_> = runs.collect();
    assert_eq!(runs, [(64, 128), (128, 130), (131, 256), (256, 384)]);
}
