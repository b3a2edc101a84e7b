//! `klines replay`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use klines_config::Sources;
use klines_config::consumers::Shipped;

use super::args::{ConfigArgs, KlineArgs, LogArgs, MarketArgs, sources};

/// `klines replay`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Reads raw frames, one per line; frames inside a recorder's records; and the CSV files of Bybit's archive \
(for spot archives, the symbol comes from the file name or --symbols). Every file can be plain or gzip. \
Klines are delivered to the enabled consumers, or, with --format, written to a file. A csv row is \
interval,symbol,start,open,high,low,close,volume,turnover,trades.

Exit codes: 0 ok, 1 failed, 2 usage, 78 configuration refused.

Examples:
  klines replay BTCUSDT2024-01-01.csv.gz --intervals 1m,1h --format csv --output klines.csv
  klines replay session.jsonl.gz --symbols BTCUSDT --consumers console")]
pub struct ReplayArgs {
    /// Recordings to read
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Write klines in this format instead of delivering them to consumers
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<OutputFormat>,
    /// With --format: file to write klines to; - is standard output [default: -]
    #[arg(long, value_name = "FILE", requires = "format")]
    pub output: Option<PathBuf>,
    /// Omit the klines that are still open at the end
    #[arg(long)]
    pub closed_only: bool,
    /// Symbols, comma-separated, such as BTCUSDT or spot:ETHUSDT [default: all in the files]
    #[arg(long, value_name = "SYMBOLS")]
    pub symbols: Option<String>,
    /// Category: linear, spot or inverse; required if the files contain more than one
    #[arg(long, value_name = "CATEGORY")]
    pub category: Option<String>,
    /// Where the configuration is read from.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// How klines are made.
    #[command(flatten)]
    pub klines: KlineArgs,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
}

/// The format in which klines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Rows without a header, sorted by end, interval and symbol
    Csv,
    /// One JSON object per line with all fields, decimals as strings
    Ndjson,
    /// One JSON object per line, in the form of Bybit's kline pushes
    Bybit,
}

impl ReplayArgs {
    /// Returns the sources that the configuration is read from.
    #[must_use]
    pub fn sources(&self) -> Sources {
        let market =
            MarketArgs { symbols: self.symbols.clone(), category: self.category.clone(), ..MarketArgs::default() };
        let mut sources = sources(&self.config, &market, &self.klines, &self.log);
        if self.format.is_some() && self.config.consumers.is_none() {
            // No consumer receives klines, so an error in one that is enabled elsewhere must not end the replay.
            sources.flags.push(("--consumers", Shipped::Console.as_str().to_owned()));
        }
        sources
    }
}
