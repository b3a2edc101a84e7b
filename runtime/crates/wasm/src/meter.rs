//! The metrics of a component: memory, code, requests and published values.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use klines_delivery::emit::EmitCounters;
use klines_delivery::stats::{Footprint, Kind, Meter, Metric};
use klines_domain::time::Millis;

use super::http::HttpCounters;
use super::memory_meter::{LoadedMeter, MemoryMeter};

/// Measures one component, over all of its instances.
#[derive(Clone, Debug)]
pub struct WasmMeter {
    /// The bytes of memory that the instances hold.
    pub memory: MemoryMeter,
    /// The bytes of memory that the compiled code takes.
    pub loaded: LoadedMeter,
    /// Counters of its HTTP requests; `None` if the component cannot make requests.
    pub http: Option<Arc<HttpCounters>>,
    /// Counters of its published values; `None` if it cannot publish.
    pub emitted: Option<Arc<EmitCounters>>,
}

impl Meter for WasmMeter {
    fn footprint(&self) -> Option<Footprint> {
        Some(Footprint { memory: self.memory.read(), loaded: self.loaded.read() })
    }

    fn metrics(&self, _now: Millis) -> Vec<Metric> {
        let counter = |name, help, value| Metric::single(name, help, Kind::Counter, value);
        let mut found = Vec::new();
        if let Some(http) = &self.http {
            let counts = http.read();
            found.extend([
                counter(
                    "klines_consumer_http_requests",
                    "Total number of HTTP requests of a component, denied ones included.",
                    counts.requests,
                ),
                counter(
                    "klines_consumer_http_requests_denied",
                    "Total number of HTTP requests denied because no grant covers them.",
                    counts.denied,
                ),
                counter(
                    "klines_consumer_http_requests_failed",
                    "Total number of HTTP requests that failed without a response.",
                    counts.failed,
                ),
            ]);
        }
        if let Some(emitted) = &self.emitted {
            let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
            found.extend([
                counter(
                    "klines_consumer_emitted_values",
                    "Total number of values that a component published.",
                    read(&emitted.published),
                ),
                counter(
                    "klines_consumer_refused_values",
                    "Total number of values refused at publication.",
                    read(&emitted.refused),
                ),
                counter(
                    "klines_consumer_lost_values",
                    "Total number of published values dropped because a queue was full.",
                    read(&emitted.lost),
                ),
            ]);
        }
        found
    }
}
