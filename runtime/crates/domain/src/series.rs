//! The key of a series of klines, and the small id of it that every kline carries.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use hashbrown::HashSet;

use super::interval::Interval;
use super::symbol::{Category, Symbol};

/// The key of a series of klines.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesKey {
    /// Product category.
    pub category: Category,
    /// Symbol name.
    pub symbol: Symbol,
    /// Window length.
    pub interval: Interval,
}

/// The id of a [`SeriesKey`]: one pointer, which is copied, compared and hashed without reading names. It dereferences
/// to the key.
///
/// Equal keys have the same id. Keys are never freed, so that ids must be created only from configured or recorded
/// names, never from a client's request: use [`SeriesId::find`] for that.
#[derive(Clone, Copy)]
pub struct SeriesId(&'static SeriesKey);

/// Every key that has an id.
static KEYS: Mutex<Option<HashSet<&'static SeriesKey>>> = Mutex::new(None);

impl SeriesId {
    /// Returns the id of a key, creating it if needed. Takes a lock: call it once per series, not once per kline.
    #[must_use]
    pub fn of(key: SeriesKey) -> Self {
        let mut keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = keys.get_or_insert_default();
        if let Some(known) = keys.get(&key) {
            return Self(known);
        }
        let key: &'static SeriesKey = Box::leak(Box::new(key));
        keys.insert(key);
        Self(key)
    }

    /// Returns the id of a key; `None` if it has none.
    #[must_use]
    pub fn find(key: &SeriesKey) -> Option<Self> {
        let keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
        keys.as_ref()?.get(key).copied().map(Self)
    }

    /// Returns the id of the series of a category, a symbol and an interval, as [`SeriesId::of`] does.
    #[must_use]
    pub fn new(category: Category, symbol: Symbol, interval: Interval) -> Self {
        Self::of(SeriesKey { category, symbol, interval })
    }

    /// Returns the id of the same symbol and interval in another category.
    #[must_use]
    pub fn in_category(self, category: Category) -> Self {
        Self::of(SeriesKey { category, ..self.0.clone() })
    }
}

impl Deref for SeriesId {
    type Target = SeriesKey;

    #[inline]
    fn deref(&self) -> &SeriesKey {
        self.0
    }
}

impl PartialEq for SeriesId {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self.0, other.0)
    }
}

impl Eq for SeriesId {}

/// Orders ids as their keys.
impl Ord for SeriesId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(other.0)
    }
}

impl PartialOrd for SeriesId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for SeriesId {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        ptr::hash(self.0, state);
    }
}

impl fmt::Debug for SeriesId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(symbol: &str, interval: &str) -> SeriesKey {
        SeriesKey {
            category: Category::Linear,
            symbol: Symbol::new(symbol).unwrap(),
            interval: interval.parse().unwrap(),
        }
    }

    #[test]
    fn equal_keys_have_one_id_and_others_another() {
        let id = SeriesId::of(key("BTCUSDT", "1m"));
        assert_eq!(id, SeriesId::of(key("BTCUSDT", "1m")));
        assert_eq!(*id, key("BTCUSDT", "1m"));
        assert_ne!(id, SeriesId::of(key("BTCUSDT", "60s")).in_category(Category::Spot));
        assert_ne!(id, SeriesId::of(key("BTCUSDT", "1s")));
        assert_eq!(id.in_category(Category::Spot).in_category(Category::Linear), id);
    }

    #[test]
    fn a_lookup_of_a_key_creates_no_id() {
        assert_eq!(SeriesId::find(&key("NEVERSEEN", "1m")), None);
        assert_eq!(SeriesId::find(&key("NEVERSEEN", "1m")), None, "the first lookup has not created an id");
        let id = SeriesId::of(key("SEENONCE", "1m"));
        assert_eq!(SeriesId::find(&key("SEENONCE", "1m")), Some(id));
    }
}
