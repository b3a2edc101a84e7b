//! Writes metric families, each with its descriptor and samples. Contains the format, but no metric.

use std::fmt;

use klines_delivery::stats::{Durations, Kind, Metric};
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit as NamedUnit;

use super::seconds;

/// The labels of one sample, each a name and a value.
pub(super) type Labels<'l, const N: usize> = [(&'static str, &'l str); N];

/// The unit of a metric; it is appended to the family's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    None,
    Seconds,
    Bytes,
}

impl Unit {
    const fn named(self) -> Option<&'static NamedUnit> {
        match self {
            Self::None => None,
            Self::Seconds => Some(&NamedUnit::Seconds),
            Self::Bytes => Some(&NamedUnit::Bytes),
        }
    }
}

/// The exposition of all metrics: encodes one family at a time.
pub(super) struct Exposition<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl<'a> Exposition<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self { encoder }
    }

    /// Writes a family of counters; the encoder appends `_total` to the name.
    pub(super) fn counters<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'l, N>, u64)>,
    ) -> fmt::Result {
        self.family(name, help, Unit::None, MetricType::Counter, samples, |metric, value| counter(metric, &value))
    }

    /// Writes a family of counters of seconds; the encoder appends `_seconds_total` to the name.
    pub(super) fn seconds_total<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'l, N>, f64)>,
    ) -> fmt::Result {
        self.family(name, help, Unit::Seconds, MetricType::Counter, samples, |metric, value| counter(metric, &value))
    }

    /// Writes a family of gauges; the encoder appends the unit to the name.
    pub(super) fn gauges<'l, const N: usize, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Unit,
        samples: impl IntoIterator<Item = (Labels<'l, N>, V)>,
    ) -> fmt::Result {
        self.family(name, help, unit, MetricType::Gauge, samples, |metric, value| metric.encode_gauge(&value))
    }

    /// Writes a family of histograms of durations; the encoder appends `_seconds` to the name.
    pub(super) fn histograms<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'l, N>, Durations)>,
    ) -> fmt::Result {
        self.family(name, help, Unit::Seconds, MetricType::Histogram, samples, |metric, found| {
            metric.encode_histogram::<NoLabelSet>(found.sum, found.count, &found.buckets, None)
        })
    }

    /// Writes a family whose labels are its content; the encoder appends `_info` to the name.
    pub(super) fn info<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = Labels<'l, N>>,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Info)?;
        samples.into_iter().try_for_each(|labels| family.encode_info(&labels))
    }

    /// Writes a family that a consumer measures.
    pub(super) fn consumer_metric<'l>(
        &mut self,
        measured: &Metric,
        samples: impl IntoIterator<Item = (Vec<(&'static str, &'l str)>, u64)>,
    ) -> fmt::Result {
        let Metric { name, help, .. } = measured;
        let (unit, kind) = match measured.kind {
            Kind::Counter => (Unit::None, MetricType::Counter),
            Kind::Gauge => (Unit::None, MetricType::Gauge),
            Kind::Bytes => (Unit::Bytes, MetricType::Gauge),
            Kind::Age => (Unit::Seconds, MetricType::Gauge),
        };
        self.family(name, help, unit, kind, samples, |metric, value| match measured.kind {
            Kind::Counter => counter(metric, &value),
            Kind::Gauge | Kind::Bytes => metric.encode_gauge(&value),
            Kind::Age => metric.encode_gauge(&seconds(value)),
        })
    }

    /// Writes a family. Omits a family without samples.
    fn family<'l, L: AsRef<[(&'static str, &'l str)]>, V>(
        &mut self,
        name: &str,
        help: &str,
        unit: Unit,
        kind: MetricType,
        samples: impl IntoIterator<Item = (L, V)>,
        write: impl Fn(&mut MetricEncoder<'_>, V) -> fmt::Result,
    ) -> fmt::Result {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let mut family = self.encoder.encode_descriptor(name, help, unit.named(), kind)?;
        for (labels, value) in samples {
            // `encode_family` would write empty braces for a sample without labels.
            let labels = labels.as_ref();
            if labels.is_empty() {
                write(&mut family, value)?;
            } else {
                let labels = LabelPairs(labels);
                write(&mut family.encode_family(&labels)?, value)?;
            }
        }
        Ok(())
    }
}

fn counter(metric: &mut MetricEncoder<'_>, value: &impl EncodeCounterValue) -> fmt::Result {
    metric.encode_counter::<NoLabelSet, _, f64>(value, None)
}

/// Encodes the labels of one sample.
struct LabelPairs<'r, 'l>(&'r [(&'static str, &'l str)]);

impl EncodeLabelSet for LabelPairs<'_, '_> {
    fn encode(&self, encoder: &mut prometheus_client::encoding::LabelSetEncoder) -> fmt::Result {
        self.0.encode(encoder)
    }
}
