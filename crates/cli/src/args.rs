//! The command line.

use std::ffi::OsString;
use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use faultless::{Delivery, PolicyKind};
use faultless_bench::peer::Peer;
use faultless_bench::workloads::Workload;
use faultless_broker::Swap;

use crate::order::Order;
use crate::plan::Advice;
use crate::size::Size;

/// Memory mapping in user space, under a budget that holds.
///
/// Faultless maps files far bigger than memory to real pointers and never holds more of
/// them in memory than it was told.
#[derive(Parser, Debug)]
#[command(name = "faultless", version, after_help = EXAMPLES, after_long_help = LONG_EXAMPLES)]
pub struct Arguments {
    /// Print results as one JSON object, its units in the names of its keys.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  faultless doctor                   can it be used here, and what does a fault cost?
  faultless demo                     1 GiB through 64 MiB of memory, beside the kernel's mmap
  faultless scan FILE --order random --threads 4 --compare
  faultless cat FILE | sha256sum
  faultless run --memory 64M -- PROGRAM ARGUMENTS
  faultless scenario list            what mmap is, in small programs
  faultless bench --workload W1      as fast as the kernel's mmap?

Sizes are bytes (4096) or powers of 1024 (64K, 64M, 1G).";

const LONG_EXAMPLES: &str = "\
Examples:
  faultless doctor
      Says whether Faultless can be used here, what is missing and how to get it, and what a
      page fault costs.

  faultless demo --size 4G --memory 256M
      Writes a file of known content, walks it in order and at random by plain pointers,
      changes some of it, and verifies every byte; beside the kernel's mmap in a memory
      cgroup of the same size.

  faultless scan big.bin --order zipf --touches 100k --threads 4 --compare
      Measures accesses to a file of yours.

  faultless cat big.bin --offset 1G --length 1M | xxd | head
      Copies bytes of a mapping to stdout; the kernel itself reads them from the mapping.

  faultless run --memory 64M -- python3 program.py
      Runs a program as it is, with the files that it maps, and those that its children map,
      under one budget.

  faultless scenario watcher
      Plays two processes over one file, and shows page tables and page cache at each step.

Sizes are bytes (4096) or powers of 1024 (64K, 64M, 1G).

Exit codes:
  0  all is well
  1  failed; for `doctor`: usable with limits
  2  the command line is wrong; for `doctor`: not usable here";

/// What the tool does.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Walk, change and verify a big file under a small budget, beside the kernel's mmap
    Demo(DemoArgs),
    /// Touch the pages of a file and measure that
    Scan(ScanArgs),
    /// Write bytes of a file to stdout, from a mapping
    Cat(CatArgs),
    /// Run a program that shows what mmap is, step by step, and check it
    Scenario(ScenarioArgs),
    /// Run a program with its mappings of files under a budget
    Run(RunArgs),
    /// Serve programs' mappings from one cache, under one budget
    Broker(BrokerArgs),
    /// Say whether Faultless can be used here, and what a fault costs
    Doctor(DoctorArgs),
    /// Measure against the kernel's mmap and others, on workloads and in small costs
    Bench(BenchArgs),
    /// One run of one system for `bench`, as a child process
    #[command(hide = true)]
    BenchRun {
        /// What to do, as JSON
        job: String,
    },
    /// What `broker` and `run` leave to their clients, as a child process; stdin is its socket
    #[command(hide = true)]
    Heir,
    /// The kernel's part of `demo` and `scan`, as a child process
    #[command(hide = true)]
    KernelWalk(KernelWalkArgs),
}

/// How a broker is to be, for `run` and `broker`.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// The budget for all programs that are served, together
    #[arg(long, default_value = "256M", value_name = "SIZE")]
    pub memory: Size,
    /// Which page leaves when room is needed: two-list, clock, sieve or s3-fifo
    #[arg(long, default_value_t, value_parser = policy)]
    pub policy: PolicyKind,
    /// Leave files, and with --anonymous memory, that are shorter to the kernel
    #[arg(long, default_value = "1M", value_name = "SIZE")]
    pub min: Size,
    /// Serve large private memory, too: mmap's, malloc's from 1 MiB on, and copies of files' pages
    #[arg(long)]
    pub anonymous: bool,
    /// With --anonymous: how much of it may be beyond the budget, in a file without a name;
    /// half of what is free on the disk if not said
    #[arg(long, requires = "anonymous", value_name = "SIZE")]
    pub swap: Option<Size>,
    /// The directory for that file; /var/tmp if not said
    #[arg(long, requires = "anonymous", value_name = "DIR")]
    pub swap_dir: Option<PathBuf>,
}

