//! The trades that the simulated exchange has, and the frames in which it publishes them.

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::Range;

use fastrand::Rng;
use klines_domain::time::Millis;

use super::plan::NEVER;

/// One trade as the exchange has it. Prices are in units of 0.01, sizes in units of 0.001.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapeTrade {
    /// When it was matched by the exchange's clock.
    pub time: Millis,
    /// When it was matched by true time.
    pub matched: Millis,
    pub price: i64,
    pub size: i64,
    pub is_buy: bool,
    /// Its number over all symbols, from which its id is made.
    pub number: u64,
}

/// The decimals of prices.
pub const PRICE_DECIMALS: u8 = 2;
/// The decimals of sizes.
pub const SIZE_DECIMALS: u8 = 3;
/// The usual lengths of a frame without its trades, and of a trade.
const ENVELOPE: usize = 100;
const ROW: usize = 200;
/// Trades of one match at most.
const LARGEST_MATCH: u64 = 4;

/// The trades of one symbol, as they were matched.
#[derive(Debug)]
pub struct Tape {
    pub name: String,
    /// The topic of its trades.
    pub subject: String,
    pub trades: Vec<TapeTrade>,
    price: i64,
    gap: Millis,
}

impl Tape {
    pub fn new(number: usize, gap: Millis, rng: &mut Rng) -> Self {
        // The session watches BTCUSDT for silence, whatever its own symbols are.
        let name = if number == 0 { "BTCUSDT".to_owned() } else { format!("COIN{number}USDT") };
        Self { subject: format!("publicTrade.{name}"), name, trades: Vec::new(), price: rng.i64(1_000..5_000_000), gap }
    }

    /// Matches orders of the time before `start`: once an hour since `since`, then once a minute, last some seconds before.
    /// A symbol that hardly trades is not traded more often then, and one that never does, not before either.
    pub fn begin(&mut self, since: Millis, start: Millis, number: &mut u64, rng: &mut Rng) {
        let (mut at, is_quiet) = (since + rng.i64(0..3_600_000), self.gap >= 600_000);
        while at < start && self.gap < NEVER {
            self.trade((at, at), number, rng);
            at += if is_quiet {
                rng.i64(1..3_600_000)
            } else if start - at > 1_200_000 {
                rng.i64(1..3_600_000).min(start - at - 600_000)
            } else {
                rng.i64(1..60_000)
            };
        }
    }

    /// Draws the time until the next match.
    pub fn next_gap(&self, rng: &mut Rng) -> Millis {
        1 + rng.i64(0..self.gap) + if rng.u8(..) < 8 { rng.i64(0..self.gap * 8) } else { 0 }
    }

    /// Matches orders at a time by the exchange's clock and by true time. Returns the trades by their places in the tape.
    pub fn trade(&mut self, (time, matched): (Millis, Millis), number: &mut u64, rng: &mut Rng) -> Range<usize> {
        let first = self.trades.len();
        for _ in 0..1 + rng.u64(0..LARGEST_MATCH) {
            self.price = (self.price + rng.i64(-20..=20)).max(1);
            *number += 1;
            let (price, size, is_buy) = (self.price, rng.i64(1..100_000), rng.bool());
            self.trades.push(TapeTrade { time, matched, price, size, is_buy, number: *number });
        }
        first..self.trades.len()
    }

    /// Returns the trades in the order of their times, which is another one if the exchange's clock was set back.
    pub fn in_order(&self) -> Cow<'_, [TapeTrade]> {
        if self.trades.is_sorted_by_key(|trade| trade.time) {
            return Cow::Borrowed(&self.trades);
        }
        let mut trades = self.trades.clone();
        trades.sort_by_key(|trade| trade.time);
        Cow::Owned(trades)
    }

    /// Returns the beginning of its frames.
    pub fn topic(&self) -> String {
        format!(r#"{{"topic":"publicTrade.{}","#, self.name)
    }

    /// Returns the trades of a frame.
    pub fn read(&self, frame: &str) -> &[TapeTrade] {
        let number =
            |row: &str| row.rsplit_once("-8000-").and_then(|(_, id)| u64::from_str_radix(id.get(..12)?, 16).ok());
        let numbers: Vec<u64> = frame.split(r#""BT""#).filter_map(number).collect();
        let place = |number: Option<&u64>| self.trades.binary_search_by_key(number?, |trade| trade.number).ok();
        let ends = place(numbers.first()).zip(place(numbers.last()));
        ends.and_then(|(first, last)| self.trades.get(first..=last)).unwrap_or_default()
    }

    /// Returns the frame that publishes these trades.
    pub fn frame(&self, trades: Range<usize>, stamp: Millis) -> String {
        let name = &self.name;
        let mut text = String::with_capacity(ENVELOPE + ROW * trades.len());
        let _ = write!(text, r#"{{"topic":"publicTrade.{name}","type":"snapshot","ts":{stamp},"data":["#);
        for (at, trade) in self.trades.get(trades).unwrap_or_default().iter().enumerate() {
            let TapeTrade { time, price, size, is_buy, number, .. } = trade;
            let (side, comma) = (if *is_buy { "Buy" } else { "Sell" }, if at > 0 { "," } else { "" });
            let _ = write!(
                text,
                r#"{comma}{{"T":{time},"s":"{name}","S":"{side}","v":"{}.{:03}","p":"{}.{:02}","L":"PlusTick","i":"00000000-0000-4000-8000-{number:012x}","BT":false,"RPI":false,"seq":{number}}}"#,
                size / 1_000,
                size % 1_000,
                price / 100,
                price % 100,
            );
        }
        text.push_str("]}");
        text
    }
}

/// Returns the stamp of a frame of trades; `None` for other frames.
pub fn stamp(frame: &str) -> Option<Millis> {
    let (_, rest) = frame.strip_prefix(r#"{"topic":"publicTrade."#)?.split_once(r#""ts":"#)?;
    rest.split_once(',')?.0.parse().ok()
}
