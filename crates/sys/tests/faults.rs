//! Faults of a real process: messages, signals, forks.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use faultless_addr::{Access, PAGE_BYTES, VirtAddr, VirtRange};
use faultless_sys::memory::Reservation;
use faultless_sys::raise::Trap;
use faultless_sys::signal::{self, Verdict};
use faultless_sys::uffd::{Cause, Event, Features, PageFault, Protect, Rung, Userfaultfd, probe};
use faultless_sys::{Errno, process};

/// Signal handlers belong to the process, so the tests that set them take turns.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

static SEEN_CODE: AtomicI32 = AtomicI32::new(0);
static SEEN_ADDR: AtomicU64 = AtomicU64::new(0);
static SEEN_WRITE: AtomicBool = AtomicBool::new(false);
static SEEN: AtomicI32 = AtomicI32::new(0);

extern "C" fn record(_: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: 1. the kernel's pointers, alive while the handler runs.
    unsafe {
        SEEN_CODE.store((*info).si_code, Ordering::SeqCst);
        SEEN_ADDR.store((*info).si_addr() as u64, Ordering::SeqCst);
        #[cfg(target_arch = "x86_64")]
        {
            let context = context.cast::<libc::ucontext_t>();
            let error = (*context).uc_mcontext.gregs[libc::REG_ERR as usize];
            SEEN_WRITE.store(error & 2 != 0, Ordering::SeqCst);
        }
    }
    SEEN.fetch_add(1, Ordering::SeqCst);
}

fn set_handler(signal: i32, handler: usize) {
    // SAFETY: 1. zeros are a value; 2. the handlers used here have SA_SIGINFO's signature.
    unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
    }
}

fn registered(pages: u64, features: Features) -> (Userfaultfd, Reservation) {
    let uffd = Userfaultfd::open(features).unwrap();
    let memory = Reservation::new((pages * PAGE_BYTES) as usize).unwrap();
    // SAFETY: 1. the reservation is ours and outlives the descriptor's use.
    unsafe { uffd.register(memory.range()).unwrap() };
    (uffd, memory)
}

fn next_fault(uffd: &Userfaultfd) -> PageFault {
    let mut events = [Event::Other(0); 4];
    loop {
        if uffd.read_messages(&mut events).unwrap() > 0 {
            match events[0] {
                Event::PageFault(fault) => return fault,
                other => panic!("{other:?}"),
            }
        }
        std::thread::yield_now();
    }
}

fn store(addr: VirtAddr) -> std::thread::JoinHandle<()> {
    // SAFETY: 1. the tests pass addresses in live reservations.
    std::thread::spawn(move || unsafe { (addr.0 as *mut u8).write_volatile(7) })
}

const ALL: Features =
    Features::WRITE_PROTECT.with(Features::THREAD_ID).with(Features::EXACT_ADDRESS);

#[test]
fn a_fault_is_read_filled_and_protected() {
    let found = probe().unwrap();
    assert!(matches!(found.rung, Rung::SystemCall | Rung::Device | Rung::UserModeOnly));
    let (uffd, memory) = registered(4, ALL);
    let at = VirtAddr(memory.range().start.0 + PAGE_BYTES + 5);
    let writer = store(at);
    let fault = next_fault(&uffd);
    assert_eq!((fault.addr, fault.access, fault.cause), (at, Access::Write, Cause::Missing));
    assert_ne!(fault.thread, process::thread_id());
    let bytes = vec![3u8; PAGE_BYTES as usize];
    let page = VirtRange::page(at.page_start());
    // SAFETY: 1. the source is a live vector.
    let fill = || unsafe { uffd.copy(page.start, bytes.as_ptr(), bytes.len(), Protect::Yes) };
    fill().unwrap();
    let fault = next_fault(&uffd);
    assert_eq!((fault.addr, fault.cause), (at, Cause::WriteProtected));
    assert_eq!(fill().unwrap_err().errno, Errno::EXIST);
    uffd.write_protect(page, Protect::No).unwrap();
    writer.join().unwrap();
    // SAFETY: 1. the page is present.
    assert_eq!(unsafe { (at.0 as *const u8).read_volatile() }, 7);
}