impl ServeArgs {
    /// Where anonymous memory leaves to, if it is served.
    pub fn swap(&self) -> Option<Swap> {
        let (dir, bytes) = (self.swap_dir.clone(), self.swap.map(|size| size.0));
        self.anonymous.then_some(Swap { dir, bytes })
    }
}

/// Arguments of `run`.
#[derive(Args, Debug)]
#[command(after_help = RUN_EXAMPLE)]
pub struct RunArgs {
    #[command(flatten)]
    pub serve: ServeArgs,
    /// Leave no file to the kernel, however short
    #[arg(long, conflicts_with = "min")]
    pub all: bool,
    /// Write what was done to this file at the end, as JSON
    #[arg(long, value_name = "FILE")]
    pub stats: Option<PathBuf>,
    /// Write a line to this file for each call about mappings, as JSON: what it was asked, what
    /// it answered, and who served it
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Use the broker that listens there, and its budget, with the other programs that do
    #[arg(long, value_name = "PATH",
          conflicts_with_all = ["memory", "policy", "min", "all", "stats", "swap", "swap_dir"])]
    pub socket: Option<PathBuf>,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub program: Vec<OsString>,
}

const RUN_EXAMPLE: &str = r#"The program needn't be rebuilt; what it starts is served, too. It must be dynamically linked:
others run as they would without Faultless. The exit code is the program's, or 128 and the
number of the signal that ended it.

A program that needs more memory than there is, or is to have, with the rest on the disk:

  $ faultless run --memory 256M --anonymous --swap 8G -- python3 big.py

Served are its private anonymous mappings from --min on, and blocks of malloc's from 1 MiB on.

Which of a program's mappings are served, and why the others aren't:

  $ faultless run --trace calls.jsonl -- sqlite3 big.db 'select count(*) from t'
  $ tail -1 calls.jsonl
  {"us":8412,"pid":71,"tid":71,"call":"mmap","args":{"addr":0,"length":8192,"prot":1,
   "prot_names":"PROT_READ","flags":1,"flags_names":"MAP_SHARED","fd":4,"offset":0},
   "result":140137207832576,"by":"kernel","reason":"short"}          (in one line)
  $ jq -r 'select(.call == "mmap") | .reason // .by' calls.jsonl | sort | uniq -c

`us` is microseconds since the start; a call that fails has `errno` instead of `result`. The
calls are mmap, munmap, mprotect, mremap, madvise, posix_madvise and msync, of all processes,
but not those that the C library makes for itself. A line that can't be written (no
room, a pipe that nobody empties) is lost, and counted: the program goes on, and is told
nothing."#;

/// Arguments of `broker`.
#[derive(Args, Debug)]
#[command(after_help = "\
Where one program is not to take all from the others:

  $ faultless broker --socket /run/faultless --memory 4G --clients 100 --client-mappings 1000

A program for which there is no room runs without the broker, and says so. A mapping beyond
what its process may have is the kernel's, if nobody has mapped the file by the broker, and
ENOMEM if somebody has.

The budget is shared by all; with --client-memory, none takes more of it than that, and a
program that needs more makes room among its own pages:

  $ faultless broker --socket /run/faultless --memory 4G --client-memory 512M")]
pub struct BrokerArgs {
    /// Where to listen: programs are told by the environment variable FAULTLESS_SOCKET
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
    #[command(flatten)]
    pub serve: ServeArgs,
    /// The most processes that are served at once; children that are forked from them are,
    /// too, beyond it
    #[arg(long, value_name = "NUMBER")]
    pub clients: Option<NonZeroU64>,
    /// The most mappings that one process may have
    #[arg(long, value_name = "NUMBER")]
    pub client_mappings: Option<NonZeroU64>,
    /// The most files that one process may map
    #[arg(long, value_name = "NUMBER")]
    pub client_files: Option<NonZeroU64>,
    /// The most of the budget that one process may have, with the children that are forked
    /// from it; a page counts for the one that needed it first, while it is in memory
    #[arg(long, value_name = "SIZE")]
    pub client_memory: Option<Size>,
}

