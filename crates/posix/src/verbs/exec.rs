//! execve(2): the areas of a program's file, its stack and its heap, in place of all that was.
//!
//! ```text
//!   0x400000                                              mmap_base        end of addresses
//!   ├ headers ┬ code ┬ constants ┬ data │ bss ┬ heap → ┄┄┄ ← maps ┼┄┄┄ ← stack │ args │ env ┤
//!   └──────── private maps of the file ──┘
//! ```
//!
//! Programs are static: whoever loads others, and their libraries, is a program itself.
//!
//! Source: execve(2), `fs/binfmt_elf.c`, and the psABI for what is on the stack.

use faultless_addr::{PAGE_BYTES, Prot, VirtAddr, VirtRange};
use faultless_engine::space::{Backing, Layout, MapRequest, Merge, Place, Sharing, VmaFlags};
use faultless_software::elf::{LoadPlan, Placement, Segment};

use crate::errno::Errno;
use crate::process::Pid;
use crate::system::System;

/// Where programs go that may go anywhere: two thirds up, as on Linux without a random part.
const MOVABLE_BASE: u64 = 0x5555_5555_4000;
/// The first area of the stack, which grows.
const STACK_BYTES: u64 = 33 * PAGE_BYTES;
/// `RLIMIT_STACK` as it usually is: what maps leave free below the stack.
const STACK_BYTES_MAX: u64 = 8 << 20;

/// The numbers of the auxiliary vector (getauxval(3)).
mod aux {
    pub const NULL: u64 = 0;
    pub const PHDR: u64 = 3;
    pub const PHENT: u64 = 4;
    pub const PHNUM: u64 = 5;
    pub const PAGESZ: u64 = 6;
    pub const ENTRY: u64 = 9;
}

/// Bytes of a program header.
const PHENT: u64 = 56;

/// Where a program begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// Its first instruction.
    pub entry: VirtAddr,
    /// The top of its stack, where the number of arguments is.
    pub stack: VirtAddr,
}

impl System {
    /// execve(2) of a static program. Descriptors stay open.
    ///
    /// Where the file is no program, the process is as before (ENOEXEC).
    pub fn exec(&mut self, pid: Pid, name: u32, args: &[&str]) -> Result<Started, Errno> {
        let object = *self.names.get(&name).ok_or(Errno::ENOENT)?;
        let bytes = self.read_object(object, 0, self.file(object).size)?;
        let plan = LoadPlan::new(&bytes).and_then(|plan| match plan.placement {
            Placement::Fixed => Ok(plan),
            Placement::Movable { .. } => plan.moved(MOVABLE_BASE),
        });
        let plan = plan.map_err(|_| Errno::ENOEXEC)?;
        let space = pid.space();
        self.plan(|engine, plan| engine.unmap_all(space, plan));
        self.clear(space, self.config.bounds);
        self.openings += 1;
        for segment in &plan.segments {
            self.load_segment(pid, segment, object)?;
        }
        let stack = self.make_stack(pid, &plan, args)?;
        self.engine.set_up(space, self.layout(&plan, &stack)).map_err(|_| Errno::ENOMEM)?;
        self.reap();
        Ok(Started { entry: plan.entry, stack: stack.pointer })
    }

    fn load_segment(
        &mut self,
        pid: Pid,
        segment: &Segment,
        object: faultless_addr::ObjectId,
    ) -> Result<(), Errno> {
        if let Some(pages) = segment.file_pages() {
            let first = faultless_addr::PageIndex::containing(pages.offset);
            self.map_part(pid, pages.range, segment.prot, Backing::Object { object, first })?;
        }
        if !segment.anonymous().is_empty() {
            self.map_part(pid, segment.anonymous(), segment.prot, Backing::Anonymous)?;
        }
        // The rest of the page with the last variable is the file's next bytes: a copy of
        // it gets zeros. Where nothing may be stored, Linux leaves them.
        if segment.prot.contains(Prot::WRITE) && !segment.zeroed().is_empty() {
            let zeros = vec![0; segment.zeroed().len() as usize];
            let (_, refused) = self.copy_out(pid, segment.zeroed().start.0, &zeros);
            refused.map_or(Ok(()), |_| Err(Errno::EFAULT))?;
        }
        Ok(())
    }

