//! The conflating buffer that every queue uses.

use foldhash::fast::RandomState;
use hashlink::LinkedHashMap;

/// The newest value of each key, in the order in which the keys began to wait: `replace` keeps a key's position.
pub type Conflated<K, V> = LinkedHashMap<K, V, RandomState>;
