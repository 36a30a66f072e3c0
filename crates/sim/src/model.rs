//! What programs must see: obviously right, and slow.
//!
//! Every process has every page of its own: what it maps, and the bytes of its private
//! copy, if it has one. Fork copies all of them at once.

use std::collections::BTreeMap;

use faultless_addr::{ObjectId, PAGE_BYTES, PAGE_SIZE, PageIndex, PageRange, Prot};

/// What one page of a process is.
#[derive(Clone, Debug)]
pub struct Page {
    pub prot: Prot,
    pub shared: bool,
    /// The object's page that it shows; `None` in anonymous memory.
    pub object: Option<(ObjectId, PageIndex)>,
    /// What the process has stored, in private memory.
    pub copy: Option<Box<[u8]>>,
    /// Nobody may touch it, whatever its rights.
    pub guard: bool,
    /// A child has zeros in its place.
    pub wiped: bool,
    /// Does a child have it?
    pub at_fork: AtFork,
}

/// Does a child have a page of its parent's?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtFork {
    GoesAlong,
    Stays,
}

impl Page {
    /// A page of a new area.
    pub fn new(prot: Prot, shared: bool, object: Option<(ObjectId, PageIndex)>) -> Page {
        let at_fork = AtFork::GoesAlong;
        Page { prot, shared, object, copy: None, guard: false, wiped: false, at_fork }
    }

    /// May both be of one area?
    pub fn is_like(&self, other: &Page) -> bool {
        let object = |page: &Page| page.object.map(|(object, _)| object);
        (self.prot, self.shared, object(self)) == (other.prot, other.shared, object(other))
    }

    /// As a child has it.
    pub fn at_birth(&self) -> Page {
        let mut page = self.clone();
        if page.wiped {
            (page.copy, page.guard) = (None, false);
        }
        page
    }
}

/// What an access must end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It happens.
    Done,
    /// SIGSEGV, no area.
    NoArea,
    /// SIGSEGV, the area forbids it.
    Denied,
    /// SIGBUS, beyond the object's end.
    BeyondEnd,
}

/// All processes, and all files as programs see them.
#[derive(Default)]
pub struct Model {
    /// By space, then by page number of the address.
    pub processes: BTreeMap<u32, BTreeMap<u64, Page>>,
    pub objects: BTreeMap<u32, Vec<u8>>,
}

impl Model {
    /// What an access to a page must end with.
    pub fn expected(&self, space: u32, number: u64, store: bool) -> Expected {
        let Some(page) = self.processes[&space].get(&number) else { return Expected::NoArea };
        let allowed = match store {
            true => page.prot.contains(Prot::WRITE),
            false => !page.prot.is_empty(),
        };
        if !allowed {
            return Expected::Denied;
        }
        if page.guard {
            return Expected::NoArea;
        }
        match page.object {
            Some((object, index)) if index.offset() >= self.objects[&object.0].len() as u64 => {
                Expected::BeyondEnd
            }
            _ => Expected::Done,
        }
    }

    /// The pages of a process.
    pub fn pages_mut(&mut self, space: u32) -> &mut BTreeMap<u64, Page> {
        self.processes.get_mut(&space).expect("it lives")
    }

    /// The bytes that a page shows.
    pub fn bytes(&self, space: u32, number: u64) -> Vec<u8> {
        let page = &self.processes[&space][&number];
        match (&page.copy, page.object) {
            (Some(copy), _) => copy.to_vec(),
            (None, Some((object, index))) => self.object_page(object, index),
            (None, None) => vec![0; PAGE_SIZE],
        }
    }

    /// A page of an object.
    pub fn object_page(&self, object: ObjectId, index: PageIndex) -> Vec<u8> {
        let start = index.offset() as usize;
        self.objects[&object.0][start..start + PAGE_SIZE].to_vec()
    }

    /// A private page is a copy from now on.
    pub fn copy(&mut self, space: u32, number: u64) {
        let bytes = self.bytes(space, number).into();
        let page = self.processes.get_mut(&space).and_then(|pages| pages.get_mut(&number));
        page.expect("the page is mapped").copy.get_or_insert(bytes);
    }

    /// A store that the machine let pass.
    pub fn store(&mut self, space: u32, number: u64, offset: usize, bytes: &[u8]) {
        let page = &self.processes[&space][&number];
        match page.object {
            Some((object, index)) if page.shared => {
                let start = index.offset() as usize + offset;
                let file = self.objects.get_mut(&object.0).expect("the object exists");
                file[start..start + bytes.len()].copy_from_slice(bytes);
            }
            _ => {
                self.copy(space, number);
                let page = self.processes.get_mut(&space).and_then(|all| all.get_mut(&number));
                let copy = page.and_then(|page| page.copy.as_mut()).expect("it has a copy");
                copy[offset..offset + bytes.len()].copy_from_slice(bytes);
            }
        }
    }

    /// An object has another length: private copies beyond its end are no more.
    pub fn set_size(&mut self, object: ObjectId, pages: u64) {
        let file = self.objects.get_mut(&object.0).expect("the object exists");
        file.resize((pages * PAGE_BYTES) as usize, 0);
        self.forget_copies(object, PageRange::new(PageIndex(pages), PageRange::all().end));
    }

    /// Private copies of some pages of an object are no more.
    pub fn forget_copies(&mut self, object: ObjectId, pages: PageRange) {
        for page in self.processes.values_mut().flat_map(|pages| pages.values_mut()) {
            if page.object.is_some_and(|(id, index)| id == object && pages.contains(index)) {
                page.copy = None;
            }
        }
    }
}
