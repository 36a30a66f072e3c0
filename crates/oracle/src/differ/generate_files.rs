//! Random calls on files, and between files and memory.

use crate::area::{Area, Backing};
use crate::call::{Call, Fd, Node, PAGE};
use crate::flags::FallocFlags;

use super::generate::{DESCRIPTORS, FILE, Generator, Span};
use super::weights::Kind;

impl Generator {
    pub(super) fn file_call(&mut self, kind: Kind) -> Call {
        let fd = self.fd();
        let offset = self.random.below(FILE * PAGE);
        let aligned = offset / PAGE * PAGE;
        match kind {
            Kind::Pread => Call::Pread { fd, len: self.some_bytes(), offset },
            Kind::Pwrite => {
                let len = self.some_bytes();
                Call::Pwrite { fd, data: self.data(len), offset }
            }
            Kind::Ftruncate => Call::Ftruncate { fd, size: self.random.pick(&[offset, aligned]) },
            Kind::Fsync => Call::Fsync { fd },
            _ => {
                let hole = FallocFlags::PUNCH_HOLE | FallocFlags::KEEP_SIZE;
                let flags = self.random.weighed(&[
                    (2, FallocFlags::empty()),
                    (1, FallocFlags::KEEP_SIZE),
                    (4, hole),
                    (2, FallocFlags::ZERO),
                    (1, FallocFlags::ZERO | FallocFlags::KEEP_SIZE),
                    (2, FallocFlags::COLLAPSE),
                    (2, FallocFlags::INSERT),
                ]);
                let pages = (1 + self.random.below(3)) * PAGE;
                let bytes = self.some_bytes();
                let offset = self.random.pick(&[offset, aligned]);
                Call::Fallocate { fd, flags, offset, len: self.random.pick(&[pages, bytes]) }
            }
        }
    }

    pub(super) fn copy_range(&mut self) -> Call {
        let [from_offset, to_offset] = [(); 2].map(|()| self.random.below(FILE * PAGE));
        let from = self.random.below(3);
        let to = (from + 1 + self.random.below(2)) % 3;
        let len = self.some_bytes();
        Call::CopyRange { from: Fd(from as u8), from_offset, to: Fd(to as u8), to_offset, len }
    }

    /// Not between a file and a mapping of it: what such a copy does to itself is nobody's.
    pub(super) fn transfer(&mut self, kind: Kind, areas: &[Area], span: Span) -> Call {
        let fd = self.fd();
        let addr = self.inside(span.addr);
        let len = self.some_bytes();
        let offset = self.random.below(FILE * PAGE);
        let node = DESCRIPTORS.get(usize::from(fd.0)).map(|(node, _)| *node);
        let is_same = |area: &Area| match (area.backing, node) {
            (Backing::File(one), Some(Node::File(other))) => one == other,
            (Backing::Memory, Some(Node::Memory(_))) => true,
            _ => false,
        };
        let touches = |area: &&Area| area.start < addr.bytes + len && addr.bytes < area.end;
        match kind {
            _ if areas.iter().filter(touches).any(is_same) => Call::Load { addr, len },
            Kind::ReadInto => Call::ReadInto { fd, addr, len, offset },
            _ => Call::WriteFrom { fd, addr, len, offset },
        }
    }
}
