//! `faultless scan`: touches the pages of a user's file and measures that.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use faultless::{MapOptions, Vm};
use serde::Serialize;

use crate::args::ScanArgs;
use crate::disk;
use crate::kernel::{self, Kernel};
use crate::model::{PAGE, WORD, Wrong};
use crate::order::{Order, mix};
use crate::ours::{self, Ours, Setup};
use crate::output::{Outcome, Output};
use crate::plan::{Access, Advice, Phase, Plan, Start, Touches, Work};
use crate::plan::{touchable_pages, touched_word};
use crate::problem::{Problem, Result};
use crate::progress::Progress;
use crate::size::Size;
use crate::table;
use crate::touch::Writes;

/// Accesses in an order that never ends by itself, if the user doesn't say how many.
const TOUCHES_DEFAULT_MAX: u64 = 200_000;

/// What the command found, as `--json` prints it.
#[derive(Serialize)]
struct Report {
    ok: bool,
    file: PathBuf,
    file_bytes: u64,
    memory_bytes: u64,
    threads: u64,
    order: Order,
    touches: u64,
    write_percent: u64,
    policy: String,
    delivery: String,
    granule_bytes: u64,
    seed: u64,
    faultless: Ours,
    kernel: Option<Kernel>,
    /// How much quicker Faultless was than the kernel, phase by phase.
    ratios: Option<Vec<f64>>,
    verified: Option<Verified>,
    notes: Vec<String>,
}

/// The file after writes, read by plain read(2).
#[derive(Serialize)]
struct Verified {
    /// Stores that had to be found.
    increments: u64,
    #[serde(flatten)]
    wrong: Wrong,
}

/// Runs it.
pub fn run(args: &ScanArgs, output: Output) -> Result<Outcome> {
    if args.write > 0 && !args.yes_change_my_file {
        return Err(Problem::Usage(format!(
            "--write {} changes bytes of {}: say --yes-change-my-file if that is meant",
            args.write,
            args.file.display()
        )));
    }
    let plan = plan(args)?;
    let setup = Setup {
        policy: args.policy,
        delivery: args.delivery.into(),
        granule_bytes: args.granule.0,
    };
    let mut expected = match plan.writes() {
        Writes::Allowed => Some(Expected::before(&plan)?),
        Writes::Refused => None,
    };
    let faultless = ours::run(&plan, setup)?;
    let mut wrong = Wrong::default();
    if let Some(expected) = &mut expected {
        wrong.add(expected.after_a_run(&plan)?);
    }
    let kernel = if args.compare { Some(kernel::run(&plan)?) } else { None };
    if let (Some(expected), Some(_)) = (&mut expected, &kernel) {
        wrong.add(expected.after_a_run(&plan)?);
    }
    let ratios = kernel.as_ref().map(|kernel| {
        let phases = faultless.phases.iter().zip(&kernel.walked.phases);
        phases.map(|(ours, theirs)| table::ratio(ours, theirs)).collect()
    });
    let touches = touches(args, plan.bytes);
    let report = Report {
        ok: wrong.is_none(),
        file: args.file.clone(),
        file_bytes: plan.bytes,
        memory_bytes: args.memory.0,
        threads: args.threads,
        order: args.order,
        touches: touches.count,
        write_percent: args.write,
        policy: args.policy.to_string(),
        delivery: format!("{:?}", args.delivery).to_lowercase(),
        granule_bytes: args.granule.0,
        seed: args.seed,
        faultless,
        kernel,
        ratios,
        verified: expected.map(|expected| Verified { increments: expected.increments, wrong }),
        notes: notes(args, &plan),
    };
    output.print(&report, || text(&report))?;
    Ok(if report.ok { Outcome::Ok } else { Outcome::Failed })
}

fn touches(args: &ScanArgs, bytes: u64) -> Touches {
    let pages = touchable_pages(bytes);
    let default = match args.order {
        Order::Sequential => pages,
        Order::Random | Order::Zipf => pages.min(TOUCHES_DEFAULT_MAX),
    };
    Touches {
        order: args.order,
        count: args.touches.unwrap_or(default),
        write_percent: args.write,
        seed: args.seed,
    }
}

/// Opens the file as the library will, so that what can't be mapped is told in its
/// words, and says what is to be done to it.
fn plan(args: &ScanArgs) -> Result<Plan> {
    let bytes = mappable_bytes(&args.file, args.memory)?;
    if touchable_pages(bytes) == 0 {
        let name = args.file.display();
        return Err(Problem::new(format!("{name} has {bytes} bytes: too few for a word of 8")));
    }
    let advice = args.advice.unwrap_or_else(|| Advice::for_order(args.order));
    let touch = Work::Touch(touches(args, bytes));
    let name = match args.order {
        Order::Sequential => "sequential",
        Order::Random => "random",
        Order::Zipf => "zipf",
    };
    let mut phases = vec![Phase { name: name.into(), work: touch, advice, start: Start::Cold }];
    if args.write > 0 {
        phases.push(Phase { name: "flush".into(), work: Work::Flush, advice, start: Start::Warm });
    }
    let (file, threads) = (args.file.clone(), args.threads);
    Ok(Plan { file, bytes, memory_bytes: args.memory.0, threads, phases })
}