/// Arguments of `demo`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Size of the file
    #[arg(long, default_value = "1G", value_name = "SIZE")]
    pub size: Size,
    /// The budget
    #[arg(long, default_value = "64M", value_name = "SIZE")]
    pub memory: Size,
    /// Where to make the file; $TMPDIR or the current directory if not said
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Leave the file there at the end
    ///
    /// After Ctrl-C or an error it is removed all the same, since it is half done.
    #[arg(long)]
    pub keep: bool,
}

/// Arguments of `scan`.
#[derive(Args, Debug)]
pub struct ScanArgs {
    /// The file to map
    pub file: PathBuf,
    /// The budget
    #[arg(long, default_value = "64M", value_name = "SIZE")]
    pub memory: Size,
    /// In which order pages are touched
    #[arg(long, value_enum, default_value = "sequential")]
    pub order: Order,
    /// Threads that touch
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub threads: u64,
    /// Accesses by all threads together, one word of a page each; if not said, the pages
    /// of the file, but 200000 at most unless in sequential order
    #[arg(long, value_name = "NUMBER", value_parser = count)]
    pub touches: Option<u64>,
    /// How many of a hundred accesses write: they add 1 to a word of the file
    #[arg(long, default_value_t = 0, value_name = "PERCENT",
          value_parser = clap::value_parser!(u64).range(0..=100))]
    pub write: u64,
    /// Needed with --write: bytes of FILE will not be what they were
    #[arg(long)]
    pub yes_change_my_file: bool,
    /// Which page leaves when room is needed: two-list, clock, sieve or s3-fifo
    #[arg(long, default_value_t, value_parser = policy)]
    pub policy: PolicyKind,
    /// Who serves faults
    #[arg(long, value_enum, default_value = "thread")]
    pub delivery: DeliveryArg,
    /// Bytes that come into memory together: a power of two, 4K to 2M
    #[arg(long, default_value = "4K", value_name = "SIZE")]
    pub granule: Size,
    /// What the mapping is told of the order; what suits --order if not said
    #[arg(long, value_enum)]
    pub advice: Option<Advice>,
    /// What random choices depend on
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Do the same by the kernel's mmap, in a memory cgroup of the same size
    #[arg(long)]
    pub compare: bool,
}

/// Arguments of `bench`.
#[derive(Args, Debug)]
#[command(after_help = BENCH_EXAMPLES)]
pub struct BenchArgs {
    /// Seconds: counts that no clock is in (device reads, system calls, evictions, allocations,
    /// instructions), held against the bounds in crates/bench/bounds.toml
    #[arg(long, conflicts_with_all = ["full", "plot", "peer", "runs", "seconds"])]
    pub quick: bool,
    /// One to two hours: everything on a file of 1 GiB, a hot set for 30 s, and small costs
    #[arg(long)]
    pub full: bool,
    /// Which workloads: W1 random, W2 zipf, W3 scan, W4 writes, W5 hot set beside a scan,
    /// W6 all fits, W7 tree, W8 many files; `costs` for what single steps cost
    #[arg(long, value_delimiter = ',', value_parser = measure, value_name = "W1,…")]
    pub workload: Vec<Measure>,
    /// Only these systems, by the names that the tables have, and each --peer
    #[arg(long, value_delimiter = ',', value_name = "kernel,inline,…")]
    pub system: Vec<String>,
    /// Size of the file [512M; 1G with --full, 16M with --quick]
    #[arg(long, value_name = "SIZE")]
    pub size: Option<Size>,
    /// The budget: page memory of Faultless, and by a cgroup the same for everybody
    /// [64M; 128M with --full, 2M with --quick]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Size>,
    /// Numbers of threads, if not each workload's own
    #[arg(long, value_delimiter = ',', value_name = "1,16,…",
          value_parser = clap::value_parser!(u64).range(1..=256))]
    pub threads: Vec<u64>,
    /// Interleaved runs of each system [5]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=99))]
    pub runs: Option<u64>,
    /// How long W5 is measured, in seconds [10; 30 with --full]
    #[arg(long, value_parser = seconds)]
    pub seconds: Option<f64>,
    /// What random choices depend on
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where to make the files; $TMPDIR or the current directory if not said
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Compare with a program of yours, too
    ///
    /// COMMAND finds the case in environment variables FAULTLESS_BENCH_… and prints one line
    /// of JSON: crates/bench/src/peer.rs says which.
    #[arg(long, value_name = "NAME=COMMAND")]
    pub peer: Vec<Peer>,
    /// Draw throughput over time, ratios and latencies as SVG into this directory
    #[arg(long, value_name = "DIR")]
    pub plot: Option<PathBuf>,
}

