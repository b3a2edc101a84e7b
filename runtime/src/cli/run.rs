//! `klines run`, and the sources of every command that reads the whole configuration.

use clap::Args;
use klines_config::Sources;
use klines_config::quantity::HumanDuration;

use super::args::{ConfigArgs, HistoryArgs, LogArgs, MarketArgs, sources};
use super::{CheckArgs, ShowArgs};

/// `klines run`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Ends on Ctrl-C or SIGTERM, or after --for: open klines are flushed as not closed, also one that has just ended \
but still waits for late trades, and what was delivered is said. \
A second signal ends at once.

Exit codes: 0 ended as asked, 1 failed, 78 configuration refused.

Examples:
  klines run --demo --for 20s
  WSS_AUTH_USER=me WSS_AUTH_KEY=$(klines keygen) klines run --demo --consumers websocket
  klines run --category linear,spot --symbols BTCUSDT --intervals 100ms,1s,1m
  klines run --load-all --symbols-limit 50 --consumers jsonl")]
pub struct RunArgs {
    /// Run against an embedded exchange: no network, the same market every time; of files only --config is read
    #[arg(long, conflicts_with_all = ["env_file", "testnet", "load_all", "ws_url", "rest_url"])]
    pub demo: bool,
    /// End by itself after this time, such as 20s or 1m30s
    #[arg(long = "for", value_name = "DURATION")]
    pub duration: Option<HumanDuration>,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// What is watched.
    #[command(flatten)]
    pub market: MarketArgs,
    /// How klines are made.
    #[command(flatten)]
    pub history: HistoryArgs,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
}

impl RunArgs {
    /// What the configuration is read from.
    #[must_use]
    pub fn sources(&self) -> Sources {
        Sources { demo: self.demo, ..sources(&self.config, &self.market, &self.history, &self.log) }
    }
}

impl CheckArgs {
    /// What the configuration is read from.
    #[must_use]
    pub fn sources(&self) -> Sources {
        sources(&self.config, &self.market, &self.history, &self.log)
    }
}

impl ShowArgs {
    /// What the configuration is read from.
    #[must_use]
    pub fn sources(&self) -> Sources {
        sources(&self.config, &self.market, &self.history, &self.log)
    }
}
