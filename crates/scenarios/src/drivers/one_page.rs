//! The driver of text B: one page, in which a program finds ten bytes.
//!
//! Its memory is taken and reserved when it is registered (`kmalloc`, `SetPageReserved`);
//! here that is [`System::add_device`](faultless_posix::System::add_device).

use faultless_posix::{Asked, Device, DeviceMemory, Errno, Mapping};

/// `array[10]`.
const ARRAY: [u8; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

/// How it maps its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By `remap_pfn_range`, as in the text.
    Remap,
    /// By `nopage`, the text's other way.
    Nopage,
}

/// The driver.
pub struct OnePage(pub How);

impl Device for OnePage {
    /// `my_map`: maps, then writes ten bytes.
    fn mmap(&mut self, asked: Asked, memory: &DeviceMemory<'_>) -> Result<Mapping, Errno> {
        let mapping = match self.0 {
            How::Remap => Mapping::AtOnce { first: asked.first },
            How::Nopage => Mapping::OnFault,
        };
        memory.write(0, &ARRAY);
        Ok(mapping)
    }

    fn fault(&mut self, page: u64, _: &DeviceMemory<'_>) -> Option<u64> {
        (page == 0).then_some(page)
    }
}
