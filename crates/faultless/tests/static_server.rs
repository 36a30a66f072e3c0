//! The example `static_server`, asked by a real client: whole files, ranges, conditions, what
//! it refuses, files that change while they are sent, and many clients under a small budget.

#[path = "../examples/static_server/server/mod.rs"]
mod server;

use std::fs::{self, File};
use std::future::poll_fn;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use faultless::testing::{Effect, Fault, Operation};
use faultless::{FaultyPager, MapOptions, MemoryPager, Vm};
use http_body::Body as _;
use server::content::{Account, Part, Room};
use server::files::Mapped;
use server::{PATIENCE, Server};
use ureq::http::{HeaderMap, Request};

const MIB: usize = 1 << 20;

/// More than the sockets of both sides take without a reader.
const LARGE: usize = 32 * MIB;

/// A server of a directory of its own.
struct Site {
    folder: tempfile::TempDir,
    vm: Vm,
    address: SocketAddr,
    agent: ureq::Agent,
    runtime: tokio::runtime::Runtime,
}

struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Site {
    fn new(memory: usize, patience: Duration) -> Site {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        let vm = Vm::with_memory(memory as u64).unwrap();
        let server = Arc::new(Server::new(vm.clone(), &root, patience).unwrap());
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(server.serve::<()>(listener));
        Site { folder, vm, address, agent: agent(0), runtime }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("root").join(name)
    }

    /// Writes a file in place of what has that name.
    fn write(&self, name: &str, bytes: &[u8]) {
        let new = self.folder.path().join("new");
        fs::write(&new, bytes).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        ask(&self.agent, self.address, method, path, headers)
    }

    fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[])
    }

    /// A file that was changed in place, and how often others had to go first.
    fn get_changed(&self, path: &str) -> (Reply, usize) {
        let began = Instant::now();
        let mut refused = 0;
        loop {
            let reply = self.get(path);
            if reply.status != 503 {
                return (reply, refused);
            }
            refused += 1;
            assert_eq!(reply.header("retry-after"), Some("1"));
            assert!(began.elapsed() < Duration::from_secs(30), "pages stay held");
        }
    }

    /// A connection on which a file has been asked for.
    fn begin(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        stream
    }

    /// Ends the server, which leaves nothing pinned or mapped.
    fn end(self) {
        self.runtime.shutdown_timeout(Duration::from_secs(30));
        let stats = self.vm.stats();
        assert_eq!((stats.pages_pinned, stats.frames_used), (0, 0), "{stats:?}");
    }
}

/// A client that keeps so many connections for later requests.
fn agent(idle_max: usize) -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    let config = config.max_idle_connections(idle_max);
    config.timeout_global(Some(Duration::from_secs(20))).build().into()
}

