//! `[store]`: whether confirmed klines are stored, how large the store may become, and for how long each interval is kept.

mod retain;
#[cfg(test)]
mod tests;

pub use self::retain::Retain;
use super::loader::{Key, Loader, Section};
use super::quantity::ByteSize;

const ENABLED: Key = Key::new("enabled").variable("STORE");
const MAX_SIZE: Key = Key::new("max_size").variable("STORE_MAX_SIZE");

const DEFAULT_SIZE: ByteSize = ByteSize(8 << 30);
/// A smaller store could not hold the klines of a few hours until they are compressed.
const LEAST_SIZE: ByteSize = ByteSize(64 << 20);

/// Whether and for how long confirmed klines are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Whether confirmed klines are stored in `data_dir`. Default: yes.
    pub enabled: bool,
    /// Largest size of the store, in bytes, at least 64 MiB. Default: 8 GiB.
    pub max_size: u64,
    /// For how long klines of each interval are kept.
    pub retain: Retain,
}

impl Default for Store {
    fn default() -> Self {
        Self { enabled: true, max_size: DEFAULT_SIZE.0, retain: Retain::default() }
    }
}

impl Store {
    pub(super) fn read(loader: &mut Loader<'_>, section: &mut Section<'_>) -> Self {
        let enabled = loader.read(section, ENABLED, true).value;
        let max_size = loader.read(section, MAX_SIZE, DEFAULT_SIZE);
        if max_size.value < LEAST_SIZE {
            let diagnostic = max_size.error(format!("{} is too small for a store", max_size.value));
            loader.report.push(diagnostic.expected(format!("{LEAST_SIZE} or more; `enabled = false` stores nothing")));
        }
        Self { enabled, max_size: max_size.value.0, retain: Retain::read(loader, section) }
    }
}
