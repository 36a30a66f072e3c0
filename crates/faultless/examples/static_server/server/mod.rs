//! Connections, and what a request is answered with.

pub mod content;
pub mod files;
pub mod request;

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use faultless::Vm;
use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use content::{Account, Content, Part, Room};
use files::{Files, Mapped, Refusal, Version};
use request::Decision;

/// How long a client may take for a window of bytes: it is memory that others wait for.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What hyper may hold of an answer: less than a window, so that it asks for the next one
/// when the last one is sent.
const HELD_MAX: usize = 16 << 10;

/// How long to wait where no connection can be accepted, as without descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// How long to wait, each time, for a file that is being changed.
const SETTLES: [Duration; 3] =
    [Duration::from_millis(5), Duration::from_millis(45), Duration::from_millis(250)];

/// A server of the files below a directory.
pub struct Server {
    files: Files,
    room: Room,
    patience: Duration,
}

impl Server {
    /// Files below `root`, under the budget of `vm`. A client that takes longer than
    /// `patience` for a window is left.
    pub fn new(vm: Vm, root: &Path, patience: Duration) -> io::Result<Server> {
        let room = Room::of(&vm);
        Ok(Server { files: Files::new(vm, root)?, room, patience })
    }

    /// Answers whoever connects, for ever.
    pub async fn serve<T>(self: Arc<Self>, listener: TcpListener) -> T {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(self.clone().attend(stream));
                }
                Err(error) => {
                    eprintln!("no connection can be accepted: {error}");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }

    /// Answers the requests of a connection.
    async fn attend(self: Arc<Self>, stream: TcpStream) {
        let (account, patience) = (Account::default(), self.patience);
        let service = service_fn(|request| {
            let (server, account) = (self.clone(), account.clone());
            async move { Ok::<_, Infallible>(server.answer(request, account).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience)
            .max_buf_size(HELD_MAX)
            // Gathers head and pages in one system call; else they would be copied together.
            .writev(true)
            .serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            // Its errors are the client's leaving, or a part that couldn't be read, which has
            // been told.
            _ = connection => {}
            () = account.overdue(patience) => {}
        }
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        account: Account,
    ) -> Response<Content> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED);
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match self.open(request.uri().path()).await {
            Ok(mapped) => self.send(&request, mapped, account),
            Err(refusal) => refuse(refusal),
        }
    }

    /// The file that a path names. Of one that was changed, the last pages of what it was are
    /// mostly gone in a moment.
    async fn open(self: &Arc<Self>, path: &str) -> Result<Arc<Mapped>, Refusal> {
        let path = request::file_path(path)?;
        for moment in SETTLES {
            match self.try_open(path.clone()).await {
                Err(Refusal::Changing) => tokio::time::sleep(moment).await,
                result => return result,
            }
        }
        self.try_open(path).await
    }

    /// By a thread that may wait for the disk.
    async fn try_open(self: &Arc<Self>, path: PathBuf) -> Result<Arc<Mapped>, Refusal> {
        let server = self.clone();
        tokio::task::spawn_blocking(move || server.files.open(&path))
            .await
            .unwrap_or_else(|error| Err(Refusal::Failed(io::Error::other(error))))
    }

    /// What the request wants of a file.
    fn send(
        &self,
        request: &Request<Incoming>,
        mapped: Arc<Mapped>,
        account: Account,
    ) -> Response<Content> {
        let len = mapped.version.len;
        let decision = request::decide(request.method(), request.headers(), &mapped.version);
        let (status, range) = match decision {
            Decision::Whole => (StatusCode::OK, 0..len),
            Decision::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
            Decision::NotModified => {
                let mut response = Response::new(Content::Empty);
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                set_validators(&mut response, &mapped.version);
                return response;
            }
            Decision::Unsatisfiable => {
                let mut response = plain(StatusCode::RANGE_NOT_SATISFIABLE);
                set(&mut response, header::CONTENT_RANGE, format!("bytes */{len}"));
                return response;
            }
        };
        let mut response = Response::new(Content::Empty);
        *response.status_mut() = status;
        set_validators(&mut response, &mapped.version);
        let headers = response.headers_mut();
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
        set(&mut response, header::CONTENT_TYPE, mapped.content_type.clone());
        if status == StatusCode::PARTIAL_CONTENT {
            let text = format!("bytes {}-{}/{len}", range.start, range.end - 1);
            set(&mut response, header::CONTENT_RANGE, text);
        }
        if request.method() == Method::GET {
            let part = Part::new(mapped, range, self.room.clone(), account);
            *response.body_mut() = Content::Part(part);
        }
        response
    }
}

fn refuse(refusal: Refusal) -> Response<Content> {
    match refusal {
        Refusal::Outside => plain(StatusCode::FORBIDDEN),
        Refusal::Missing => plain(StatusCode::NOT_FOUND),
        Refusal::Changing => {
            let mut response = plain(StatusCode::SERVICE_UNAVAILABLE);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
        Refusal::Failed(error) => {
            eprintln!("a file cannot be sent: {error}");
            plain(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// An answer that says no more than its status.
fn plain(status: StatusCode) -> Response<Content> {
    let mut response = Response::new(Content::text(format!("{status}\n")));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

fn set_validators(response: &mut Response<Content>, version: &Version) {
    set(response, header::ETAG, version.etag());
    if let Some(date) = version.last_modified() {
        set(response, header::LAST_MODIFIED, httpdate::fmt_http_date(date));
    }
}

/// Sets a header, unless it has letters that no header may have.
fn set(response: &mut Response<Content>, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(name, value);
    }
}
