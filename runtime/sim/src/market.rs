//! Where trades come from: a seeded generator or a recording. A pure state machine driven by `next_events(now)`;
//! reads no clock, opens no socket.

use std::time::Duration;

use crate::{
    category::Category,
    instrument::{Activity, Instrument},
    recorded::{Recorded, Recording},
    seeded::Seeded,
    trade::{Fill, Side},
};

/// Something that happened on the market.
#[derive(Clone, Debug)]
pub(crate) enum MarketEvent {
    /// Fills of one match, to be published at `ts`.
    Trades { category: Category, symbol: String, ts: i64, fills: Vec<Fill> },
    /// A recorded frame, to be forwarded as it is, and the fills it holds.
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
    /// Random walks, the same for the same seed, instruments and start time. Of two instruments with the same
    /// category and symbol the first counts.
    pub fn seeded(seed: u64, instruments: Vec<Instrument>) -> Self {
        Self(Source::Seeded(Seeded::new(seed, instruments)))
    }

    /// BTCUSDT, ETHUSDT and SOLUSDT linear, each with several trades a second, and two minutes of history.
    pub fn demo(seed: u64) -> Self {
        let instruments = [
            ("BTCUSDT", "64250.00", "0.10", "0.001"),
            ("ETHUSDT", "1922.50", "0.01", "0.01"),
            ("SOLUSDT", "77.300", "0.010", "0.1"),
        ];
        let instruments = instruments
            .into_iter()
            .filter_map(|(symbol, price, tick, step)| Instrument::new(Category::Linear, symbol, price, tick, step).ok())
            .map(|instrument| instrument.with_activity(Activity::LIVELY))
            .collect();
        Self::seeded(seed, instruments).with_history(Duration::from_secs(120))
    }

    /// A recording, replayed once with its own spacing. Its kline pushes are forwarded as they are; kline topics of its
    /// symbols that were not recorded are accepted and stay silent. REST klines are computed from its trades.
    pub fn recorded(recording: Recording) -> Self {
        Self(Source::Recorded(Recorded::new(recording)))
    }

    /// A seeded market that has already been trading for this long when the exchange starts. No effect on a recording.
    #[must_use]
    pub fn with_history(mut self, history: Duration) -> Self {
        if let Source::Seeded(seeded) = &mut self.0 {
            seeded.set_history(i64::try_from(history.as_millis()).unwrap_or(i64::MAX));
        }
        self
    }

    /// The instruments of this market, unlisted ones included.
    pub fn instruments(&self) -> &[Instrument] {
        match &self.0 {
            Source::Seeded(seeded) => seeded.instruments(),
            Source::Recorded(recorded) => recorded.instruments(),
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

    /// Adds what happened up to and including `now`, in order of time. Calling it in more steps gives the same.
    pub(crate) fn next_events(&mut self, now: i64, out: &mut Vec<MarketEvent>) {
        match &mut self.0 {
            Source::Seeded(seeded) => seeded.next_events(now, out),
            Source::Recorded(recorded) => recorded.next_events(now, out),
        }
    }

    /// Puts off all that has not happened yet by so many ms.
    pub(crate) fn put_off(&mut self, ms: i64) {
        match &mut self.0 {
            Source::Seeded(seeded) => seeded.put_off(ms),
            Source::Recorded(recorded) => recorded.put_off(ms),
        }
    }

    /// A fill at `at` on request; `None` if the symbol is not seeded or a text is not a number of its scale.
    pub(crate) fn print(
        &mut self,
        category: Category,
        symbol: &str,
        at: i64,
        side: Side,
        price: &str,
        size: &str,
    ) -> Option<Fill> {
        match &mut self.0 {
            Source::Seeded(seeded) => seeded.print(category, symbol, at, side, price, size),
            Source::Recorded(_) => None,
        }
    }

    /// Recorded frames carry the exchange's own kline pushes; a seeded market needs them computed.
    pub(crate) fn computes_klines(&self) -> bool {
        matches!(self.0, Source::Seeded(_))
    }

    /// Topics beyond trades and klines that a recording holds.
    pub(crate) fn has_topic(&self, category: Category, topic: &str) -> bool {
        match &self.0 {
            Source::Seeded(_) => false,
            Source::Recorded(recorded) => recorded.has_topic(category, topic),
        }
    }
}
