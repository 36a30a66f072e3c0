//! `static-file-server`: a web server maps a static file, sends it, and unmaps it (text D).

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use faultless_posix::{MapFlags, Mmap, OpenFlags, Pid};

use crate::linux::Host;
use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{FD, PAGE, READ, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "static-file-server",
    summary: "a server maps a file, sends it from the map, and unmaps it",
    claims: &["D2", "A16", "A14"],
    rows: &[Row::Calls],
    frames: 16,
    software,
    linux: Some(linux),
};

/// Three pages and a bit.
fn content() -> Vec<u8> {
    (0..13_000u32).map(|n| b"<p>hello</p>\n"[n as usize % 13]).collect()
}

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("the server opens the file and maps it");
    let body = content();
    let file = stage.file("/www/index.html", &body);
    stage.open(a, FD, file, OpenFlags::empty())?;
    let len = body.len() as u64;
    let call = Mmap { len, prot: READ, flags: MapFlags::PRIVATE, fd: FD, ..Mmap::default() };
    let at = stage.mmap(a, call)?.0;
    stage.close(a, FD)?;
    stage.equal("pages read until now", stage.io().files.read, 0)?;

    stage.step("it writes the mapped bytes to the client");
    let sent = stage.pipe_from(a, at, len)?;
    stage.check(format!("the client gets all {len} bytes"), sent == body)?;
    stage.equal("pages read, each once", stage.io().files.read, len.div_ceil(PAGE))?;

    stage.step("it unmaps the file");
    stage.munmap(a, at, len)?;
    stage.equal("areas", stage.areas(a).count(), 0)
}

fn linux(host: &mut Host) -> Played {
    host.step("the server maps a file and sends it over a connection");
    let body = content();
    let file = host.file("index.html", &body)?;
    let map = host.map(&file)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let client = std::thread::spawn(move || {
        let mut got = Vec::new();
        TcpStream::connect(address)?.read_to_end(&mut got).map(|_| got)
    });
    let (mut connection, _) = listener.accept()?;
    connection.write_all(&map.pin(0, map.len())?)?;
    drop(connection);
    let got = client.join().expect("a client that only reads")?;
    host.check(format!("the client gets all {} bytes", body.len()), got == body)?;

    host.step("it unmaps the file");
    drop(map);
    let used = host.vm.stats().frames_used;
    host.equal("frames in use", used, 0)
}