#[test]
fn a_thread_s_time_on_processors_grows_while_it_works() {
    let before = process::processor_time(process::thread_id()).unwrap();
    let mut after = before;
    while after - before < std::time::Duration::from_millis(1) {
        after = process::processor_time(process::thread_id()).unwrap();
    }
    let gone = std::thread::spawn(process::thread_id).join().unwrap();
    // Its last moments are after those that `join` waits for.
    while process::processor_time(gone).is_some() {
        std::thread::yield_now();
    }
}

/// Linux refuses a kernel's `si_code` to other threads: why the accessing thread queues it.
#[test]
fn a_true_code_cannot_be_queued_to_another_thread() {
    let (send, receive) = std::sync::mpsc::channel();
    let (end, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        send.send(process::thread_id()).unwrap();
        wait.recv().ok();
    });
    let target = receive.recv().unwrap();
    let mut info = [0u64; 16];
    info[0] = libc::SIGSEGV as u64;
    info[1] = 1; // SEGV_MAPERR
    // SAFETY: 1. `info` is as long as siginfo_t; 2. the call is refused.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_tgsigqueueinfo,
            process::process_id(),
            target,
            libc::SIGSEGV,
            info.as_ptr(),
        )
    };
    assert_eq!((result, std::io::Error::last_os_error().raw_os_error()), (-1, Some(libc::EPERM)));
    drop(end);
    thread.join().unwrap();
}

#[test]
fn the_hook_makes_sigsegv_with_its_code_and_address_of_an_error() {
    let _turn = turn();
    for (trap, hook) in TRAPS {
        // SAFETY: 1. the child does only system calls and the library's raw ones.
        let status = in_child(|| unsafe {
            let (uffd, memory) = registered(4, Features::POISON);
            let at = VirtAddr(memory.range().start.0 + 2 * PAGE_BYTES + 40);
            signal::install(hook).unwrap();
            set_handler(libc::SIGSEGV, record as *const () as usize);
            uffd.poison(VirtRange::page(at.page_start())).unwrap();
            let writer = store(at);
            // The handler returns, so the store is tried again and faults again.
            while SEEN.load(Ordering::SeqCst) < 3 {
                std::thread::yield_now();
            }
            let address = SEEN_ADDR.load(Ordering::SeqCst) == at.0;
            faultless_sys::memory::dont_need(VirtRange::page(at.page_start())).unwrap();
            uffd.zero(VirtRange::page(at.page_start())).unwrap();
            writer.join().unwrap();
            SEEN_CODE.load(Ordering::SeqCst) << 1 | i32::from(address)
        });
        let code = if trap == Trap::Unmapped { 1 } else { 2 };
        assert_eq!(libc::WEXITSTATUS(status), code << 1 | 1, "{trap:?}, status {status:#x}");
    }
}

#[test]
fn a_thread_that_blocks_or_ignores_sigsegv_dies_by_it() {
    let _turn = turn();
    for way in 0..2 {
        // SAFETY: 1. the child does only system calls and the library's raw ones.
        let status = in_child(|| unsafe {
            let (uffd, memory) = registered(1, Features::POISON);
            let at = memory.range().start;
            signal::install(TRAPS[0].1).unwrap();
            if way == 0 {
                libc::signal(libc::SIGSEGV, libc::SIG_IGN);
            }
            uffd.poison(memory.range()).unwrap();
            std::thread::spawn(move || {
                if way == 1 {
                    let mut set: libc::sigset_t = std::mem::zeroed();
                    libc::sigfillset(&mut set);
                    libc::sigdelset(&mut set, libc::SIGBUS);
                    libc::pthread_sigmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
                }
                (at.0 as *mut u8).write_volatile(1);
            });
            std::thread::sleep(std::time::Duration::from_secs(5));
            0
        });
        assert_eq!(libc::WTERMSIG(status), libc::SIGSEGV, "way {way}, status {status:#x}");
    }
}

