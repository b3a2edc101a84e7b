//! What is measured of a component: memory, code, requests and published values.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use klines_delivery::emit::EmitCounters;
use klines_delivery::stats::{Figure, Footprint, Kind, Meter};
use klines_domain::time::Millis;

use super::http::HttpCounters;
use super::memory_meter::{LoadedMeter, MemoryMeter};

/// What one component does and takes, over all of its instances.
#[derive(Clone, Debug)]
pub struct WasmMeter {
    /// Bytes that the instances hold.
    pub memory: MemoryMeter,
    /// Bytes that the code takes.
    pub loaded: LoadedMeter,
    /// Requests that it makes: components that can make any.
    pub http: Option<Arc<HttpCounters>>,
    /// Values of its own series, if it may publish.
    pub emitted: Option<Arc<EmitCounters>>,
}

impl Meter for WasmMeter {
    fn footprint(&self) -> Option<Footprint> {
        Some(Footprint { memory: self.memory.read(), loaded: self.loaded.read() })
    }

    fn figures(&self, _now: Millis) -> Vec<Figure> {
        let counter = |name, help, value| Figure::single(name, help, Kind::Counter, value);
        let mut found = Vec::new();
        if let Some(http) = &self.http {
            let counts = http.read();
            found.extend([
                counter(
                    "klines_consumer_http_requests",
                    "HTTP requests of a component, denied ones included.",
                    counts.requests,
                ),
                counter("klines_consumer_http_denied", "HTTP requests that no grant covers.", counts.denied),
                counter("klines_consumer_http_failed", "HTTP requests without a response.", counts.failed),
            ]);
        }
        if let Some(emitted) = &self.emitted {
            let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
            found.extend([
                counter("klines_consumer_emitted", "Values that a component has published.", read(&emitted.published)),
                counter(
                    "klines_consumer_emit_refused",
                    "Values that a component was refused, with the reason.",
                    read(&emitted.refused),
                ),
                counter(
                    "klines_consumer_emit_lost",
                    "Published values for which there was no room.",
                    read(&emitted.lost),
                ),
            ]);
        }
        found
    }
}
