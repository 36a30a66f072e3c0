//! Numbers as manuals write them.

use std::fmt;

/// Names for bits, or for values.
type Names = &'static [(i32, &'static str)];

/// A number by its names.
#[derive(Clone, Copy, Debug)]
pub(super) enum Named {
    /// One of a few values.
    Value(i32, Names),
    /// One of a few values in the bits of a mask, and bits besides.
    Bits { value: i32, mask: i32, values: Names, bits: Names },
}

macro_rules! names {
    ($($name:ident),+ $(,)?) => { &[$((libc::$name, stringify!($name))),+] };
}

const PROT: Names = names![PROT_READ, PROT_WRITE, PROT_EXEC, PROT_GROWSDOWN, PROT_GROWSUP];

const MAP_TYPES: Names = names![MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE];

const MAP: Names = names![
    MAP_FIXED,
    MAP_ANONYMOUS,
    MAP_32BIT,
    MAP_GROWSDOWN,
    MAP_DENYWRITE,
    MAP_EXECUTABLE,
    MAP_LOCKED,
    MAP_NORESERVE,
    MAP_POPULATE,
    MAP_NONBLOCK,
    MAP_STACK,
    MAP_HUGETLB,
    MAP_SYNC,
    MAP_FIXED_NOREPLACE,
];

const MREMAP: Names = names![MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP];

const MS: Names = names![MS_ASYNC, MS_INVALIDATE, MS_SYNC];

const MADV: Names = names![
    MADV_NORMAL,
    MADV_RANDOM,
    MADV_SEQUENTIAL,
    MADV_WILLNEED,
    MADV_DONTNEED,
    MADV_FREE,
    MADV_REMOVE,
    MADV_DONTFORK,
    MADV_DOFORK,
    MADV_MERGEABLE,
    MADV_UNMERGEABLE,
    MADV_HUGEPAGE,
    MADV_NOHUGEPAGE,
    MADV_DONTDUMP,
    MADV_DODUMP,
    MADV_WIPEONFORK,
    MADV_KEEPONFORK,
    MADV_COLD,
    MADV_PAGEOUT,
    MADV_POPULATE_READ,
    MADV_POPULATE_WRITE,
    MADV_COLLAPSE,
];

const POSIX_MADV: Names = names![
    POSIX_MADV_NORMAL,
    POSIX_MADV_RANDOM,
    POSIX_MADV_SEQUENTIAL,
    POSIX_MADV_WILLNEED,
    POSIX_MADV_DONTNEED,
];

/// Those that calls about mappings, and writes, can fail with.
const ERRNO: Names = names![
    EPERM, ENOENT, EINTR, EIO, ENXIO, EBADF, EAGAIN, ENOMEM, EACCES, EFAULT, EBUSY, EEXIST, ENODEV,
    EINVAL, ENFILE, EMFILE, ETXTBSY, EFBIG, ENOSPC, EROFS, EPIPE, ENOSYS, EPROTO, EOVERFLOW,
    EOPNOTSUPP, ESTALE, EDQUOT, EHWPOISON,
];

pub(super) fn prot(value: i32) -> Named {
    Named::Bits { value, mask: 0, values: &[(0, "PROT_NONE")], bits: PROT }
}

pub(super) fn map_flags(value: i32) -> Named {
    Named::Bits { value, mask: libc::MAP_TYPE, values: MAP_TYPES, bits: MAP }
}

pub(super) fn mremap_flags(value: i32) -> Named {
    Named::Bits { value, mask: 0, values: &[], bits: MREMAP }
}

pub(super) fn msync_flags(value: i32) -> Named {
    Named::Bits { value, mask: 0, values: &[], bits: MS }
}

pub(super) fn advice(value: i32) -> Named {
    Named::Value(value, MADV)
}

pub(super) fn posix_advice(value: i32) -> Named {
    Named::Value(value, POSIX_MADV)
}

pub(super) fn errno(value: i32) -> Named {
    Named::Value(value, ERRNO)
}

fn find(names: Names, value: i32) -> Option<&'static str> {
    names.iter().find(|(number, _)| *number == value).map(|(_, name)| *name)
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, mask, values, bits) = match *self {
            Named::Value(value, names) => {
                return match find(names, value) {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{value}"),
                };
            }
            Named::Bits { value, mask, values, bits } => (value, mask, values, bits),
        };
        let mut left = value;
        let mut between = "";
        // A value that is all there is, and may be 0; or the one in its bits.
        if (mask != 0 || value == 0)
            && let Some(name) = find(values, value & mask)
        {
            f.write_str(name)?;
            (left, between) = (left & !mask, "|");
        }
        for (bit, name) in bits.iter().filter(|(bit, _)| value & !mask & bit == *bit) {
            write!(f, "{between}{name}")?;
            (left, between) = (left & !bit, "|");
        }
        match (left, between) {
            (0, "|") => Ok(()),
            _ => write!(f, "{between}{left:#x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_as_in_manuals() {
        let says = |named: Named, text: &str| assert_eq!(named.to_string(), text);
        says(prot(0), "PROT_NONE");
        says(prot(3), "PROT_READ|PROT_WRITE");
        says(prot(0x101), "PROT_READ|0x100");
        says(map_flags(0x22), "MAP_PRIVATE|MAP_ANONYMOUS");
        says(map_flags(3), "MAP_SHARED_VALIDATE");
        says(map_flags(0x10), "MAP_FIXED");
        says(map_flags(0), "0x0");
        says(map_flags(0x0f), "0xf");
        says(mremap_flags(0), "0x0");
        says(mremap_flags(3), "MREMAP_MAYMOVE|MREMAP_FIXED");
        says(msync_flags(4), "MS_SYNC");
        says(advice(4), "MADV_DONTNEED");
        says(advice(999), "999");
        says(posix_advice(3), "POSIX_MADV_WILLNEED");
        says(errno(12), "ENOMEM");
        says(errno(200), "200");
    }
}