fn ask(
    agent: &ureq::Agent,
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Reply {
    let mut request = Request::builder().method(method).uri(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = agent.run(request.body(()).unwrap()).unwrap();
    let body = response.body_mut().with_config().limit(u64::MAX).read_to_vec().unwrap();
    Reply { status: response.status().as_u16(), headers: response.headers().clone(), body }
}

/// Bytes that no other seed has.
fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// Reads an answer to its end; its body.
fn read_body(mut stream: TcpStream, mut read: Vec<u8>) -> Vec<u8> {
    // Whoever is left with bytes to come may be told so by a reset.
    if let Err(error) = stream.read_to_end(&mut read) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{} bytes: {error}", read.len());
    }
    let head = read.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert!(read.starts_with(b"HTTP/1.1 200 OK\r\n"));
    read.split_off(head)
}

/// Reads so much that the answer is surely under way.
fn read_some(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = vec![0; MIB];
    stream.read_exact(&mut read).unwrap();
    read
}

#[test]
fn whole_files_and_their_heads() {
    let site = Site::new(2 * MIB, PATIENCE);
    let lens = [0, 1, 4095, 4096, 4097, 128 << 10, (128 << 10) + 1, 5 * MIB + 123];
    for (seed, len) in lens.into_iter().enumerate() {
        let bytes = random(seed as u64, len);
        site.write("file.png", &bytes);
        let reply = site.get("/file.png");
        assert_eq!((reply.status, reply.body.len()), (200, len));
        assert!(reply.body == bytes, "{len} bytes");
        assert_eq!(reply.header("content-length"), Some(&*len.to_string()));
        assert_eq!(reply.header("content-type"), Some("image/png"));
        assert_eq!(reply.header("accept-ranges"), Some("bytes"));
        // Of all methods only GET has ranges.
        let head = site.ask("HEAD", "/file.png", &[("range", "bytes=1-2")]);
        assert_eq!((head.status, head.body.len()), (200, 0));
        for name in ["content-length", "content-type", "etag", "last-modified", "accept-ranges"] {
            assert!(head.header(name).is_some(), "{name}");
            assert_eq!(head.header(name), reply.header(name), "{name}");
        }
    }
    site.end();
}

#[test]
fn names_and_types() {
    let site = Site::new(MIB, PATIENCE);
    fs::create_dir(site.path("sub")).unwrap();
    let cases = [
        ("index.html", "/", "text/html"),
        ("sub/index.html", "/sub/", "text/html"),
        ("a b+c.css", "/a%20b+c.css?version=3", "text/css"),
        ("ü.js", "/%C3%BC.js", "text/javascript"),
        ("sub/plain.txt", "/sub%2Fplain.txt", "text/plain"),
        ("100%.json", "/100%.json", "application/json"),
        ("no ending", "/no%20ending", "application/octet-stream"),
        ("..dots..", "/..dots..", "application/octet-stream"),
    ];
    for (name, path, content_type) in cases {
        site.write(name, name.as_bytes());
        let reply = site.get(path);
        assert_eq!((reply.status, &*reply.body), (200, name.as_bytes()), "{path}");
        assert_eq!(reply.header("content-type"), Some(content_type), "{path}");
    }
    site.end();
}

#[test]
fn ranges() {
    const LEN: usize = 300_000;
    const WHOLE: Option<(usize, usize)> = Some((0, LEN));
    let site = Site::new(2 * MIB, PATIENCE);
    let bytes = random(1, LEN);
    site.write("file", &bytes);
    // First byte and end, or none of them; a part unless it says otherwise.
    let parts = [
        ("bytes=0-0", Some((0, 1))),
        ("bytes=0-299999", WHOLE),
        ("bytes=0-", WHOLE),
        ("bytes=4096-8191", Some((4096, 8192))),
        ("bytes=100-200000", Some((100, 200_001))),
        ("BYTES=131071-131072", Some((131_071, 131_073))),
        ("bytes=299999-", Some((299_999, LEN))),
        ("bytes=299999-300000", Some((299_999, LEN))),
        ("bytes=5-99999999999999999999999", Some((5, LEN))),
        ("bytes=-1", Some((LEN - 1, LEN))),
        ("bytes=-300000", WHOLE),
        ("bytes=-300001", WHOLE),
        ("bytes=-99999999999999999999999", WHOLE),
        ("bytes=300000-", None),
        ("bytes=300000-300001", None),
        ("bytes=99999999999999999999999-", None),
        ("bytes=-0", None),
    ];
    for (range, expected) in parts {
        let reply = site.ask("GET", "/file", &[("range", range)]);
        let told = reply.header("content-range").unwrap();
        match expected {
            Some((start, end)) => {
                assert_eq!(reply.status, 206, "{range}");
                assert_eq!(told, format!("bytes {start}-{}/{LEN}", end - 1), "{range}");
                assert_eq!(reply.header("content-length"), Some(&*(end - start).to_string()));
                assert!(reply.body == bytes[start..end], "{range}");
            }
            None => {
                assert_eq!((reply.status, told), (416, "bytes */300000"), "{range}");
            }
        }
    }
    // What isn't one range of bytes is as if it weren't there.
    let others = ["bytes=5-4", "bytes=", "bytes=-", "bytes=a-b", "bytes=0-1,4-5", "bytes=+1-2"];
    for range in others.into_iter().chain(["lines=0-1", "bytes", "bytes=1-2-3"]) {
        let reply = site.ask("GET", "/file", &[("range", range)]);
        assert_eq!((reply.status, reply.header("content-range")), (200, None), "{range}");
        assert!(reply.body == bytes, "{range}");
    }
    let twice = site.ask("GET", "/file", &[("range", "bytes=0-1"), ("range", "bytes=4-5")]);
    assert_eq!((twice.status, twice.body.len()), (200, LEN));
    site.end();
}

#[test]
fn ranges_of_an_empty_file() {
    let site = Site::new(MIB, PATIENCE);
    site.write("empty", b"");
    for (range, status) in [("bytes=0-", 416), ("bytes=0-0", 416), ("bytes=-0", 416)] {
        let reply = site.ask("GET", "/empty", &[("range", range)]);
        assert_eq!((reply.status, reply.header("content-range")), (status, Some("bytes */0")));
    }
    let reply = site.ask("GET", "/empty", &[("range", "bytes=-5")]);
    assert_eq!((reply.status, reply.header("content-length")), (200, Some("0")));
    site.end();
}

#[test]
fn conditions() {
    let site = Site::new(MIB, PATIENCE);
    let at = |seconds: u64| UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 500);
    let write = |time: SystemTime| {
        site.write("file", b"0123456789");
        File::options().write(true).open(site.path("file")).unwrap().set_modified(time).unwrap();
    };
    write(at(1_000_000_000));
    let reply = site.get("/file");
    let (etag, date) = (reply.header("etag").unwrap(), reply.header("last-modified").unwrap());
    assert_eq!(date, "Sun, 09 Sep 2001 01:46:40 GMT");
    let list = format!("\"other\", W/{etag}");
    let weak = format!("W/{etag}");
    let (earlier, later) = ("Sun, 09 Sep 2001 01:46:39 GMT", "Sun, 09 Sep 2001 01:46:41 GMT");
    let known: [(&[(&str, &str)], u16); 8] = [
        (&[("if-none-match", etag)], 304),
        (&[("if-none-match", &list)], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", "\"other\"")], 200),
        // The tag decides, where there is one.
        (&[("if-none-match", "\"other\""), ("if-modified-since", later)], 200),
        (&[("if-modified-since", date)], 304),
        (&[("if-modified-since", earlier)], 200),
        (&[("if-modified-since", "yesterday")], 200),
    ];
    for (headers, status) in known {
        for method in ["GET", "HEAD"] {
            let reply = site.ask(method, "/file", headers);
            assert_eq!(reply.status, status, "{method} {headers:?}");
            assert_eq!(reply.header("etag"), Some(etag), "{headers:?}");
            assert_eq!(reply.header("last-modified"), Some(date), "{headers:?}");
            let is_sent = method == "GET" && status == 200;
            assert_eq!(reply.body, if is_sent { &b"0123456789"[..] } else { b"" });
        }
    }
    let parts = [
        (etag, 206),
        (date, 206),
        (&*weak, 200),
        ("\"other\"", 200),
        (earlier, 200),
        (later, 200),
        ("", 200),
    ];
    for (condition, status) in parts {
        let headers = [("range", "bytes=2-4"), ("if-range", condition)];
        let reply = site.ask("GET", "/file", &headers);
        let body = if status == 206 { &b"234"[..] } else { b"0123456789" };
        assert_eq!((reply.status, &*reply.body), (status, body), "{condition}");
    }
    // Within the same second, so that only the tag tells it.
    write(at(1_000_000_000) + Duration::from_millis(1));
    let headers = [("if-none-match", etag), ("if-modified-since", date)];
    assert_eq!(site.ask("GET", "/file", &headers).status, 200);
    // Dates that HTTP doesn't have.
    write(UNIX_EPOCH - Duration::from_secs(5));
    let reply = site.get("/file");
    assert_eq!((reply.status, reply.header("last-modified")), (200, None));
    site.end();
}

