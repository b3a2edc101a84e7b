//! What a kind of consumer measures of itself, beside what its worker counts.
//!
//! A new kind of figure is a [`Figure`] that a consumer's [`Meter`] returns: what shows it asks no kind of consumer what
//! it is.

use std::fmt;

use klines_domain::time::Millis;

use super::Losses;

/// What a consumer measures of itself, over all of its instances.
pub trait Meter: fmt::Debug + Send + Sync {
    /// What its instances take, where that is known.
    fn footprint(&self) -> Option<Footprint> {
        None
    }

    /// What became of the klines that it hands on to others. Without this, what it accepts is delivered.
    fn handed_on(&self) -> Option<HandedOn> {
        None
    }

    /// Figures of its own, for monitoring. `now` is the exchange's time.
    fn figures(&self, _now: Millis) -> Vec<Figure> {
        Vec::new()
    }
}

/// What a consumer takes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Memory of its instances.
    pub memory: u64,
    /// Its code; consumers of the same code share it.
    pub loaded: u64,
}

/// What became of klines that a consumer handed on, once for each place that it hands them to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandedOn {
    /// Acknowledged.
    pub delivered: u64,
    /// Closed klines that were dropped.
    pub losses: Losses,
    /// Not acknowledged yet, and in memory.
    pub in_memory: u64,
    /// Not acknowledged yet, and on disk.
    pub on_disk: u64,
    /// Some place takes nothing.
    pub is_disconnected: bool,
    /// Some place takes nothing, and no more can wait for it.
    pub is_full: bool,
}

/// A family of figures: one thing that is counted or measured, in rows that differ by their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// As [`Kind`] and the Prometheus conventions complete it: without a unit or `_total` at its end.
    pub name: &'static str,
    /// A sentence.
    pub help: &'static str,
    /// How it changes.
    pub kind: Kind,
    /// Its rows.
    pub rows: Vec<Row>,
}

/// How a figure changes, and in which unit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It rises and falls.
    Gauge,
    /// It rises and falls, in bytes.
    Bytes,
    /// It rises and falls, in milliseconds; shown in seconds.
    Age,
}

/// One value, and what distinguishes it. Labels are words of the program, never what a guest or a client chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Names and values.
    pub labels: Vec<(&'static str, &'static str)>,
    /// The value.
    pub value: u64,
}

impl Figure {
    /// A family of one row without labels.
    #[must_use]
    pub fn single(name: &'static str, help: &'static str, kind: Kind, value: u64) -> Self {
        Self { name, help, kind, rows: vec![Row { labels: Vec::new(), value }] }
    }

    /// A counter for each reason.
    pub fn by_reason(
        name: &'static str,
        help: &'static str,
        counts: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> Self {
        let row = |(reason, value)| Row { labels: vec![("reason", reason)], value };
        Self { name, help, kind: Kind::Counter, rows: counts.into_iter().map(row).collect() }
    }
}
