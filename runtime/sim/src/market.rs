//! The source of trades: a seeded generator or a recording. A pure state machine driven by `next_events(now)`; it reads
//! no clock and opens no socket.

use std::time::Duration;

use crate::{
    category::Category,
    instrument::{Activity, Instrument},
    recorded::{Recorded, Recording},
    seeded::Seeded,
    trade::{Fill, Side},
};

/// Symbol, price, tick and step of the demo's instruments.
const DEMO: [(&str, &str, &str, &str); 3] = [
    ("BTCUSDT", "64250.00", "0.10", "0.001"),
    ("ETHUSDT", "1922.50", "0.01", "0.01"),
    ("SOLUSDT", "77.300", "0.010", "0.1"),
];

/// An event on the market.
#[derive(Clone, Debug)]
pub(crate) enum MarketEvent {
    /// Fills of one match, to be published at `ts`.
    Trades { category: Category, symbol: String, ts: i64, fills: Vec<Fill> },
    /// A recorded frame, to be forwarded unchanged, and its fills.
    Frame { category: Category, topic: String, text: String, fills: Vec<(String, Fill)> },
}

/// The source of a simulated exchange's trades.
#[derive(Clone, Debug)]
pub struct Market(pub(crate) Source);

#[derive(Clone, Debug)]
pub(crate) enum Source {
    Seeded(Seeded),
    Recorded(Recorded),
}

impl Market {
    /// Returns a market of random walks. The same seed, instruments and start time give the same trades. Of two
    /// instruments with the same category and symbol, the first counts.
    pub fn seeded(seed: u64, instruments: Vec<Instrument>) -> Self {
        Self(Source::Seeded(Seeded::new(seed, instruments)))
    }

    /// Returns a seeded market of the linear symbols BTCUSDT, ETHUSDT and SOLUSDT, each with several trades a
    /// second and two minutes of history.
    pub fn demo(seed: u64) -> Self {
        Self::wide(seed, DEMO.len())
    }

    /// Returns a seeded market of this many linear symbols with two minutes of history: those of [`Market::demo`], as far
    /// as they suffice, then `S0004USDT`, `S0005USDT`, …, of which one in three has several trades a second, one a trade
    /// every second or two, and one a trade in most minutes.
    pub fn wide(seed: u64, symbols: usize) -> Self {
        let demo = DEMO.iter().map(|(symbol, price, tick, step)| {
            Some(Instrument::new(Category::Linear, symbol, price, tick, step).ok()?.with_activity(Activity::LIVELY))
        });
        let further = (DEMO.len()..symbols).map(|at| {
            let (symbol, price) = (format!("S{:04}USDT", at + 1), format!("{}.00", 1_000 + 10 * at));
            let instrument = Instrument::new(Category::Linear, &symbol, &price, "0.01", "0.001").ok()?;
            let activities = [Activity::LIVELY, Activity::CALM, Activity::QUIET];
            Some(instrument.with_activity(*activities.get(at % activities.len())?))
        });
        let instruments = demo.take(symbols).chain(further).flatten().collect();
        Self::seeded(seed, instruments).with_history(Duration::from_secs(120))
    }

    /// Returns a market that replays a recording once, with its original spacing. Recorded kline pushes are forwarded
    /// unchanged; kline topics of its symbols that were not recorded can be subscribed to, but nothing is sent on them.
    /// REST klines are computed from the recorded trades.
    pub fn recorded(recording: Recording) -> Self {
        Self(Source::Recorded(Recorded::new(recording)))
    }

    /// Returns a seeded market whose tape begins this long before the exchange starts: its trades are in `recent-trade`
    /// and in [`Sim::trades`](crate::Sim::trades). Klines reach further back; see
    /// [`SimConfig::history`](crate::SimConfig::history). Does not change a recording.
    #[must_use]
    pub fn with_history(mut self, history: Duration) -> Self {
        if let Source::Seeded(seeded) = &mut self.0 {
            seeded.set_history(i64::try_from(history.as_millis()).unwrap_or(i64::MAX));
        }
        self
    }

    /// Returns the instruments of this market, unlisted ones included.
    pub fn instruments(&self) -> &[Instrument] {
        match &self.0 {
            Source::Seeded(seeded) => seeded.instruments(),
            Source::Recorded(recorded) => recorded.instruments(),
        }
    }

    /// Returns the seed; 0 for a recording.
    pub(crate) fn seed(&self) -> u64 {
        match &self.0 {
            Source::Seeded(seeded) => seeded.seed(),
            Source::Recorded(_) => 0,
        }
    }

    /// Starts the market. Returns the market time that corresponds to `wall_ms`, and the time its tape begins.
    pub(crate) fn begin(&mut self, wall_ms: i64) -> (i64, i64) {
        match &mut self.0 {
            Source::Seeded(seeded) => (wall_ms, seeded.begin(wall_ms)),
            Source::Recorded(recorded) => {
                let start = recorded.begin(wall_ms);
                (start, start)
            }
        }
    }

    /// Appends the events up to and including `now` to `out`, in order of time. They do not depend on how often it is
    /// called.
    pub(crate) fn next_events(&mut self, now: i64, out: &mut Vec<MarketEvent>) {
        match &mut self.0 {
            Source::Seeded(seeded) => seeded.next_events(now, out),
            Source::Recorded(recorded) => recorded.next_events(now, out),
        }
    }

    /// Adds an instrument that begins to trade at `now`. Returns `false` for a recording, which has its own.
    pub(crate) fn add(&mut self, instrument: Instrument, now: i64) -> bool {
        match &mut self.0 {
            Source::Seeded(seeded) => {
                seeded.add(instrument, now);
                true
            }
            Source::Recorded(_) => false,
        }
    }

    /// Adds matches in the second after `now`; a recording has its own.
    pub(crate) fn burst(&mut self, matches: u32, now: i64, covers: impl Fn(Category) -> bool) {
        if let Source::Seeded(seeded) = &mut self.0 {
            seeded.burst(matches, now, covers);
        }
    }

    /// Ends all trading of some categories; a recording goes on.
    pub(crate) fn halt(&mut self, covers: impl Fn(Category) -> bool) {
        if let Source::Seeded(seeded) = &mut self.0 {
            seeded.halt(covers);
        }
    }

    /// Delays all future events by `ms`.
    pub(crate) fn postpone(&mut self, ms: i64) {
        match &mut self.0 {
            Source::Seeded(seeded) => seeded.postpone(ms),
            Source::Recorded(recorded) => recorded.postpone(ms),
        }
    }

    /// Executes one trade at `at`. Returns `None` if the symbol is not seeded, or if `price` or `size` is not a
    /// positive plain decimal.
    pub(crate) fn execute(
        &mut self,
        category: Category,
        symbol: &str,
        at: i64,
        side: Side,
        price: &str,
        size: &str,
    ) -> Option<Fill> {
        match &mut self.0 {
            Source::Seeded(seeded) => seeded.execute(category, symbol, at, side, price, size),
            Source::Recorded(_) => None,
        }
    }

    /// Returns whether kline pushes must be computed; a recording has those of the exchange.
    pub(crate) fn computes_klines(&self) -> bool {
        matches!(self.0, Source::Seeded(_))
    }

    /// Returns whether a recording has this topic; for topics other than trades and klines.
    pub(crate) fn has_topic(&self, category: Category, topic: &str) -> bool {
        match &self.0 {
            Source::Seeded(_) => false,
            Source::Recorded(recorded) => recorded.has_topic(category, topic),
        }
    }
}