#[test]
fn what_is_refused() {
    let site = Site::new(MIB, PATIENCE);
    let outside = site.folder.path().join("secret");
    fs::write(&outside, b"secret").unwrap();
    fs::create_dir_all(site.path("sub/below")).unwrap();
    site.write("file", b"public");
    symlink("../file", site.path("sub/inside")).unwrap();
    symlink("../../secret", site.path("sub/up")).unwrap();
    symlink(&outside, site.path("absolute")).unwrap();
    symlink("..", site.path("parent")).unwrap();
    symlink("loop", site.path("loop")).unwrap();
    symlink("nowhere", site.path("dangling")).unwrap();
    let pipe = site.path("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    let cases = [
        ("/sub/inside", 200),
        ("/../secret", 403),
        ("/%2e%2e/secret", 403),
        ("/..%2fsecret", 403),
        ("/sub/../../secret", 403),
        ("/sub/../file", 403),
        ("/sub/..", 403),
        ("//etc/passwd", 403),
        ("/%2fetc/passwd", 403),
        ("/sub/up", 403),
        ("/absolute", 403),
        ("/parent/secret", 403),
        ("/missing", 404),
        ("/file/", 404),
        ("/file/below", 404),
        ("/file%00", 404),
        ("/sub", 404),
        ("/sub/below/", 404),
        ("/loop", 404),
        ("/dangling", 404),
        ("/pipe", 404),
        ("/%zz", 404),
    ];
    for (path, status) in cases {
        let reply = site.get(path);
        assert_eq!(reply.status, status, "{path}");
        assert!(!reply.body.windows(6).any(|six| six == b"secret"), "{path}");
    }
    let long = format!("/{}", "x".repeat(300));
    assert_eq!(site.get(&long).status, 404);
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let reply = site.ask(method, "/file", &[]);
        assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    assert_eq!(site.get("/file").body, b"public");
    site.end();
}

