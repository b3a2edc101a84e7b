//! Klines as the console tells them in JSON, and what must hold of every stream of them. Does not know what was traded.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;

/// One line of the console.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Told {
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

/// Category, symbol and interval.
pub type Series = (String, String, String);

impl Told {
    /// Whose kline it is.
    pub fn series(&self) -> Series {
        (self.category.clone(), self.symbol.clone(), self.interval.clone())
    }

    /// Whether every trade of it was seen.
    pub fn is_complete(&self) -> bool {
        self.quality == "complete"
    }
}

/// Reads what the console has printed. Fails on anything else, a note of losses included.
pub fn told(out: &str) -> Vec<Told> {
    let read = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    out.lines().map(read).collect()
}

/// The klines of one symbol and interval that are complete, so far, in their last revision.
pub fn complete(out: &str, symbol: &str, interval: &str) -> usize {
    let last = last_revisions(&told(out));
    let of_it = last.iter().filter(|((_, name, length), _)| name == symbol && length == interval);
    of_it.flat_map(|(_, klines)| klines.values()).filter(|kline| kline.is_complete()).count()
}

/// Nothing is told twice, sequences have no hole, revisions count from 0, and nothing closed is taken back.
#[track_caller]
pub fn assert_sound(told: &[Told]) {
    let (mut sequences, mut revisions) = (BTreeMap::<Series, u64>::new(), BTreeMap::<(Series, i64), u32>::new());
    let mut seen = HashSet::new();
    for kline in told {
        assert!(kline.confirm, "only closed klines were asked for: {kline:?}");
        assert!(seen.insert((kline.series(), kline.start, kline.revision)), "told twice: {kline:?}");
        let sequence = sequences.entry(kline.series()).or_default();
        assert_eq!(kline.sequence, *sequence + 1, "a hole before {kline:?}");
        *sequence = kline.sequence;
        let next = revisions.entry((kline.series(), kline.start)).or_default();
        assert_eq!(kline.revision, *next, "{kline:?}");
        *next += 1;
    }
}

/// The last revision of each kline, in order of start.
pub fn last_revisions(told: &[Told]) -> BTreeMap<Series, BTreeMap<i64, Told>> {
    let mut last = BTreeMap::<Series, BTreeMap<i64, Told>>::new();
    for kline in told {
        last.entry(kline.series()).or_default().insert(kline.start, kline.clone());
    }
    last
}
