//! The directed cases: what each does in both worlds. All comparing is in `bench`.

use std::os::unix::fs::FileExt as _;

use super::PAGE;
use super::areas::same;
use super::bench::{Bench, HOME, LEN, Seen};
use super::differences::Difference;
use super::kernel::{Area, GUARD_INSTALL, GUARD_REMOVE, READ_WRITE};
use super::world::Target;

const NONE: i32 = libc::PROT_NONE;
const READ: i32 = libc::PROT_READ;

pub fn any_offset(b: &mut Bench) -> Seen {
    let map = b.options().offset(1).map_raw(b.world.vm, &b.world.files[0].ours);
    same("a map at byte 1", map.map(|map| map.len()).map_err(|e| e.errno()), Ok(LEN - 1))?;
    let behind = b.options().offset(PAGE as u64).len(LEN as u64);
    let error = behind.map_raw(b.world.vm, &b.world.files[0].ours).map(drop).map_err(|e| e.errno());
    same("a map that leaves the file", error, Err(libc::ENXIO))
}

pub fn never_executable(b: &mut Bench) -> Seen {
    let target = b.memory(2);
    let Target::Private(index) = target else { return Ok(()) };
    let super::twin::Kind::Memory(memory) = &mut b.world.privates[index].kind else {
        return Ok(());
    };
    // SAFETY: it is refused.
    let ours = unsafe { memory.protect(.., faultless::Protection::EXEC) };
    same("PROT_EXEC", ours.map_err(|error| error.errno()), Err(libc::EINVAL))
}

pub fn overcommit(b: &mut Bench) -> Seen {
    let ours = b.world.vm.anonymous(1 << 36).map(drop).map_err(|error| error.errno());
    same("more than budget and swap", ours, Err(libc::ENOMEM))
}

pub fn rights(b: &mut Bench) -> Seen {
    for target in [b.memory(5), b.share(), b.copy()] {
        b.touch(target, 0..4)?;
        for prot in [NONE, READ, libc::PROT_WRITE, READ_WRITE] {
            b.protect(target, PAGE..3 * PAGE, prot)?;
            b.touch(target, 0..4)?;
        }
    }
    let gone = b.world.privates.remove(0);
    let (ours, kernel) = (gone.ours(), gone.kernel.start);
    drop(gone);
    b.world.nothing_is_at(ours, kernel, PAGE + 1)
}

pub fn rights_come_first(b: &mut Bench) -> Seen {
    b.share();
    b.load(HOME, 7 * PAGE)?;
    b.set_len(LEN)?;
    let all = 0..LEN;
    b.protect(HOME, all, READ)?;
    b.set_len(PAGE)?;
    // The first makes the address an error; the second may not even try.
    b.load(HOME, 3 * PAGE)?;
    b.store(HOME, 3 * PAGE, 1)
}

pub fn behind_the_end(b: &mut Bench) -> Seen {
    for target in [b.share(), b.copy()] {
        b.load(target, LEN - 1)?;
        b.load(target, LEN)?;
        b.load(target, 5 * PAGE - 1)?;
    }
    b.load(HOME, 5 * PAGE)?;
    b.store(HOME, 6 * PAGE + 5, 1)
}

pub fn tail(b: &mut Bench) -> Seen {
    b.share();
    b.world.load(HOME, LEN as isize, 5 * PAGE - LEN, super::touch::How::Many)?;
    b.store(HOME, LEN + 5, 77)?;
    b.store(HOME, LEN - 1, 78)?;
    b.flush_and_compare()
}

pub fn growth_over_a_tail(b: &mut Bench) -> Seen {
    tail(b)?;
    b.set_len(LEN + 50)?;
    b.load(HOME, LEN + 5)?;
    b.set_len(7 * PAGE)?;
    b.world.load(HOME, 0, 7 * PAGE, super::touch::How::Many)?;
    b.flush_and_compare()
}

