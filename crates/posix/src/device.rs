//! `Device`: a driver, as the kernel knows it by its `file_operations` and its
//! `vm_operations`.
//!
//! ```text
//!   program ── mmap(fd) ──► verbs/mmap ── Device::mmap ──► AtOnce: all pages lent and shown
//!                                                     └──► OnFault: nothing yet
//!   program ── load ── fault ──► driver.rs ── Device::fault ──► this page of its memory
//! ```
//!
//! A driver's memory is frames of the machine beyond the engine's budget. It is shown, and
//! never reclaimed.

use std::ops::Range;

use faultless_addr::{FrameNo, ObjectId, PAGE_BYTES, PAGE_SIZE, PageRange, SpaceId, VirtAddr};
use faultless_engine::ObjectOptions;
use faultless_engine::space::{Vma, VmaFlags};
use faultless_machine::Machine as _;
use faultless_software::SoftwareMachine;

use crate::errno::Errno;
use crate::file::{File, Store, pieces};
use crate::process::Node;
use crate::system::System;

/// How a driver maps its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// All of it now, from this page of its memory on (`remap_pfn_range`).
    AtOnce {
        /// The page at the area's start.
        first: u64,
    },
    /// Page by page, when they are touched (`fault`, once called `nopage`).
    OnFault,
}

/// What a program asks to be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The page of the device's file at the area's start (`vm_pgoff`).
    pub first: u64,
    /// How many.
    pub pages: u64,
}

/// A driver. Its memory is given to each call, to be read and written.
pub trait Device {
    /// The `mmap` of its `file_operations`: a program maps its file. What it does to its
    /// memory here is seen by the program, whenever that looks.
    ///
    /// Linux refuses with ENODEV where a driver has no such operation.
    fn mmap(&mut self, asked: Asked, memory: &DeviceMemory<'_>) -> Result<Mapping, Errno> {
        let _ = (asked, memory);
        Err(Errno::ENODEV)
    }

    /// The `fault` of its `vm_operations`: which page of its memory is this page of its
    /// file? `None` is SIGBUS.
    fn fault(&mut self, page: u64, memory: &DeviceMemory<'_>) -> Option<u64> {
        let _ = (page, memory);
        None
    }
}

/// A device without an mmap of its own: a tty.
#[derive(Clone, Copy, Debug)]
pub struct Tty;

impl Device for Tty {}

/// The memory of a device, as its driver reaches it.
pub struct DeviceMemory<'a> {
    machine: &'a SoftwareMachine,
    frames: Range<u32>,
}

impl DeviceMemory<'_> {
    /// How many pages it has.
    pub fn pages(&self) -> u64 {
        u64::from(self.frames.end - self.frames.start)
    }

    /// Copies bytes from `offset` on.
    ///
    /// # Panics
    ///
    /// Beyond its end: a driver knows its memory.
    pub fn read(&self, offset: u64, into: &mut [u8]) {
        let mut done = 0;
        for (page, range) in pieces(offset, offset + into.len() as u64) {
            let piece = &mut into[done..done + range.len()];
            self.machine.read_frame(self.frame(page), range.start, piece);
            done += range.len();
        }
    }

    /// Changes bytes from `offset` on.
    ///
    /// # Panics
    ///
    /// Beyond its end.
    pub fn write(&self, offset: u64, from: &[u8]) {
        let mut done = 0;
        for (page, range) in pieces(offset, offset + from.len() as u64) {
            let piece = &from[done..done + range.len()];
            self.machine.write_frame(self.frame(page), range.start, piece);
            done += range.len();
        }
    }

    fn frame(&self, page: u64) -> FrameNo {
        assert!(page < self.pages(), "page {page} of {} of a device", self.pages());
        FrameNo(self.frames.start + page as u32)
    }
}

/// A driver and what is its own.
pub(crate) struct Driven {
    /// `None` while it is called.
    driver: Option<Box<dyn Device>>,
    pub object: ObjectId,
    frames: Range<u32>,
}

