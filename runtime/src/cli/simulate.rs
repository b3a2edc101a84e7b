//! `klines simulate`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum, value_parser};
use klines_config::quantity::HumanDuration;
use klines_config::{Reads, Sources};
use klines_domain::symbol::{Category, Symbol};

use super::args::LogArgs;

/// `klines simulate`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
One port serves the public WebSocket streams and the REST calls, with Bybit's acknowledgements, errors and \
limits. Once it listens, it prints the command that starts `klines run` against it.

Exit codes: 0 stopped as requested, 1 failed.

Examples:
  klines simulate --seed 7 --symbols 900
  klines simulate --recording session.jsonl.gz --speed 10
  klines simulate --refuse ETHUSDT --script faults.txt")]
pub struct SimulateArgs {
    /// Address and port to listen on; port 0 selects a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7878")]
    pub listen: SocketAddr,
    /// Seed of the generated market; the same seed generates the same trades
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Number of linear symbols of the generated market, 1 to 2000: BTCUSDT, ETHUSDT, SOLUSDT, then S0004USDT, …
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u16).range(1..=2_000))]
    pub symbols: u16,
    /// Play the frames of this recording instead of a generated market
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "symbols"])]
    pub recording: Option<PathBuf>,
    /// Category of raw frames in the recording: linear, spot or inverse; a recorder's records contain their category
    #[arg(long, value_name = "CATEGORY", default_value = "linear", requires = "recording")]
    pub category: Category,
    /// Times of the played recording
    #[arg(long, value_enum, value_name = "WHEN", default_value = "now", requires = "recording")]
    pub times: Times,
    /// Speed as a multiple of real time, above 0 and at most 10000
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = speed)]
    pub speed: f64,
    /// File of faults to inject, one per line, such as `at 20s for 10s stall` (also drop, duplicate, reorder,
    /// garbage, …)
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// Refuse subscriptions to this symbol; can be repeated
    #[arg(long, value_name = "SYMBOL", value_parser = Symbol::new)]
    pub refuse: Vec<Symbol>,
    /// Stop after this duration, such as 20s or 1m30s
    #[arg(long = "for", value_name = "DURATION", value_parser = HumanDuration::of_flag)]
    pub duration: Option<HumanDuration>,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
}

impl SimulateArgs {
    /// Returns the sources of the logging settings; no file and no other variable is read.
    #[must_use]
    pub fn sources(&self) -> Sources {
        let none = (super::ConfigArgs::default(), super::MarketArgs::default(), super::KlineArgs::default());
        let all = super::args::sources(&none.0, &none.1, &none.2, &self.log);
        let is_log = |(name, _): &(OsString, OsString)| name == "LOG_LEVEL" || name == "LOG_FORMAT";
        let environment = all.environment.into_iter().filter(is_log).collect();
        Sources { environment, reads: Reads::Environment, ..all }
    }
}

/// How the times of a recording are played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Times {
    /// Move all times so that the recording starts now
    Now,
    /// Keep the recorded times
    Kept,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if speed > 0.0 && speed <= 10_000.0 { Ok(speed) } else { Err("must be above 0 and at most 10000".to_owned()) }
}