pub fn cut(b: &mut Bench) -> Seen {
    let (shared, private) = (b.share(), b.copy());
    b.touch(shared, 0..5)?;
    b.touch(private, 0..5)?;
    b.set_len(PAGE + 10)?;
    b.touch(private, 0..5)?;
    b.touch(shared, 0..5)?;
    b.set_len(LEN)?;
    b.world.compare_all()
}

pub fn hole(b: &mut Bench) -> Seen {
    let (shared, private) = (b.share(), b.copy());
    b.touch(private, 0..2)?;
    b.punch(100, 3 * PAGE)?;
    b.world.compare_all()?;
    b.touch(shared, 0..4)?;
    b.flush_and_compare()
}

pub fn private_sees_later_writes(b: &mut Bench) -> Seen {
    b.share();
    let private = b.copy();
    b.write(10, b"before")?;
    b.store(private, 11, 1)?;
    b.write(10, b"behind")?;
    b.write(PAGE, b"never read here")?;
    b.world.compare_all()?;
    b.discard(private, 0..2 * PAGE)?;
    b.world.compare_all()
}

pub fn private_copies_early(b: &mut Bench) -> Seen {
    let (shared, private) = (b.share(), b.copy());
    for page in 0..4 {
        b.load(shared, page * PAGE)?;
        b.load(private, page * PAGE)?;
        b.write(page * PAGE, &[page as u8 ^ 0x55, 0xaa])?;
        b.world.compare_all()?;
    }
    // Unless the page had left the shared map just then.
    same("some were copied when read", b.world.tally.of(Difference::EarlyCopy) > 0, true)
}

pub fn coherent(b: &mut Bench) -> Seen {
    b.share();
    b.touch(HOME, 0..4)?;
    b.write(PAGE - 3, b"across")?;
    b.world.compare_all()?;
    let mut ours = vec![0; LEN];
    b.map().read_at(0, &mut ours).map_err(|error| error.to_string())?;
    let mut kernel = vec![0; LEN];
    b.file().kernel.read_exact_at(&mut kernel, 0).unwrap();
    same("read_at", ours, kernel)
}

pub fn others_write(b: &mut Bench) -> Seen {
    b.share();
    b.load(HOME, 0)?;
    let file = b.file();
    for world in [&file.ours, &file.kernel] {
        world.write_all_at(b"others", 0).unwrap();
    }
    if b.load(HOME, 0).is_ok() {
        return Err("a page in memory shows what others wrote: no difference any more".into());
    }
    b.map().release(0, PAGE as u64).map_err(|error| error.to_string())?;
    b.load(HOME, 0)
}

pub fn system_calls(b: &mut Bench) -> Seen {
    for target in [b.memory(5), b.share(), b.copy()] {
        b.protect(target, PAGE..2 * PAGE, NONE)?;
        for (at, len) in [(10, 20), (PAGE, 5), (PAGE - 10, 20), (2 * PAGE, PAGE)] {
            b.call(target, at, len)?;
        }
    }
    b.call(HOME, 5 * PAGE, 10)?;
    b.call(HOME, 5 * PAGE - 10, 20)
}

pub fn outlives_its_descriptor(b: &mut Bench) -> Seen {
    // The twins' files have no name already; their maps have descriptors of their own.
    let (ours, kernel) = (b.file().ours.try_clone().unwrap(), b.file().kernel.try_clone().unwrap());
    let map = b.options().map_raw(b.world.vm, &ours).unwrap();
    let area = Area::of_file(&kernel, 0, 1, READ, libc::MAP_SHARED).unwrap();
    drop((ours, kernel));
    let places = [map.as_ptr() as usize, area.start];
    let [ours, kernel] = places.map(|at| super::access::load(at + 9, 8).map_err(|f| f.signal));
    same("bytes", ours, kernel)
}