#[test]
fn a_file_cut_while_it_is_sent_ends_its_answer_only() {
    let site = Site::new(2 * MIB, PATIENCE);
    let (bytes, other) = (random(1, LARGE), random(2, MIB));
    site.write("other", &other);
    for left in [LARGE - 5, 3 * MIB + 100, 0] {
        site.write("cut", &bytes);
        let mut stream = site.begin("/cut");
        let read = read_some(&mut stream);
        let file = File::options().write(true).open(site.path("cut")).unwrap();
        file.set_len(left as u64).unwrap();
        let got = read_body(stream, read);
        assert!(got.len() < LARGE, "it ended early");
        assert!(bytes.starts_with(&got), "what came before is right");
        assert!(site.get("/other").body == other, "the server lives");
        assert!(site.get_changed("/cut").0.body == bytes[..left], "and sends what is left");
    }
    site.end();
}

#[test]
fn a_file_replaced_while_it_is_sent_is_sent_to_its_end() {
    let site = Site::new(2 * MIB, PATIENCE);
    let (old, new) = (random(1, LARGE), random(2, MIB));
    site.write("file", &old);
    let etag = site.ask("HEAD", "/file", &[]).header("etag").unwrap().to_owned();
    let mut stream = site.begin("/file");
    let read = read_some(&mut stream);
    site.write("file", &new);
    let reply = site.ask("GET", "/file", &[("if-none-match", &etag)]);
    assert_eq!(reply.status, 200);
    assert!(reply.body == new);
    assert!(read_body(stream, read) == old);
    site.end();
}

