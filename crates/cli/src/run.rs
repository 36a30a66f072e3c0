//! `faultless run`: a program that nobody has rebuilt, under a budget.
//!
//! ```text
//!   run ── starts ──► broker (threads of ours), listening in a private directory; or
//!    │                --socket names one that others use, too
//!    └──── starts ──► PROGRAM, with the library before its own ──► broker
//!                        └─► its children, and what they exec  ──► broker
//! ```
//!
//! It ends when the program has, and whatever it has left running.

mod library;
mod private;
mod program;
mod signals;
mod trace;

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::Duration;

use faultless_broker::{Broker, BrokerOptions, BrokerStats, FileLimit};
use faultless_measure::problem::{Problem, Result};
use faultless_protocol::{BLOCKS_VARIABLE, SOCKET_VARIABLE};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde::Serialize;

use crate::args::RunArgs;
use crate::heir;
use crate::output::Outcome;
use library::Library;
use private::Private;
use program::Kind;
use trace::Trace;

/// What shells answer for a program that isn't there, or can't be run.
const NOT_FOUND: u8 = 127;
const NOT_RUNNABLE: u8 = 126;

/// How often is looked whether the last client is gone.
const LOOK: Duration = Duration::from_millis(5);

/// Runs the program to its end, and answers what it answers.
pub fn run(args: &RunArgs) -> Result<Outcome> {
    let trace = args.trace.as_deref().map(Trace::create).transpose()?;
    let (name, rest) = args.program.split_first().expect("the parser asks for a program");
    let Some(path) = program::find(name) else {
        eprintln!("faultless: {}: no such program", name.display());
        return Ok(Outcome::Code(NOT_FOUND));
    };
    let mut command = Command::new(&path);
    command.arg0(name).args(rest);
    let why_not = match program::kind_of(&path) {
        Ok(Kind::Static) => Some("it is statically linked"),
        Ok(Kind::Foreign) => Some("it is for another kind of machine"),
        // What is wrong with it is for exec to say.
        Ok(Kind::Dynamic) | Err(_) => None,
    };
    if let Some(why) = why_not {
        eprintln!("faultless: {}: {why}: it runs, but without Faultless", path.display());
    }
    FileLimit::lift().hand_on(&mut command);
    let refused = |error| Problem::new(format!("cannot make a private directory: {error}"));
    let dir = Private::create().map_err(refused)?;
    let broker = match &args.socket {
        Some(path) => Served::ByOther(existing(path)?),
        None => Served::Here(Box::new(start(args, dir.path())?)),
    };
    command.env(SOCKET_VARIABLE, broker.socket());
    let libraries = preload(args, dir.path(), &mut command)?;
    if let Some(trace) = &trace {
        trace.tell(&mut command);
    }

    let outcome = supervise(&mut command, &path)?;
    let stats = end(broker);
    // Until now there may have been programs that begin others.
    drop(libraries);
    let tallied = trace.as_ref().map(Trace::end);
    if let Some((file, broker)) = args.stats.as_ref().zip(stats) {
        let trace = tallied.map(|it| TraceStats { trace_lines: it.lines, trace_lost: it.lost });
        let json = serde_json::to_string_pretty(&RunStats { broker, trace });
        let json = json.expect("counters have a JSON form");
        std::fs::write(file, json + "\n").map_err(Problem::on("write", file))?;
    }
    Ok(outcome)
}

/// From how many bytes on blocks of malloc's are mappings, with `--anonymous`: to be given back
/// whole, and not too many.
const BLOCKS_MIN: u64 = 1 << 20;

/// Has our libraries loaded before the program's own.
fn preload(args: &RunArgs, dir: &Path, command: &mut Command) -> Result<Vec<Library>> {
    let mut libraries = Vec::new();
    let mut value = std::env::var_os(library::VARIABLE);
    if args.serve.anonymous {
        let library = Library::write(&library::BLOCKS, dir).map_err(not_written)?;
        value = Some(library.before(value));
        libraries.push(library);
        let min = args.serve.min.0.max(BLOCKS_MIN);
        command.env(BLOCKS_VARIABLE, min.to_string());
    }
    let library = Library::write(&library::CALLS, dir).map_err(not_written)?;
    command.env(library::VARIABLE, library.before(value));
    libraries.push(library);
    Ok(libraries)
}

fn not_written(error: std::io::Error) -> Problem {
    let out = match error.kind() {
        std::io::ErrorKind::FileTooLarge => "; allow longer files: ulimit -f unlimited",
        _ => "",
    };
    Problem::new(format!("cannot write the library that programs are run with: {error}{out}"))
}

/// Waits for the last client of a broker of ours, and ends it.
fn end(broker: Served) -> Option<BrokerStats> {
    let Served::Here(broker) = broker else { return None };
    while broker.stats().clients > 0 {
        thread::sleep(LOOK);
    }
    Some(broker.stats())
}

/// What `--stats` writes.
#[derive(Serialize)]
struct RunStats {
    #[serde(flatten)]
    broker: BrokerStats,
    #[serde(flatten)]
    trace: Option<TraceStats>,
}

/// What programs have counted, with `--trace`.
#[derive(Serialize)]
struct TraceStats {
    /// Lines that were written.
    trace_lines: u64,
    /// Lines that could not be.
    trace_lost: u64,
}

/// Who serves the program.
enum Served {
    Here(Box<Broker>),
    ByOther(PathBuf),
}

impl Served {
    fn socket(&self) -> &Path {
        match self {
            Served::Here(broker) => broker.socket(),
            Served::ByOther(path) => path,
        }
    }
}

/// A broker of our own, for what is asked for.
fn start(args: &RunArgs, dir: &Path) -> Result<Broker> {
    let options = BrokerOptions {
        memory: args.serve.memory.0,
        policy: args.serve.policy,
        min: if args.all { 0 } else { args.serve.min.0 },
        swap: args.serve.swap(),
        heir: Some(heir::start()?),
        ..BrokerOptions::default()
    };
    Broker::start(dir.join("broker"), options)
        .map_err(|error| Problem::new(format!("no broker: {error}")))
}

/// Where somebody else's broker listens, whatever the program's directory is.
fn existing(path: &Path) -> Result<PathBuf> {
    let refused = |error: std::io::Error| {
        let path = path.display();
        Problem::new(format!(
            "no broker listens at {path}: {error}; start one: faultless broker --socket {path}"
        ))
    };
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let address = SocketAddrUnix::new(path).map_err(|errno| refused(errno.into()))?;
    socket.and_then(|socket| connect(&socket, &address)).map_err(|errno| refused(errno.into()))?;
    std::path::absolute(path).map_err(refused)
}

/// Starts the program and waits for its end.
fn supervise(command: &mut Command, path: &Path) -> Result<Outcome> {
    let failed = |error| Problem::new(format!("cannot handle signals: {error}"));
    let caught = signals::catch().map_err(failed)?;
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("faultless: cannot run {}: {error}", path.display());
            let is_missing = error.kind() == std::io::ErrorKind::NotFound;
            return Ok(Outcome::Code(if is_missing { NOT_FOUND } else { NOT_RUNNABLE }));
        }
    };
    let status = caught.wait(&mut child).map_err(Problem::on("wait for", path))?;
    Ok(Outcome::Code(code_of(status)))
}

/// As shells answer: 128 and more for a signal.
fn code_of(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, signal) => 128 + signal.unwrap_or(0) as u8,
    }
}
