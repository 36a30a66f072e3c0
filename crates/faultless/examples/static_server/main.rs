//! A static file server: files of any size are mapped under one budget, and sent from their
//! mapped pages without a copy in user space.
//!
//! ```text
//! cargo run --release -p faultless --example static_server -- --root DIR --memory 64M
//! ```
//!
//! - `server/mod.rs`: connections, and what a request is answered with.
//! - `server/request.rs`: what a request asks for: its path, conditions and range.
//! - `server/files.rs`: the files below the root, each mapped once.
//! - `server/content.rs`: the bytes on their way: pinned windows, a part of the budget.
//!
//! Not there: TLS, HTTP/2, compression, lists of directories, answers of several ranges.

mod server;

use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use faultless::Vm;
use server::{PATIENCE, Server};
use tokio::net::TcpListener;

/// Sends the files of a directory, within a budget of memory.
#[derive(Parser)]
struct Arguments {
    /// The directory whose files are sent
    #[arg(long)]
    root: PathBuf,
    /// The most memory that files may take: bytes, or powers of 1024 (64K, 64M, 1G)
    #[arg(long, default_value = "64M", value_parser = size)]
    memory: u64,
    /// The address to listen on; port 0 is any that is free
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// A size in bytes.
fn size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.split_at(text.len() - usize::from(text.ends_with(is_unit))) {
        (digits, "K" | "k") => (digits, 10),
        (digits, "M" | "m") => (digits, 20),
        (digits, "G" | "g") => (digits, 30),
        (digits, _) => (digits, 0),
    };
    let count: u64 = digits.parse().map_err(|error| format!("{error}: give 4096, 64K, 64M, 1G"))?;
    count.checked_mul(1 << shift).ok_or_else(|| "more than there are addresses".to_owned())
}

fn is_unit(letter: char) -> bool {
    "kKmMgG".contains(letter)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let vm = Vm::with_memory(arguments.memory)?;
    let server = Arc::new(Server::new(vm, &arguments.root, PATIENCE)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(arguments.listen).await?;
        let mut stdout = std::io::stdout();
        writeln!(stdout, "{}", listener.local_addr()?)?;
        stdout.flush()?;
        server.serve(listener).await
    })
}
