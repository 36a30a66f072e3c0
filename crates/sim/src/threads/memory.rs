//! What threads must see: obviously right, and slow.

use std::collections::BTreeMap;

use faultless_addr::{ObjectId, PAGE_SIZE, PageIndex};
use faultless_engine::space::Sharing;

/// Where in a page words are that are looked at.
pub const WORDS: [usize; 3] = [0, 2048, PAGE_SIZE - 8];

/// A page of the process, as programs see it.
pub struct Page {
    /// Whose it is; everybody's, if nobody's.
    pub owner: Option<usize>,
    /// What it shows until it is stored to.
    pub object: Option<(ObjectId, PageIndex)>,
    pub sharing: Sharing,
    /// What has been stored to private memory.
    pub words: [Option<u64>; WORDS.len()],
}

/// All that programs see.
#[derive(Default)]
pub struct Memory {
    pub pages: BTreeMap<u64, Page>,
    pub files: Vec<ObjectId>,
    bytes: BTreeMap<u32, Vec<u8>>,
    /// Private pages that may be there.
    pub room: u64,
}

impl Memory {
    pub fn add_file(&mut self, object: ObjectId, bytes: Vec<u8>) {
        self.files.push(object);
        self.bytes.insert(object.0, bytes);
    }

    pub fn word(&self, number: u64, word: usize) -> u64 {
        let page = &self.pages[&number];
        let of_file = page.object.map(|(object, index)| {
            let at = index.offset() as usize + WORDS[word];
            u64::from_le_bytes(self.bytes[&object.0][at..at + 8].try_into().expect("8 bytes"))
        });
        page.words[word].or(of_file).unwrap_or(0)
    }

    pub fn store(&mut self, number: u64, word: usize, value: u64) {
        let page = self.pages.get_mut(&number).expect("the page is there");
        match (page.sharing, page.object) {
            (Sharing::Shared, Some((object, index))) => {
                let at = index.offset() as usize + WORDS[word];
                let bytes = self.bytes.get_mut(&object.0).expect("the file is there");
                bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            }
            _ => page.words[word] = Some(value),
        }
    }

    pub fn private(&self) -> u64 {
        self.pages.values().filter(|page| page.sharing == Sharing::Private).count() as u64
    }

    pub fn has_file(&self, object: ObjectId, bytes: &[u8]) -> bool {
        self.bytes[&object.0] == bytes
    }
}
