//! A [`Call`] as system calls of a worker.

use super::Kernel;
use super::raw::spawn::Worker;
use super::wire::{AS_RETURNED, Reply, Request, What};
use crate::call::{Addr, Call, Fd, NO_FD, Node, PAGE, ProcessId, Resource, Vector};
use crate::outcome::{Errno, Outcome, Signal};

/// Where the world's descriptors begin among a worker's.
const FD_BASE: u64 = 100;
/// An address that is never mapped.
const NOWHERE: u64 = 0;

fn number(fd: Fd) -> u64 {
    match fd {
        NO_FD => u64::MAX,
        Fd(slot) => FD_BASE + u64::from(slot),
    }
}

/// Looks at pages that the first didn't see in memory.
const RESIDENCY_LOOKS: usize = 3;

/// What is made of a value that is no error.
#[derive(Clone, Copy)]
enum As {
    Value,
    Address,
    Bytes,
    Residency,
}

/// Does it, and says how it went.
pub fn carry_out(kernel: &mut Kernel, process: ProcessId, call: &Call) -> Outcome {
    match call {
        Call::Fork { child } => fork(kernel, process, *child),
        Call::Exit => exit(kernel, process),
        Call::Open { fd, node, flags } => open(kernel, process, *fd, *node, flags.bits()),
        Call::Setrlimit { resource, limit } => setrlimit(kernel, process, *resource, *limit),
        _ => match request(kernel, call) {
            (request, As::Residency) => residency(kernel, process, &request),
            (request, kind) => outcome(kernel.ask(process, &request), kind),
        },
    }
}

/// Looks at what is in memory, more than once: the kernel has been seen to miss a page that
/// nobody had taken away. (It may have been moving it to other memory; that wasn't shown.)
fn residency(kernel: &mut Kernel, process: ProcessId, request: &Request) -> Outcome {
    let mut look = || outcome(kernel.ask(process, request), As::Residency);
    let mut pages = match look() {
        Outcome::Vector(pages) => pages,
        other => return other,
    };
    for _ in 0..RESIDENCY_LOOKS {
        if pages.iter().all(|is_in| *is_in) {
            break;
        }
        if let Outcome::Vector(again) = look() {
            pages.iter_mut().zip(again).for_each(|(is_in, again)| *is_in |= again);
        }
    }
    Outcome::Vector(pages)
}

fn outcome(reply: Reply, kind: As) -> Outcome {
    match (reply, kind) {
        (Reply::Signal(number, code, addr), _) => {
            Outcome::Signal(Signal { number, code, addr: Addr::at(addr) })
        }
        (Reply::Value(error @ -4095..0, _), _) => Errno(-error as i32).into(),
        (Reply::Value(value, _), As::Value) => Outcome::Value(value as u64),
        (Reply::Value(value, _), As::Address) => Outcome::Address(Addr::at(value as u64)),
        (Reply::Value(_, bytes), As::Bytes) => Outcome::Bytes(bytes),
        (Reply::Value(_, bytes), As::Residency) => {
            Outcome::Vector(bytes.iter().map(|byte| byte & 1 == 1).collect())
        }
    }
}

