//! `klines fetch`.

use std::path::PathBuf;

use clap::Args;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use klines_config::Sources;
use klines_config::exchange::SymbolChoice;
use klines_domain::symbol::Category;
use klines_domain::time::{DAY, Millis};

use super::args::{ConfigArgs, KlineArgs, LogArgs, MarketArgs, sources};
use super::history::scalar;

/// `klines fetch`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Downloads the days from FROM to TO, both included, and prints the path of each file. A download that was interrupted \
continues where it ended; a file that is there is not downloaded again. A file gets its name when it is complete: its \
checksum is right, and its rows are trades of that symbol and day. At most ten requests a second are sent. Bybit's \
archive of a day appears after its end.

Exit codes: 0 every day is there, 1 a day is missing or could not be downloaded, 2 usage, 78 configuration refused.

Examples:
  klines fetch BTCUSDT 2024-01-01 2024-01-31 --into archives
  klines fetch spot:ETHUSDT 2024-01-01")]
pub struct FetchArgs {
    /// Symbol as Bybit writes it, such as BTCUSDT or spot:ETHUSDT
    #[arg(value_name = "SYMBOL", value_parser = scalar::<SymbolChoice>)]
    pub symbol: SymbolChoice,
    /// First day, such as 2024-01-31, in UTC
    #[arg(value_name = "FROM", value_parser = day)]
    pub from: Millis,
    /// Last day, included [default: FROM]
    #[arg(value_name = "TO", value_parser = day)]
    pub to: Option<Millis>,
    /// Category: linear, spot or inverse [default: linear]
    #[arg(long, value_name = "CATEGORY", value_parser = scalar::<Category>)]
    pub category: Option<Category>,
    /// Folder for the files
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub into: PathBuf,
    /// Base URL of the archives, in place of Bybit's
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Where the configuration is read from.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
}

impl FetchArgs {
    /// Refuses arguments that contradict each other.
    pub(super) fn check(&self) -> Result<(), String> {
        if let (Some(written), Some(flag)) = (self.symbol.category, self.category)
            && written != flag
        {
            return Err(format!("the symbol is one of {written}, and --category is {flag}"));
        }
        if self.to.is_some_and(|to| to < self.from) { Err("TO is before FROM".to_owned()) } else { Ok(()) }
    }

    /// Returns the category of the symbol.
    #[must_use]
    pub fn category(&self) -> Category {
        self.symbol.category.or(self.category).unwrap_or_default()
    }

    /// Returns the first millisecond of each day.
    pub fn days(&self) -> impl Iterator<Item = Millis> + use<> {
        let last = self.to.unwrap_or(self.from);
        std::iter::successors(Some(self.from), |day| Some(day + DAY)).take_while(move |day| *day <= last)
    }

    /// Returns the sources that the configuration is read from.
    #[must_use]
    pub fn sources(&self) -> Sources {
        sources(&self.config, &MarketArgs::default(), &KlineArgs::default(), &self.log)
    }
}

/// Reads a date as the first millisecond of its day.
fn day(text: &str) -> Result<Millis, String> {
    let date: Result<Date, jiff::Error> = text.parse();
    let start = date.and_then(|date| date.to_zoned(TimeZone::UTC));
    start.map(|start| start.timestamp().as_millisecond()).map_err(|_| "expected a date such as 2024-01-31".to_owned())
}
