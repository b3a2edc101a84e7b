//! The sizes of the consumers' queues in klines and bytes, for `klines check` and for the log.
//!
//! A queue holds at least the klines of two of the largest boundaries that can pass its filter, even if its limit is
//! lower. Before the exchange has listed all symbols, only an upper bound of that number is known, or no bound at all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use klines_config::consumers::Consumer;
use klines_config::exchange::Symbols;
use klines_config::{Config, Diagnostic, Report};
use klines_delivery::catalog::Catalog;
use klines_delivery::filter::{Filter, Watched};
use klines_delivery::hub::Hub;
use klines_delivery::queue::{Depth, KLINE_BYTES, MAX_BYTES, capacity};
use klines_domain::count::counted;
use klines_domain::symbol::Symbol;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::observed::{Observed, ObservedConsumers};
use super::wiring;

/// The size of the queue of one consumer.
struct QueueSize<'a> {
    consumer: &'a str,
    configured: usize,
    /// Klines of the largest boundary that can pass the filter; `None` while the number of symbols is unknown.
    boundary: Option<usize>,
    /// Largest number of klines of one symbol that close at the same moment.
    intervals: usize,
}

impl<'a> QueueSize<'a> {
    /// Computes the size of a consumer's queue. `named` are the watched symbols, if they are known.
    fn new(consumer: &'a Consumer, config: &Config, named: Option<&[Symbol]>) -> Self {
        let filter = Filter::new(&wiring::allowed(consumer));
        let made = |symbols: Vec<Symbol>| Watched { symbols, intervals: config.klines.intervals.clone() };
        let intervals = consumer.intervals.iter();
        let intervals = if consumer.intervals.is_empty() {
            config.klines.intervals.len()
        } else {
            intervals.filter(|interval| config.klines.intervals.contains(interval)).count()
        };
        let boundary = match named {
            Some(named) => Some(filter.series(&made(named.to_vec()))),
            None => max_symbols(consumer, config).map(|symbols| symbols.saturating_mul(intervals)),
        };
        Self { consumer: &consumer.name, configured: consumer.limits.queue, boundary, intervals }
    }

    fn capacity(&self) -> usize {
        capacity(self.configured, self.boundary.unwrap_or_default())
    }

    fn text(&self) -> String {
        let Self { consumer, intervals, .. } = self;
        let (klines, size) = (counted(self.capacity(), "kline"), mebibytes(self.capacity()));
        match self.boundary {
            Some(boundary) => {
                format!("{consumer}: queue of {klines} ({size}), at most {boundary} close at one moment")
            }
            None => {
                let each = 2 * intervals;
                format!("{consumer}: queue of {klines} ({size}), or {each} for each symbol where that is more")
            }
        }
    }

    fn json(&self) -> Value {
        let klines = self.capacity();
        json!({
            "consumer": self.consumer,
            "klines": klines,
            "bytes": klines * KLINE_BYTES,
            "boundary": self.boundary,
        })
    }
}

/// Returns the largest number of symbols that can pass the filter, while the symbols themselves are unknown.
fn max_symbols(consumer: &Consumer, config: &Config) -> Option<usize> {
    let limit = match &config.exchange.symbols {
        Symbols::All(filter) => filter.limit.and_then(|limit| usize::try_from(limit.get()).ok()),
        Symbols::Listed(listed) => Some(listed.len()),
    };
    let chosen = Some(consumer.symbols.len()).filter(|count| *count > 0);
    let each = limit.into_iter().chain(chosen).min()?;
    Some(each.saturating_mul(config.exchange.categories.len()))
}

/// Returns the symbols that the configuration lists.
fn listed(config: &Config) -> Option<Vec<Symbol>> {
    match &config.exchange.symbols {
        Symbols::Listed(listed) => Some(listed.iter().map(|listing| listing.symbol.clone()).collect()),
        Symbols::All(_) => None,
    }
}

/// The sizes of all queues, for `klines check`.
pub(super) struct Queues<'a>(Vec<QueueSize<'a>>);

impl<'a> Queues<'a> {
    /// Computes the sizes. `found` are the watched symbols, if the exchange has listed them.
    pub(super) fn new(config: &'a Config, found: Option<Vec<Symbol>>) -> Self {
        let named = found.or_else(|| listed(config));
        Self(config.consumers.iter().map(|consumer| QueueSize::new(consumer, config, named.as_deref())).collect())
    }

    /// Returns one line of text for each consumer.
    pub(super) fn text(&self) -> String {
        self.0.iter().map(|size| format!("  {}\n", size.text())).collect()
    }

    pub(super) fn json(&self) -> Value {
        self.0.iter().map(QueueSize::json).collect()
    }

    /// Warns about each queue that cannot hold the klines of two boundaries.
    pub(super) fn report(&self, config: &Config) -> Report {
        let mut report = Report::default();
        let needs = |size: &QueueSize<'_>| size.boundary.unwrap_or_default().saturating_mul(2);
        for size in self.0.iter().filter(|size| needs(size) > capacity(size.configured, usize::MAX)) {
            let (consumer, two) = (size.consumer, needs(size));
            let message = format!(
                "{consumer}: two boundaries are {two} klines ({}), and a queue holds {} MiB: klines can be lost",
                mebibytes(two),
                MAX_BYTES >> 20
            );
            let expected = "fewer symbols or intervals, here or for this consumer";
            report.push(Diagnostic::warning(config.place("klines.intervals"), message).expected(expected));
        }
        report
    }
}

/// Formats the memory of `klines` klines in MiB.
fn mebibytes(klines: usize) -> String {
    let tenths = (klines.saturating_mul(KLINE_BYTES) / (1 << 10)).saturating_mul(10) / (1 << 10);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// Adapts the queues of a run to the watched symbols and the intervals.
pub(super) struct QueueSizer {
    hub: Arc<Hub>,
    consumers: ObservedConsumers,
    catalog: Arc<Catalog>,
    /// The size of each consumer's queue that was logged last. Locked during an update, so that the newest catalogue
    /// applies last.
    logged: Mutex<BTreeMap<String, Depth>>,
}

impl QueueSizer {
    pub(super) fn new(observed: &Observed, catalog: &Arc<Catalog>) -> Self {
        let (consumers, logged) = (observed.consumers.clone(), Mutex::default());
        Self { hub: observed.hub.clone(), consumers, catalog: catalog.clone(), logged }
    }

    /// Passes the watched symbols and the intervals of the catalogue to the hub, and logs each queue whose size changes.
    pub(super) fn update(&self) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let symbols = self.catalog.symbols().into_iter().flat_map(|(_, symbols)| symbols).collect();
        self.hub.watch(Watched { symbols, intervals: self.catalog.intervals() });
        for view in self.consumers.views() {
            let (consumer, depth) = (&view.name, view.queue.depth());
            let Depth { capacity: klines, boundary, .. } = depth;
            let before = logged.insert(consumer.clone(), depth);
            if before.is_some_and(|before| (before.capacity, before.boundary) == (klines, boundary)) {
                continue;
            }
            info!(consumer, klines, bytes = klines * KLINE_BYTES, boundary, "queue sized");
            if klines < boundary.saturating_mul(2) {
                warn!(consumer, klines, boundary, "queue holds less than two boundaries because of its limit in bytes");
            }
        }
    }
}
