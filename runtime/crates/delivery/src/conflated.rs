//! The one conflating buffer.

use foldhash::fast::RandomState;
use hashlink::LinkedHashMap;

/// The newest value of each key, in the order in which the keys began to wait: `replace` keeps a key's place.
pub type Conflated<K, V> = LinkedHashMap<K, V, RandomState>;
