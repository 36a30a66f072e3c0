//! [`Stage`]: the software machine for a scenario: a system, names for what is in it, and
//! the record.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};

use faultless_addr::{FrameNo, ObjectId, SpaceId, VirtAddr};
use faultless_engine::space::Vma;
use faultless_posix::{
    Config, Device, Errno, MapFlags, Mmap, Node, OpenFlags, Pid, Signal, Store, System, Trouble,
};

use faultless_software::Rights;

use crate::record::{Picture, Played, Record, Section, Stop, Writer};
use crate::states;

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// After so many looks for a page to leave, none will.
const LOOKS_MAX: u32 = 200;
/// Pages of memory of all devices.
const DEVICE_FRAMES: u32 = 256;
/// Loads.
pub const READ: u32 = 1;
/// Stores.
pub const WRITE: u32 = 2;
/// Instruction fetches.
pub const EXEC: u32 = 4;
/// As programs mostly ask.
pub const READ_WRITE: u32 = READ | WRITE;

/// A system, the names of what is in it, and the record of what is done with it.
pub struct Stage {
    system: System,
    writer: Writer,
    shown: Vec<Section>,
    pub(crate) processes: Vec<(Pid, &'static str)>,
    pub(crate) paths: BTreeMap<u32, &'static str>,
    pub(crate) devices: BTreeMap<u32, &'static str>,
}

impl Deref for Stage {
    type Target = System;

    fn deref(&self) -> &System {
        &self.system
    }
}

impl DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut System {
        &mut self.system
    }
}

impl Stage {
    /// A system with so many frames, and its first process.
    pub fn new(frames: u32) -> (Stage, Pid) {
        let config = Config { device_frames: DEVICE_FRAMES, ..Config::new(frames) };
        let (system, first) = System::new(config);
        let (paths, devices) = Default::default();
        let processes = vec![(first, "A")];
        (
            Stage { system, shown: vec![], writer: Writer::default(), processes, paths, devices },
            first,
        )
    }

    /// Begins a step; the one before ends, and its states are noted.
    pub fn step(&mut self, title: impl Into<String>) {
        self.end_step();
        self.writer.begin(title);
    }

    fn end_step(&mut self) {
        self.system.check_invariants();
        let mut states = states::of(self);
        states.append(&mut self.shown);
        self.writer.end(states);
    }

    /// Checks a claim; an untrue one ends the scenario.
    pub fn check(&mut self, claim: impl Into<String>, holds: bool) -> Played {
        self.writer.check(claim, holds)
    }

    /// Checks that something is as expected; the claim says what it is.
    pub fn equal<T: PartialEq<U> + fmt::Debug, U: fmt::Debug>(
        &mut self,
        claim: impl fmt::Display,
        found: T,
        expected: U,
    ) -> Played {
        self.writer.equal(claim, found, expected)
    }

    /// Checks that an access is a signal, of this kind and at this address.
    pub fn ends<T>(
        &mut self,
        who: &str,
        access: Result<T, Signal>,
        trouble: Trouble,
        addr: u64,
    ) -> Played {
        let name = match trouble {
            Trouble::MapErr => "SIGSEGV (no area)",
            Trouble::AccErr => "SIGSEGV (no right)",
            Trouble::PkuErr => "SIGSEGV (a protection key)",
            Trouble::Bus => "SIGBUS",
            Trouble::NoMemory => "SIGKILL (no memory)",
        };
        let claim = format!("{who} is ended by {name} at {addr:x}");
        match access {
            Err(found) if found == (Signal { trouble, addr }) => self.check(claim, true),
            Err(found) => self.check(format!("{claim}, but it is {found:x?}"), false),
            Ok(_) => self.check(format!("{claim}, but it goes on"), false),
        }
    }

    /// Checks that a call is refused.
    pub fn refused<T: fmt::Debug>(
        &mut self,
        what: &str,
        answer: Result<T, Errno>,
        errno: Errno,
    ) -> Played {
        match answer {
            Err(found) if found == errno => {
                self.check(format!("{what} is refused: {errno:?}"), true)
            }
            other => {
                self.check(format!("{what} is refused: {errno:?}, but it is {other:?}"), false)
            }
        }
    }

    /// What was drawn.
    pub fn draw(&mut self, picture: Picture) {
        self.writer.draw(picture);
    }

    /// The record, with how it ended.
    pub fn finish(mut self, played: Played) -> Record {
        self.end_step();
        self.writer.finish(played)
    }

    /// The name of a process in what is shown.
    pub fn call(&mut self, pid: Pid, name: &'static str) {
        match self.processes.iter_mut().find(|(known, _)| *known == pid) {
            Some((_, old)) => *old = name,
            None => self.processes.push((pid, name)),
        }
    }

    /// fork(2), and a name for the child.
    pub fn fork_as(&mut self, parent: Pid, name: &'static str) -> Played<Pid> {
        let child = self.system.fork(parent)?;
        self.call(child, name);
        Ok(child)
    }

    /// exit(2): it is shown no more.
    pub fn end(&mut self, pid: Pid) {
        self.system.exit(pid);
        self.processes.retain(|(known, _)| *known != pid);
    }

    /// A file on a disk.
    pub fn file(&mut self, path: &'static str, bytes: &[u8]) -> Node {
        let name = self.paths.len() as u32 + 1;
        self.paths.insert(name, path);
        self.system.create_file(name, Store::Disk, bytes);
        Node::File(name)
    }

