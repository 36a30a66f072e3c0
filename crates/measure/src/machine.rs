//! What a measurement depends on besides the programs: the machine, and the place of the files.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;

use serde::Serialize;

use crate::cgroup;
use crate::mounts::Mounts;
use crate::size::Size;

/// The machine, and the device that files in a directory lie on.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// As the processor calls itself; none where /proc/cpuinfo doesn't say.
    pub processor: Option<String>,
    /// Is it a virtual one?
    pub is_virtual: bool,
    /// Processors that we may use.
    pub processors: usize,
    /// Physical memory.
    pub memory_bytes: u64,
    /// Swap, where anonymous memory may go.
    pub swap_bytes: u64,
    /// The release of Linux.
    pub kernel: String,
    /// The version of the cgroups that bound memory here; none where there are none. (Those of
    /// version 1 don't slow down who dirties pages; those of version 2 do.)
    pub memory_cgroups: Option<u32>,
    /// The file system and what it is on (`ext4 on /dev/vda`); none where no mount tells.
    pub place: Option<String>,
    /// What the kernel reads ahead there; none where there is no device.
    pub read_ahead_bytes: Option<u64>,
}

impl Machine {
    /// This one, for files in `dir`.
    pub fn this(dir: &Path) -> Machine {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let mounts = Mounts::now().ok();
        let mounts = mounts.as_ref();
        let system = rustix::system::sysinfo();
        let ahead = read_ahead_setting(dir).and_then(fs::read_to_string);
        let ahead_kib = ahead.ok().and_then(|text| text.trim().parse::<u64>().ok());
        Machine {
            processor: processor(&cpuinfo),
            is_virtual: cpuinfo.split_ascii_whitespace().any(|flag| flag == "hypervisor"),
            processors: thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: system.totalram as u64 * u64::from(system.mem_unit),
            swap_bytes: system.totalswap as u64 * u64::from(system.mem_unit),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            memory_cgroups: mounts.and_then(cgroup::version),
            place: device(dir).ok().and_then(|device| place(mounts?, device)),
            read_ahead_bytes: ahead_kib.map(|kib| kib << 10),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = if self.processors == 1 { "" } else { "s" };
        write!(f, "{} processor{many}", self.processors)?;
        if let Some(processor) = &self.processor {
            write!(f, " ({processor})")?;
        }
        if self.is_virtual {
            write!(f, " of a virtual machine")?;
        }
        // To the tenth of a GiB: what the kernel keeps for itself differs from start to start.
        let gib = self.memory_bytes as f64 / f64::from(1 << 30);
        write!(f, ", {gib:.1} GiB, ")?;
        match self.swap_bytes {
            0 => write!(f, "no swap")?,
            bytes => write!(f, "swap {}", Size(bytes))?,
        }
        write!(f, "; Linux {}", self.kernel)?;
        if let Some(version) = self.memory_cgroups {
            write!(f, ", memory cgroups of version {version}")?;
        }
        if let Some(place) = &self.place {
            write!(f, "; {place}")?;
        }
        match self.read_ahead_bytes {
            Some(bytes) => write!(f, ", the kernel's read-ahead {}", Size(bytes)),
            None => Ok(()),
        }
    }
}

/// Where the kernel keeps the read-ahead of the device that a file or directory is on, or of
/// the disk that it is a partition of.
pub fn read_ahead_setting(path: &Path) -> io::Result<PathBuf> {
    let (major, minor) = device(path)?;
    let block = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    let places = [block.join("bdi/read_ahead_kb"), block.join("../bdi/read_ahead_kb")];
    places.into_iter().find(|place| place.exists()).ok_or(io::ErrorKind::NotFound.into())
}

/// The numbers of the device that a file is on.
fn device(path: &Path) -> io::Result<(u32, u32)> {
    let device = fs::metadata(path)?.dev();
    Ok((rustix::fs::major(device), rustix::fs::minor(device)))
}

/// The first processor's name, of /proc/cpuinfo.
fn processor(cpuinfo: &str) -> Option<String> {
    let named = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    let (_, name) = named.split_once(':')?;
    Some(name.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
}

/// What is mounted of a device.
fn place(mounts: &Mounts, (major, minor): (u32, u32)) -> Option<String> {
    let number = format!("{major}:{minor}");
    let mount = mounts.iter().find(|mount| mount.device == number)?;
    let (kind, source) = (mount.kind, mount.source);
    Some(if kind == source { kind.to_owned() } else { format!("{kind} on {source}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_told_by_what_the_kernel_shows() {
        let mounts = &Mounts::of(
            "\
22 28 0:21 / /proc rw,nosuid - proc proc rw
28 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
41 28 0:35 / /tmp rw - tmpfs tmpfs rw,size=4k",
        );
        assert_eq!(place(mounts, (254, 1)).as_deref(), Some("ext4 on /dev/vda1"));
        assert_eq!(place(mounts, (0, 35)).as_deref(), Some("tmpfs"));
        assert_eq!(place(mounts, (8, 0)), None);
        let cpuinfo = "processor\t: 0\nmodel\t\t: 1\nmodel name\t: Some  9000 @ 2 GHz\n";
        assert_eq!(processor(cpuinfo).as_deref(), Some("Some 9000 @ 2 GHz"));
        assert_eq!(processor("processor : 0\nhart : 1\n"), None);
        let machine = Machine {
            processor: None,
            is_virtual: true,
            processors: 2,
            memory_bytes: 24 << 30,
            swap_bytes: 0,
            kernel: "6.18.0".to_owned(),
            memory_cgroups: Some(1),
            place: Some("ext4 on /dev/vda1".to_owned()),
            read_ahead_bytes: Some(128 << 10),
        };
        let told = "2 processors of a virtual machine, 24.0 GiB, no swap; Linux 6.18.0, memory \
                    cgroups of version 1; ext4 on /dev/vda1, the kernel's read-ahead 128 KiB";
        assert_eq!(machine.to_string(), told);
        let swapping = Machine { swap_bytes: 2 << 30, memory_cgroups: None, ..machine };
        assert!(swapping.to_string().contains("24.0 GiB, swap 2 GiB; Linux 6.18.0; ext4"));
    }

    #[test]
    fn of_this_machine_something_is_known() {
        let machine = Machine::this(Path::new("."));
        assert!(machine.processors >= 1 && machine.memory_bytes > 64 << 20, "{machine:?}");
        assert!(machine.kernel.starts_with(|first: char| first.is_ascii_digit()), "{machine:?}");
    }
}
