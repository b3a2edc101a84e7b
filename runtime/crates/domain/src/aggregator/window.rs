//! One window of one symbol and interval: its trades, its open, and what has been emitted of it.

use crate::bucket::{Bucket, Widening};
use crate::kline::Quality;
use crate::time::Millis;

/// The last price before some moment, and when it was paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Carry {
    pub(super) price: i64,
    pub(super) time: Millis,
}

/// What has been emitted of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emitted {
    /// Nothing confirmed; `trades` is what the last update showed.
    Open {
        /// Number of trades in the last update, 0 before any.
        trades: u64,
    },
    /// Its end has passed, and there was no kline to emit.
    Silent,
    /// Confirmed with this revision.
    Closed {
        /// 0 the first time.
        revision: u32,
    },
}

/// One window.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) start: Millis,
    pub(super) bucket: Bucket,
    /// The last trade before `start`, known or not to be the last; carried on through windows without trades.
    pub(super) carry: Option<Carry>,
    /// Whether `carry` is certain to be the last trade before `start`.
    pub(super) proven: bool,
    /// Whether that has been looked at.
    pub(super) is_judged: bool,
    /// What its trades are worth, whatever its open is.
    pub(super) quality: Quality,
    pub(super) emitted: Emitted,
    /// Its confirmed kline is out of date: a revision is due.
    pub(super) stale: bool,
}

/// Prices of a window as its kline shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prices {
    pub(super) open: i64,
    pub(super) high: i64,
    pub(super) low: i64,
    pub(super) close: i64,
}

impl Window {
    pub(super) fn new(start: Millis, quality: Quality) -> Self {
        Self {
            start,
            bucket: Bucket::default(),
            carry: None,
            proven: false,
            is_judged: false,
            quality,
            emitted: Emitted::Open { trades: 0 },
            stale: false,
        }
    }

    /// What the next window's carry is.
    #[inline]
    pub(super) const fn last(&self) -> Option<Carry> {
        if self.bucket.is_empty() {
            return self.carry;
        }
        Some(Carry { price: self.bucket.close, time: self.bucket.last.time })
    }

    /// The previous close, where it is certain.
    pub(super) fn previous_close(&self) -> Option<i64> {
        self.carry.filter(|_| self.proven).map(|carry| carry.price)
    }

    /// What a kline shows of the previous close: its price, and whether it is certain.
    pub(super) fn carry_as_shown(&self, first_trade_opens: bool) -> Option<(i64, bool)> {
        let carry = self.carry?;
        if self.bucket.is_empty() {
            return Some((carry.price, self.proven));
        }
        // Where the first trade opens, the previous close shows only in windows that have none.
        (self.proven && !first_trade_opens).then_some((carry.price, true))
    }

    /// Whether every trade was seen, there was none, and the price before is certain.
    pub(super) fn is_proven_empty(&self) -> bool {
        self.bucket.is_empty() && self.proven && self.quality == Quality::Complete
    }

    /// Returns the prices, or nothing when there is neither a trade nor a previous close.
    ///
    /// A flat window keeps its price when an interruption turns out later: its quality shows the doubt.
    pub(super) fn prices(&self, first_trade_opens: bool) -> Option<Prices> {
        let bucket = &self.bucket;
        if bucket.is_empty() {
            return self.carry.map(|Carry { price, .. }| Prices { open: price, high: price, low: price, close: price });
        }
        let previous = self.previous_close();
        let open = previous.filter(|_| !first_trade_opens).unwrap_or(bucket.open);
        Some(Prices { open, high: bucket.high.max(open), low: bucket.low.min(open), close: bucket.close })
    }

    /// What its kline is worth. One that opens with the previous close, or is flat at it, is not complete until that is
    /// proven.
    pub(super) fn kline_quality(&self, first_trade_opens: bool) -> Quality {
        let depends = !first_trade_opens || self.bucket.is_empty();
        if self.quality == Quality::Complete && depends && !self.proven { Quality::Gapped } else { self.quality }
    }

    /// Marks the confirmed kline, if there is one, as out of date. Returns whether a revision is newly due.
    pub(super) fn outdate(&mut self) -> bool {
        match self.emitted {
            Emitted::Closed { .. } => !std::mem::replace(&mut self.stale, true),
            Emitted::Open { .. } => {
                self.emitted = Emitted::Open { trades: 0 };
                false
            }
            Emitted::Silent => false,
        }
    }

    /// Returns the window in integers with more decimals, or nothing when a price no longer fits.
    pub(super) fn rescaled(&self, by: Widening) -> Option<Self> {
        let carry = match self.carry {
            Some(carry) => Some(Carry { price: by.price(carry.price)?, ..carry }),
            None => None,
        };
        Some(Self { bucket: self.bucket.rescaled(by)?, carry, ..self.clone() })
    }
}