#[test]
fn versions_are_not_mixed_and_an_idle_client_is_left() {
    let site = Site::new(2 * MIB, Duration::from_secs(2));
    let (old, new) = (random(1, LARGE), random(2, MIB));
    site.write("file", &old);
    let mut idle = site.begin("/file");
    let read = read_some(&mut idle);
    // The client reads no more: what it is sent fills the sockets, and pages stay held.
    let brought_in = || site.vm.stats().pages_demanded + site.vm.stats().pages_ahead;
    let mut before = 0;
    while before != brought_in() {
        before = brought_in();
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(site.vm.stats().pages_pinned > 0, "all of it went into the sockets");
    let file = File::options().write(true).open(site.path("file")).unwrap();
    file.write_all_at(&new, 0).unwrap();
    // Until it is left, others have to come again.
    let (reply, refused) = site.get_changed("/file");
    assert!(refused > 0, "two versions at a time");
    assert_eq!(reply.status, 200);
    assert!(reply.body[..MIB] == new && reply.body[MIB..] == old[MIB..]);
    let got = read_body(idle, read);
    assert!(got.len() < LARGE && old.starts_with(&got), "it has what it began with");
    site.end();
}

#[test]
fn a_page_that_cannot_be_read_ends_the_answer_and_frames_are_the_mapped_pages() {
    const LEN: usize = MIB;
    const BAD: u64 = 600 << 10;
    let vm = Vm::with_memory(4 * MIB as u64).unwrap();
    let bytes = random(3, LEN);
    let pager = Arc::new(FaultyPager::new(MemoryPager::from_bytes(bytes.clone()), 1));
    let (bad, errno) = (BAD..BAD + 1, Effect::Errno(libc::EIO));
    pager.inject(Fault::next(Operation::Read, bad, errno, u64::MAX));
    let map = MapOptions::new().map_pager(&vm, pager).unwrap();
    let places = map.as_ptr() as usize..map.as_ptr() as usize + LEN;
    let file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.set_len(LEN as u64).unwrap();
    let mapped = Arc::new(Mapped::new(map, file, Path::new("memory")).unwrap());

    let part = Part::new(mapped, 1000..LEN as u64, Room::of(&vm), Account::default());
    let mut part = Box::pin(part);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut sent = 1000;
    let error = loop {
        let frame = runtime.block_on(poll_fn(|context| part.as_mut().poll_frame(context)));
        match frame.unwrap() {
            Ok(frame) => {
                let data = frame.into_data().unwrap();
                assert!(places.contains(&(data.as_ptr() as usize)), "a copy");
                assert!(data[..] == bytes[sent..sent + data.len()]);
                assert!(vm.stats().pages_pinned > 0, "they are pinned while they are sent");
                sent += data.len();
            }
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("Input/output error"), "{error}");
    assert_eq!(sent, 512 << 10, "all windows before that of the bad page");
    let after =
        runtime.block_on(poll_fn(|context| Pin::new(&mut part).as_mut().poll_frame(context)));
    assert!(after.is_none(), "nothing comes after an error");
    assert_eq!(vm.stats().pages_pinned, 0);
}

#[test]
fn the_smallest_budget_serves_more_files_than_stay_mapped() {
    const FILES: u64 = 300;
    let site = Site::new(Vm::MEMORY_MIN as usize, PATIENCE);
    let bytes = random(5, MIB + 1);
    site.write("large", &bytes);
    for n in 0..FILES {
        site.write(&n.to_string(), &random(n, 5000));
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(site.get("/large").body == bytes));
        }
        for n in 0..FILES {
            assert!(site.get(&format!("/{n}")).body == random(n, 5000), "{n}");
        }
    });
    let mapped = site.vm.maps().unwrap().lines().count();
    assert!((200..=256).contains(&mapped), "{mapped} files are mapped");
    site.end();
}

#[test]
fn many_clients_under_a_small_budget() {
    const CLIENTS: u64 = 32;
    const REQUESTS: usize = 24;
    const MEMORY: usize = 2 * MIB;
    const PART_MAX: usize = 400_000;
    let fresh = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(fresh);
    println!("seed {seed} (SEED replays it)");

    let site = Site::new(MEMORY, PATIENCE);
    let files: Vec<Vec<u8>> =
        [8 * MIB, 6 * MIB + 1, 7 * MIB - 4095].map(|len| random(seed ^ len as u64, len)).into();
    for (n, bytes) in files.iter().enumerate() {
        site.write(&n.to_string(), bytes);
    }
    let began = Instant::now();
    let client = |client: u64| {
        let (agent, mut dice) = (agent(1), fastrand::Rng::with_seed(seed.wrapping_add(client)));
        let mut sent = 0;
        for _ in 0..REQUESTS {
            let n = dice.usize(..files.len());
            let start = dice.usize(..files[n].len());
            let end = files[n].len().min(start + dice.usize(1..PART_MAX));
            let range = format!("bytes={start}-{}", end - 1);
            let reply = ask(&agent, site.address, "GET", &format!("/{n}"), &[("range", &range)]);
            assert_eq!(reply.status, 206, "{n} {range}");
            assert!(reply.body == files[n][start..end], "{n} {range}");
            sent += reply.body.len();
        }
        sent
    };
    let sent: usize = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|n| scope.spawn(move || client(n))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    let stats = site.vm.stats();
    println!("{} MiB in {:?}; {stats:?}", sent / MIB, began.elapsed());
    assert!(stats.frames_used_max <= (MEMORY / 4096) as u64, "over the budget");
    assert!(stats.evictions > 1000, "it had to make room");
    assert_eq!(stats.read_errors, 0);
    site.end();
}
