//! Values that consumers publish: named series whose values belong to klines. Defines what a value is and bounds the
//! names; independent of who serves the values to whom.

pub mod per_consumer;
pub mod relay;

use std::collections::HashSet;
use std::fmt::{self, Display, Formatter};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;
use klines_domain::kline::Kline;
use klines_domain::series::SeriesId;
use klines_domain::time::Millis;

/// Maximum length of the name of a series, in bytes.
const MAX_NAME: usize = 32;

/// One value of a consumer's series.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The name of the consumer.
    pub consumer: Arc<str>,
    /// The consumer's name for the series.
    pub name: Arc<str>,
    /// The series of klines that it belongs to.
    pub series: SeriesId,
    /// First millisecond of its kline's window.
    pub start: Millis,
    /// Last millisecond of that window.
    pub end: Millis,
    /// Whether its kline is confirmed; if not, the value is provisional.
    pub confirm: bool,
    /// The revision of its kline.
    pub revision: u32,
    /// Number of this confirmed value in its series, from 1. For a provisional value, the number that the next
    /// confirmed one gets. 0 until it is published.
    pub sequence: u64,
    /// The published value.
    pub value: Value,
}

/// What identifies a series of values.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueSeries {
    /// The name of the consumer.
    pub consumer: Arc<str>,
    /// The consumer's name for the series.
    pub name: Arc<str>,
    /// The series of klines that its values belong to.
    pub series: SeriesId,
}

impl Point {
    /// Returns the series that it belongs to.
    #[must_use]
    pub fn value_series(&self) -> ValueSeries {
        ValueSeries { consumer: self.consumer.clone(), name: self.name.clone(), series: self.series }
    }

    /// Returns approximately how much memory it uses, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        size_of::<Self>() + size_of::<[usize; 2]>() + self.value.text().map_or(0, str::len)
    }
}

/// A value that can be published.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A finite number.
    Number(f64),
    /// JSON text without line feeds.
    Json(Arc<str>),
}

/// Returns whether `name` is a valid name of a series.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(allowed)
}

impl Value {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Number(_) => None,
            Self::Json(text) => Some(text),
        }
    }
}

impl Display for Value {
    /// Writes JSON.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Json(text) => f.write_str(text),
        }
    }
}

/// Receives published values. Called by the consumer's own thread: must not wait.
pub trait Outlet: Send + Sync + fmt::Debug {
    /// Takes the values of one call, in order. Returns how many were dropped because there was no room.
    fn publish(&self, points: Vec<Point>) -> usize;
}

/// Receives every published value before the [`Outlet`]. Only for a replay: it may wait, for example for a file.
pub trait ValueSink: Send + Sync + fmt::Debug {
    /// Takes the values of one call, in order.
    fn write(&self, points: &[Point]);
}

/// Publishes the values of one consumer. Shared by its instances.
#[derive(Debug)]
pub struct Emitter {
    consumer: Arc<str>,
    most_names: usize,
    names: Mutex<HashSet<Arc<str>>>,
    /// The last number of each series. Only the consumer's own thread uses it.
    numbers: Mutex<HashMap<ValueSeries, u64, foldhash::fast::RandomState>>,
    outlet: Option<Arc<dyn Outlet>>,
    sink: Option<Arc<dyn ValueSink>>,
    counters: Arc<EmitCounters>,
}

/// Counters of a consumer's values.
#[derive(Debug, Default)]
pub struct EmitCounters {
    /// Values that were published.
    pub published: AtomicU64,
    /// Values that were refused; the consumer received the reason.
    pub refused: AtomicU64,
    /// Published values that were lost because there was no room for them.
    pub lost: AtomicU64,
}

impl Emitter {
    /// Builds the emitter of a consumer with at most `most_names` series. Without an outlet, values are counted and
    /// then discarded.
    #[must_use]
    pub fn new(consumer: &str, most_names: usize, outlet: Option<Arc<dyn Outlet>>) -> Self {
        Self::with_counters(consumer, most_names, outlet, Arc::default())
    }

    /// Builds an emitter as [`Emitter::new`] does, with shared counters.
    #[must_use]
    pub fn with_counters(
        consumer: &str,
        most_names: usize,
        outlet: Option<Arc<dyn Outlet>>,
        counters: Arc<EmitCounters>,
    ) -> Self {
        let (names, numbers) = (Mutex::default(), Mutex::default());
        Self { consumer: consumer.into(), most_names, names, numbers, outlet, sink: None, counters }
    }

    /// Adds a sink that receives every value, whether or not the outlet has room for it.
    #[must_use]
    pub fn with_sink(self, sink: Option<Arc<dyn ValueSink>>) -> Self {
        Self { sink, ..self }
    }

