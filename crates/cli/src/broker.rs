//! `faultless broker`: one cache and one budget for the programs that connect to it.

use std::num::NonZeroU64;

use faultless_broker::{Broker, BrokerOptions, BrokerStats, FileLimit, Limits};
use faultless_protocol::Reason;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::args::BrokerArgs;
use crate::heir;
use crate::output::{Outcome, Output};
use crate::problem::{Problem, Result};

/// Serves until it is told to end by SIGINT, SIGTERM or SIGHUP; then writes everything back.
pub fn run(args: &BrokerArgs, output: Output) -> Result<Outcome> {
    let ends = [SIGINT, SIGTERM, SIGHUP];
    let mut signals = Signals::new(ends)
        .map_err(|error| Problem::new(format!("cannot handle signals: {error}")))?;
    faultless_broker::allow_most_descriptors();
    FileLimit::lift();
    let options = BrokerOptions {
        memory: args.serve.memory.0,
        policy: args.serve.policy,
        min: args.serve.min.0,
        limits: Limits {
            clients: args.clients,
            client_mappings: args.client_mappings,
            client_files: args.client_files,
            client_memory: args.client_memory.and_then(|size| NonZeroU64::new(size.0)),
        },
        swap: args.serve.swap(),
        heir: Some(heir::start()?),
        ..BrokerOptions::default()
    };
    let broker = Broker::start(&args.socket, options)
        .map_err(|error| Problem::new(format!("no broker: {error}")))?;
    let path = args.socket.display();
    let ready = serde_json::json!({ "ok": true, "socket": path.to_string(), "memory_bytes": args.serve.memory.0 });
    output
        .print(&ready, || format!("listening at {path}, with {} of memory\n", args.serve.memory))?;
    signals.forever().next();
    let stats = broker.stats();
    drop(broker);
    output.print(&stats, || text(&stats))?;
    Ok(Outcome::Ok)
}

/// The counters for people.
fn text(stats: &BrokerStats) -> String {
    let mut text = format!(
        "served {} clients: {} mappings, {} left to the kernel; {} pages read, {} written; \
         at most {} of {} pages in memory\n",
        stats.clients_total,
        stats.maps_served,
        stats.maps_kernel,
        stats.pages_demanded + stats.pages_ahead,
        stats.pages_written,
        stats.frames_used_max,
        stats.frames_total,
    );
    if stats.client_frames_max > 0 {
        text += &format!("at most {} of them one client's\n", stats.client_frames_max);
    }
    let beyond = |reason: Reason| stats.maps_kernel_by_reason.get(reason.name()).unwrap_or(&0);
    let left = beyond(Reason::ClientMappings) + beyond(Reason::ClientFiles);
    if stats.clients_refused + stats.maps_refused + left > 0 {
        text += &format!(
            "beyond limits: {} clients not served, {left} mappings left to the kernel, \
             {} refused\n",
            stats.clients_refused, stats.maps_refused,
        );
    }
    text
}
