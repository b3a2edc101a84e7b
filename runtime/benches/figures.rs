//! Measures the values of the performance table, each next to a baseline that is measured in the same run. Prints a
//! table and asserts nothing, because machines differ.
//!
//! `cargo bench -p klines --bench figures [-- NAME…]`; names: `ingest`, `wide`, `guest`, `publish`, `redis`,
//! `deliveries`, `clients`, `latency`, `sandbox`, `reload`, `neighbours`, `hundred`, `memory` (5 minutes).

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
#[path = "figures/sandbox.rs"]
mod sandbox;
#[path = "figures/serving.rs"]
mod serving;
#[path = "../tests/it/support/stream.rs"]
#[allow(dead_code)]
mod stream;

use std::time::Duration;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // The benchmark starts its own binary again as the server that it measures.
    if let Ok(role) = std::env::var(serving::ROLE) {
        return serving::serve(&role);
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|other| other == name);
    println!("{:<58} {:>12} {:>12} {:>7}  floor / goal", "measurement", "klines", "baseline", "ratio");
    if wants("ingest") {
        ingest::narrow();
    }
    if wants("wide") {
        ingest::wide();
    }
    if wants("guest") {
        guest::batch();
    }
    if wants("publish") {
        publish::boundary();
    }
    if wants("redis") {
        redis::publishes();
    }
    if wants("deliveries") {
        serving::fan_out();
    }
    if wants("clients") {
        serving::idle_clients();
    }
    if wants("latency") {
        serving::socket_to_socket();
        serving::boundary_to_client();
    }
    if wants("sandbox") {
        sandbox::costs();
    }
    if wants("reload") {
        sandbox::reload();
    }
    if wants("neighbours") {
        sandbox::neighbours();
    }
    if wants("hundred") {
        sandbox::hundred();
    }
    if wants("memory") {
        memory::resident(5);
    }
}

/// Prints one row of the table.
fn row(name: &str, ours: f64, baseline: f64, unit: &str, floor: &str) {
    println!(
        "{name:<58} {:>12} {:>12} {:>7.2}  {floor}",
        format!("{ours:.2} {unit}"),
        format!("{baseline:.2} {unit}"),
        ours / baseline
    );
}

/// Returns the CPU time of this thread so far, not wall-clock time.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

/// Returns the median of an odd number of measurements.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