fn request(kernel: &Kernel, call: &Call) -> (Request, As) {
    let memory = |number, addr: &Addr, rest: &[u64]| {
        let args: Vec<u64> = [&[addr.bytes], rest].concat();
        Request::syscall(number, &args)
    };
    let request = match call {
        Call::Mmap { addr, len, prot, flags, fd, offset, .. } => {
            let (prot, flags) = (prot.bits().into(), flags.bits().into());
            let rest = [*len, prot, flags, number(*fd), *offset];
            return (memory(libc::SYS_mmap, addr, &rest), As::Address);
        }
        Call::Mremap { old, old_len, new_len, flags, new, .. } => {
            let rest = [*old_len, *new_len, flags.bits().into(), new.bytes];
            return (memory(libc::SYS_mremap, old, &rest), As::Address);
        }
        Call::Brk { addr } => return (memory(libc::SYS_brk, addr, &[]), As::Address),
        Call::Mincore { addr, len, vector: Vector::Good } => {
            let request = memory(libc::SYS_mincore, addr, &[*len, 0]);
            return (request.wanting(2, len.div_ceil(PAGE)), As::Residency);
        }
        Call::Mincore { addr, len, vector: Vector::Bad } => {
            memory(libc::SYS_mincore, addr, &[*len, NOWHERE])
        }
        Call::Munmap { addr, len } => memory(libc::SYS_munmap, addr, &[*len]),
        Call::Mprotect { addr, len, prot } => {
            memory(libc::SYS_mprotect, addr, &[*len, prot.bits().into()])
        }
        Call::Msync { addr, len, flags } => {
            memory(libc::SYS_msync, addr, &[*len, flags.bits().into()])
        }
        Call::Madvise { addr, len, advice } => {
            memory(libc::SYS_madvise, addr, &[*len, advice.0 as u64])
        }
        Call::Mlock { addr, len } => memory(libc::SYS_mlock, addr, &[*len]),
        Call::Mlock2 { addr, len, flags } => {
            memory(libc::SYS_mlock2, addr, &[*len, flags.bits().into()])
        }
        Call::Munlock { addr, len } => memory(libc::SYS_munlock, addr, &[*len]),
        Call::Mlockall { flags } => Request::syscall(libc::SYS_mlockall, &[flags.bits().into()]),
        Call::Munlockall => Request::syscall(libc::SYS_munlockall, &[]),
        Call::RemapFilePages { addr, len, prot, page, flags } => {
            let rest = [*len, prot.bits().into(), *page, flags.bits().into()];
            memory(libc::SYS_remap_file_pages, addr, &rest)
        }
        Call::Mseal { addr, len, flags } => memory(libc::SYS_mseal, addr, &[*len, *flags]),
        _ => return file_request(kernel, call),
    };
    (request, As::Value)
}

fn file_request(kernel: &Kernel, call: &Call) -> (Request, As) {
    let file = |call, fd: &Fd, rest: &[u64]| {
        let args: Vec<u64> = [&[number(*fd)], rest].concat();
        Request::syscall(call, &args)
    };
    let request = match call {
        Call::Close { fd } => file(libc::SYS_close, fd, &[]),
        Call::Pread { fd, len, offset } => {
            let request = file(libc::SYS_pread64, fd, &[0, *len, *offset]);
            return (request.wanting(1, AS_RETURNED), As::Bytes);
        }
        Call::Pwrite { fd, data, offset } => {
            let bytes = data.bytes();
            file(libc::SYS_pwrite64, fd, &[0, bytes.len() as u64, *offset]).with_bytes(1, bytes)
        }
        Call::Ftruncate { fd, size } => file(libc::SYS_ftruncate, fd, &[*size]),
        Call::Fallocate { fd, flags, offset, len } => {
            file(libc::SYS_fallocate, fd, &[flags.bits().into(), *offset, *len])
        }
        Call::Fsync { fd } => file(libc::SYS_fsync, fd, &[]),
        Call::CopyRange { from, from_offset, to, to_offset, len } => {
            let offsets = [*from_offset, *to_offset].iter().flat_map(|o| o.to_ne_bytes()).collect();
            file(libc::SYS_copy_file_range, from, &[0, number(*to), 0, *len, 0])
                .with_bytes(1, offsets)
                .and_pointing(3, 8)
        }
        Call::SealWrites { fd } => {
            file(libc::SYS_fcntl, fd, &[libc::F_ADD_SEALS as u64, libc::F_SEAL_WRITE as u64])
        }
        Call::Unlink { file } => {
            Request::syscall(libc::SYS_unlink, &[0]).with_bytes(0, kernel.files.path(*file))
        }
        Call::Rename { from, to } => {
            let [from, to] = [from, to].map(|file| kernel.files.path(*file));
            let len = from.len();
            Request::syscall(libc::SYS_rename, &[0, 0])
                .with_bytes(0, [from, to].concat())
                .and_pointing(1, len)
        }
        Call::ReadInto { fd, addr, len, offset } => {
            file(libc::SYS_pread64, fd, &[addr.bytes, *len, *offset])
        }
        Call::WriteFrom { fd, addr, len, offset } => {
            file(libc::SYS_pwrite64, fd, &[addr.bytes, *len, *offset])
        }
        Call::Load { addr, len } => {
            return (Request::of(What::Load, &[addr.bytes, *len]), As::Bytes);
        }
        Call::Store { addr, data } => {
            let mut request = Request::of(What::Store, &[addr.bytes]);
            request.bytes = data.bytes();
            request
        }
        Call::Fetch { addr } => Request::of(What::Fetch, &[addr.bytes]),
        Call::PipeFrom { addr, len } => {
            return (Request::of(What::Pipe, &[addr.bytes, *len]), As::Bytes);
        }
        _ => unreachable!("{call:?} is not one system call"),
    };
    (request, As::Value)
}