pub fn protect_errors(b: &mut Bench) -> Seen {
    for target in [b.memory(4), b.share(), b.copy()] {
        b.protect(target, PAGE..PAGE, NONE)?;
        b.protect(target, 1..PAGE, READ)?;
        b.protect(target, 3 * PAGE + 1..3 * PAGE + 2, READ)?;
        b.touch(target, 0..4)?;
    }
    let map = b.options().map_raw(b.world.vm, &b.world.files[0].ours_for_reading).unwrap();
    let from = &b.world.files[0].kernel_for_reading;
    let area = Area::of_file(from, 0, 1, READ, libc::MAP_SHARED).unwrap();
    let ours = map.protect(..PAGE, faultless::Protection::WRITE).map_err(|error| error.errno());
    same("WRITE of what is open for reading", ours, area.protect(0, PAGE, libc::PROT_WRITE))
}

pub fn range_first(b: &mut Bench) -> Seen {
    let target = b.memory(4);
    // The error is the same; the kernel has changed the last page by then.
    b.protect(target, 3 * PAGE..5 * PAGE, READ)?;
    b.store(target, 3 * PAGE, 1).err().map(drop).ok_or("no difference any more".to_string())
}

pub fn areas_join_again(b: &mut Bench) -> Seen {
    let target = b.memory(4);
    b.touch(target, 0..4)?;
    b.protect(target, PAGE..2 * PAGE, READ)?;
    b.protect(target, PAGE..2 * PAGE, READ_WRITE)?;
    b.resize(target, 9)?;
    b.touch(target, 0..9)
}

pub fn resize_errors(b: &mut Bench) -> Seen {
    let target = b.memory(4);
    b.resize(target, 0)?;
    b.touch(target, 0..4)
}

pub fn growth_over_areas(b: &mut Bench) -> Seen {
    let target = b.memory(4);
    b.protect(target, PAGE..2 * PAGE, READ)?;
    b.resize(target, 9)?;
    b.touch(target, 0..4)
}

pub fn shrinking_over_areas(b: &mut Bench) -> Seen {
    let target = b.memory(6);
    b.touch(target, 0..6)?;
    b.protect(target, 3 * PAGE..5 * PAGE, NONE)?;
    b.resize(target, 2)?;
    b.touch(target, 0..2)?;
    b.resize(target, 5)?;
    b.touch(target, 0..5)
}

pub fn private_is_never_written(b: &mut Bench) -> Seen {
    b.share();
    let private = b.copy();
    b.touch(private, 0..5)?;
    b.touch(HOME, 2..3)?;
    b.flush_and_compare()
}

pub fn advice(b: &mut Bench) -> Seen {
    for target in [b.memory(4), b.copy()] {
        b.touch(target, 0..4)?;
        b.discard(target, 1..PAGE)?;
        b.discard(target, PAGE..PAGE)?;
        b.discard(target, PAGE..2 * PAGE + 1)?;
        b.touch(target, 0..4)?;
    }
    b.world.compare_all()
}

pub fn free_now(b: &mut Bench) -> Seen {
    let Target::Private(index) = b.memory(2) else { return Ok(()) };
    b.touch(Target::Private(index), 0..2)?;
    let super::twin::Kind::Memory(memory) = &mut b.world.privates[index].kind else {
        return Ok(());
    };
    memory.advise(.., faultless::Advice::Free).map_err(|error| error.to_string())?;
    same("after it", (memory[8], memory[PAGE + 8]), (0, 0))
}

pub fn free_of_a_file(b: &mut Bench) -> Seen {
    let Target::Private(index) = b.copy() else { return Ok(()) };
    let private = &mut b.world.privates[index];
    let kernel = private.kernel.advise(0, PAGE, libc::MADV_FREE);
    let copied = private.copied().expect("a private map");
    let ours = copied.map.advise(..PAGE, faultless::Advice::Free).map_err(|e| e.errno());
    same("FREE of a file's pages", ours, kernel)
}

