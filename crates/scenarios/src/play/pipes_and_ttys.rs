//! `pipes-and-ttys`: not everything that can be read can be mapped (text D).

use std::os::fd::AsFd as _;

use faultless::MapOptions;
use faultless_posix::{Errno, MapFlags, Mmap, Node, OpenFlags, Pid, Tty};

use crate::linux::Host;
use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{FD, PAGE, READ, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "pipes-and-ttys",
    summary: "pipes, ttys and directories cannot be mapped: ENODEV",
    claims: &["D8", "A14"],
    rows: &[Row::Pipes],
    frames: 16,
    software,
    linux: Some(linux),
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("a pipe, a tty, a directory");
    let tty = stage.device("/dev/tty", 0, Tty);
    let nodes = [("a pipe", Node::Pipe), ("a tty", tty), ("a directory", Node::Directory)];
    for (what, node) in nodes {
        stage.open(a, FD, node, OpenFlags::empty())?;
        for flags in [MapFlags::SHARED, MapFlags::PRIVATE] {
            let call = Mmap { len: PAGE, prot: READ, flags, fd: FD, ..Mmap::default() };
            let answer = stage.mmap(a, call);
            stage.refused(&format!("a map of {what} ({flags:?})"), answer, Errno::ENODEV)?;
        }
        stage.close(a, FD)?;
    }
    stage.equal("areas", stage.areas(a).count(), 0)
}

fn linux(host: &mut Host) -> Played {
    host.step("a pipe and a directory");
    let (pipe, _writer) = std::io::pipe()?;
    let directory = std::fs::File::open(host.path("."))?;
    for (what, node) in [("a pipe", pipe.as_fd()), ("a directory", directory.as_fd())] {
        let refused = MapOptions::new().map_raw(&host.vm, &node).err();
        let words = refused.map(|error| error.to_string()).unwrap_or_default();
        host.check(format!("a map of {what} is refused: {words}"), !words.is_empty())?;
    }
    Ok(())
}
