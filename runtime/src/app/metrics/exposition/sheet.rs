//! One family of figures after the other, each with its head. Knows the format, and no figure.

use std::fmt;

use klines_delivery::stats::{Durations, Figure, Kind};
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit as NamedUnit;

use super::seconds;

/// Labels of one row, each a name and a value.
pub(super) type Labels<'l, const N: usize> = [(&'static str, &'l str); N];

/// What a figure counts; it ends the family's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Things,
    Seconds,
    Bytes,
}

impl Unit {
    const fn named(self) -> Option<&'static NamedUnit> {
        match self {
            Self::Things => None,
            Self::Seconds => Some(&NamedUnit::Seconds),
            Self::Bytes => Some(&NamedUnit::Bytes),
        }
    }
}

/// Where families are written.
pub(super) struct Sheet<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl<'a> Sheet<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self { encoder }
    }

    /// Counts that only grow; the name gets `_total` behind it.
    pub(super) fn counters<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'l, N>, u64)>,
    ) -> fmt::Result {
        self.family(name, help, Unit::Things, MetricType::Counter, rows, |metric, value| counter(metric, &value))
    }

    /// Seconds that only grow; the name gets `_seconds_total` behind it.
    pub(super) fn seconds_total(&mut self, name: &str, help: &str, seconds: f64) -> fmt::Result {
        let bare: Labels<'_, 0> = [];
        let row = [(bare, seconds)];
        self.family(name, help, Unit::Seconds, MetricType::Counter, row, |metric, value| counter(metric, &value))
    }

    /// Figures that rise and fall.
    pub(super) fn gauges<'l, const N: usize, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Unit,
        rows: impl IntoIterator<Item = (Labels<'l, N>, V)>,
    ) -> fmt::Result {
        self.family(name, help, unit, MetricType::Gauge, rows, |metric, value| metric.encode_gauge(&value))
    }

    /// Durations by size.
    pub(super) fn histograms<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'l, N>, Durations)>,
    ) -> fmt::Result {
        self.family(name, help, Unit::Seconds, MetricType::Histogram, rows, |metric, found| {
            metric.encode_histogram::<NoLabelSet>(found.sum, found.count, &found.buckets, None)
        })
    }

    /// Facts that are told as labels; the name gets `_info` behind it.
    pub(super) fn info<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = Labels<'l, N>>,
    ) -> fmt::Result {
        let mut head = self.encoder.encode_descriptor(name, help, None, MetricType::Info)?;
        rows.into_iter().try_for_each(|labels| head.encode_info(&labels))
    }

    /// A family that a consumer measures, each row with its labels.
    pub(super) fn figure<'l>(
        &mut self,
        figure: &Figure,
        rows: impl IntoIterator<Item = (Vec<(&'static str, &'l str)>, u64)>,
    ) -> fmt::Result {
        let Figure { name, help, .. } = figure;
        let (unit, kind) = match figure.kind {
            Kind::Counter => (Unit::Things, MetricType::Counter),
            Kind::Gauge => (Unit::Things, MetricType::Gauge),
            Kind::Bytes => (Unit::Bytes, MetricType::Gauge),
            Kind::Age => (Unit::Seconds, MetricType::Gauge),
        };
        self.family(name, help, unit, kind, rows, |metric, value| match figure.kind {
            Kind::Counter => counter(metric, &value),
            Kind::Gauge | Kind::Bytes => metric.encode_gauge(&value),
            Kind::Age => metric.encode_gauge(&seconds(value)),
        })
    }

    /// A family without rows is left out.
    fn family<'l, L: AsRef<[(&'static str, &'l str)]>, V>(
        &mut self,
        name: &str,
        help: &str,
        unit: Unit,
        kind: MetricType,
        rows: impl IntoIterator<Item = (L, V)>,
        write: impl Fn(&mut MetricEncoder<'_>, V) -> fmt::Result,
    ) -> fmt::Result {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        let mut head = self.encoder.encode_descriptor(name, help, unit.named(), kind)?;
        for (labels, value) in rows {
            // Without labels there are no braces either.
            let labels = labels.as_ref();
            if labels.is_empty() {
                write(&mut head, value)?;
            } else {
                let row = Row(labels);
                write(&mut head.encode_family(&row)?, value)?;
            }
        }
        Ok(())
    }
}

fn counter(metric: &mut MetricEncoder<'_>, value: &impl EncodeCounterValue) -> fmt::Result {
    metric.encode_counter::<NoLabelSet, _, f64>(value, None)
}

/// The labels of one row.
struct Row<'r, 'l>(&'r [(&'static str, &'l str)]);

impl EncodeLabelSet for Row<'_, '_> {
    fn encode(&self, encoder: &mut prometheus_client::encoding::LabelSetEncoder) -> fmt::Result {
        self.0.encode(encoder)
    }
}
