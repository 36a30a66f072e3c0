//! Names of frames, objects and address spaces: numbers that don't mix.

/// One unit of real memory, counted by the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameNo(pub u32);

/// Something that has pages: a file, a device, shared anonymous memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId(pub u32);

/// One address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpaceId(pub u32);

impl FrameNo {
    /// The frame's place in tables.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl ObjectId {
    /// The object's place in tables.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl SpaceId {
    /// The space's place in tables.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