const BENCH_EXAMPLES: &str = "\
Every system runs in a process of its own, in a memory cgroup of the budget and what our tables
may take, on the same file with nothing of it in memory at first, and does the same accesses. The
clock starts when the budget has been turned over several times. What was read is compared with
what was written. Systems take turns; a ratio is the median of the ratios of all turns.

The exit code is 1 where a byte was wrong, a count was beyond its bound, or who was asked for by
name couldn't be measured; a ratio that is missed is not an error.

  faultless bench --quick                          counts, for a check of every change
  faultless bench --workload W1 --threads 1,16     random reads
  faultless bench --workload costs                 what a fault, a pin, an eviction cost
  faultless bench --full --plot plots              all there is";

/// What `bench` can measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// A workload.
    Workload(Workload),
    /// What single steps cost.
    Costs,
}

fn measure(text: &str) -> Result<Measure, String> {
    match text {
        "costs" => Ok(Measure::Costs),
        text => Ok(Measure::Workload(text.parse()?)),
    }
}

/// A time that somebody would wait for.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|it| (0.1..=86_400.0).contains(it));
    seconds.ok_or_else(|| "give a number of seconds from 0.1 to 86400".to_owned())
}

/// Arguments of `cat`.
#[derive(Args, Debug)]
#[command(after_help = "\
What lies beyond the end of the file is left out, as by dd. A reader that goes away, as head
does, ends it without a word, with the exit code that SIGPIPE gives (141).")]
pub struct CatArgs {
    /// The file to map
    pub file: PathBuf,
    /// The first byte to write
    #[arg(long, default_value = "0", value_name = "SIZE")]
    pub offset: Size,
    /// How many bytes; to the end of the file if not said
    #[arg(long, value_name = "SIZE")]
    pub length: Option<Size>,
    /// The budget
    #[arg(long, default_value = "64M", value_name = "SIZE")]
    pub memory: Size,
}

/// Arguments of `scenario`.
#[derive(Args, Debug)]
#[command(after_help = "\
After each step it says what has changed: areas, translations with their bits, pages in
memory, lists, swap. The exit code is 1 where a check fails.")]
pub struct ScenarioArgs {
    /// Which: a name, `list` to see the names, or `all`
    pub name: String,
    /// On which machine: one in software, of which all can be seen, or this one
    #[arg(long, value_enum, default_value = "software")]
    pub machine: MachineArg,
    /// Where to write what the scenario draws, as PNG (`frame-buffer` does)
    #[arg(long, value_name = "FILE")]
    pub picture: Option<PathBuf>,
}

/// A machine for scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MachineArg {
    /// Page tables, TLB and frames in software
    Software,
    /// Real pointers, where the scenario has them
    Linux,
}

/// Arguments of `doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Where to make the 64 MiB file that faults are measured on; $TMPDIR or the current
    /// directory if not said
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Arguments of the child.
#[derive(Args, Debug)]
pub struct KernelWalkArgs {
    /// The plan, as JSON
    pub plan: String,
    /// The cgroup to go into
    #[arg(long)]
    pub join: Option<PathBuf>,
}

/// Who serves faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeliveryArg {
    /// Threads of Faultless: every access works, also by the kernel
    Thread,
    /// The thread that faults: quicker
    Inline,
}

impl From<DeliveryArg> for Delivery {
    fn from(delivery: DeliveryArg) -> Delivery {
        match delivery {
            DeliveryArg::Thread => Delivery::Thread,
            DeliveryArg::Inline => Delivery::Inline,
        }
    }
}

fn policy(name: &str) -> Result<PolicyKind, String> {
    name.parse().map_err(|error: <PolicyKind as std::str::FromStr>::Err| error.to_string())
}

/// A number of things: `2000`, `100k`, `1m` by powers of ten.
fn count(text: &str) -> Result<u64, String> {
    let factor = match text.chars().last() {
        Some('k' | 'K') => 1000,
        Some('m' | 'M') => 1_000_000,
        _ => 1,
    };
    let digits = if factor == 1 { text } else { &text[..text.len() - 1] };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    number.filter(|number| *number > 0).ok_or_else(|| {
        format!("'{text}' is not a number of accesses: write 1 or more (2000, 100k, 1m)")
    })
}
