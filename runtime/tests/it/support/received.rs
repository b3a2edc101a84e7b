//! Klines as the console prints them in JSON, and the invariants of every stream of them. Does not know the trades.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;

/// A kline as one line of the console.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Received {
    pub category: String,
    pub symbol: String,
    pub interval: String,
    pub start: i64,
    pub end: i64,
    pub open: String,
    pub high: String,
    pub low: String,
    pub close: String,
    pub volume: String,
    pub turnover: String,
    pub buy_volume: String,
    pub buy_turnover: String,
    pub trades: u64,
    pub last_trade_time: i64,
    pub confirm: bool,
    pub revision: u32,
    pub quality: String,
    pub sequence: u64,
}

/// Identifies a series: category, symbol and interval.
pub type SeriesKey = (String, String, String);

impl Received {
    /// Returns the series of the kline.
    pub fn series(&self) -> SeriesKey {
        (self.category.clone(), self.symbol.clone(), self.interval.clone())
    }

    /// Returns whether every trade of the window was seen.
    pub fn is_complete(&self) -> bool {
        self.quality == "complete"
    }
}

/// Parses the output of the console. Panics on any other line, such as a note of lost klines.
pub fn received(out: &str) -> Vec<Received> {
    let read = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    out.lines().map(read).collect()
}

/// Counts the klines of one symbol and interval whose last revision so far is complete.
pub fn complete(out: &str, symbol: &str, interval: &str) -> usize {
    let last = last_revisions(&received(out));
    let of_it = last.iter().filter(|((_, name, length), _)| name == symbol && length == interval);
    of_it.flat_map(|(_, klines)| klines.values()).filter(|kline| kline.is_complete()).count()
}

/// Asserts that no kline comes twice, sequences have no hole, revisions count from 0, and no closed kline is taken
/// back.
#[track_caller]
pub fn assert_sound(received: &[Received]) {
    let (mut sequences, mut revisions) = (BTreeMap::<SeriesKey, u64>::new(), BTreeMap::<(SeriesKey, i64), u32>::new());
    let mut seen = HashSet::new();
    for kline in received {
        assert!(kline.confirm, "only closed klines were asked for: {kline:?}");
        assert!(seen.insert((kline.series(), kline.start, kline.revision)), "received twice: {kline:?}");
        let sequence = sequences.entry(kline.series()).or_default();
        assert_eq!(kline.sequence, *sequence + 1, "a hole before {kline:?}");
        *sequence = kline.sequence;
        let next = revisions.entry((kline.series(), kline.start)).or_default();
        assert_eq!(kline.revision, *next, "{kline:?}");
        *next += 1;
    }
}

/// Returns the last revision of each kline, ordered by start.
pub fn last_revisions(received: &[Received]) -> BTreeMap<SeriesKey, BTreeMap<i64, Received>> {
    let mut last = BTreeMap::<SeriesKey, BTreeMap<i64, Received>>::new();
    for kline in received {
        last.entry(kline.series()).or_default().insert(kline.start, kline.clone());
    }
    last
}
