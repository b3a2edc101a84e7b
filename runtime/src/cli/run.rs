//! `klines run`.

use clap::Args;
use klines_config::quantity::HumanDuration;
use klines_config::{Reads, Sources};

use super::args::SourceArgs;

/// `klines run`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Stops on Ctrl-C or SIGTERM, when its terminal is closed, after --for, or when the reader of its output has gone (as in | head). It then \
delivers open klines as not closed, including those whose window has ended but still waits for late trades, and \
prints what each consumer received. A second Ctrl-C or SIGTERM stops klines at once.

Exit codes: 0 stopped as requested, 1 failed, 78 configuration refused.

Examples:
  klines run --demo --for 20s
  WSS_AUTH_USER=me WSS_AUTH_KEY=$(klines keygen) klines run --demo --consumers websocket
  klines run --category linear,spot --symbols BTCUSDT --intervals 100ms,1s,1m
  klines run --load-all --symbols-limit 50 --consumers jsonl")]
pub struct RunArgs {
    /// Run against an embedded exchange without a network, with the same generated trades every time. It replaces the
    /// exchange and its symbols (BYBIT_… and the section exchange are ignored); everything else is read as usual
    #[arg(long, conflicts_with_all = ["testnet", "load_all", "ws_url", "rest_url"])]
    pub demo: bool,
    /// Stop after this duration, such as 20s or 1m30s
    #[arg(long = "for", value_name = "DURATION", value_parser = HumanDuration::of_flag)]
    pub duration: Option<HumanDuration>,
    /// The configuration.
    #[command(flatten)]
    pub flags: SourceArgs,
}

impl RunArgs {
    /// Returns the sources that the configuration is read from.
    #[must_use]
    pub fn sources(&self) -> Sources {
        let reads = if self.demo { Reads::AllButExchange } else { Reads::Everything };
        Sources { reads, ..self.flags.sources() }
    }
}
