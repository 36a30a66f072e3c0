//! What an `ObjectSwap` keeps in slots of an area that others use, too.

use std::collections::BTreeSet;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::{PAGE, read, write};
use faultless_pager::{
    Effect, Fault, FaultyPager, MemoryPager, ObjectSwap, Operation, Pager, Slots,
};

const ENOSPC: i32 = 28;

type Area = FaultyPager<MemoryPager>;

/// An area whose slots are taken from the lowest on, `run_max` at a time.
struct Fixture {
    area: Arc<Area>,
    free: Mutex<BTreeSet<u32>>,
    run_max: u32,
    room_made: AtomicU32,
}

fn fixture(slots: u32, run_max: u32) -> Arc<Fixture> {
    let area = FaultyPager::new(MemoryPager::new(slots as usize * PAGE), 1);
    // What others have left there is never to be seen.
    write(&area, 0, slots as usize * PAGE, 0xee).unwrap();
    let free = Mutex::new((0..slots).collect());
    Arc::new(Fixture { area: Arc::new(area), free, run_max, room_made: AtomicU32::new(0) })
}

struct Handle(Arc<Fixture>);

impl Slots for Handle {
    fn area(&self) -> Option<Arc<dyn Pager>> {
        Some(self.0.area.clone())
    }

    fn take(&self, wanted: u32) -> Option<Range<u32>> {
        let mut free = self.0.free.lock().unwrap();
        let first = *free.first()?;
        let run = first..first + wanted.min(self.0.run_max);
        let run = run.start..run.clone().find(|slot| !free.remove(slot)).unwrap_or(run.end);
        Some(run)
    }

    fn give_back(&self, slot: u32) {
        assert!(self.0.free.lock().unwrap().insert(slot), "slot {slot} is free already");
    }

    fn make_room(&self) {
        self.0.room_made.fetch_add(1, Ordering::Relaxed);
    }
}

impl Fixture {
    fn free(&self) -> usize {
        self.free.lock().unwrap().len()
    }

    fn object(self: &Arc<Self>, pages: usize) -> ObjectSwap<Handle> {
        ObjectSwap::new("memory", (pages * PAGE) as u64, Handle(self.clone()))
    }
}

fn at(page: usize) -> u64 {
    (page * PAGE) as u64
}

/// A byte for each page.
fn bytes(pages: &[u8]) -> Vec<u8> {
    pages.iter().flat_map(|byte| [*byte; PAGE]).collect()
}

#[test]
fn two_objects_share_an_area_and_see_their_own_pages() {
    for run_max in [1, 2, 64] {
        let fixture = fixture(16, run_max);
        let (one, other) = (fixture.object(8), fixture.object(8));
        assert_eq!(read(&one, 0, 8 * PAGE).unwrap(), bytes(&[0; 8]));
        write(&one, at(2), 2 * PAGE, 1).unwrap();
        write(&other, at(0), 3 * PAGE, 2).unwrap();
        one.write(at(1), &[IoSlice::new(&bytes(&[3, 4, 5, 6]))]).unwrap();
        assert_eq!(read(&one, 0, 8 * PAGE).unwrap(), bytes(&[0, 3, 4, 5, 6, 0, 0, 0]));
        assert_eq!(read(&other, 0, 4 * PAGE).unwrap(), bytes(&[2, 2, 2, 0]));
        assert_eq!((fixture.free(), one.bookkeeping_bytes()), (16 - 7, 4 * 32));
        one.punch(at(2), at(2)).unwrap();
        assert_eq!(read(&one, at(1), 4 * PAGE).unwrap(), bytes(&[3, 0, 0, 6]));
        assert_eq!((fixture.free(), one.in_swap(0, at(8))), (16 - 5, vec![1, 4]));
        drop(one);
        assert_eq!(fixture.free(), 16 - 3);
        assert_eq!(read(&other, 0, 3 * PAGE).unwrap(), bytes(&[2; 3]));
    }
}

#[test]
fn a_full_area_is_enospc_and_takes_no_slot() {
    let fixture = fixture(4, 64);
    let object = fixture.object(8);
    write(&object, 0, 3 * PAGE, 1).unwrap();
    let error = write(&object, at(3), 2 * PAGE, 2).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(ENOSPC));
    assert_eq!((fixture.free(), fixture.room_made.load(Ordering::Relaxed)), (1, 1));
    assert_eq!(read(&object, 0, 5 * PAGE).unwrap(), bytes(&[1, 1, 1, 0, 0]));
    // What has a slot can be written again, and so can one page more.
    write(&object, 0, 3 * PAGE, 3).unwrap();
    write(&object, at(7), PAGE, 4).unwrap();
    assert_eq!(read(&object, 0, 8 * PAGE).unwrap(), bytes(&[3, 3, 3, 0, 0, 0, 0, 4]));
}

#[test]
fn a_write_that_the_area_refuses_is_tried_again_where_it_was_full() {
    let fixture = fixture(4, 64);
    let object = fixture.object(4);
    let refuse = |errno| {
        fixture.area.inject(Fault::next(Operation::Write, 0..u64::MAX, Effect::Errno(errno), 1));
    };
    refuse(ENOSPC);
    write(&object, 0, PAGE, 1).unwrap();
    refuse(5);
    assert_eq!(write(&object, at(1), PAGE, 1).unwrap_err().raw_os_error(), Some(5));
    assert_eq!((fixture.free(), fixture.room_made.load(Ordering::Relaxed)), (3, 1));
    assert_eq!(read(&object, 0, 2 * PAGE).unwrap(), bytes(&[1, 0]));
}

#[test]
fn it_keeps_its_length() {
    let object = fixture(4, 64).object(3);
    assert_eq!((object.size().unwrap(), object.name()), (at(3), "memory".to_owned()));
    object.resize(at(3)).unwrap();
    assert_eq!(object.resize(at(4)).unwrap_err().raw_os_error(), Some(22));
    assert_eq!(write(&object, 1, PAGE, 1).unwrap_err().raw_os_error(), Some(22));
    assert_eq!(read(&object, at(2), 4 * PAGE).unwrap().len(), PAGE);
}

/// One thread punches and writes pages, so that slots change hands, while others read what
/// never changes.
#[test]
fn slots_change_hands_only_when_nobody_uses_them() {
    let fixture = fixture(24, 3);
    let (steady, changing) = (fixture.object(8), fixture.object(8));
    write(&steady, 0, 8 * PAGE, 7).unwrap();
    std::thread::scope(|scope| {
        let writers = [0, 4].map(|first| {
            let (fixture, changing) = (&fixture, &changing);
            scope.spawn(move || {
                for round in 0..400u32 {
                    write(changing, at(first), 4 * PAGE, round as u8 | 1).unwrap();
                    assert_eq!(
                        read(changing, at(first), 4 * PAGE).unwrap(),
                        [round as u8 | 1; 4 * PAGE]
                    );
                    changing.punch(at(first + round as usize % 4), at(1)).unwrap();
                    let scratch = fixture.object(4);
                    write(&scratch, 0, 2 * PAGE, 8).unwrap();
                }
            })
        });
        while writers.iter().any(|writer| !writer.is_finished()) {
            assert_eq!(read(&steady, 0, 8 * PAGE).unwrap(), [7; 8 * PAGE]);
            let seen = read(&changing, 0, 8 * PAGE).unwrap();
            for page in seen.chunks(PAGE) {
                assert!(page[0] & 1 == 1 || page[0] == 0, "{}: another's page", page[0]);
                assert_ne!(page[0], 0xee);
            }
        }
    });
    drop((steady, changing));
    assert_eq!(fixture.free(), 24);
}
