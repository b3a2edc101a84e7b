//! `[klines]`: which klines are made, and how.

use std::time::Duration;

use klines_domain::aggregator::{Fill, Open, Settings};
use klines_domain::interval::Interval;
use klines_domain::symbol::Category;
use klines_domain::time::{DAY, HOUR, MINUTE, Millis};

use super::loader::{Key, Loader, Section, Sourced};
use super::quantity::HumanDuration;
use super::value::{Fault, Scalar, choice};

const INTERVALS: Key = Key::new("intervals").variable("KLINE_INTERVALS").flag("--intervals");
const OPEN: Key = Key::new("open").flag("--open");
const FILL: Key = Key::new("fill").flag("--fill");
const UPDATE_INTERVAL: Key = Key::new("update_interval").flag("--update-interval");
const GRACE: Key = Key::new("grace");
const LATENESS: Key = Key::new("lateness");
const BLOCK_TRADES: Key = Key::new("block_trades");
const REPAIR: Key = Key::new("repair");

/// The shortest and the longest time for which gaps are repaired. The shortest gives the exchange the time to settle its
/// candles.
const REPAIR_RANGE: [Millis; 2] = [MINUTE, 7 * DAY];

/// Which klines are made, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Klines {
    /// Window lengths in the listed order; never empty, without duplicates. Default: 1m, 5m, 1h.
    pub intervals: Vec<Interval>,
    /// The price that a kline opens with. Default: the previous close.
    pub open: Open,
    /// Which windows without a trade get a flat kline. Default: those from 1s up.
    pub fill: Fill,
    /// Shortest time between two updates of an open kline, in ms; 0 means an update on every change. Default: 1 s.
    pub update_interval: Millis,
    /// Time to wait for late trades after the end of a window, in ms. Default: 80 ms.
    pub grace: Millis,
    /// How far behind the watermark a trade may arrive and still be counted, in ms. Default: 60 s.
    pub lateness: Millis,
    /// Whether block trades are counted. Default: yes.
    pub block_trades: bool,
    /// How old a gap can become before it is no longer repaired, in ms; 0 means that none is. Default: 24 h.
    pub repair: Millis,
}

impl Default for Klines {
    fn default() -> Self {
        Self {
            intervals: ["1m", "5m", "1h"].iter().filter_map(|text| text.parse().ok()).collect(),
            open: Open::default(),
            fill: Fill::default(),
            update_interval: 1_000,
            grace: 80,
            lateness: MINUTE,
            block_trades: true,
            repair: DAY,
        }
    }
}

impl Klines {
    /// Returns the aggregator settings for the klines of one category, without repairs.
    #[must_use]
    pub fn settings(&self, category: Category) -> Settings {
        Settings {
            category,
            intervals: self.intervals.clone(),
            open: self.open,
            fill: self.fill,
            update_interval: Some(self.update_interval),
            grace: self.grace,
            lateness: self.lateness,
            block_trades: self.block_trades,
            is_repaired: false,
        }
    }

    /// Returns whether candles of the exchange can take the place of trades that were missed: they open at the previous
    /// close, and include block trades.
    #[must_use]
    pub fn fit_candles(&self) -> bool {
        self.open == Open::PreviousClose && self.block_trades
    }

    pub(super) fn read(loader: &mut Loader<'_>, section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let intervals = loader.read(section, INTERVALS, default.intervals);
        let intervals = loader.unique(intervals, ToString::to_string);
        loader.not_empty(&intervals, "interval");
        Self {
            intervals: intervals.value,
            open: loader.read(section, OPEN, default.open).value,
            fill: loader.read(section, FILL, default.fill).value,
            update_interval: read_millis(loader, section, UPDATE_INTERVAL, default.update_interval, DAY),
            grace: read_millis(loader, section, GRACE, default.grace, MINUTE),
            lateness: read_millis(loader, section, LATENESS, default.lateness, HOUR),
            block_trades: loader.read(section, BLOCK_TRADES, default.block_trades).value,
            repair: read_repair(loader, section, default.repair),
        }
    }
}

/// Reads a duration of at most `most` ms.
fn read_millis(loader: &mut Loader<'_>, section: &mut Section<'_>, key: Key, default: Millis, most: Millis) -> Millis {
    let default = HumanDuration::millis(default.unsigned_abs());
    let read: Sourced<HumanDuration> = loader.read(section, key, default);
    let millis = Millis::try_from(read.value.0.as_millis()).unwrap_or(Millis::MAX);
    if millis > most {
        let diagnostic = read.error(format!("`{}` is too long", read.value));
        loader.report.push(diagnostic.expected(format!("at most {}", HumanDuration::millis(most.unsigned_abs()))));
    }
    millis
}

/// Reads for how long gaps are repaired.
fn read_repair(loader: &mut Loader<'_>, section: &mut Section<'_>, default: Millis) -> Millis {
    let [least, most] = REPAIR_RANGE.map(|millis| HumanDuration::millis(millis.unsigned_abs()));
    let read: Sourced<HumanDuration> = loader.read(section, REPAIR, HumanDuration::millis(default.unsigned_abs()));
    let problem = match read.value {
        HumanDuration(Duration::ZERO) => None,
        repair if repair < least => Some("too short"),
        repair => (repair > most).then_some("too long"),
    };
    if let Some(problem) = problem {
        let diagnostic = read.error(format!("`{}` is {problem}", read.value));
        loader.report.push(diagnostic.expected(format!("{least} to {most}, or 0s for no repair")));
    }
    Millis::try_from(read.value.0.as_millis()).unwrap_or(Millis::MAX)
}

impl Scalar for Open {
    const EXPECTED: &'static str = "previous-close or first-trade";

    fn parse(text: &str) -> Result<Self, Fault> {
        const WORDS: [(&str, Open); 2] = [("previous-close", Open::PreviousClose), ("first-trade", Open::FirstTrade)];
        choice(text, &WORDS, Self::EXPECTED)
    }

    fn show(&self) -> String {
        match self {
            Self::PreviousClose => "previous-close".to_owned(),
            Self::FirstTrade => "first-trade".to_owned(),
        }
    }
}

impl Scalar for Fill {
    const EXPECTED: &'static str = "true, false or \"all\"";
    const BARE: bool = true;

    fn parse(text: &str) -> Result<Self, Fault> {
        if text.eq_ignore_ascii_case("all") {
            return Ok(Self::All);
        }
        let read = <bool as Scalar>::parse(text).map(|fill| if fill { Self::FromOneSecond } else { Self::Never });
        read.map_err(|fault| Fault::new(fault.message, Self::EXPECTED).nearest(fault.nearest))
    }

    fn show(&self) -> String {
        match self {
            Self::Never => "false".to_owned(),
            Self::FromOneSecond => "true".to_owned(),
            Self::All => "all".to_owned(),
        }
    }
}
