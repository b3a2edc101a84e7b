//! `klines replay`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use klines_config::Sources;
use klines_config::consumers::Shipped;

use super::args::{ConfigArgs, HistoryArgs, LogArgs, MarketArgs, sources};

/// `klines replay`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Reads, plain or gzip: raw frames one a line, frames wrapped in a recorder's records, and Bybit's archive \
CSVs (spot archives take the symbol from the file's name or --symbols). Klines go to the enabled consumers, \
or with --format to a file without any consumer. A csv row is \
interval,symbol,start,open,high,low,close,volume,turnover,trades.

Exit codes: 0 ok, 1 failed, 2 usage, 78 configuration refused.

Examples:
  klines replay BTCUSDT2024-01-01.csv.gz --intervals 1m,1h --format csv --output klines.csv
  klines replay session.jsonl.gz --symbols BTCUSDT --consumers console")]
pub struct ReplayArgs {
    /// The recordings
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Write klines in this format in place of handing them to consumers
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<OutputFormat>,
    /// Where klines are written, which needs --format; - is standard output [default: -]
    #[arg(long, value_name = "FILE", requires = "format")]
    pub output: Option<PathBuf>,
    /// Leave out the klines that are still open at the end
    #[arg(long)]
    pub closed_only: bool,
    /// Symbols, comma-separated, such as BTCUSDT or spot:ETHUSDT [default: all that the files hold]
    #[arg(long, value_name = "SYMBOLS")]
    pub symbols: Option<String>,
    /// The category, needed when the input holds two: linear, spot or inverse
    #[arg(long, value_name = "CATEGORY")]
    pub category: Option<String>,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// How klines are made.
    #[command(flatten)]
    pub history: HistoryArgs,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
}

/// A form that klines are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Rows without a header, sorted by end, interval and symbol
    Csv,
    /// One JSON object a line, all fields, decimals as strings
    Ndjson,
    /// One JSON object a line, as Bybit pushes klines
    Bybit,
}

impl ReplayArgs {
    /// What the configuration is read from.
    #[must_use]
    pub fn sources(&self) -> Sources {
        let market =
            MarketArgs { symbols: self.symbols.clone(), category: self.category.clone(), ..MarketArgs::default() };
        let mut sources = sources(&self.config, &market, &self.history, &self.log);
        if self.format.is_some() && self.config.consumers.is_none() {
            // Nothing is handed to consumers, so those that are enabled elsewhere must not stand in the way.
            sources.flags.push(("--consumers", Shipped::Console.as_str().to_owned()));
        }
        sources
    }
}
