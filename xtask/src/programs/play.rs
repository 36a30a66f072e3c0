//! [`Play`]: one program, twice, and what came of it.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::script::{Extent, Script};

/// What scripts can call.
const PRELUDE: &str = r#"
set -euo pipefail
export LC_ALL=C.UTF-8
quick() { [ "$EXTENT" = quick ]; }
full() { [ "$EXTENT" = full ]; }
under() {
    case ${MEMORY:-} in
        '') "$@" ;;
        *) "$FAULTLESS" run --all --memory "$MEMORY" \
            --stats "$(mktemp "$STATS/XXXXXX.json")" -- "$@" ;;
    esac
}
"#;

/// How long one may take.
const PATIENCE: [Duration; 2] = [Duration::from_secs(300), Duration::from_secs(3600)];

/// How and where programs are played.
pub struct Play<'a> {
    pub root: &'a Path,
    /// `faultless`.
    pub tool: &'a Path,
    /// A directory of our own, on a disk.
    pub dir: PathBuf,
    pub extent: Extent,
}

/// How a program went, both times alike.
pub struct Played {
    name: String,
    /// Without Faultless, and under it.
    times: [Duration; 2],
    stats: Stats,
    memory: String,
}

/// The sum of what brokers have counted (`faultless run --stats`).
#[derive(Default, Deserialize)]
struct Stats {
    maps_served: u64,
    maps_kernel: u64,
    faults_major: u64,
    faults_minor: u64,
    faults_write: u64,
    /// The most of any.
    frames_used_max: u64,
    frames_total: u64,
}

/// What a part of a script has said.
struct Said {
    status: ExitStatus,
    output: Vec<u8>,
    time: Duration,
}

