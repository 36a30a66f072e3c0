//! A system call by its number, past the C library: no `errno`, no cancellation point, and
//! no function that a library loaded before the C library could have taken the place of.

use crate::Errno;

/// Can [`call`] be used by who takes the place of the C library's `syscall`?
pub const IS_DIRECT: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// Does the system call; arguments that it doesn't take are ignored.
///
/// # Safety
/// The caller answers for what the call does.
pub unsafe fn call(number: libc::c_long, arguments: [usize; 6]) -> Result<usize, Errno> {
    // SAFETY: the caller's promise is ours.
    let answer = unsafe { direct(number, arguments) };
    match answer {
        -4095..=-1 => Err(Errno::from_raw_os_error(-answer as i32)),
        _ => Ok(answer as usize),
    }
}

/// # Safety
/// As [`call`].
#[cfg(target_arch = "x86_64")]
unsafe fn direct(number: libc::c_long, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    let answer;
    // SAFETY: 1. the registers are those of the kernel's calling convention, of which it
    // changes rax, rcx and r11; 2. memory is taken to change. The rest is the caller's.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => answer,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    answer
}

/// # Safety
/// As [`call`].
#[cfg(target_arch = "aarch64")]
unsafe fn direct(number: libc::c_long, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    let answer;
    // SAFETY: 1. the registers are those of the kernel's calling convention, of which it
    // changes x0; 2. memory is taken to change. The rest is the caller's.
    unsafe {
        std::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a => answer,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack),
        );
    }
    answer
}

/// # Safety
/// As [`call`].
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn direct(number: libc::c_long, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    // SAFETY: the caller's promise is ours.
    match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
        -1 => -(crate::last_errno().raw_os_error() as isize),
        answer => answer as isize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_refusals_come_back_as_they_are() {
        // SAFETY: 1. neither call touches memory.
        unsafe {
            let id = call(libc::SYS_getpid, [0; 6]);
            assert_eq!(id, Ok(std::process::id() as usize));
            assert_eq!(call(libc::SYS_close, [usize::MAX, 0, 0, 0, 0, 0]), Err(Errno::BADF));
        }
    }

    #[test]
    fn all_six_arguments_arrive() {
        let fd = rustix::fs::memfd_create("call", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::io::write(&fd, &[7; 8192]).unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&fd) as usize;
        let (rights, flags) = (libc::PROT_READ as usize, libc::MAP_SHARED as usize);
        // SAFETY: 1. the kernel chooses an address where nothing is; 2. what is read is the
        // second page of the file, which has one.
        unsafe {
            let start = call(libc::SYS_mmap, [0, 4096, rights, flags, fd, 4096]).unwrap();
            assert_eq!(*(start as *const u8), 7);
            assert_eq!(call(libc::SYS_munmap, [start, 4096, 0, 0, 0, 0]), Ok(0));
            assert_eq!(
                call(libc::SYS_mmap, [0, 4096, rights, flags, fd, 1]),
                Err(Errno::INVAL),
                "an offset within a page"
            );
        }
    }
}
