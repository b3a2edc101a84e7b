//! The operator's choices of how klines are built.

use crate::interval::Interval;
use crate::symbol::Category;
use crate::time::{Millis, SECOND};

/// The minimum time for which closed windows are kept: a silent connection is given up after 45 s, and klines that were
/// confirmed meanwhile are revised.
const MIN_RETENTION: Millis = 50 * SECOND;

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
    /// Returns whether windows of this interval are filled.
    #[must_use]
    pub fn applies(self, interval: Interval) -> bool {
        match self {
            Self::Never => false,
            Self::FromOneSecond => interval.nominal_millis() >= SECOND,
            Self::All => true,
        }
    }
}

/// The settings of a category's klines.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The category.
    pub category: Category,
    /// The intervals, in any order.
    pub intervals: Vec<Interval>,
    /// What a kline opens with.
    pub open: Open,
    /// Which windows without trades become flat klines.
    pub fill: Fill,
    /// Minimum pause between two updates of a symbol's open windows, in ms; 0 emits every change, `None` emits no
    /// updates.
    pub update_interval: Option<Millis>,
    /// How long after its end a window waits for delayed trades, in ms of exchange time.
    pub grace: Millis,
    /// How far behind the watermark a trade still counts, in ms.
    pub lateness: Millis,
    /// Whether block trades count.
    pub block_trades: bool,
    /// Whether gaps are kept until they are repaired or given up.
    pub is_repaired: bool,
}

impl Settings {
    /// Returns the defaults: Bybit's own rules, updates once a second, 80 ms grace, 60 s
    /// lateness; gaps are not repaired.
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
            is_repaired: false,
        }
    }

    /// Returns how far behind the watermark a closed window can still be revised, in ms: `lateness`, but at least the
    /// time that it takes to detect a silent feed.
    #[must_use]
    pub fn retention(&self) -> Millis {
        self.lateness.max(MIN_RETENTION)
    }
}
