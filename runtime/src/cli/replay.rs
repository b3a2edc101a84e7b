//! `klines replay`.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use klines_config::consumers::Shipped;
use klines_config::{Sources, nearest};
use klines_delivery::encode::CsvColumn;

use super::args::{ConfigArgs, KlineArgs, LogArgs, MarketArgs, sources};

/// `klines replay`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Reads raw frames, one per line; frames inside a recorder's records; and the CSV files of Bybit's archive \
(for spot archives, the symbol comes from the file name or --symbols). Every file can be plain or gzip. \
Klines are delivered to the enabled consumers, or, with --format, written to a file. With --values, the values that \
consumers publish are written to a file. A csv row is \
interval,symbol,start,open,high,low,close,volume,turnover,trades, or what --columns names. Rows of parquet wait until \
everything is read, many of them in a temporary file next to the output, because each column has one number of decimals.

Exit codes: 0 ok, 1 failed, for example because the output exists and --force is not set, 2 usage, 78 configuration \
refused.

Examples:
  klines replay BTCUSDT2024-01-01.csv.gz --intervals 1m,1h --format csv --output klines.csv
  klines replay BTCUSDT2024-01-01.csv.gz --format csv --header --columns start,close,volume,quality
  klines replay BTCUSDT2024-01-0*.csv.gz --intervals 1m --format parquet --output klines.parquet
  klines replay BTCUSDT2024-01-01.csv.gz --consumers sma --values sma.csv
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
    /// Write the confirmed values that consumers publish to this file, which ends in .csv, .ndjson or .jsonl
    #[arg(long, value_name = "FILE", value_parser = values)]
    pub values: Option<ValuePath>,
    /// With --output or --values: overwrite a file that exists
    #[arg(long)]
    pub force: bool,
    /// With --format csv: begin with a line of the columns' names
    #[arg(long, requires = "format")]
    pub header: bool,
    /// With --format csv or parquet: columns to write, comma-separated; every field of the JSON is one, such as quality,
    /// confirm, revision, category or buy_volume
    #[arg(long, value_name = "COLUMNS", requires = "format", value_parser = columns)]
    pub columns: Option<Columns>,
    /// With --format csv: digits of prices, volumes and turnovers [default: trimmed]
    #[arg(long, value_enum, value_name = "DIGITS", requires = "format")]
    pub decimals: Option<Decimals>,
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
    /// Rows sorted by end, interval and symbol, without a header unless --header is set
    Csv,
    /// One JSON object per line with all fields, decimals as strings
    Ndjson,
    /// One JSON object per line, in the form of Bybit's kline pushes
    Bybit,
    /// A Parquet file with all fields, or the columns of --columns, with exact decimals, in the order of csv
    Parquet,
}

/// A file for values, and its format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValuePath {
    /// The file.
    pub path: PathBuf,
    /// The format of its rows.
    pub format: ValueFormat,
}

/// The format in which values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueFormat {
    /// Rows of columns, after a line with their names.
    Csv,
    /// One JSON object per line.
    Ndjson,
}

/// Reads the path of a file for values; its extension names the format.
fn values(text: &str) -> Result<ValuePath, String> {
    let path = PathBuf::from(text);
    let format = match path.extension().and_then(OsStr::to_str) {
        Some("csv") => ValueFormat::Csv,
        Some("ndjson" | "jsonl") => ValueFormat::Ndjson,
        _ => return Err("the format is that of the file's extension: .csv, .ndjson or .jsonl".to_owned()),
    };
    Ok(ValuePath { path, format })
}

/// The columns of csv, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns(pub Vec<CsvColumn>);

/// How many decimals a value has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Decimals {
    /// No trailing zeros
    Trimmed,
    /// As many as the scale of the symbol, the largest of the file's symbols: the same number in a whole column. Rows
    /// wait until everything is read, many of them in a temporary file next to the output
    Scale,
}

/// Reads the names of columns.
fn columns(text: &str) -> Result<Columns, String> {
    let names = CsvColumn::ALL.map(CsvColumn::as_str);
    let refused = |what: String| Err(format!("{what}; the columns are {}", names.join(", ")));
    let mut columns = Vec::new();
    for name in text.split(',').map(str::trim) {
        let Some(column) = CsvColumn::ALL.into_iter().find(|column| column.as_str() == name) else {
            let near = nearest(name, names).map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
            return refused(format!("`{name}` is not a column{near}"));
        };
        if columns.contains(&column) {
            return refused(format!("`{name}` is named twice"));
        }
        columns.push(column);
    }
    Ok(Columns(columns))
}

impl ReplayArgs {
    /// Refuses flags that have no effect with the chosen format.
    pub(super) fn check(&self) -> Result<(), String> {
        let flags =
            [("--header", self.header), ("--decimals", self.decimals.is_some()), ("--columns", self.columns.is_some())];
        let given = flags.iter().find(|(_, is_given)| *is_given).map(|(flag, _)| *flag);
        if self.values.is_some() && self.format.is_some() {
            return Err(
                "with --format, no consumer receives klines and publishes --values: replay once with --format, \
                        and once with --consumers and --values"
                    .to_owned(),
            );
        }
        if self.force && self.output.is_none() && self.values.is_none() {
            return Err("--force is for a file that --output or --values names".to_owned());
        }
        match (given, self.format) {
            (_, Some(OutputFormat::Parquet)) if cfg!(not(feature = "parquet")) => {
                Err("this build has no parquet: it was built without the feature `parquet`".to_owned())
            }
            (Some(flag @ ("--header" | "--decimals")), Some(OutputFormat::Parquet)) => {
                Err(format!("{flag} is for --format csv: a Parquet file has the names and the scales of its columns"))
            }
            (Some("--columns"), Some(OutputFormat::Ndjson | OutputFormat::Bybit)) => {
                Err("--columns is for --format csv or parquet: the other formats have fixed fields".to_owned())
            }
            (Some(flag), Some(OutputFormat::Ndjson | OutputFormat::Bybit)) => {
                Err(format!("{flag} is for --format csv: the other formats have fixed fields"))
            }
            _ => Ok(()),
        }
    }

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
