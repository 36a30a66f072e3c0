//! Request numbers, and the one ioctl call.

use std::os::fd::RawFd;

use linux_raw_sys::general as sys;
use linux_raw_sys::ioctl as numbers;

use crate::{Errno, last_errno};

pub(super) const USERFAULTFD_IOC_NEW: libc::Ioctl = 0xAA00;
pub(super) const UFFDIO_API: Request<sys::uffdio_api> = Request::new(numbers::UFFDIO_API);
pub(super) const REGISTER: Request<sys::uffdio_register> = Request::new(numbers::UFFDIO_REGISTER);
pub(super) const UNREGISTER: Request<sys::uffdio_range> = Request::new(numbers::UFFDIO_UNREGISTER);
pub(super) const WAKE: Request<sys::uffdio_range> = Request::new(numbers::UFFDIO_WAKE);
pub(super) const COPY: Request<sys::uffdio_copy> = Request::new(numbers::UFFDIO_COPY);
pub(super) const ZEROPAGE: Request<sys::uffdio_zeropage> = Request::new(numbers::UFFDIO_ZEROPAGE);
pub(super) const WRITE_PROTECT: Request<sys::uffdio_writeprotect> =
    Request::new(numbers::UFFDIO_WRITEPROTECT);
pub(super) const CONTINUE: Request<sys::uffdio_continue> = Request::new(numbers::UFFDIO_CONTINUE);
/// Not in `linux-raw-sys`: `_IOWR(0xAA, 0x05, struct uffdio_move)`.
pub(super) const MOVE: Request<sys::uffdio_move> = Request::read_write(sys::_UFFDIO_MOVE);
/// Not in `linux-raw-sys`: `_IOWR(0xAA, 0x08, struct uffdio_poison)`.
pub(super) const POISON: Request<sys::uffdio_poison> = Request::read_write(sys::_UFFDIO_POISON);

/// A request number together with the only type its argument may have.
pub(super) struct Request<T> {
    number: u32,
    argument: std::marker::PhantomData<fn(T)>,
}

impl<T> Request<T> {
    const fn new(number: u32) -> Request<T> {
        Request { number, argument: std::marker::PhantomData }
    }

    /// `_IOWR` of the common encoding (x86, Arm, RISC-V, LoongArch).
    const fn read_write(index: u32) -> Request<T> {
        Request::new(3 << 30 | (size_of::<T>() as u32) << 16 | sys::UFFDIO << 8 | index)
    }
}

/// Does `request`; the kernel reads and writes `argument`.
pub(super) fn ioctl<T>(fd: RawFd, request: Request<T>, argument: &mut T) -> Result<(), Errno> {
    // SAFETY: 1. `request` and `T` belong together: the constants above are the
    // only values of `Request`, and each `T` is the kernel's own structure, whose
    // size is part of the number; 2. `argument` is a live exclusive reference for
    // the whole call, and the kernel keeps no pointer to it; 3. what the kernel does
    // to memory that the structure only names is answered for by the callers.
    let result = unsafe { libc::ioctl(fd, request.number as libc::Ioctl, argument as *mut T) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}
