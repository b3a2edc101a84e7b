//! One window of one symbol and interval: its trades, its open, and which of its klines have been emitted.

use crate::bucket::{Bucket, Widening};
use crate::kline::Quality;
use crate::mutants::Mutant;
use crate::time::Millis;

/// The price and time of the last trade before some moment. Of a candle it is the first moment after its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Carry {
    pub(super) price: i64,
    pub(super) time: Millis,
}

impl Carry {
    /// Returns the price in integers with more decimals; `None` if it no longer fits.
    pub(super) fn rescaled(self, by: Widening) -> Option<Self> {
        Some(Self { price: by.price(self.price)?, ..self })
    }
}

/// Which kline of a window has been emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emitted {
    /// No confirmed kline; `trades` is the state of the last update.
    Open {
        /// The number of trades in the last update; 0 before the first.
        trades: u64,
    },
    /// The window has closed without a kline.
    Silent,
    /// A confirmed kline with this revision.
    Closed {
        /// The revision; 0 for the first confirmed kline.
        revision: u32,
    },
}

/// One window.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) start: Millis,
    pub(super) bucket: Bucket,
    /// The latest known trade before `start`, passed on through windows without trades.
    pub(super) carry: Option<Carry>,
    /// Whether `carry` is certain to be the last trade before `start`.
    pub(super) proven: bool,
    /// Whether `proven` has been computed.
    pub(super) is_judged: bool,
    /// Set if this window stands for others before it that have been removed: the start of the first of them.
    pub(super) stands_from: Option<Millis>,
    /// The quality of its trades, without regard to its open.
    pub(super) quality: Quality,
    pub(super) emitted: Emitted,
    /// Whether its confirmed kline is out of date, so that a revision is due.
    pub(super) stale: bool,
}

/// The prices of the kline of a window.
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
            stands_from: None,
            quality,
            emitted: Emitted::Open { trades: 0 },
            stale: false,
        }
    }

    /// Returns the carry of the next window.
    #[inline]
    pub(super) const fn last(&self) -> Option<Carry> {
        if self.bucket.is_empty() {
            return self.carry;
        }
        let last = self.bucket.last;
        let time = last.time + last.is_candle() as Millis;
        match self.carry {
            // The window lacks trades from before its interval was added.
            Some(carry) if carry.time > time => Some(carry),
            _ => Some(Carry { price: self.bucket.close, time }),
        }
    }

    /// Returns the previous close if it is certain.
    pub(super) fn previous_close(&self) -> Option<i64> {
        self.carry.filter(|_| self.proven).map(|carry| carry.price)
    }

    /// Returns the part of the previous close that affects the kline: the price, and whether it is certain.
    pub(super) fn carry_as_shown(&self, first_trade_opens: bool) -> Option<(i64, bool)> {
        let carry = self.carry?;
        if self.bucket.is_empty() {
            return Some((carry.price, self.proven));
        }
        // If the first trade opens, the previous close affects only windows without trades.
        (self.proven && !first_trade_opens).then_some((carry.price, true))
    }

    /// Returns whether all trades are known, there was none, and the previous price is certain.
    pub(super) fn is_proven_empty(&self) -> bool {
        self.bucket.is_empty() && self.proven && self.is_known()
    }

    /// Returns whether all trades were seen or are in candles of the exchange.
    const fn is_known(&self) -> bool {
        matches!(self.quality, Quality::Complete | Quality::Repaired)
    }

    /// Returns the prices; `None` if there is neither a trade nor a previous close.
    ///
    /// A flat window keeps its price if an interruption is reported later: only its quality changes.
    pub(super) fn prices(&self, first_trade_opens: bool) -> Option<Prices> {
        let bucket = &self.bucket;
        if bucket.is_empty() {
            return self.carry.map(|Carry { price, .. }| Prices { open: price, high: price, low: price, close: price });
        }
        let previous = self.previous_close();
        let open = previous.filter(|_| !first_trade_opens).unwrap_or(bucket.open);
        Some(Prices { open, high: bucket.high.max(open), low: bucket.low.min(open), close: bucket.close })
    }

    /// Returns the quality of its kline. A kline that opens with the previous close, or is flat, is not complete unless
    /// that close is proven.
    pub(super) fn kline_quality(&self, first_trade_opens: bool) -> Quality {
        let depends = !first_trade_opens || self.bucket.is_empty();
        if self.is_known() && depends && !self.proven { Quality::Gapped } else { self.quality }
    }

    /// Returns whether its kline has every trade.
    pub(super) fn is_right(&self, first_trade_opens: bool) -> bool {
        matches!(self.kline_quality(first_trade_opens), Quality::Complete | Quality::Repaired)
    }

    /// Marks the confirmed kline, if there is one, as out of date. Returns whether a revision became due.
    pub(super) fn mark_stale(&mut self) -> bool {
        match self.emitted {
            Emitted::Closed { .. } if Mutant::RevisionSkipped.is_made() => false,
            Emitted::Closed { .. } => !std::mem::replace(&mut self.stale, true),
            Emitted::Open { .. } => {
                self.emitted = Emitted::Open { trades: 0 };
                false
            }
            Emitted::Silent => false,
        }
    }

    /// Returns the window in integers with more decimals; `None` if a price no longer fits.
    pub(super) fn rescaled(&self, by: Widening) -> Option<Self> {
        let carry = match self.carry {
            Some(carry) => Some(carry.rescaled(by)?),
            None => None,
        };
        Some(Self { bucket: self.bucket.rescaled(by)?, carry, ..self.clone() })
    }
}
