//! Measures the values of the performance table, each next to a baseline that is measured in the same run. Prints two
//! tables, what a user sees and the parts of it, and asserts nothing, because machines differ.
//!
//! `cargo bench -p klines --bench figures [-- NAME…]`; names: those of [`SEEN`] and [`PARTS`]. The figure `memory`
//! takes 5 minutes. `make bench` gives `--continued`: `replay.py` has begun the first table.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark may panic"
)]

#[path = "figures/guest.rs"]
mod guest;
#[path = "figures/ingest.rs"]
mod ingest;
#[path = "figures/memory.rs"]
mod memory;
#[path = "figures/naive.rs"]
mod naive;
#[path = "figures/publish.rs"]
mod publish;
#[path = "figures/redis.rs"]
mod redis;
#[path = "figures/runs.rs"]
mod runs;
#[path = "figures/sandbox.rs"]
mod sandbox;
#[path = "figures/serving.rs"]
mod serving;
#[path = "../tests/it/support/stream.rs"]
#[allow(dead_code)]
mod stream;

use std::time::Duration;

pub(crate) use runs::{Runs, measured, row};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A name for the command line and the function that prints its rows.
type Figure = (&'static str, fn());

/// Figures of the whole program, or of a server in a separate process.
const SEEN: [Figure; 8] = [
    ("redis", redis::publishes),
    ("deliveries", serving::fan_out),
    ("clients", serving::idle_clients),
    ("latency", serving::latencies),
    ("reload", sandbox::reload),
    ("neighbours", sandbox::neighbours),
    ("hundred", sandbox::hundred),
    ("memory", memory::resident),
];

/// Figures of parts that are called in this process.
const PARTS: [Figure; 5] = [
    ("ingest", ingest::narrow),
    ("wide", ingest::wide),
    ("guest", guest::batch),
    ("publish", publish::boundary),
    ("sandbox", sandbox::costs),
];

fn main() {
    // The benchmark starts its own binary again as the server that it measures.
    if let Ok(role) = std::env::var(serving::ROLE) {
        return serving::serve(&role);
    }
    let (options, wanted): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with('-'));
    let is_continued = options.iter().any(|option| option == "--continued");
    table("What a user sees", &SEEN, &wanted, is_continued);
    table("Parts", &PARTS, &wanted, false);
}

/// Prints the wanted figures, all if none is named.
fn table(title: &str, figures: &[Figure], wanted: &[String], is_continued: bool) {
    let mut chosen =
        figures.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|other| other == name)).peekable();
    if chosen.peek().is_some() && !is_continued {
        println!("\n{title}");
        runs::header();
    }
    chosen.for_each(|(_, print)| print());
}

/// Returns the CPU time of this thread so far, not wall-clock time.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}
