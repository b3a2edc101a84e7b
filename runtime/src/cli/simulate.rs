//! `klines simulate`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use klines_config::Sources;
use klines_config::quantity::HumanDuration;
use klines_domain::symbol::{Category, Symbol};

use super::args::LogArgs;

/// `klines simulate`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
One port serves the public WebSocket streams and the REST calls, with Bybit's acks, refusals and limits. \
The line to start `klines run` against it is printed when it listens.

Exit codes: 0 ended as asked, 1 failed.

Examples:
  klines simulate --seed 7
  klines simulate --recording session.jsonl.gz --speed 10
  klines simulate --refuse ETHUSDT --script faults.txt")]
pub struct SimulateArgs {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7878")]
    pub listen: SocketAddr,
    /// Seed of the generated market; the same seed gives the same trades
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Play these recorded frames in place of a generated market
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    pub recording: Option<PathBuf>,
    /// Category of raw recorded frames: linear, spot or inverse; recorders' records tell their own
    #[arg(long, value_name = "CATEGORY", default_value = "linear", requires = "recording")]
    pub category: Category,
    /// Whether a recording keeps its times or happens now
    #[arg(long, value_enum, value_name = "WHEN", default_value = "now", requires = "recording")]
    pub times: Times,
    /// How many times faster than real time, above 0 and at most 10000
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = speed)]
    pub speed: f64,
    /// Faults to play, one a line, such as `at 20s for 10s stall` (also drop, duplicate, reorder, garbage, …)
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// Refuse subscriptions to this symbol; may be given several times
    #[arg(long, value_name = "SYMBOL", value_parser = Symbol::new)]
    pub refuse: Vec<Symbol>,
    /// End by itself after this time, such as 20s or 1m30s
    #[arg(long = "for", value_name = "DURATION")]
    pub duration: Option<HumanDuration>,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
}

impl SimulateArgs {
    /// Sources of the logging settings alone: no file and no other variable counts.
    #[must_use]
    pub fn sources(&self) -> Sources {
        let none = (super::ConfigArgs::default(), super::MarketArgs::default(), super::HistoryArgs::default());
        Sources { demo: true, ..super::args::sources(&none.0, &none.1, &none.2, &self.log) }
    }
}

/// What becomes of a recording's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Times {
    /// They move to the present
    Now,
    /// They stay as recorded
    Kept,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if speed > 0.0 && speed <= 10_000.0 { Ok(speed) } else { Err("above 0 and at most 10000".to_owned()) }
}
