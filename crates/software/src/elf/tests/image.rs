//! ELF files made by hand.

use object::elf::{ET_EXEC, PF_R, PF_W, PF_X, PT_LOAD};

/// A file that is a header, a table of segments, and bytes up to 0x1c00 and beyond.
pub struct Image {
    pub kind: u16,
    pub entry: u64,
    pub loads: Vec<Load>,
    /// What follows byte 0x1c00.
    pub content: Vec<u8>,
}

/// One program header.
#[derive(Default)]
pub struct Load {
    pub kind: u32,
    pub flags: u32,
    pub offset: u64,
    pub at: u64,
    pub file_size: u64,
    pub memory_size: u64,
}

impl Image {
    /// Text with the headers at 0x400000, and data with .bss at 0x402800.
    pub fn good() -> Image {
        let text = Load {
            kind: PT_LOAD,
            flags: PF_R | PF_X,
            offset: 0,
            at: 0x40_0000,
            file_size: 0x1800,
            memory_size: 0x1800,
        };
        let data = Load {
            kind: PT_LOAD,
            flags: PF_R | PF_W,
            offset: 0x1800,
            at: 0x40_2800,
            file_size: 0x400,
            memory_size: 0x2000,
        };
        Image { kind: ET_EXEC, entry: 0x40_1000, loads: vec![text, data], content: vec![] }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        let half = |out: &mut Vec<u8>, number: u16| out.extend(number.to_le_bytes());
        let word = |out: &mut Vec<u8>, number: u32| out.extend(number.to_le_bytes());
        let long = |out: &mut Vec<u8>, number: u64| out.extend(number.to_le_bytes());
        half(&mut out, self.kind);
        half(&mut out, 62); // e_machine
        word(&mut out, 1); // e_version
        long(&mut out, self.entry);
        long(&mut out, 64); // e_phoff
        long(&mut out, 0); // e_shoff
        word(&mut out, 0); // e_flags
        // e_ehsize, e_phentsize, e_phnum, and nothing of sections
        for number in [64, 56, self.loads.len() as u16, 0, 0, 0] {
            half(&mut out, number);
        }
        for load in &self.loads {
            word(&mut out, load.kind);
            word(&mut out, load.flags);
            let numbers = [load.offset, load.at, load.at, load.file_size, load.memory_size, 0x1000];
            numbers.into_iter().for_each(|number| long(&mut out, number));
        }
        out.resize(0x1c00, 0xcc);
        out.extend(&self.content);
        out
    }
}
