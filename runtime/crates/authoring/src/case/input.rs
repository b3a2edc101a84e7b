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
const INTERVALS: Key = Key::new("intervals");
const CATEGORY: Key = Key::new("category");
const BATCH: Key = Key::new("batch");
const SEED: Key = Key::new("seed");
const SECONDS: Key = Key::new("seconds");
const MARKET_SYMBOLS: Key = Key::new("symbols");

/// The longest that a made-up market trades, in seconds.
const MOST_SECONDS: u32 = 7 * 86_400;
/// The most klines of one call in a run.
const MOST_BATCH: u32 = 64;

/// Where klines come from, and how they are handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Where they come from.
    pub source: Source,
    /// Which are made of trades. Default: 1m.
    pub intervals: Vec<Interval>,
    /// The category of the trades. Default: linear; for a recording, the one that it holds.
    pub category: Option<Category>,
    /// Klines of one call at most, 1 to 64. Default: 1.
    pub batch: usize,
}

/// A source of klines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Trades that are made up, the same for the same seed.
    Market {
        /// What they follow from. Default: 1.
        seed: u64,
        /// How long it trades. Default: 120 s.
        length: Duration,
        /// What is traded. Default: BTCUSDT, ETHUSDT.
        symbols: Vec<Symbol>,
    },
    /// A recording of trades.
    Trades(PathBuf),
    /// Klines written by hand, one JSON object a line.
    Klines(PathBuf),
}

impl Input {
    pub(super) fn read(loader: &mut Loader<'_>, section: &mut Section<'_>, beside: &Path) -> Self {
        let written: Vec<_> = section.entries().filter(|entry| SOURCES.contains(&entry.0)).collect();
        if let [_, (name, span, _), ..] = written.as_slice() {
            let place = loader.layers.toml_place((*span).clone());
            let message = format!("`{name}` is a second source of klines");
            loader.report.push(Diagnostic::error(place, message).expected("one of market, trades, klines"));
        }
        let by_hand = written.iter().any(|entry| entry.0 == KLINES.name);
        let market = market(loader, section);
        let trades = file(loader, section, TRADES, beside).map(Source::Trades);
        let klines = file(loader, section, KLINES, beside).map(Source::Klines);
        let intervals = loader.read(section, INTERVALS, vec![Interval::MINUTE]);
        let intervals = loader.unique(intervals, ToString::to_string);
        loader.not_empty(&intervals, "interval");
        let category = loader.read_optional::<Category>(section, CATEGORY);
        for place in [intervals.is_set().then_some(&intervals.place), category.as_ref().map(|found| &found.place)] {
            if let Some(place) = place.filter(|_| by_hand) {
                let message = "has no effect: klines that are written by hand say it themselves";
                loader.report.push(Diagnostic::warning(place.clone(), message));
            }
        }
        let batch = loader.read(section, BATCH, NonZeroU32::MIN);
        if batch.value.get() > MOST_BATCH {
            let diagnostic = batch.error(format!("`{}` is more than a run hands over in one call", batch.value));
            loader.report.push(diagnostic.expected(format!("1 to {MOST_BATCH}")));
        }
        Self {
            source: trades.or(klines).unwrap_or(market),
            intervals: intervals.value,
            category: category.map(|category| category.value),
            batch: usize::try_from(batch.value.get()).unwrap_or(1),
        }
    }
}

/// The made-up market, with defaults for all that is not written.
fn market(loader: &mut Loader<'_>, section: &mut Section<'_>) -> Source {
    let mut section = loader.section(section, "market");
    let seed = loader.read(&mut section, SEED, NonZeroU32::MIN).value;
    let seconds = loader.read(&mut section, SECONDS, NonZeroU32::MIN.saturating_add(119));
    if seconds.value.get() > MOST_SECONDS {
        let diagnostic = seconds.error(format!("`{}` is a long time", seconds.value));
        loader.report.push(diagnostic.expected(format!("at most {MOST_SECONDS}, a week")));
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
