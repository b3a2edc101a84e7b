//! What a consumer measures of itself, beside what its worker counts; and a consumer as others may look at it.
//!
//! A new kind of figure is a field of [`Meters`], filled by the blueprint that has it, and a few lines in
//! `app/metrics/exposition`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{LossReason, Snapshot, State, Stats};
use crate::consumer::emit::EmitCounters;
use crate::consumer::queue::Queue;
use crate::consumer::redis::Tallies;
use crate::consumer::wasm::http::HttpCounters;
use crate::consumer::websocket::figures::Figures;

/// Figures that only some kinds of consumer have.
#[derive(Clone, Debug, Default)]
pub struct Meters {
    /// Memory of its instances: components only.
    pub memory: Option<MemoryMeter>,
    /// What its compiled component takes: components only.
    pub loaded: Option<LoadedMeter>,
    /// Requests that it makes: components that can make any.
    pub http: Option<Arc<HttpCounters>>,
    /// Values of its own series: components only.
    pub emitted: Option<Arc<EmitCounters>>,
    /// Clients of its server: websocket only.
    pub clients: Option<Arc<Figures>>,
    /// What it hands klines on to, and what became of them there: redis only.
    pub outputs: Option<Tallies>,
}

/// One consumer, to look at while it runs.
#[derive(Clone, Debug)]
pub struct View {
    /// Its name in configuration, logs and metrics.
    pub name: String,
    /// What its worker counts.
    pub stats: Arc<Stats>,
    /// What waits for it.
    pub queue: Arc<Queue>,
}

impl View {
    /// Takes away what waits for the consumer, because the process ends now. Returns its counters with everything that
    /// it did not deliver or keep on disk as lost; one that has ended by itself has nothing of that.
    #[must_use]
    pub fn give_up(&self) -> Snapshot {
        let waiting = self.queue.abandon().len() as u64;
        let mut found = self.stats.snapshot();
        found.losses.add(LossReason::Shutdown, waiting + found.in_hand + found.unsent);
        if !matches!(found.state, State::Stopped | State::Failed | State::Quarantined) {
            found.state = State::Abandoned;
        }
        found
    }
}

/// Bytes of memory that the compiled component of one consumer takes, without its memories and tables. Consumers of the same
/// component share them.
#[derive(Clone, Debug, Default)]
pub struct LoadedMeter(Arc<AtomicU64>);

impl LoadedMeter {
    /// Bytes.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes what the version that runs now takes.
    pub fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}

/// Bytes that all instances of one consumer hold at this moment.
#[derive(Clone, Debug, Default)]
pub struct MemoryMeter(Arc<AtomicU64>);

impl MemoryMeter {
    /// Bytes.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Begins an instance's part, which is taken back when it is dropped.
    #[must_use]
    pub fn share(&self) -> MemoryShare {
        MemoryShare { all: self.0.clone(), own: 0 }
    }
}

/// One instance's part of a [`MemoryMeter`].
#[derive(Debug, Default)]
pub struct MemoryShare {
    all: Arc<AtomicU64>,
    own: u64,
}

impl MemoryShare {
    /// Says how much the instance holds now, in bytes.
    pub fn set(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        // Wrapping is right both ways: the sum of all parts is never below zero.
        self.all.fetch_add(bytes.wrapping_sub(self.own), Ordering::Relaxed);
        self.own = bytes;
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_that_is_gone_holds_nothing() {
        let meter = MemoryMeter::default();
        let (mut old, mut new) = (meter.share(), meter.share());
        old.set(100);
        new.set(30);
        old.set(70);
        assert_eq!(meter.read(), 100);
        drop(old);
        assert_eq!(meter.read(), 30);
        drop(new);
        assert_eq!(meter.read(), 0);
    }
}