    /// Returns the counters of its values.
    #[must_use]
    pub fn counters(&self) -> Arc<EmitCounters> {
        self.counters.clone()
    }

    /// Returns the name of a series as a shared string, and adds it if it is new. The error is sent to the guest.
    ///
    /// # Errors
    /// The name is not valid, or there are too many names.
    pub fn series(&self, name: &str) -> Result<Arc<str>, String> {
        if !is_name(name) {
            return Err(format!("the name of a series is 1 to {MAX_NAME} of a-z 0-9 _ -"));
        }
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.get(name) {
            return Ok(known.clone());
        }
        if names.len() >= self.most_names {
            let most = self.most_names;
            return Err(format!("the consumer has {most} series, and may have no more (limits.emit_names)"));
        }
        let name: Arc<str> = name.into();
        names.insert(name.clone());
        Ok(name)
    }

    /// Builds the value of a series for a kline.
    #[must_use]
    pub fn point(&self, name: Arc<str>, kline: &Kline, value: Value) -> Point {
        Point {
            consumer: self.consumer.clone(),
            name,
            series: kline.series,
            start: kline.start,
            end: kline.end,
            confirm: kline.confirm,
            revision: kline.revision,
            sequence: 0,
            value,
        }
    }

    /// Counts a value that was refused.
    pub fn refuse(&self) {
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Numbers the values of a call that succeeded, and sends them to the outlet.
    pub fn publish(&self, mut points: Vec<Point>) {
        self.counters.published.fetch_add(points.len() as u64, Ordering::Relaxed);
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        for point in &mut points {
            let last = numbers.entry(point.value_series()).or_insert(0);
            point.sequence = *last + 1;
            *last += u64::from(point.confirm);
        }
        drop(numbers);
        if let Some(sink) = &self.sink {
            sink.write(&points);
        }
        let Some(outlet) = &self.outlet else { return };
        self.counters.lost.fetch_add(outlet.publish(points) as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::kline;

    #[derive(Debug, Default)]
    struct Recorder(Mutex<Vec<Point>>);

    impl Outlet for Recorder {
        fn publish(&self, points: Vec<Point>) -> usize {
            self.0.lock().unwrap().extend(points);
            0
        }
    }

    #[test]
    fn confirmed_values_are_numbered_in_their_series_and_provisional_ones_have_the_next_number() {
        let recorder = Arc::new(Recorder::default());
        let emitter = Emitter::new("mine", 2, Some(recorder.clone()));
        let value = |name: &str, symbol: &str, confirm: bool| {
            emitter.point(name.into(), &kline(symbol, "1m", 1, confirm), Value::Number(1.0))
        };
        emitter.publish(vec![value("a", "BTCUSDT", true), value("b", "BTCUSDT", true), value("a", "ETHUSDT", true)]);
        emitter.publish(vec![value("a", "BTCUSDT", false), value("a", "BTCUSDT", true), value("b", "ETHUSDT", false)]);
        let numbers: Vec<u64> = recorder.0.lock().unwrap().iter().map(|point| point.sequence).collect();
        assert_eq!(numbers, [1, 1, 1, 2, 2, 1]);
    }

    impl ValueSink for Recorder {
        fn write(&self, points: &[Point]) {
            self.0.lock().unwrap().extend(points.iter().cloned());
        }
    }

    #[test]
    fn a_sink_receives_the_values_for_which_the_relay_has_no_room() {
        let (relay, recorder) = (relay::Relay::new(1), Arc::new(Recorder::default()));
        let emitter = relay.emitter("mine", 1).with_sink(Some(recorder.clone()));
        for window in 1..=3_000 {
            let kline = kline("BTCUSDT", "1m", window, true);
            emitter.publish(vec![emitter.point("a".into(), &kline, Value::Number(1.0))]);
        }
        assert!(emitter.counters().lost.load(Ordering::Relaxed) > 1_000);
        let numbers: Vec<u64> = recorder.0.lock().unwrap().iter().map(|point| point.sequence).collect();
        assert_eq!(numbers, (1..=3_000).collect::<Vec<u64>>());
    }

    #[test]
    fn names_are_short_plain_and_limited_in_number() {
        let emitter = Emitter::new("mine", 2, None);
        for bad in ["", "RSI", "a.b", "a b", "é", &"a".repeat(33)] {
            assert!(emitter.series(bad).is_err(), "{bad}");
        }
        assert_eq!(&*emitter.series("rsi-14").unwrap(), "rsi-14");
        assert_eq!(&*emitter.series("ema_20").unwrap(), "ema_20");
        assert!(emitter.series("rsi-14").is_ok(), "the name is known");
        assert!(emitter.series("third").unwrap_err().contains("limits.emit_names"));
    }
}
