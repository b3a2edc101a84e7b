//! What a kind of consumer measures itself, in addition to the counters of its worker.
//!
//! A new metric is a [`Metric`] that a consumer's [`Meter`] returns: the exposition of metrics does not depend on the
//! kinds of consumers.

use std::fmt;

use klines_domain::time::Millis;

use super::Losses;

/// Measures a consumer, over all of its instances.
pub trait Meter: fmt::Debug + Send + Sync {
    /// Returns the memory that its instances use; `None` if it is not measured.
    fn footprint(&self) -> Option<Footprint> {
        None
    }

    /// Returns what happened to the klines that it forwards; `None` if it forwards none, so that an accepted kline is
    /// delivered.
    fn forwarded(&self) -> Option<Forwarded> {
        None
    }

    /// Returns the metrics of its kind. `now` is the exchange's time.
    fn metrics(&self, _now: Millis) -> Vec<Metric> {
        Vec::new()
    }
}

/// The memory that a consumer uses, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Linear memory of its instances.
    pub memory: u64,
    /// Its code; consumers with the same code share it.
    pub loaded: u64,
}

/// What happened to the klines that a consumer forwards, counted once for each destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// Klines that were acknowledged.
    pub delivered: u64,
    /// Dropped closed klines, by the reason.
    pub losses: Losses,
    /// Klines in memory that are not acknowledged yet.
    pub in_memory: u64,
    /// Klines on disk that are not acknowledged yet.
    pub on_disk: u64,
    /// Whether at least one destination takes nothing.
    pub is_disconnected: bool,
    /// Whether at least one destination takes nothing and there is no more room for klines that wait for it.
    pub is_full: bool,
}

/// A metric family: one counted or measured quantity, with samples that differ by their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// The name without the unit or `_total`, which are appended by [`Kind`] and the Prometheus conventions.
    pub name: &'static str,
    /// The help text, a sentence.
    pub help: &'static str,
    /// How it changes.
    pub kind: Kind,
    /// Its samples.
    pub samples: Vec<Sample>,
}

/// How a metric changes, and its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It rises and falls.
    Gauge,
    /// It rises and falls, in bytes.
    Bytes,
    /// It rises and falls, in milliseconds; exposed in seconds.
    Age,
}

/// One value with its labels. Labels are constants of the program, never chosen by a guest or a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Names and values of the labels.
    pub labels: Vec<(&'static str, &'static str)>,
    /// The value.
    pub value: u64,
}

impl Metric {
    /// Builds a metric with one sample without labels.
    #[must_use]
    pub fn single(name: &'static str, help: &'static str, kind: Kind, value: u64) -> Self {
        Self { name, help, kind, samples: vec![Sample { labels: Vec::new(), value }] }
    }

    /// Builds a counter with one sample for each reason.
    pub fn by_reason(
        name: &'static str,
        help: &'static str,
        counts: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> Self {
        let sample = |(reason, value)| Sample { labels: vec![("reason", reason)], value };
        Self { name, help, kind: Kind::Counter, samples: counts.into_iter().map(sample).collect() }
    }
}