fn fork(kernel: &mut Kernel, process: ProcessId, child: ProcessId) -> Outcome {
    if kernel.workers.contains_key(&child) || child.0 >= super::PROCESSES_MAX {
        return Outcome::NoProcess;
    }
    match kernel.syscall(process, &Request::of(What::Fork, &[child.0.into()])).0 {
        error @ ..0 => Errno(-error as i32).into(),
        id => {
            kernel.workers.insert(child, Worker::adopt(id));
            Outcome::DONE
        }
    }
}

fn exit(kernel: &mut Kernel, process: ProcessId) -> Outcome {
    let worker = kernel.workers.remove(&process).expect("looked up before");
    let request = Request::of(What::Exit, &[]).encode();
    let told = std::io::Write::write_all(&mut kernel.channels[usize::from(process.0)], &request);
    match told {
        Ok(()) => Outcome::Value(worker.wait() as u64),
        Err(error) => panic!("worker {process:?} cannot be told to end: {error}"),
    }
}

/// Opens wherever the system likes, and moves the descriptor to its place.
fn open(kernel: &mut Kernel, process: ProcessId, to: Fd, node: Node, flags: u32) -> Outcome {
    let at = libc::AT_FDCWD as u64;
    let path =
        |path| Request::syscall(libc::SYS_openat, &[at, 0, flags.into(), 0]).with_bytes(1, path);
    let request = match node {
        Node::File(file) => path(kernel.files.path(file)),
        Node::Directory => path(kernel.files.dir()),
        Node::Zero => path(b"/dev/zero\0".to_vec()),
        Node::Pipe => Request::syscall(libc::SYS_pipe2, &[0, 0]).wanting(0, 8),
        Node::Memory(_) => Request::syscall(libc::SYS_memfd_create, &[0, MFD_ALLOW_SEALING])
            .with_bytes(0, b"oracle\0".to_vec()),
    };
    let (value, bytes) = kernel.syscall(process, &request);
    let opened = match (value, node) {
        (error @ ..0, _) => return Errno(-error as i32).into(),
        (_, Node::Pipe) => bytes.chunks(4).map(|n| n[0].into()).collect(),
        (fd, _) => vec![fd as u64],
    };
    if let Node::Memory(size) = node {
        kernel.syscall(process, &Request::syscall(libc::SYS_ftruncate, &[opened[0], size]));
    }
    kernel.syscall(process, &Request::syscall(libc::SYS_dup2, &[opened[0], number(to)]));
    for fd in opened {
        kernel.syscall(process, &Request::syscall(libc::SYS_close, &[fd]));
    }
    Outcome::DONE
}

const MFD_ALLOW_SEALING: u64 = 2;

fn setrlimit(
    kernel: &mut Kernel,
    process: ProcessId,
    resource: Resource,
    limit: Option<u64>,
) -> Outcome {
    let number = match resource {
        Resource::Space => libc::RLIMIT_AS,
        Resource::Data => libc::RLIMIT_DATA,
        Resource::Locked => libc::RLIMIT_MEMLOCK,
    };
    let request = Request::syscall(libc::SYS_prlimit64, &[0, number.into(), 0, 0]);
    let (_, old) = kernel.syscall(process, &request.clone().wanting(3, 16));
    let hard = u64::from_ne_bytes(old[8..].try_into().expect("a limit is two numbers"));
    let soft = limit.map_or(hard, |room| kernel.baseline.limit(resource, room));
    let both = [soft, hard].iter().flat_map(|v| v.to_ne_bytes()).collect();
    outcome(kernel.ask(process, &request.with_bytes(2, both)), As::Value)
}