impl Play<'_> {
    /// Plays a program twice.
    ///
    /// # Errors
    /// In what the second time differs from the first, and where to read more.
    pub fn compare(&self, script: &Script) -> Result<Played, String> {
        let dir = self.dir.join("work").join(&script.name);
        let _ = fs::remove_dir_all(&dir);
        let compared = self.compare_in(script, &dir);
        if compared.is_ok() {
            let _ = fs::remove_dir_all(&dir);
        }
        compared
    }

    fn compare_in(&self, script: &Script, dir: &Path) -> Result<Played, String> {
        let prepare = format!("prepare() {{ :; }}\n{}\nprepare\n", script.text);
        let prepared = self.call(&prepare, dir, "prepared", None)?;
        if !prepared.status.success() {
            return Err(format!("cannot be prepared: see {}/prepared.log", dir.display()));
        }
        let play = format!("{}\nplay\n", script.text);
        let plain = self.call(&play, dir, "plain", None)?;
        if !plain.status.success() {
            return Err(format!("fails without Faultless, too: see {}/plain.log", dir.display()));
        }
        if plain.output.is_empty() {
            return Err("says nothing that could be compared".to_owned());
        }
        let ours = self.call(&play, dir, "faultless", Some(&script.memory))?;
        let stats = Stats::sum(&dir.join("stats"))?;
        let logs = format!("see plain.* and faultless.* in {}", dir.display());
        if ours.status != plain.status {
            return Err(format!("{} instead of {}; {logs}", ours.status, plain.status));
        }
        if ours.output != plain.output {
            return Err(format!("{}; {logs}", difference(&plain.output, &ours.output)));
        }
        if stats.maps_served == 0 {
            return Err("nothing was served".to_owned());
        }
        Ok(Played {
            name: script.name.clone(),
            times: [plain.time, ours.time],
            stats,
            memory: script.memory.clone(),
        })
    }

    /// Runs a part of a script in a directory of its own.
    fn call(
        &self,
        text: &str,
        dir: &Path,
        name: &str,
        memory: Option<&str>,
    ) -> Result<Said, String> {
        let here = dir.join(name);
        let (stats, tools) = (dir.join("stats"), self.dir.join("tools"));
        // Not a name of Faultless's own: those that it leaves there are looked for by tests.
        let shm = Path::new("/dev/shm").join(format!("xtask-programs-{}", std::process::id()));
        let _ = fs::remove_dir_all(&here);
        for each in [&here, &stats, &tools, &shm] {
            fs::create_dir_all(each).map_err(|error| format!("{}: {error}", each.display()))?;
        }
        let (out, log) = (dir.join(format!("{name}.out")), dir.join(format!("{name}.log")));
        let create = |path: &Path| {
            File::create(path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let extent = if self.extent == Extent::Quick { "quick" } else { "full" };
        let mut command = Command::new("bash");
        command
            .arg("-c")
            .arg(format!("{PRELUDE}{text}"))
            .current_dir(&here)
            .env("PREPARED", dir.join("prepared"))
            .env("FAULTLESS", self.tool)
            .env("MEMORY", memory.unwrap_or_default())
            .env("EXTENT", extent)
            .env("STATS", &stats)
            .env("TOOLS", &tools)
            .env("SHM", &shm)
            .env("ROOT", self.root.canonicalize().unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(create(&out)?)
            .stderr(create(&log)?)
            .process_group(0);
        let start = Instant::now();
        let child = command.spawn().map_err(|error| format!("cannot run bash: {error}"))?;
        let ended = wait(child, PATIENCE[self.extent as usize]);
        let time = start.elapsed();
        let _ = fs::remove_dir_all(&shm);
        let status = ended.ok_or_else(|| format!("{name}: no end after {time:.0?}"))?;
        let output = fs::read(&out).map_err(|error| format!("{}: {error}", out.display()))?;
        Ok(Said { status, output, time })
    }
}

/// Waits for the end of a process; ends it and those that it has begun when that takes too
/// long.
fn wait(mut child: Child, patience: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if start.elapsed() > patience {
            let group = format!("-{}", child.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
            let _ = child.wait();
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// The first line that differs.
fn difference(plain: &[u8], ours: &[u8]) -> String {
    let (plain, ours) = (String::from_utf8_lossy(plain), String::from_utf8_lossy(ours));
    let (mut plain, mut ours) = (plain.lines(), ours.lines());
    for line in 1.. {
        let (expected, said) = (plain.next(), ours.next());
        if expected != said || expected.is_none() {
            let [expected, said] = [expected, said].map(|line| line.unwrap_or("(the end)"));
            return format!("line {line} is {said:?} instead of {expected:?}");
        }
    }
    unreachable!("lines end")
}

impl Stats {
    /// Adds the files of a directory up.
    fn sum(dir: &Path) -> Result<Stats, String> {
        let mut sum = Stats::default();
        for entry in fs::read_dir(dir).map_err(|error| error.to_string())?.flatten() {
            let text = fs::read_to_string(entry.path()).map_err(|error| error.to_string())?;
            // One that was killed has not counted.
            let Ok(one) = serde_json::from_str::<Stats>(&text) else { continue };
            if one.frames_used_max > one.frames_total {
                return Err(format!(
                    "{} pages in a budget of {}",
                    one.frames_used_max, one.frames_total
                ));
            }
            sum.maps_served += one.maps_served;
            sum.maps_kernel += one.maps_kernel;
            sum.faults_major += one.faults_major;
            sum.faults_minor += one.faults_minor;
            sum.faults_write += one.faults_write;
            sum.frames_used_max = sum.frames_used_max.max(one.frames_used_max);
        }
        Ok(sum)
    }
}

impl Played {
    /// What the columns of a line are.
    pub const HEAD: &str =
        "program         without     under    served   kernel's    faults   in memory  budget";
}

impl fmt::Display for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [plain, ours] = self.times.map(|time| time.as_secs_f64());
        let Stats { maps_served, maps_kernel, .. } = self.stats;
        let faults = self.stats.faults_major + self.stats.faults_minor + self.stats.faults_write;
        let mib = self.stats.frames_used_max as f64 * 4096.0 / f64::from(1 << 20);
        write!(
            f,
            "{:<16}{plain:>6.1}s{ours:>9.1}s{maps_served:>10}{maps_kernel:>11}{faults:>10}{mib:>8.1} MiB{:>8}",
            self.name, self.memory
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_differs_is_told() {
        assert_eq!(difference(b"a\nb\n", b"a\nc\n"), r#"line 2 is "c" instead of "b""#);
        assert_eq!(difference(b"a\n", b""), r#"line 1 is "(the end)" instead of "a""#);
    }

    #[test]
    fn what_does_not_end_is_ended() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 100; :"]).process_group(0);
        let start = Instant::now();
        assert!(wait(command.spawn().unwrap(), Duration::from_millis(50)).is_none());
        assert!(start.elapsed() < Duration::from_secs(50));
        let status = wait(Command::new("false").spawn().unwrap(), Duration::from_secs(50));
        assert_eq!(status.and_then(|status| status.code()), Some(1));
    }
}
