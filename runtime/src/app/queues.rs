//! What consumers' queues come to: how many klines each holds, and in how many bytes, for `check` and for the log.
//!
//! A queue holds two of the largest boundaries that can pass, whatever its limit says; before the exchange has named all
//! symbols only a bound of that is known, or nothing.

use std::sync::{Arc, Mutex, PoisonError};

use klines_config::consumers::Consumer;
use klines_config::exchange::Symbols;
use klines_config::{Config, Diagnostic, Report};
use klines_delivery::catalog::Catalog;
use klines_delivery::filter::{Filter, Watched};
use klines_delivery::hub::Hub;
use klines_delivery::queue::{Depth, KLINE_BYTES, MOST_BYTES, capacity};
use klines_delivery::view::View;
use klines_domain::interval::Interval;
use klines_domain::symbol::Symbol;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::observed::Observed;
use super::wiring;

/// What the queue of one consumer comes to.
struct Size<'a> {
    consumer: &'a str,
    configured: usize,
    /// The largest boundary that the configuration lets pass; `None` while nobody knows how many symbols there are.
    boundary: Option<usize>,
    /// How many klines of each symbol close at one moment, at most.
    intervals: usize,
}

impl<'a> Size<'a> {
    /// `named` are the watched symbols, where they are known.
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
            None => most_symbols(consumer, config).map(|symbols| symbols.saturating_mul(intervals)),
        };
        Self { consumer: &consumer.name, configured: consumer.limits.queue, boundary, intervals }
    }

    fn capacity(&self) -> usize {
        capacity(self.configured, self.boundary.unwrap_or_default())
    }

    fn text(&self) -> String {
        let Self { consumer, intervals, .. } = self;
        let (klines, size) = (self.capacity(), mebibytes(self.capacity()));
        match self.boundary {
            Some(boundary) => {
                format!("{consumer}: queue of {klines} klines ({size}), at most {boundary} close at one moment")
            }
            None => {
                let each = 2 * intervals;
                format!("{consumer}: queue of {klines} klines ({size}), or {each} for each symbol where that is more")
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

/// How many symbols can pass at most before they are named.
fn most_symbols(consumer: &Consumer, config: &Config) -> Option<usize> {
    let limit = match &config.exchange.symbols {
        Symbols::All(filter) => filter.limit.and_then(|limit| usize::try_from(limit.get()).ok()),
        Symbols::Listed(listed) => Some(listed.len()),
    };
    let chosen = Some(consumer.symbols.len()).filter(|count| *count > 0);
    let each = limit.into_iter().chain(chosen).min()?;
    Some(each.saturating_mul(config.exchange.categories.len()))
}

/// The symbols that the configuration names itself.
fn listed(config: &Config) -> Option<Vec<Symbol>> {
    match &config.exchange.symbols {
        Symbols::Listed(listed) => Some(listed.iter().map(|listing| listing.symbol.clone()).collect()),
        Symbols::All(_) => None,
    }
}

/// What `check` says of the queues.
pub(super) struct Queues<'a>(Vec<Size<'a>>);

impl<'a> Queues<'a> {
    /// `found` are the watched symbols, if the exchange has named them.
    pub(super) fn new(config: &'a Config, found: Option<Vec<Symbol>>) -> Self {
        let named = found.or_else(|| listed(config));
        Self(config.consumers.iter().map(|consumer| Size::new(consumer, config, named.as_deref())).collect())
    }

    /// A line for each consumer.
    pub(super) fn text(&self) -> String {
        self.0.iter().map(|size| format!("  {}\n", size.text())).collect()
    }

    pub(super) fn json(&self) -> Value {
        self.0.iter().map(Size::json).collect()
    }

    /// Warns where two boundaries are more than a queue may take.
    pub(super) fn report(&self, config: &Config) -> Report {
        let mut report = Report::default();
        let needs = |size: &Size<'_>| size.boundary.unwrap_or_default().saturating_mul(2);
        for size in self.0.iter().filter(|size| needs(size) > capacity(size.configured, usize::MAX)) {
            let (consumer, two) = (size.consumer, needs(size));
            let message = format!(
                "{consumer}: two boundaries are {two} klines ({}), and a queue holds {} MiB: klines can be lost",
                mebibytes(two),
                MOST_BYTES >> 20
            );
            let expected = "fewer symbols or intervals, here or for this consumer";
            report.push(Diagnostic::warning(config.place("klines.intervals"), message).expected(expected));
        }
        report
    }
}

/// What so many klines take.
fn mebibytes(klines: usize) -> String {
    let tenths = (klines.saturating_mul(KLINE_BYTES) / (1 << 10)).saturating_mul(10) / (1 << 10);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// Lets the queues of a run follow what is watched.
pub(super) struct Sizing {
    hub: Arc<Hub>,
    views: Vec<View>,
    catalog: Arc<Catalog>,
    intervals: Vec<Interval>,
    /// What the log was last given of each queue. Held while the queues follow, so that the newest catalogue counts.
    logged: Mutex<Vec<Option<Depth>>>,
}

impl Sizing {
    pub(super) fn new(observed: &Observed, catalog: &Arc<Catalog>, config: &Config) -> Self {
        let views: Vec<View> = observed.consumers.iter().map(|seen| seen.view.clone()).collect();
        let logged = Mutex::new(vec![None; views.len()]);
        let (hub, catalog, intervals) = (observed.hub.clone(), catalog.clone(), config.klines.intervals.clone());
        Self { hub, views, catalog, intervals, logged }
    }

    /// Tells the hub what the catalogue says is watched, and the log what changes with that.
    pub(super) fn follow(&self) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let symbols = self.catalog.symbols().into_iter().flat_map(|(_, symbols)| symbols).collect();
        self.hub.watch(Watched { symbols, intervals: self.intervals.clone() });
        for (view, logged) in self.views.iter().zip(&mut *logged) {
            let (consumer, depth) = (&view.name, view.queue.depth());
            let Depth { capacity: klines, boundary, .. } = depth;
            let before = logged.replace(depth);
            if before.is_some_and(|before| (before.capacity, before.boundary) == (klines, boundary)) {
                continue;
            }
            info!(consumer, klines, bytes = klines * KLINE_BYTES, boundary, "queue sized");
            if klines < boundary.saturating_mul(2) {
                warn!(consumer, klines, boundary, "queue holds less than two boundaries: its bytes are bounded");
            }
        }
    }
}