/// Guards over pages that hold something, and the pages after they are gone.
pub fn guards(b: &mut Bench) -> Seen {
    for target in [b.memory(4), b.copy()] {
        b.touch(target, 0..4)?;
        b.guard(target, PAGE..3 * PAGE, GUARD_INSTALL)?;
        b.guard(target, 1..PAGE, GUARD_INSTALL)?;
        b.touch(target, 0..4)?;
        b.call(target, PAGE + 3, 9)?;
        b.protect(target, 0..4 * PAGE, READ)?;
        b.protect(target, 0..4 * PAGE, READ_WRITE)?;
        b.touch(target, 0..4)?;
        b.guard(target, 2 * PAGE..4 * PAGE, GUARD_REMOVE)?;
        b.touch(target, 0..4)?;
        b.guard(target, PAGE..2 * PAGE, GUARD_REMOVE)?;
        b.touch(target, 0..4)?;
    }
    b.world.compare_all()
}

pub fn holes_need_the_right(b: &mut Bench) -> Seen {
    let map = b.options().map_raw(b.world.vm, &b.world.files[0].ours_for_reading).unwrap();
    let from = &b.world.files[0].kernel_for_reading;
    let area = Area::of_file(from, 0, 1, READ, libc::MAP_SHARED).unwrap();
    let ours = map.punch_hole(0, PAGE as u64).map_err(|error| error.errno());
    same("a hole", ours, area.advise(0, PAGE, libc::MADV_REMOVE))
}

pub fn holes_in_part_need_the_right(b: &mut Bench) -> Seen {
    b.share();
    b.protect(HOME, 3 * PAGE..4 * PAGE, READ)?;
    let ours = b.map().punch_hole(100, 3 * PAGE as u64).map_err(|error| error.errno());
    same("a hole that ends in what is read only", ours, Err(libc::EACCES))?;
    // Nor is the beginning of it zeros.
    b.world.compare_all()?;
    b.set_len(3 * PAGE + 10)?;
    let ours = b.map().punch_hole(3 * PAGE as u64 + 1, 10).map_err(|error| error.errno());
    same("a hole of what is read only, and leaves the file", ours, Err(libc::ENXIO))?;
    b.world.compare_all()
}

pub fn lock(b: &mut Bench) -> Seen {
    let target = b.memory(6);
    b.lock(target, 0..2 * PAGE)?;
    b.lock(target, 5 * PAGE..7 * PAGE)?;
    b.touch(target, 0..6)?;
    b.protect(target, 4 * PAGE..5 * PAGE, NONE)?;
    b.lock(target, 4 * PAGE..5 * PAGE)
}

pub fn advice_on_locked_memory(b: &mut Bench) -> Seen {
    let target = b.memory(6);
    b.lock(target, 0..2 * PAGE)?;
    b.touch(target, 0..3)?;
    b.discard(target, PAGE..2 * PAGE)?;
    b.discard(target, 2 * PAGE..3 * PAGE)?;
    b.world.compare_all()
}

pub fn fixed_places(b: &mut Bench) -> Seen {
    use faultless::Over;
    let mut ours = b.world.vm.reserve_by(8 * PAGE, b.delivery).unwrap();
    let kernel = Area::anonymous(8);
    let number = |result: faultless::Result<()>| result.map_err(|error| error.errno());
    same("a place", number(ours.place_anonymous(..4 * PAGE, Over::Refuse)), Ok(()))?;
    let (mut at, mut bases) = ([0; 2], [ours.as_ptr() as usize, kernel.start]);
    for base in &mut bases {
        super::access::store(*base + 2 * PAGE, 1, 7).map_err(|fault| format!("{fault:?}"))?;
    }
    let taken = number(ours.place_anonymous(2 * PAGE..6 * PAGE, Over::Refuse));
    same("a taken place", taken, kernel.place(2, 4, libc::MAP_FIXED_NOREPLACE))?;
    let over = number(ours.place_anonymous(2 * PAGE..6 * PAGE, Over::Replace));
    same("a place over another", over, kernel.place(2, 4, libc::MAP_FIXED))?;
    for (at, base) in at.iter_mut().zip(bases) {
        *at = super::access::load(base + 2 * PAGE, 1).map_err(|fault| format!("{fault:?}"))?;
    }
    same("what is there then", at[0], at[1])
}