    /// A device under this path, with so many pages of memory.
    pub fn device(
        &mut self,
        path: &'static str,
        pages: u32,
        driver: impl Device + 'static,
    ) -> Node {
        let node = self.system.add_device(pages, Box::new(driver));
        if let Node::Device(number) = node {
            self.devices.insert(number, path);
        }
        node
    }

    /// Opens for reading and writing, maps from the start, and closes again: what was
    /// mapped stays.
    pub fn map_file(
        &mut self,
        pid: Pid,
        node: Node,
        len: u64,
        sharing: MapFlags,
    ) -> Result<u64, Stop> {
        self.system.open(pid, FD, node, OpenFlags::RDWR)?;
        let call = Mmap { len, prot: READ_WRITE, flags: sharing, fd: FD, ..Mmap::default() };
        let at = self.system.mmap(pid, call);
        self.system.close(pid, FD)?;
        Ok(at?.0)
    }

    /// Memory without a file, for loads and stores.
    pub fn map_anonymous(&mut self, pid: Pid, len: u64, sharing: MapFlags) -> Result<u64, Stop> {
        let flags = sharing | MapFlags::ANONYMOUS;
        let call = Mmap { len, prot: READ_WRITE, flags, fd: -1, ..Mmap::default() };
        Ok(self.system.mmap(pid, call)?.0)
    }

    /// Checks that a process reads these bytes.
    pub fn reads(&mut self, who: &str, pid: Pid, at: u64, expected: &[u8]) -> Played {
        let found = self.bytes(pid, at, expected.len())?;
        self.same(&format!("{who} reads"), &found, expected)
    }

    /// Checks that bytes are as expected.
    pub fn same(&mut self, claim: &str, found: &[u8], expected: &[u8]) -> Played {
        self.writer.same(claim, found, expected)
    }

    /// A program's load of so many bytes.
    pub fn bytes(&mut self, pid: Pid, at: u64, len: usize) -> Result<Vec<u8>, Signal> {
        let mut bytes = vec![0; len];
        self.system.load(pid, at, &mut bytes)?;
        Ok(bytes)
    }

    /// As `printf("%s")` does: bytes up to the first zero.
    pub fn text(&mut self, pid: Pid, at: u64) -> Result<String, Signal> {
        let mut text = Vec::new();
        loop {
            let byte = self.bytes(pid, at + text.len() as u64, 1)?[0];
            if byte == 0 {
                return Ok(String::from_utf8_lossy(&text).into_owned());
            }
            text.push(byte);
        }
    }

    /// The frame that the page tables have at an address.
    pub fn frame_at(&self, pid: Pid, at: u64) -> Option<FrameNo> {
        let found = self.system.machine().translation(SpaceId(pid.0), VirtAddr(at));
        found.map(|translation| translation.frame)
    }

    /// Memory is short until this page has left it.
    pub fn evict(&mut self, pid: Pid, at: u64) -> Played {
        for _ in 0..LOOKS_MAX {
            if self.frame_at(pid, at).is_none() {
                return Ok(());
            }
            self.system.press(1);
        }
        self.check(format!("the page at {at:x} leaves"), false)
    }

    /// Something else to be seen at this step.
    pub fn show(&mut self, name: &'static str, lines: Vec<String>) {
        self.shown.push(Section { name, lines });
    }

    /// Page faults until now.
    pub fn faults(&self) -> u64 {
        self.system.machine().stats().faults
    }

    /// Frames of the budget in use.
    pub fn used(&self) -> u64 {
        self.system.engine().stats().frames_used
    }

    /// The area that holds an address.
    pub fn area(&self, pid: Pid, at: u64) -> Option<Vma> {
        self.system.engine().space(SpaceId(pid.0)).find(VirtAddr(at)).copied()
    }

    /// Does the entry at an address let stores through?
    pub fn stores_pass(&self, pid: Pid, at: u64) -> bool {
        let found = self.system.machine().translation(SpaceId(pid.0), VirtAddr(at));
        found.is_some_and(|entry| entry.rights.contains(Rights::WRITE))
    }

    /// Is the accessed bit of an entry set?
    pub fn accessed(&self, pid: Pid, at: u64) -> bool {
        self.system.machine().accessed(SpaceId(pid.0), VirtAddr(at))
    }

    /// The frames on a list of the policy.
    pub fn list(&self, name: &str) -> Vec<FrameNo> {
        let lists = self.system.engine().lists().into_iter();
        lists.filter(|(known, _)| *known == name).flat_map(|(_, frames)| frames).collect()
    }

    /// The object of a file.
    pub fn object(&self, node: Node) -> ObjectId {
        let Node::File(name) = node else { panic!("{node:?} is not a file") };
        self.system.object_of(name).expect("files here keep their names")
    }

    /// Bytes of the disk, whatever the page cache has.
    pub fn disk(&self, node: Node, offset: u64, len: u64) -> Vec<u8> {
        self.system.stored(self.object(node), offset, len)
    }

    /// One byte of each of some pages is loaded.
    pub fn touch(&mut self, pid: Pid, at: u64, pages: std::ops::Range<u64>) -> Played {
        for page in pages {
            self.bytes(pid, at + page * PAGE, 1)?;
        }
        Ok(())
    }
}

/// The descriptor that [`Stage::map_file`] uses.
pub const FD: i32 = 3;
