//! A broker as a process, and what is said of it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::tool;

/// A broker of its own process. One that nobody has ended is killed.
pub struct Service {
    pub child: Child,
    pub socket: PathBuf,
}

impl Service {
    /// Starts one that listens in `dir`.
    pub fn start(dir: &Path, memory: &str) -> Service {
        Service::begin(Service::command(dir, memory), dir)
    }

    /// The command that does so.
    pub fn command(dir: &Path, memory: &str) -> Command {
        let mut command = tool();
        command.arg("broker").arg("--socket").arg(dir.join("socket")).args(["--memory", memory]);
        command
    }

    /// Runs it, with what has been added to it.
    pub fn begin(mut command: Command, dir: &Path) -> Service {
        let socket = dir.join("socket");
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        assert!(line.starts_with("listening at"), "{line}");
        Service { child, socket }
    }

    /// A program, served by it.
    pub fn run(&self, program: &Path) -> Command {
        let mut command = tool();
        command.arg("run").arg("--socket").arg(&self.socket).arg("--").arg(program);
        command
    }

    /// Open descriptors, and threads that serve clients.
    pub fn held(&self) -> (usize, usize) {
        let list = |what: &str| {
            let dir = format!("/proc/{}/{what}", self.child.id());
            fs::read_dir(dir).expect("it runs").flatten().map(|entry| entry.path())
        };
        let name = |task: PathBuf| fs::read_to_string(task.join("comm")).unwrap_or_default();
        let serves = |task: &PathBuf| name(task.clone()).starts_with("faultless-clien");
        (list("fd").count(), list("task").filter(serves).count())
    }

    /// The most memory that it has had, in bytes.
    pub fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("the peak");
        let kib: u64 = line.split_whitespace().nth(1).expect("a number").parse().expect("one");
        kib << 10
    }

    /// Ends it as an administrator does; answers what it said.
    pub fn end(mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
        let mut said = String::new();
        self.child.stdout.take().expect("piped").read_to_string(&mut said).expect("text");
        assert!(self.child.wait().expect("it ends").success());
        assert!(!self.socket.exists(), "the socket is left");
        said
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A number that may be set from outside; it is printed.
pub fn from_environment(name: &str, or: u64) -> u64 {
    let value = std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let value = value.unwrap_or(or);
    eprintln!("{name}={value}");
    value
}

/// A file of whole pages, empty.
pub fn sparse(dir: &Path, mib: u64) -> PathBuf {
    let path = dir.join("file");
    fs::File::create(&path).expect("a file").set_len(mib << 20).expect("a length");
    path
}
