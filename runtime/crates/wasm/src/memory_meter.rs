//! Counters for the memory of a component: updated where memory is taken, read by the metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes of memory that the compiled component of one consumer takes, without its memories and tables. Consumers of
/// the same component share this memory.
#[derive(Clone, Debug, Default)]
pub struct LoadedMeter(Arc<AtomicU64>);

impl LoadedMeter {
    /// Returns the bytes.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets the bytes of the version that runs now.
    pub fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}

/// The bytes of memory that all instances of one consumer hold at this moment.
#[derive(Clone, Debug, Default)]
pub struct MemoryMeter(Arc<AtomicU64>);

impl MemoryMeter {
    /// Returns the bytes.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns the share of a new instance, which is subtracted when it is dropped.
    #[must_use]
    pub fn share(&self) -> MemoryShare {
        MemoryShare { all: self.0.clone(), own: 0 }
    }
}

/// The share of one instance in a [`MemoryMeter`].
#[derive(Debug, Default)]
pub struct MemoryShare {
    all: Arc<AtomicU64>,
    own: u64,
}

impl MemoryShare {
    /// Sets the bytes that the instance holds now.
    pub fn set(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        // The wrapping difference is right for growth and shrinkage: the sum of all shares is never below zero.
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
    fn a_dropped_instance_holds_no_memory() {
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
