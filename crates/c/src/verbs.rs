//! msync, mprotect, madvise, mincore, mlock, munlock.

use std::ffi::{c_int, c_void};
use std::slice;

use faultless::Pattern;

use crate::error::{Failed, Result, answer};
use crate::map::rights;
use crate::mapping::PAGE;
use crate::table::{self, Piece};

/// Writes what was stored in a range to its file, as msync(2) does. With MS_SYNC it is durable
/// when 0 is answered, and -1 tells of every error since the last call; with MS_ASYNC writing
/// begins. MS_INVALIDATE changes nothing.
// SAFETY: 1. no other function has this name.
#[unsafe(no_mangle)]
pub extern "C" fn faultless_msync(addr: *mut c_void, length: usize, flags: c_int) -> c_int {
    let (wait, later) = (flags & libc::MS_SYNC != 0, flags & libc::MS_ASYNC != 0);
    let known = libc::MS_SYNC | libc::MS_ASYNC | libc::MS_INVALIDATE;
    if wait && later || flags & !known != 0 {
        let why = Failed::new(libc::EINVAL, "flags are MS_SYNC or MS_ASYNC, and MS_INVALIDATE");
        return answer(Err(why), -1);
    }
    each(addr, length, |piece| match wait || later {
        true => piece.mapping.sync(&piece.range, wait),
        false => Ok(()),
    })
}

/// Gives pages other rights, as mprotect(2) does. All shared maps of a file have the same
/// addresses, so it is for all of them.
// SAFETY: 1. no other function has this name.
#[unsafe(no_mangle)]
pub extern "C" fn faultless_mprotect(addr: *mut c_void, length: usize, prot: c_int) -> c_int {
    match rights(prot) {
        Ok(rights) => each(addr, length, |piece| piece.mapping.protect(&piece.range, rights)),
        Err(error) => answer(Err(error), -1),
    }
}

/// Says what will become of pages, as madvise(2) does: MADV_NORMAL, _RANDOM and _SEQUENTIAL
/// (for the whole file), _WILLNEED, _DONTNEED, _FREE, _PAGEOUT, _REMOVE; _COLD and what is
/// about huge pages, merging and core dumps changes nothing. Others are EINVAL.
///
/// # Safety
/// What the advice makes zeros is not in use.
// SAFETY: 1. no other function has this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn faultless_madvise(
    addr: *mut c_void,
    length: usize,
    advice: c_int,
) -> c_int {
    each(addr, length, |Piece { mapping, range }| match advice {
        libc::MADV_NORMAL => mapping.expect(Pattern::Normal),
        libc::MADV_RANDOM => mapping.expect(Pattern::Random),
        libc::MADV_SEQUENTIAL => mapping.expect(Pattern::Sequential),
        libc::MADV_WILLNEED => mapping.will_need(range),
        libc::MADV_DONTNEED => mapping.dont_need(range),
        libc::MADV_FREE => mapping.free(range),
        libc::MADV_PAGEOUT => mapping.page_out(range),
        libc::MADV_REMOVE => {
            let bytes = mapping.bytes(range);
            Ok(mapping.shared()?.punch_hole(bytes.start as u64, bytes.len() as u64)?)
        }
        libc::MADV_COLD
        | libc::MADV_HUGEPAGE
        | libc::MADV_NOHUGEPAGE
        | libc::MADV_MERGEABLE
        | libc::MADV_UNMERGEABLE
        | libc::MADV_DONTDUMP
        | libc::MADV_DODUMP => Ok(()),
        _ => Err(Failed::new(libc::EINVAL, format!("advice {advice} is not supported"))),
    })
}

/// Says of each page whether it is in memory of its vm, as mincore(2) does; unlike there, to
/// nobody but this process.
///
/// # Safety
/// As many bytes as there are pages in the range can be written at `vec`.
// SAFETY: 1. no other function has this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn faultless_mincore(
    addr: *mut c_void,
    length: usize,
    vec: *mut u8,
) -> c_int {
    let first = addr as usize & !(PAGE - 1);
    each(addr, length, |Piece { mapping, range }| {
        let at = (range.start - first) / PAGE;
        // SAFETY: 1. the caller's promise is ours: the piece is within the range; 2. nobody
        // else uses the bytes meanwhile.
        let into = unsafe { slice::from_raw_parts_mut(vec.add(at), range.len() / PAGE) };
        mapping.residency(range, into)
    })
}

/// Brings private memory in and holds it there, as mlock(2) does; ENOMEM where the budget has
/// no room. Shared maps are held by `faultless_pin`: EOPNOTSUPP.
// SAFETY: 1. no other function has this name.
#[unsafe(no_mangle)]
pub extern "C" fn faultless_mlock(addr: *const c_void, length: usize) -> c_int {
    each(addr.cast_mut(), length, |piece| piece.mapping.lock(&piece.range))
}

/// Ends what mlock has begun.
// SAFETY: 1. no other function has this name.
#[unsafe(no_mangle)]
pub extern "C" fn faultless_munlock(addr: *const c_void, length: usize) -> c_int {
    each(addr.cast_mut(), length, |piece| piece.mapping.unlock(&piece.range))
}

/// Does something to each part of a range that is mapped, until one fails; ENOMEM where a page
/// of it is nobody's, after the others are done.
fn each(addr: *mut c_void, length: usize, verb: impl Fn(&Piece) -> Result<()>) -> c_int {
    let all = || {
        let (pieces, complete) = table::pieces(&table::whole_pages(addr as usize, length)?);
        pieces.iter().try_for_each(&verb)?;
        complete.map(|()| 0)
    };
    answer(all(), -1)
}
