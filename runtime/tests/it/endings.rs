//! How a run ends when something does not take klines: a blocked or closed output, Redis that is away, a consumer that
//! is paused or crashes, a full disk; after one signal or two. Of every closed kline it is known whether it was
//! delivered, is on disk or is lost, and the exit code says whether any was lost at the end.

// Tells the lints that helpers here are test code too.
#![cfg(test)]

mod components;
#[cfg(target_os = "linux")]
mod disk;
mod redis;
mod stdout;

use std::path::Path;

use bybit_sim::{Market, Sim, SimConfig};
use tempfile::TempDir;

use crate::live::run_at;
use crate::support::program::{Account, Invocation, Running, Said, folder};

/// The symbols of the demo market.
const DEMO: &str = "BTCUSDT,ETHUSDT,SOLUSDT";
/// Enough klines that an end has something to account for.
const SOME: usize = 40;

/// An exchange, a folder with a configuration, and what both are good for.
struct Scene {
    sim: Sim,
    home: TempDir,
}

impl Scene {
    async fn new(seed: u64, toml: &str) -> Self {
        let sim = Sim::start(SimConfig::new(Market::demo(seed))).await.unwrap();
        Self { sim, home: folder(&[("klines.toml", toml)]) }
    }

    /// A run of two short intervals.
    fn run(&self) -> Invocation {
        run_at(&self.home, &self.sim, DEMO, "100ms,1s")
    }

    fn folder(&self) -> &Path {
        self.home.path()
    }
}

/// Closed klines that the console has printed; nothing else is asked of it here.
fn printed(said: &Said) -> usize {
    said.out.lines().filter(|line| line.contains("\"confirm\":true")).count()
}

/// The law of the ending: `consumer` has an account of all `due` closed klines.
#[track_caller]
fn assert_accounted(said: &Said, consumer: &str, due: usize) -> Account {
    let account = said.account(consumer);
    let Account { delivered, lost, kept, set_aside, .. } = account;
    assert_eq!(delivered + lost + kept + set_aside, due as u64, "{account:?}\n{}", said.err);
    account
}

/// The exit code is 1 if closed klines were lost at the end, which is said too, else 0.
#[track_caller]
fn assert_exit(code: Option<i32>, said: &Said, lost_at_the_end: u64) {
    assert_eq!(code, Some(i32::from(lost_at_the_end > 0)), "{}", said.err);
    let expected = format!("error: {lost_at_the_end} closed klines were lost at the end");
    assert_eq!(said.err.contains(&expected), lost_at_the_end > 0, "{}", said.err);
}

/// What came to the console: after a second signal it may not have printed all of it.
#[track_caller]
fn due(said: &Said) -> usize {
    let Account { delivered, lost, .. } = said.account("console");
    assert!(printed(said) as u64 <= delivered + lost, "{}", said.err);
    usize::try_from(delivered + lost).unwrap()
}

/// Whether a second signal came before the first one's work was done.
fn is_cut_short(said: &Said) -> bool {
    !said.logged("second signal: ending at once").is_empty()
}

/// Sends the second signal when nothing more can come to a queue.
fn interrupt_twice(run: &Running) {
    run.interrupt();
    run.until("the feeds have ended", |said| !said.logged("trades accounted for").is_empty());
    run.interrupt();
}
