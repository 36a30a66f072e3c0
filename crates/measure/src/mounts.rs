//! What is mounted where, as the kernel lists it.

use std::fs;
use std::io;
use std::path::PathBuf;

/// What is mounted, of /proc/self/mountinfo (see proc_pid_mountinfo(5)).
#[derive(Debug)]
pub struct Mounts(String);

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mount<'a> {
    /// The numbers of its device, as `8:1`.
    pub device: &'a str,
    /// Where it is mounted.
    point: &'a str,
    /// The kind of file system.
    pub kind: &'a str,
    /// What it is on.
    pub source: &'a str,
    /// The file system's own options, by commas.
    options: &'a str,
}

impl Mounts {
    /// As it is now.
    pub fn now() -> io::Result<Mounts> {
        fs::read_to_string("/proc/self/mountinfo").map(Mounts)
    }

    /// As a text says.
    #[cfg(test)]
    pub fn of(text: &str) -> Mounts {
        Mounts(text.to_owned())
    }

    /// All of them, in the order in which the kernel lists them.
    pub fn iter(&self) -> impl Iterator<Item = Mount<'_>> {
        self.0.lines().filter_map(|line| {
            let (place, system) = line.split_once(" - ")?;
            let (mut place, mut system) = (place.split(' ').skip(2), system.split(' '));
            let (device, point) = (place.next()?, place.nth(1)?);
            let (kind, source) = (system.next()?, system.next()?);
            Some(Mount { device, point, kind, source, options: system.next().unwrap_or("") })
        })
    }
}

impl Mount<'_> {
    /// Where it is mounted.
    pub fn point(&self) -> PathBuf {
        PathBuf::from(self.point)
    }

    /// Has it this option?
    pub fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|it| it == option)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart() {
        let mounts = Mounts::of(
            "28 1 254:1 / / rw,relatime shared:1 master:2 - ext4 /dev/vda1 rw\n\
             35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\nnonsense\n",
        );
        let all: Vec<Mount> = mounts.iter().collect();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].device, all[0].kind, all[0].source), ("254:1", "ext4", "/dev/vda1"));
        assert_eq!(all[0].point(), PathBuf::from("/"));
        assert_eq!(all[1].point(), PathBuf::from("/sys/fs/cgroup/memory"));
        assert!(all[1].has("memory") && !all[1].has("mem") && !all[0].has("memory"));
    }
}