    fn map_part(
        &mut self,
        pid: Pid,
        range: VirtRange,
        prot: Prot,
        backing: Backing,
    ) -> Result<(), Errno> {
        let merge = match backing {
            Backing::Object { .. } => Merge::Like(self.openings),
            Backing::Anonymous => Merge::Yes,
        };
        let request = MapRequest {
            place: Place::FixedNoReplace(range.start),
            len: range.len(),
            prot,
            sharing: Sharing::Private,
            backing,
            flags: VmaFlags::empty(),
            merge,
        };
        Ok(self.engine.map(pid.space(), request).map(drop)?)
    }

    /// The stack's area, and what a program finds there.
    fn make_stack(&mut self, pid: Pid, plan: &LoadPlan, args: &[&str]) -> Result<Stack, Errno> {
        let end = self.config.bounds.end;
        let range = VirtRange::new(VirtAddr(end.0 - STACK_BYTES), end);
        let request = MapRequest {
            place: Place::FixedNoReplace(range.start),
            len: range.len(),
            prot: plan.stack,
            sharing: Sharing::Private,
            backing: Backing::Anonymous,
            flags: VmaFlags::GROWS_DOWN,
            merge: Merge::Yes,
        };
        self.engine.map(pid.space(), request)?;
        let strings: Vec<u8> =
            args.iter().flat_map(|arg| [arg.as_bytes(), b"\0"].concat()).collect();
        let strings_at = end.0 - 8 - strings.len() as u64;
        let mut words = vec![args.len() as u64];
        let mut at = strings_at;
        for arg in args {
            words.push(at);
            at += arg.len() as u64 + 1;
        }
        // The end of the arguments, and an environment without a variable.
        words.extend([0, 0]);
        let headers = plan.headers.map_or((0, 0), |it| (it.at.0, it.count as u64));
        let vector = [
            (aux::PHDR, headers.0),
            (aux::PHENT, PHENT),
            (aux::PHNUM, headers.1),
            (aux::PAGESZ, PAGE_BYTES),
            (aux::ENTRY, plan.entry.0),
            (aux::NULL, 0),
        ];
        words.extend(vector.into_iter().flat_map(|(number, value)| [number, value]));
        let pointer = (strings_at - 8 * words.len() as u64) & !15;
        let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        for (at, bytes) in [(strings_at, &strings), (pointer, &bytes)] {
            let (_, refused) = self.copy_out(pid, at, bytes);
            refused.map_or(Ok(()), |_| Err(Errno::EFAULT))?;
        }
        let args = VirtRange::new(VirtAddr(strings_at), VirtAddr(end.0 - 8));
        Ok(Stack { pointer: VirtAddr(pointer), args })
    }

    fn layout(&self, plan: &LoadPlan, stack: &Stack) -> Layout {
        let with = |right| plan.segments.iter().filter(move |it| it.prot.contains(right));
        let code = with(Prot::EXEC).map(|it| VirtRange::new(it.at, it.end()));
        let data =
            with(Prot::WRITE).map(|it| VirtRange::new(it.at, VirtAddr(it.at.0 + it.file_size)));
        let end = plan.end_of_data();
        Layout {
            code: code.reduce(around).expect("a plan has an entry, which is in code"),
            data: data.reduce(around).unwrap_or(VirtRange::new(end, end)),
            start_brk: end,
            brk: end,
            mmap_base: Layout::mmap_base_top_down(self.config.bounds, STACK_BYTES_MAX),
            start_stack: stack.pointer,
            args: stack.args,
            env: VirtRange::new(stack.args.end, stack.args.end),
        }
    }
}

/// A program's first stack.
struct Stack {
    pointer: VirtAddr,
    args: VirtRange,
}

fn around(one: VirtRange, other: VirtRange) -> VirtRange {
    VirtRange::new(one.start.min(other.start), one.end.max(other.end))
}
