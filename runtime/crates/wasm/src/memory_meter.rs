//! Bytes that a component takes, counted where they are taken and read by others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
