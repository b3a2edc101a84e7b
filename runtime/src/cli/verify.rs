//! `klines verify`.

use std::path::PathBuf;

use clap::Args;
use klines_config::exchange::SymbolChoice;
use klines_config::{Flags, Sources};
use klines_domain::symbol::Category;
use klines_domain::time::Millis;

use super::history::{from, scalar, to};
use super::store::StoreArgs;

/// What is compared with the store instead of files.
const REST: &str = "rest";

/// `klines verify`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
A recording is a file of raw frames, one per line, or of a recorder's records that contain frames; plain or gzip. It \
must contain trades and kline pushes of the same symbols.

--store checks the store as `klines store verify` does. --against compares the stored klines with what Bybit's REST API \
says, or with the klines of archives of trades, and prints in which fields they differ. Both work beside a run.

Exit codes: 0 every compared push or kline is equal, or a push is behind, 1 one is wrong, none was compared, or the store \
has a fault, 2 usage, 78 configuration refused.

Examples:
  klines verify session.jsonl.gz
  klines verify --store
  klines verify --against rest --symbols BTCUSDT --from 2024-01-01 --to 2024-01-31
  klines verify --against BTCUSDT2024-01-0*.csv.gz")]
pub struct VerifyArgs {
    /// Recordings to read
    #[arg(required_unless_present_any = ["check_store", "against"], value_name = "RECORDING")]
    pub recordings: Vec<PathBuf>,
    /// Check that every stored kline can be read, and that nothing contradicts itself
    #[arg(long = "store")]
    pub check_store: bool,
    /// Compare the stored klines with Bybit's REST API (rest), or with archives of trades
    #[arg(long, value_name = "rest|FILE", num_args = 1..)]
    pub against: Vec<PathBuf>,
    /// With --against: symbols, comma-separated, such as BTCUSDT or spot:ETHUSDT [default: all that are stored]
    #[arg(long, value_name = "SYMBOLS", value_delimiter = ',', value_parser = scalar::<SymbolChoice>, requires = "against")]
    pub symbols: Vec<SymbolChoice>,
    /// With --against: category: linear, spot or inverse [default: linear, or that of the files]
    #[arg(long, value_name = "CATEGORY", value_parser = scalar::<Category>, requires = "against")]
    pub category: Option<Category>,
    /// With --against: intervals, comma-separated [default: all that are stored]
    #[arg(long, value_name = "INTERVALS", requires = "against")]
    pub intervals: Option<String>,
    /// With --against: earliest start of a kline
    #[arg(long, value_name = "TIME", value_parser = from, requires = "against")]
    pub from: Option<Millis>,
    /// With --against: latest end of a kline; a date means the whole day
    #[arg(long, value_name = "TIME", value_parser = to, requires = "against")]
    pub to: Option<Millis>,
    /// Print the result as JSON on standard output
    #[arg(long)]
    pub json: bool,
    /// The store.
    #[command(flatten)]
    pub store: StoreArgs,
}

impl VerifyArgs {
    /// Refuses arguments of two kinds.
    pub(super) fn check(&self) -> Result<(), String> {
        let kinds = [!self.recordings.is_empty(), self.check_store, !self.against.is_empty()];
        if kinds.iter().filter(|kind| **kind).count() > 1 {
            return Err("recordings, --store and --against are three different checks: choose one".to_owned());
        }
        Ok(())
    }

    /// Returns whether the store is compared with the REST API.
    #[must_use]
    pub fn is_against_rest(&self) -> bool {
        matches!(self.against.as_slice(), [only] if only.as_os_str() == REST)
    }

    /// Returns the sources that the configuration is read from, if the store is compared.
    #[must_use]
    pub fn sources(&self) -> Sources {
        let given = [("--data-dir", &self.store.data_dir), ("--intervals", &self.intervals)];
        let flags: Flags = given.into_iter().filter_map(|(flag, value)| Some((flag, value.clone()?))).collect();
        Sources::of_process(flags, self.store.config.clone(), self.store.env_file.clone())
    }
}
