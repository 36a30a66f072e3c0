//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use faultless::{Delivery, PolicyKind};

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
  faultless scenario list            what mmap is, in small programs

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
    /// Serve programs' mappings from one cache, under one budget
    Broker(BrokerArgs),
    /// Say whether Faultless can be used here, and what a fault costs
    Doctor(DoctorArgs),
    /// The kernel's part of `demo` and `scan`, as a child process
    #[command(hide = true)]
    KernelWalk(KernelWalkArgs),
}

/// Arguments of `broker`.
#[derive(Args, Debug)]
pub struct BrokerArgs {
    /// Where to listen: programs are told by the environment variable FAULTLESS_SOCKET
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
    /// The budget for all programs together
    #[arg(long, default_value = "256M", value_name = "SIZE")]
    pub memory: Size,
    /// Which page leaves when room is needed: two-list, clock, sieve or s3-fifo
    #[arg(long, default_value_t, value_parser = policy)]
    pub policy: PolicyKind,
    /// Leave files that are shorter to the kernel
    #[arg(long, default_value = "1M", value_name = "SIZE")]
    pub min: Size,
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
