//! A state that is kept elsewhere: a copy of it in memory, which changes when the changes have been written there.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use klines_delivery::shared_state::SharedState;
use klines_domain::kline::Kline;

use super::database::{Halt, Unusable};
use super::{Changes, size};

/// The copy of a state.
#[derive(Debug)]
pub(super) struct Copy {
    origin: Arc<dyn SharedState>,
    entries: BTreeMap<Arc<str>, Bytes>,
    /// The size of all keys and values, as [`size`] counts it.
    bytes: usize,
}

impl Copy {
    pub(super) fn read(origin: Arc<dyn SharedState>) -> Result<Self, Unusable> {
        let read = origin.read().map_err(Unusable::Elsewhere)?;
        let entries: BTreeMap<Arc<str>, Bytes> =
            read.into_iter().map(|(key, value)| (key, Bytes::from_owner(value))).collect();
        let bytes = entries.iter().map(|(key, value)| size(key, value.len())).sum();
        Ok(Self { origin, entries, bytes })
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.entries.get(key).map(|value| value.to_vec())
    }

    pub(super) fn length(&self, key: &str) -> Option<usize> {
        self.entries.get(key).map(Bytes::len)
    }

    /// Returns the keys that begin with `prefix`, in byte order.
    pub(super) fn keys(&self, prefix: &str) -> Vec<String> {
        let from = self.entries.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from.map(|(key, _)| key).take_while(|key| key.starts_with(prefix)).map(|key| key.to_string()).collect()
    }

    /// Writes the changes with the position of the consumer, which moves only with closed klines.
    pub(super) fn write(&mut self, changes: &Changes, taken: &[Arc<Kline>]) -> Result<(), Halt> {
        if changes.is_empty() && !taken.iter().any(|kline| kline.confirm) {
            return Ok(());
        }
        let values = changes.iter().map(|(key, value)| (key.clone(), value.as_deref().map(Arc::from))).collect();
        self.origin.write(values).map_err(Unusable::Elsewhere)?;
        for (key, value) in changes {
            let before = match value {
                Some(value) => self.entries.insert(key.clone(), value.clone()),
                None => self.entries.remove(key),
            };
            self.bytes -= before.map_or(0, |before| size(key, before.len()));
            self.bytes += value.as_ref().map_or(0, |value| size(key, value.len()));
        }
        Ok(())
    }
}
