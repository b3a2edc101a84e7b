//! `[input]`: where the klines of a case come from.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use klines_domain::interval::Interval;
use klines_domain::symbol::{Category, Symbol};

use super::words::file;
use klines_config::loader::{Key, Loader, Section};
use klines_config::report::Diagnostic;

const SOURCES: [&str; 3] = ["market", "trades", "klines"];
const TRADES: Key = Key::new("trades");
const KLINES: Key = Key::new("klines");
const HISTORY: Key = Key::new("history");
const INTERVALS: Key = Key::new("intervals");
const CATEGORY: Key = Key::new("category");
const BATCH: Key = Key::new("batch");
const SEED: Key = Key::new("seed");
const SECONDS: Key = Key::new("seconds");
const MARKET_SYMBOLS: Key = Key::new("symbols");

/// Longest duration of a generated market, in seconds.
const MAX_SECONDS: u32 = 7 * 86_400;
/// Largest number of klines in one call of a run.
const MAX_BATCH: u32 = 64;

/// Where the klines come from, and how they are delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Where they come from.
    pub source: Source,
    /// Hand-written klines that are stored before the first call, for consumers that read the past. Default: none.
    pub history: Option<PathBuf>,
    /// The intervals of the klines that are made from trades. Default: 1m.
    pub intervals: Vec<Interval>,
    /// The category of the trades. Default: linear; for a recording, the category that it contains.
    pub category: Option<Category>,
    /// Largest number of klines in one call, 1 to 64. Default: 1.
    pub batch: usize,
}

/// A source of klines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A market with generated trades, which are the same for the same seed.
    Market {
        /// The seed of the generator. Default: 1.
        seed: u64,
        /// How long the market trades. Default: 120 s.
        length: Duration,
        /// The symbols that are traded. Default: BTCUSDT, ETHUSDT.
        symbols: Vec<Symbol>,
    },
    /// A recording of trades.
    Trades(PathBuf),
    /// Hand-written klines, one JSON object per line.
    Klines(PathBuf),
}

impl Input {
    pub(super) fn read(loader: &mut Loader<'_>, section: &mut Section<'_>, case_folder: &Path) -> Self {
        let written: Vec<_> = section.entries().filter(|entry| SOURCES.contains(&entry.0)).collect();
        if let [_, (name, span, _), ..] = written.as_slice() {
            let place = loader.layers.toml_place((*span).clone());
            let message = format!("`{name}` is a second source of klines");
            loader.report.push(Diagnostic::error(place, message).expected("one of market, trades, klines"));
        }
        let by_hand = written.iter().any(|entry| entry.0 == KLINES.name);
        let market = market(loader, section);
        let trades = file(loader, section, TRADES, case_folder).map(Source::Trades);
        let klines = file(loader, section, KLINES, case_folder).map(Source::Klines);
        let history = file(loader, section, HISTORY, case_folder);
        let intervals = loader.read(section, INTERVALS, vec![Interval::MINUTE]);
        let intervals = loader.unique(intervals, ToString::to_string);
        loader.not_empty(&intervals, "interval");
        let category = loader.read_optional::<Category>(section, CATEGORY);
        for place in [intervals.is_set().then_some(&intervals.place), category.as_ref().map(|found| &found.place)] {
            if let Some(place) = place.filter(|_| by_hand) {
                let message = "has no effect: hand-written klines have their own";
                loader.report.push(Diagnostic::warning(place.clone(), message));
            }
        }
        let batch = loader.read(section, BATCH, NonZeroU32::MIN);
        if batch.value.get() > MAX_BATCH {
            let diagnostic = batch.error(format!("`{}` is more than a run delivers in one call", batch.value));
            loader.report.push(diagnostic.expected(format!("1 to {MAX_BATCH}")));
        }
        Self {
            source: trades.or(klines).unwrap_or(market),
            history,
            intervals: intervals.value,
            category: category.map(|category| category.value),
            batch: usize::try_from(batch.value.get()).unwrap_or(1),
        }
    }
}

/// Reads the generated market, with defaults for keys that are not written.
fn market(loader: &mut Loader<'_>, section: &mut Section<'_>) -> Source {
    let mut section = loader.section(section, "market");
    let seed = loader.read(&mut section, SEED, NonZeroU32::MIN).value;
    let seconds = loader.read(&mut section, SECONDS, NonZeroU32::MIN.saturating_add(119));
    if seconds.value.get() > MAX_SECONDS {
        let diagnostic = seconds.error(format!("`{}` is too long", seconds.value));
        loader.report.push(diagnostic.expected(format!("at most {MAX_SECONDS}, a week")));
    }
    let usual = ["BTCUSDT", "ETHUSDT"].into_iter().filter_map(|name| Symbol::new(name).ok()).collect();
    let symbols = loader.read(&mut section, MARKET_SYMBOLS, usual);
    let symbols = loader.unique(symbols, ToString::to_string);
    loader.not_empty(&symbols, "symbol");
    loader.finish(section);
    Source::Market {
        seed: u64::from(seed.get()),
        length: Duration::from_secs(u64::from(seconds.value.get())),
        symbols: symbols.value,
    }
}