type Hook = fn(&signal::Fault) -> Verdict;

/// What a hook may make of an error.
const TRAPS: [(Trap, Hook); 2] = [
    (Trap::Unmapped, |_| Verdict::Trap(Trap::Unmapped)),
    (Trap::Denied, |_| Verdict::Trap(Trap::Denied)),
];

/// Runs `body` in a forked child and answers its wait status.
fn in_child(body: impl FnOnce() -> i32) -> i32 {
    // SAFETY: 1. the child never returns into the test harness.
    unsafe {
        match libc::fork() {
            0 => {
                let code = body();
                libc::_exit(code)
            }
            child => {
                let mut status = 0;
                assert_eq!(libc::waitpid(child, &mut status, 0), child);
                status
            }
        }
    }
}

/// The code is `BUS_MCEERR_AR` where the kernel has CONFIG_MEMORY_FAILURE, and
/// `BUS_ADRERR` where it hasn't: it doesn't tell a poisoned page from an absent one.
#[test]
fn a_poisoned_page_is_sigbus_at_its_address() {
    if !probe().unwrap().features.has(Features::POISON) {
        return;
    }
    extern "C" fn exit_with_code(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: 1. the kernel's pointer.
        unsafe {
            let code = (*info).si_code;
            libc::_exit(code << 4 | ((*info).si_addr() as u64 & 0xfff == 16) as i32)
        }
    }
    let _turn = turn();
    // The child makes its own memory: the parent's isn't inherited.
    let status = in_child(|| {
        let (uffd, memory) = registered(4, Features::POISON);
        let at = VirtAddr(memory.range().start.0 + PAGE_BYTES + 16);
        uffd.poison(VirtRange::page(at.page_start())).unwrap();
        set_handler(libc::SIGBUS, exit_with_code as *const () as usize);
        // SAFETY: 1. the access is in our reservation.
        unsafe { (at.0 as *const u8).read_volatile() };
        0
    });
    let code = libc::WEXITSTATUS(status) >> 4;
    println!("si_code of a poisoned page: {code}");
    assert!([libc::BUS_ADRERR, libc::BUS_MCEERR_AR].contains(&code), "status {status:#x}");
    assert_eq!(libc::WEXITSTATUS(status) & 1, 1, "si_addr is exact");
}

#[test]
fn a_forked_child_gets_sigbus_in_a_reservation() {
    let _turn = turn();
    let memory = Reservation::new(1 << 40).unwrap();
    let at = memory.range().start.0 as *mut u8;
    // SAFETY: 1. the reservation is ours.
    unsafe { at.write_volatile(9) };
    let here = faultless_sys::fork::Birthplace::here();
    for offset in [0, 4096, (1 << 40) - 1] {
        // SAFETY: 1. the address is the plug's, where any access is SIGBUS.
        let status = in_child(|| unsafe {
            if here.is_here() {
                return 1;
            }
            libc::signal(libc::SIGBUS, libc::SIG_DFL);
            i32::from(at.add(offset).read_volatile())
        });
        assert_eq!(libc::WTERMSIG(status), libc::SIGBUS, "status {status:#x}");
    }
    assert!(here.is_here());
    // SAFETY: 1. the reservation is ours.
    assert_eq!(unsafe { at.read_volatile() }, 9);
}

#[test]
fn reading_never_waits_whatever_others_do_to_the_descriptor() {
    let uffd = Userfaultfd::open(Features::NONE).unwrap();
    rustix::fs::fcntl_setfl(&uffd, rustix::fs::OFlags::RDWR).unwrap();
    // Since Linux 6.10.
    let (said, says) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut messages = [Event::Other(0); 4];
        let _ = said.send(uffd.read_messages(&mut messages));
    });
    assert_eq!(says.recv_timeout(std::time::Duration::from_secs(5)), Ok(Ok(0)));
}
