//! The script of a `FaultyPager`.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::common::{PAGE, pattern, read, write};
use faultless_pager::{
    Direction, Effect, Fault, FaultyPager, MemoryPager, Operation, Pager, Times,
};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const SECOND_PAGE: std::ops::Range<u64> = 4096..8192;

fn faulty() -> FaultyPager<MemoryPager> {
    FaultyPager::new(MemoryPager::from_bytes(pattern(4 * PAGE)), 7)
}

#[test]
fn a_fault_strikes_its_range_so_many_times() {
    let pager = faulty();
    pager.inject(Fault::next(Operation::Read, SECOND_PAGE, Effect::Errno(EIO), 2));
    assert_eq!(read(&pager, 0, PAGE).unwrap(), pattern(PAGE));
    for _ in 0..2 {
        assert_eq!(read(&pager, 0, 2 * PAGE).unwrap_err().raw_os_error(), Some(EIO));
    }
    assert_eq!(read(&pager, 0, 2 * PAGE).unwrap(), pattern(2 * PAGE));
    assert_eq!((pager.calls(Operation::Read), pager.struck(Operation::Read)), (4, 2));
    assert_eq!(pager.calls(Operation::Write), 0);
}

#[test]
fn the_first_fault_that_matches_decides() {
    let pager = faulty();
    pager.inject(Fault::next(Operation::Write, SECOND_PAGE, Effect::Errno(ENOSPC), 1));
    let second = pager.inject(Fault::always(Operation::Write, Effect::Errno(EIO)));
    let errno = || write(&pager, 4096, PAGE, 1).unwrap_err().raw_os_error();
    assert_eq!((errno(), errno()), (Some(ENOSPC), Some(EIO)));
    pager.heal(second);
    write(&pager, 4096, PAGE, 1).unwrap();
}

#[test]
fn every_operation_can_fail_and_heal() {
    let pager = faulty();
    for operation in [Operation::Sync, Operation::Resize, Operation::Punch] {
        pager.inject(Fault::always(operation, Effect::Errno(EIO)));
    }
    assert!(pager.sync().is_err() && pager.resize(0).is_err() && pager.punch(0, 1).is_err());
    assert_eq!(pager.size().unwrap(), 4 * PAGE as u64);
    pager.heal_all();
    pager.sync().unwrap();
    pager.punch(0, 1).unwrap();
    pager.resize(0).unwrap();
}

#[test]
fn short_reads_and_torn_writes_stop_where_told() {
    let pager = faulty();
    pager.inject(Fault::next(Operation::Read, 0..1, Effect::Short(100), 1));
    assert_eq!(read(&pager, 0, PAGE).unwrap(), pattern(100));
    pager.inject(Fault::next(Operation::Write, 0..1, Effect::Short(100), 1));
    assert_eq!(write(&pager, 0, PAGE, 9).unwrap_err().raw_os_error(), Some(EIO));
    let bytes = pager.inner().bytes();
    assert_eq!((&bytes[..100], &bytes[100..PAGE]), (&[9; 100][..], &pattern(PAGE)[100..]));
}

#[test]
fn one_in_so_many_follows_the_seed() {
    let run = |seed| {
        let pager = FaultyPager::new(MemoryPager::new(PAGE), seed);
        let fault = Fault::always(Operation::Read, Effect::Errno(EIO));
        pager.inject(Fault { times: Times::OneIn(4), ..fault });
        (0..400).map(|_| read(&pager, 0, 1).is_err()).collect::<Vec<bool>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    let failed = run(1).into_iter().filter(|failed| *failed).count();
    assert!((60..=140).contains(&failed), "{failed} of 400 failed");
}

#[test]
fn a_delayed_call_takes_its_time() {
    let pager = faulty();
    let time = Duration::from_millis(30);
    pager.inject(Fault::next(Operation::Read, 0..1, Effect::Delay(time), 1));
    let begin = Instant::now();
    assert_eq!(read(&pager, 0, PAGE).unwrap(), pattern(PAGE));
    assert!(begin.elapsed() >= time);
}

#[test]
fn a_held_call_waits_for_healing_and_holds_up_nobody_else() {
    let pager = faulty();
    let fault = pager.inject(Fault::next(Operation::Read, SECOND_PAGE, Effect::Hold, 1));
    std::thread::scope(|scope| {
        let (send, ended) = mpsc::channel();
        let pager = &pager;
        scope.spawn(move || send.send(read(pager, 4096, PAGE).unwrap()).unwrap());
        while pager.struck(Operation::Read) == 0 {
            std::thread::yield_now();
        }
        assert_eq!(read(pager, 0, PAGE).unwrap(), pattern(PAGE));
        assert!(ended.recv_timeout(Duration::from_millis(20)).is_err(), "it was not held");
        pager.heal(fault);
        assert_eq!(ended.recv().unwrap(), pattern(2 * PAGE)[PAGE..]);
    });
}

#[test]
fn nobody_gets_past_the_script() {
    assert!(faulty().direct(Direction::Read, 0, PAGE as u64).is_none());
}
