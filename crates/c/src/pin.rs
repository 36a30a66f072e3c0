//! Bytes of files without signals: pins, copies in and out, prefetch.

use std::ffi::{c_int, c_void};
use std::ptr;

use faultless::{MapRaw, Pinned, PinnedMut};

use crate::error::{Failed, Result, answer};
use crate::mapping::Mapping;
use crate::table;
use crate::vm::values;

/// Bytes that are in memory and stay there.
#[derive(Debug)]
pub struct FaultlessPinned(#[allow(dead_code)] Held); // Held, not looked at.

#[derive(Debug)]
#[allow(dead_code)] // Held, not looked at.
enum Held {
    Read(Pinned),
    Write(PinnedMut),
}

/// Brings `length` bytes of a shared map in and holds them in memory until `faultless_unpin`:
/// they can be read at `addr` without a fault, and without a signal. NULL and errno where they
/// can't be had: EIO where a read failed, ENOMEM where other pins leave no room in the budget.
// SAFETY: 1. no other function has this name.
#[unsafe(no_mangle)]
pub extern "C" fn faultless_pin(addr: *const c_void, length: usize) -> *mut FaultlessPinned {
    pinned(addr as usize, |map, offset| Ok(Held::Read(map.pin(offset, length)?)))
}

/// As `faultless_pin`, for bytes that are going to be changed: they count as changed when they
/// are let go.
// SAFETY: 1. no other function has this name.
#[unsafe(no_mangle)]
pub extern "C" fn faultless_pin_mut(addr: *mut c_void, length: usize) -> *mut FaultlessPinned {
    pinned(addr as usize, |map, offset| Ok(Held::Write(map.pin_mut(offset, length)?)))
}

/// Lets pinned bytes go. NULL is nothing.
///
/// # Safety
/// `pinned` is NULL, or from `faultless_pin` or `faultless_pin_mut`, and not let go yet.
// SAFETY: 1. no other function has this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn faultless_unpin(pinned: *mut FaultlessPinned) {
    if !pinned.is_null() {
        // SAFETY: 1. by the caller's promise it is a box of `pinned` that nobody else has.
        drop(unsafe { Box::from_raw(pinned) });
    }
}

/// Copies bytes out of a shared map. Answers how many, fewer at the end of the file; -1 and
/// errno where they can't be read: never a signal.
///
/// # Safety
/// `length` bytes can be written at `to`.
// SAFETY: 1. no other function has this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn faultless_copy_out(
    to: *mut c_void,
    from: *const c_void,
    length: usize,
) -> isize {
    let copied = found(from as usize).and_then(|(mapping, offset)| {
        mapping.bytes(&(from as usize..(from as usize).saturating_add(length)));
        let into: &mut [u8] = match length {
            0 => &mut [],
            // SAFETY: 1. the caller's promise is ours; 2. C has no reference to them.
            _ => unsafe { std::slice::from_raw_parts_mut(to.cast(), length) },
        };
        Ok(mapping.shared()?.read_at(offset, into)? as isize)
    });
    answer(copied, -1)
}

/// Copies bytes into a shared map, all of them within its file. 0, or -1 and errno.
///
/// # Safety
/// `length` bytes can be read at `from`.
// SAFETY: 1. no other function has this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn faultless_copy_in(
    to: *mut c_void,
    from: *const c_void,
    length: usize,
) -> c_int {
    let copied = found(to as usize).and_then(|(mapping, offset)| {
        mapping.bytes(&(to as usize..(to as usize).saturating_add(length)));
        // SAFETY: the caller's promise is ours.
        let bytes = unsafe { values(from.cast::<u8>(), length) };
        mapping.shared()?.write_at(offset, bytes)?;
        Ok(0)
    });
    answer(copied, -1)
}

/// Begins to read ranges that will be needed, and doesn't wait: many reads at a time, where
/// touching one after the other would wait for each. 0, or -1 and errno.
///
/// # Safety
/// `count` ranges can be read at `ranges`.
// SAFETY: 1. no other function has this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn faultless_prefetch(ranges: *const libc::iovec, count: usize) -> c_int {
    // SAFETY: the caller's promise is ours.
    let ranges = unsafe { values(ranges, count) };
    let begun = ranges.iter().try_for_each(|range| {
        let (start, len) = (range.iov_base as usize, range.iov_len);
        let end = start.checked_add(len);
        let end = end.ok_or_else(|| Failed::new(libc::EINVAL, "a range leaves the addresses"))?;
        let (pieces, complete) = table::pieces(&(start..end));
        pieces.iter().try_for_each(|piece| piece.mapping.will_need(&piece.range))?;
        complete
    });
    answer(begun.map(|()| 0), -1)
}

/// Makes the file of a shared map so long that `length` bytes of it follow `addr`, which is
/// what mmap answered; it can grow as far as addresses are reserved. 0, or -1 and errno.
// SAFETY: 1. no other function has this name.
#[unsafe(no_mangle)]
pub extern "C" fn faultless_resize(addr: *mut c_void, length: usize) -> c_int {
    let resized = found(addr as usize).and_then(|(mapping, offset)| {
        if offset > 0 {
            return Err(Failed::new(libc::EINVAL, "the address is not a mapping's first"));
        }
        let before = mapping.pages();
        mapping.shared()?.resize(length as u64)?;
        mapping.resize(length, false)?;
        let after = mapping.pages();
        match after.end > before.end {
            true => table::add(&mapping, before.end..after.end),
            false if after.end < before.end => drop(table::take(&(after.end..before.end))),
            false => {}
        }
        Ok(0)
    });
    answer(resized, -1)
}

fn pinned(
    addr: usize,
    pin: impl FnOnce(&MapRaw, u64) -> std::result::Result<Held, faultless::Error>,
) -> *mut FaultlessPinned {
    let pinned = found(addr).and_then(|(mapping, offset)| Ok(pin(mapping.shared()?, offset)?));
    let given = pinned.map(|held| Box::into_raw(Box::new(FaultlessPinned(held))));
    answer(given, ptr::null_mut())
}

/// Whose a byte is, and its place there.
fn found(addr: usize) -> Result<(std::sync::Arc<Mapping>, u64)> {
    let mapping = table::at(addr)?;
    let offset = addr.checked_sub(mapping.start());
    let offset = offset.ok_or_else(|| Failed::new(libc::ENOMEM, "it is before the mapping"))?;
    Ok((mapping, offset as u64))
}