impl System {
    /// A driver that can be opened by the answer, with so many pages of memory, which are
    /// zeros.
    ///
    /// # Panics
    ///
    /// Where [`Config::device_frames`](crate::Config) are not enough.
    pub fn add_device(&mut self, pages: u32, driver: Box<dyn Device>) -> Node {
        let start = self.devices.last().map_or(self.config.frames, |last| last.frames.end);
        let frames = start..start + pages;
        let end = self.config.frames + self.config.device_frames;
        assert!(frames.end <= end, "{pages} more pages of devices are not configured");
        for frame in frames.clone().map(FrameNo) {
            self.machine.back(&[frame]).expect("frames have memory");
            self.machine.zero_frame(frame);
        }
        let size = u64::from(pages) * PAGE_BYTES;
        let object = self.engine.create(ObjectOptions::device(size));
        let number = self.devices.len() as u32;
        self.files.insert(object, File::new(Store::Device(number), size));
        self.devices.push(Driven { driver: Some(driver), object, frames });
        Node::Device(number)
    }

    /// A device's memory as it is.
    pub fn device_memory(&self, number: u32) -> Vec<u8> {
        let memory = self.memory_of(number);
        let mut bytes = vec![0; memory.pages() as usize * PAGE_SIZE];
        memory.read(0, &mut bytes);
        bytes
    }

    fn memory_of(&self, number: u32) -> DeviceMemory<'_> {
        let frames = self.devices[number as usize].frames.clone();
        DeviceMemory { machine: &self.machine, frames }
    }

    /// Calls a driver with its memory.
    fn call<R>(
        &mut self,
        number: u32,
        call: impl FnOnce(&mut dyn Device, &DeviceMemory<'_>) -> R,
    ) -> R {
        let driver = self.devices[number as usize].driver.take();
        let mut driver = driver.expect("a driver doesn't call itself");
        let result = call(&mut *driver, &self.memory_of(number));
        self.devices[number as usize].driver = Some(driver);
        result
    }

    /// Which page of a driver's memory is shown by a page of its file.
    fn lend(&mut self, number: u32, page: u64, of_memory: u64) -> Option<()> {
        let Driven { object, ref frames, .. } = self.devices[number as usize];
        let frame = u64::from(frames.start).checked_add(of_memory)?;
        let frame = FrameNo(u32::try_from(frame).ok().filter(|no| frames.contains(no))?);
        let page = faultless_addr::PageIndex(page);
        self.engine.lend(object, page, frame).ok()
    }

    /// mmap(2) of a device's file: what its driver makes of it.
    pub(crate) fn device_mapping(&mut self, number: u32, asked: Asked) -> Result<Mapping, Errno> {
        let mapping = self.call(number, |driver, memory| driver.mmap(asked, memory))?;
        if let Mapping::AtOnce { first } = mapping {
            for n in 0..asked.pages {
                self.lend(number, asked.first + n, first + n).ok_or(Errno::EINVAL)?;
            }
        }
        Ok(mapping)
    }

    /// A page that is touched, and for which a driver has not been asked yet.
    pub(crate) fn ask_driver(&mut self, area: &Vma, at: VirtAddr) {
        let (Some(object), Some(page)) = (area.object(), area.page_at(at)) else { return };
        let Store::Device(number) = self.file(object).store else { return };
        let at_once = area.flags.contains(VmaFlags::DEVICE);
        let lent = self.engine.not_lent(object, PageRange::from_len(page, 1)).is_none();
        if at_once || lent {
            return;
        }
        let found = self.call(number, |driver, memory| driver.fault(page.0, memory));
        if let Some(of_memory) = found {
            self.lend(number, page.0, of_memory);
        }
    }

    /// Areas of devices that are mapped at once have all their translations, also in a
    /// child, at other addresses, or with other rights.
    pub(crate) fn show_devices(&mut self, space: SpaceId) {
        let areas = self.engine.space(space).iter();
        let of_devices = areas.filter(|area| area.flags.contains(VmaFlags::DEVICE));
        for range in of_devices.map(|area| area.range).collect::<Vec<_>>() {
            self.plan(|engine, plan| engine.show_device(space, range, plan));
        }
    }
}
