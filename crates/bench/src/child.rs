//! A child's part: joins its cgroup, plays one case on one system, tells what happened.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use faultless_measure::counters::RssSampler;
use faultless_measure::problem::{Problem, Result};
use faultless_measure::{cgroup, disk};
use faultless_sys::counter::SystemCalls;
use rustix::process::Signal;

use crate::costs;
use crate::job::{ChildJob, Count, Job, Measured};
use crate::play::play;
use crate::system::System;
use crate::systems::bare::BareFile;
use crate::systems::device::{Device, open_direct};
use crate::systems::kernel::{self, Kernel};
use crate::systems::ours::{self, Pins, Pointers};
use crate::systems::pread::Pread;

/// What a process answers that Rust's runtime ended by a panic.
const PANICKED: i32 = 101;

/// Does the job that `text`, as JSON, says; prints what was measured as JSON.
pub fn run(text: &str) -> Result<()> {
    let job: ChildJob =
        serde_json::from_str(text).map_err(|error| Problem::new(format!("not a job: {error}")))?;
    // Should the parent be killed outright, nobody else would end this.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| Problem::new(format!("cannot depend on the parent: {error}")))?;
    // A thread that panics must not leave others waiting for it.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        std::process::exit(PANICKED);
    }));
    let told = match job {
        ChildJob::Run(job) => serde_json::to_string(&carry_out(&job)?),
        ChildJob::Costs { group, file } => serde_json::to_string(&costs::measure(group, &file)?),
    };
    println!("{}", told.expect("it has a JSON form"));
    Ok(())
}

fn carry_out(job: &Job) -> Result<Measured> {
    if let Some(dir) = &job.cgroup {
        cgroup::join(dir).map_err(Problem::on("join", dir))?;
    }
    let calls = match job.count {
        Count::SystemCalls => SystemCalls::begin().ok(),
        Count::Cheap => None,
    };
    let files = open(job)?;
    let limit_bytes = match &job.cgroup {
        Some(dir) => {
            let limit = cgroup::limit_growth(dir, job.growth_bytes_max());
            Some(limit.map_err(Problem::on("limit", dir))?)
        }
        None => None,
    };
    // Where a cgroup knows the peak, nobody need look all the time.
    let rss = job.cgroup.is_none().then(RssSampler::start);
    let measured = on_system(job, &files, calls.as_ref())?;
    let peak_bytes = rss.map_or(0, RssSampler::growth_bytes_max);
    Ok(Measured { limit_bytes, peak_bytes, ..measured })
}

fn on_system(job: &Job, files: &[File], calls: Option<&SystemCalls>) -> Result<Measured> {
    let (case, system) = (&job.case, &job.system);
    match system {
        System::Kernel | System::KernelSmallAhead | System::KernelWillNeed => {
            let maps = kernel::map(case, files)?;
            play(case, &Kernel::new(case, &maps, system), calls)
        }
        System::Inline | System::Thread | System::Prefetch => {
            let (vm, maps) = ours::map(case, system, files)?;
            play(case, &Pointers::new(case, &vm, &maps, system), calls)
        }
        System::Pin | System::PinMany => {
            let (vm, maps) = ours::map(case, system, files)?;
            play(case, &Pins::new(case, &vm, &maps, system), calls)
        }
        System::Pread => {
            play(case, &Pread::<quick_cache::sync::Cache<_, _>>::new(case, files), calls)
        }
        System::PreadMoka => play(case, &Pread::<moka::sync::Cache<_, _>>::new(case, files), calls),
        System::Bare => play(case, &BareFile::map(case, files)?, calls),
        System::Device => play(case, &Device::new(case, files), calls),
        System::Peer(_) => Err(Problem::new("a peer is a program of its own")),
    }
}

/// Opens the files as the system has them, with nothing of them in the page cache.
fn open(job: &Job) -> Result<Vec<File>> {
    let write = job.case.write_percent > 0;
    let open = |path: PathBuf| -> Result<File> {
        let file = match job.system {
            System::Pread | System::PreadMoka | System::Bare | System::Device => {
                open_direct(&path, write)
            }
            // Opened by the parent, while the read-ahead was another.
            System::KernelSmallAhead => io::stdin().as_fd().try_clone_to_owned().map(File::from),
            _ => File::options().read(true).write(write).open(&path),
        };
        let file = file.map_err(Problem::on("open", &path))?;
        disk::drop_page_cache(&file).map_err(Problem::on("flush", &path))?;
        Ok(file)
    };
    (0..job.case.files).map(|index| open(job.files.path(index))).collect()
}