fn mappable_bytes(path: &Path, memory: Size) -> Result<u64> {
    let mut options = OpenOptions::new();
    // A pipe without a writer would hold us up.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file: File = options
        .read(true)
        .custom_flags(nonblocking)
        .open(path)
        .map_err(Problem::on("open", path))?;
    let map = MapOptions::new().map_raw(&Vm::with_memory(memory.0)?, &file)?;
    Ok(map.len() as u64)
}

/// What the file must be after words of it were added to.
struct Expected {
    /// Each page's touched word, and a hash of all its other bytes.
    pages: Vec<(u64, u64)>,
    increments: u64,
}

impl Expected {
    /// Nothing added yet.
    fn before(plan: &Plan) -> Result<Expected> {
        let pages = read_pages(plan, "reading the file")?;
        Ok(Expected { pages, increments: 0 })
    }

    /// Once more all accesses of the plan: compares the file with that. What they wrote
    /// follows from the plan, so nothing of it was noted while they ran.
    fn after_a_run(&mut self, plan: &Plan) -> Result<Wrong> {
        let mut added: HashMap<u64, u64> = HashMap::new();
        for phase in &plan.phases {
            let Work::Touch(touches) = phase.work else { continue };
            for thread in 0..plan.threads {
                for access in touches.accesses(plan.bytes, thread, plan.threads) {
                    if let Access::Increment(word) = access {
                        *added.entry(word * WORD / PAGE).or_default() += 1;
                        self.increments += 1;
                    }
                }
            }
        }
        for (page, count) in added {
            let word = &mut self.pages[page as usize].0;
            *word = word.wrapping_add(count);
        }
        let found = read_pages(plan, "verifying the file")?;
        let mut wrong = Wrong::default();
        // A file that became shorter or longer meanwhile differs from some page on.
        let pages = found.len().max(self.pages.len());
        for page in 0..pages {
            let word = touched_word(page as u64, plan.bytes.max((page as u64 + 1) * PAGE));
            let is_right = found.get(page) == self.pages.get(page);
            wrong.compare(word, u64::from(is_right), 1);
        }
        Ok(wrong)
    }
}

/// Reads the file by plain read(2), from the disk: each page's word and hash.
fn read_pages(plan: &Plan, what: &'static str) -> Result<Vec<(u64, u64)>> {
    let path = &plan.file;
    let file = OpenOptions::new().read(true).open(path).map_err(Problem::on("open", path))?;
    disk::drop_page_cache(&file).map_err(Problem::on("flush", path))?;
    let progress = Progress::bytes(what, plan.bytes);
    let mut pages = Vec::with_capacity(touchable_pages(plan.bytes) as usize);
    disk::read_all(path, &progress, |offset, chunk| {
        for (index, bytes) in (offset / PAGE..).zip(chunk.chunks(PAGE as usize)) {
            pages.push(word_and_hash(index, bytes, plan.bytes));
        }
    })?;
    Ok(pages)
}

fn word_and_hash(page: u64, bytes: &[u8], file_bytes: u64) -> (u64, u64) {
    let touched = match page < touchable_pages(file_bytes) {
        true => (touched_word(page, file_bytes) * WORD - page * PAGE) as usize,
        false => usize::MAX, // A last page of less than a word.
    };
    let (mut word, mut hash) = (0, 0);
    for (index, chunk) in bytes.chunks(WORD as usize).enumerate() {
        let mut value = [0; WORD as usize];
        value[..chunk.len()].copy_from_slice(chunk);
        let value = u64::from_le_bytes(value);
        match index * WORD as usize == touched {
            true => word = value,
            false => hash = mix(hash ^ value).wrapping_add(index as u64),
        }
    }
    (word, hash)
}

fn notes(args: &ScanArgs, plan: &Plan) -> Vec<String> {
    let mut notes = Vec::new();
    if disk::is_in_memory(&args.file) {
        notes.push(format!(
            "{} is in memory (tmpfs): nothing was read from a disk",
            args.file.display()
        ));
    }
    if plan.bytes <= plan.memory_bytes {
        notes.push("the file fits into the budget: nothing has to leave memory".to_owned());
    }
    notes
}

fn text(report: &Report) -> String {
    let mut text = format!(
        "{} ({}), {} budget, {} accesses, {}, {} threads, {} delivery\n\n{}\n{}",
        report.file.display(),
        Size(report.file_bytes),
        Size(report.memory_bytes),
        report.touches,
        report.policy,
        report.threads,
        report.delivery,
        table::phases(&report.faultless, report.kernel.as_ref()),
        table::memory(&report.faultless, report.kernel.as_ref()),
    );
    text += &table::notes(&report.notes);
    if let Some(Verified { increments, wrong }) = &report.verified {
        text += &match wrong.is_none() {
            true => format!("verified     all of {increments} writes, and all other bytes\n"),
            false => format!("WRONG        pages of the file: {wrong}\n"),
        };
    }
    text
}
