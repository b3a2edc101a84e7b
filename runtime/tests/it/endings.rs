//! How a run ends when something accepts no klines: a blocked or closed output, an unreachable Redis, a consumer that
//! is paused or crashes, a full disk; after one signal or two. Every closed kline is counted as delivered, on disk or
//! lost, and the exit code shows whether any was lost at the end.

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]

mod components;
#[cfg(target_os = "linux")]
mod disk;
mod hangup;
mod redis;
mod service;
mod stdout;

use std::path::Path;

use bybit_sim::{Market, Sim, SimConfig};
use tempfile::TempDir;

use crate::live::run_at;
use crate::support::program::{Account, Invocation, Running, Said, folder};

/// The symbols of the demo market.
const DEMO: &str = "BTCUSDT,ETHUSDT,SOLUSDT";
/// Enough klines that the end of a run has some to account for.
const SOME: usize = 40;

/// An exchange and a folder with a configuration.
struct Fixture {
    sim: Sim,
    home: TempDir,
}

impl Fixture {
    async fn new(seed: u64, toml: &str) -> Self {
        let sim = Sim::start(SimConfig::new(Market::demo(seed))).await.unwrap();
        Self { sim, home: folder(&[("klines.toml", toml)]) }
    }

    /// Prepares a run of two short intervals.
    fn run(&self) -> Invocation {
        run_at(&self.home, &self.sim, DEMO, "100ms,1s")
    }

    fn folder(&self) -> &Path {
        self.home.path()
    }
}

/// Counts the closed klines that the console has printed; these tests enable no other klines there.
fn printed(said: &Said) -> usize {
    said.out.lines().filter(|line| line.contains("\"confirm\":true")).count()
}

/// Invariant: delivered + lost + kept + set aside = `due`, the closed klines that `consumer` had to get.
#[track_caller]
fn assert_accounted(said: &Said, consumer: &str, due: usize) -> Account {
    let account = said.account(consumer);
    let Account { delivered, lost, kept, set_aside, .. } = account;
    assert_eq!(delivered + lost + kept + set_aside, due as u64, "{account:?}\n{}", said.err);
    account
}

/// Asserts that the exit code is 1 and an error is printed if closed klines were lost at the end, else 0.
#[track_caller]
fn assert_exit(code: Option<i32>, said: &Said, lost_at_the_end: u64) {
    assert_eq!(code, Some(i32::from(lost_at_the_end > 0)), "{}", said.err);
    let expected = match lost_at_the_end {
        1 => "error: 1 closed kline was lost at the end".to_owned(),
        lost => format!("error: {lost} closed klines were lost at the end"),
    };
    assert_eq!(said.err.contains(&expected), lost_at_the_end > 0, "{}", said.err);
}

/// Returns how many klines reached the console: after a second signal it may not have printed all of them.
#[track_caller]
fn due(said: &Said) -> usize {
    let Account { delivered, lost, .. } = said.account("console");
    assert!(printed(said) as u64 <= delivered + lost, "{}", said.err);
    usize::try_from(delivered + lost).unwrap()
}

/// Returns whether the second signal came before the work of the first one was done.
fn is_cut_short(said: &Said) -> bool {
    !said.logged("second signal: ending at once").is_empty()
}

/// Sends the second signal once no more klines can reach a queue.
fn interrupt_twice(run: &Running) {
    run.interrupt();
    run.until("the feeds have ended", |said| !said.logged("trades accounted for").is_empty());
    run.interrupt();
}
