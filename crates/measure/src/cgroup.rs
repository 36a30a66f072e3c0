//! A memory cgroup, version 1 or 2, that bounds the kernel's mmap as Faultless bounds
//! itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde::Serialize;

use crate::cleanup::{self, Guard, Undo};
use crate::model::PAGE;
use crate::mounts::Mounts;
use crate::size::Size;

/// What a bounded child may use beside the file's pages: its program, stacks, page
/// tables.
pub const ALLOWANCE: u64 = 16 << 20;

/// What bounded the kernel's mmap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Bound {
    /// A memory cgroup.
    Cgroup {
        /// 1 or 2.
        version: u32,
        /// Its limit: the budget and the allowance.
        limit_bytes: u64,
        /// The part of it for the process itself.
        allowance_bytes: u64,
        /// The most that it ever held, if the kernel says.
        held_bytes_max: Option<u64>,
    },
    /// Nothing.
    Unbounded {
        /// Why.
        why: String,
    },
}

/// A cgroup of ours, removed when dropped.
pub struct Cgroup {
    dir: PathBuf,
    version: Version,
    limit: u64,
    _remove: Guard,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Version {
    fn number(self) -> u32 {
        match self {
            Version::One => 1,
            Version::Two => 2,
        }
    }

    fn limit_file(self) -> &'static str {
        match self {
            Version::One => "memory.limit_in_bytes",
            Version::Two => "memory.max",
        }
    }

    /// Where swap is limited: together with memory, or by itself.
    fn swap_file(self) -> &'static str {
        match self {
            Version::One => "memory.memsw.limit_in_bytes",
            Version::Two => "memory.swap.max",
        }
    }

    fn usage_file(self) -> &'static str {
        match self {
            Version::One => "memory.usage_in_bytes",
            Version::Two => "memory.current",
        }
    }

    fn max_file(self) -> &'static str {
        match self {
            Version::One => "memory.max_usage_in_bytes",
            Version::Two => "memory.peak",
        }
    }
}

impl Cgroup {
    /// Makes one for a budget of so many bytes. The error says why that can't be.
    pub fn new(memory: u64) -> Result<Cgroup, String> {
        Cgroup::of_limit(memory + ALLOWANCE)
    }

    /// Makes one with a limit of so many bytes. The error says why that can't be.
    pub fn of_limit(limit: u64) -> Result<Cgroup, String> {
        let mounts =
            Mounts::now().map_err(|error| format!("cannot read /proc/self/mountinfo: {error}"))?;
        let mut why = None;
        for (version, mount) in mount_points(&mounts) {
            match Cgroup::under(&mount, version, limit) {
                Ok(cgroup) => return Ok(cgroup),
                // The first is the likeliest: a version 1 that is mounted has the
                // controller.
                Err(error) => {
                    let place = mount.display();
                    why.get_or_insert(format!("cannot make one in {place}: {error}"));
                }
            }
        }
        Err(why.unwrap_or_else(|| "no memory cgroups are mounted".to_owned()))
    }

    fn under(mount: &Path, version: Version, limit: u64) -> io::Result<Cgroup> {
        // Each of its own: one that can't be removed is in nobody's way.
        static MADE: AtomicU32 = AtomicU32::new(0);
        let (pid, number) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let dir = mount.join(format!("faultless-{pid}-{number}"));
        let ((), remove) = cleanup::make(|| {
            fs::create_dir(&dir)?;
            Ok(((), Undo::Cgroup(dir.clone())))
        })?;
        set_limit(&dir, version, limit).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => io::Error::other("it doesn't control memory"),
            _ => error,
        })?;
        Ok(Cgroup { dir, version, limit, _remove: remove })
    }

    /// Where it is, for a child to join.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The most that it held.
    pub fn held_bytes_max(&self) -> Option<u64> {
        number(&self.dir.join(self.version.max_file()))
    }

    /// What it bounds, and what it held.
    pub fn bound(&self) -> Bound {
        Bound::Cgroup {
            version: self.version.number(),
            limit_bytes: self.limit,
            allowance_bytes: ALLOWANCE,
            held_bytes_max: self.held_bytes_max(),
        }
    }
}

/// Puts this process into a cgroup.
pub fn join(dir: &Path) -> io::Result<()> {
    // "0" is whoever writes.
    fs::write(dir.join("cgroup.procs"), "0")
}

/// Limits the cgroup that this process has joined to what it holds now and `more` bytes;
/// answers the limit.
pub fn limit_growth(dir: &Path, more: u64) -> io::Result<u64> {
    let versions = [Version::One, Version::Two];
    let version = versions.into_iter().find(|version| dir.join(version.limit_file()).exists());
    let version = version.ok_or(io::ErrorKind::NotFound)?;
    let held = number(&dir.join(version.usage_file())).ok_or(io::ErrorKind::InvalidData)?;
    let limit = (held + more).next_multiple_of(PAGE);
    set_limit(dir, version, limit)?;
    Ok(limit)
}

/// Memory and swap together are limited: what doesn't fit has nowhere to go.
fn set_limit(dir: &Path, version: Version, limit: u64) -> io::Result<()> {
    fs::write(dir.join(version.limit_file()), limit.to_string())?;
    let with_swap = match version {
        Version::One => limit,
        Version::Two => 0,
    };
    // Where the kernel doesn't count swap, it has none of it to limit.
    let _ = fs::write(dir.join(version.swap_file()), with_swap.to_string());
    Ok(())
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The version of the memory cgroups that are mounted: the likelier one, if both are.
pub fn version(mounts: &Mounts) -> Option<u32> {
    mount_points(mounts).first().map(|(version, _)| version.number())
}

/// Where cgroups are mounted that may control memory.
fn mount_points(mounts: &Mounts) -> Vec<(Version, PathBuf)> {
    let version = |kind: &str, has_memory| match kind {
        "cgroup" if has_memory => Some(Version::One),
        "cgroup2" => Some(Version::Two),
        _ => None,
    };
    let points =
        mounts.iter().filter_map(|it| Some((version(it.kind, it.has("memory"))?, it.point())));
    points.collect()
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Bound::Cgroup { version, limit_bytes, allowance_bytes, held_bytes_max } => {
                let limit = Size(*limit_bytes);
                let allowance = Size(*allowance_bytes);
                write!(
                    f,
                    "in a memory cgroup (v{version}) of {limit}: the budget, and {allowance} for \
                     the process (what it leaves of them holds pages too)"
                )?;
                match held_bytes_max {
                    Some(held) => write!(f, "; held at most {}", Size(*held)),
                    None => Ok(()),
                }
            }
            Bound::Unbounded { why } => {
                write!(f, "WITHOUT a memory limit, so not comparable ({why})")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_found() {
        let mounts = Mounts::of(
            "\
31 28 0:29 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
34 31 0:31 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
",
        );
        assert_eq!(version(&mounts), Some(1));
        assert_eq!(
            mount_points(&mounts),
            [
                (Version::One, PathBuf::from("/sys/fs/cgroup/memory")),
                (Version::Two, PathBuf::from("/sys/fs/cgroup/unified")),
            ]
        );
    }
}
