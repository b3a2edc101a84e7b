//! `klines backfill`.

use std::path::PathBuf;

use clap::Args;
use klines_config::Sources;
use klines_config::exchange::SymbolChoice;
use klines_domain::symbol::Category;
use klines_domain::time::Millis;

use super::args::{ConfigArgs, KlineArgs, LogArgs, MarketArgs, sources};
use super::history::{from, scalar, to};

/// `klines backfill`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Stores klines of the past in data_dir, where `klines history` and the websocket consumer read them. From archives \
(--files) they are exact: quality complete. From Bybit's REST API they are composed of its minutes: quality repaired, \
only intervals of whole minutes. What is stored and equal stays as it is; a window of which less is known gets a \
revision; one that is complete is never replaced: contradictions are reported. An interrupted backfill is continued by \
the same command. A run that stores klines in the same data_dir has to be stopped first.

Exit codes: 0 ok, 1 nothing was found, a kline contradicts a stored one, or it failed, 2 usage, 78 configuration refused.

Examples:
  klines backfill BTCUSDT ETHUSDT --from 2024-01-01 --to 2024-03-31 --intervals 5m,1h,1D
  klines backfill --files BTCUSDT2024-01-*.csv.gz --intervals 1s,1m")]
pub struct BackfillArgs {
    /// Symbols such as BTCUSDT or spot:ETHUSDT; with --files, the only ones to read [default with --files: all in them]
    #[arg(value_name = "SYMBOL", value_parser = scalar::<SymbolChoice>, required_unless_present = "files")]
    pub symbols: Vec<SymbolChoice>,
    /// Read these archives, plain or gzip, instead of asking Bybit; `klines fetch` downloads them
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub files: Vec<PathBuf>,
    /// Category: linear, spot or inverse [default: linear, or that of the files]
    #[arg(long, value_name = "CATEGORY", value_parser = scalar::<Category>)]
    pub category: Option<Category>,
    /// Earliest start of a kline; required without --files
    #[arg(long, value_name = "TIME", value_parser = from, required_unless_present = "files")]
    pub from: Option<Millis>,
    /// Latest end of a kline; a date means the whole day [default: now, or the end of the files]
    #[arg(long, value_name = "TIME", value_parser = to)]
    pub to: Option<Millis>,
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

impl BackfillArgs {
    /// Refuses arguments that contradict each other.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut named = self.symbols.iter().filter_map(|symbol| symbol.category);
        if let Some(flag) = self.category
            && let Some(other) = named.clone().find(|category| *category != flag)
        {
            return Err(format!("a symbol is one of {other}, and --category is {flag}"));
        }
        if !self.files.is_empty()
            && let Some(first) = named.next()
            && let Some(other) = named.find(|category| *category != first)
        {
            return Err(format!("files are read of one category, not of {first} and {other}"));
        }
        if self.from.zip(self.to).is_some_and(|(from, to)| from > to) {
            return Err("--from is later than --to".to_owned());
        }
        Ok(())
    }

    /// Returns the category of the files; `None` if they decide.
    #[must_use]
    pub fn file_category(&self) -> Option<Category> {
        self.symbols.iter().find_map(|symbol| symbol.category).or(self.category)
    }

    /// Returns the category of a symbol.
    #[must_use]
    pub fn category_of(&self, symbol: &SymbolChoice) -> Category {
        symbol.category.or(self.category).unwrap_or_default()
    }

    /// Returns the sources that the configuration is read from.
    #[must_use]
    pub fn sources(&self) -> Sources {
        sources(&self.config, &MarketArgs::default(), &self.klines, &self.log)
    }
}
