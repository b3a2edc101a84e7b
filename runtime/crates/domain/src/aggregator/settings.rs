//! How klines are made: the choices that the operator has.

use crate::interval::Interval;
use crate::symbol::Category;
use crate::time::{Millis, SECOND};

/// How long closed windows are kept at least: a connection's feed may have been silent for 45 s before it is given up,
/// and what was confirmed meanwhile is revised.
const KEPT_AT_LEAST: Millis = 50 * SECOND;

/// What a kline opens with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Open {
    /// The last price before the window, as Bybit does.
    #[default]
    PreviousClose,
    /// The first trade of the window.
    FirstTrade,
}

/// Which windows without trades become flat klines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fill {
    /// None.
    Never,
    /// Those of intervals from one second up.
    #[default]
    FromOneSecond,
    /// Those of every interval.
    All,
}

impl Fill {
    /// Whether windows of this interval are filled.
    #[must_use]
    pub fn applies(self, interval: Interval) -> bool {
        match self {
            Self::Never => false,
            Self::FromOneSecond => interval.nominal_millis() >= SECOND,
            Self::All => true,
        }
    }
}

/// How the klines of a category are made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The category.
    pub category: Category,
    /// The intervals, in any order.
    pub intervals: Vec<Interval>,
    /// What a kline opens with.
    pub open: Open,
    /// Which empty windows become flat klines.
    pub fill: Fill,
    /// Least pause between two updates of a symbol's open windows, in ms; 0 is on every change, nothing is never.
    pub update_interval: Option<Millis>,
    /// How long after its end a window waits for stragglers, in ms of exchange time.
    pub grace: Millis,
    /// How far behind the watermark a trade still counts, in ms.
    pub lateness: Millis,
    /// Whether block trades count.
    pub block_trades: bool,
}

impl Settings {
    /// The defaults: Bybit's own rules, updates once a second, 80 ms grace, 60 s lateness.
    #[must_use]
    pub fn new(category: Category, intervals: Vec<Interval>) -> Self {
        Self {
            category,
            intervals,
            open: Open::default(),
            fill: Fill::default(),
            update_interval: Some(SECOND),
            grace: 80,
            lateness: 60 * SECOND,
            block_trades: true,
        }
    }

    /// Returns how far behind the watermark a closed window can still be revised, in ms: for `lateness`, and at least for
    /// as long as it takes to find out that a feed was silent.
    #[must_use]
    pub fn kept(&self) -> Millis {
        self.lateness.max(KEPT_AT_LEAST)
    }
}
