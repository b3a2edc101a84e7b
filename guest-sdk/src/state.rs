//! The state of a consumer: a small key-value store that outlives crashes, restarts and new versions of the component.
//!
//! The changes of a call are committed if the call succeeds and discarded if it fails, together with the record of the
//! klines that it processed: a batch is never partly applied. Outside a component, [`testing`](crate::testing) provides
//! the store.

/// Returns the value of a key; `None` if the key does not exist.
#[must_use]
pub fn get(key: &str) -> Option<Vec<u8>> {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::klines::consumer::state::get(key);
    #[cfg(not(target_arch = "wasm32"))]
    return crate::testing::state_get(key);
}

/// Returns the value of a key as text; `None` if the key does not exist or its value is not UTF-8.
#[must_use]
pub fn get_text(key: &str) -> Option<String> {
    String::from_utf8(get(key)?).ok()
}

/// Sets the value of a key.
///
/// # Errors
/// The reason as text: the key is empty or over 256 bytes, or the quota (by default 16 MiB of keys and values) would be
/// exceeded. The state does not change in that case.
pub fn set(key: &str, value: impl AsRef<[u8]>) -> Result<(), String> {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::klines::consumer::state::set(key, value.as_ref());
    #[cfg(not(target_arch = "wasm32"))]
    return crate::testing::state_set(key, value.as_ref());
}

/// Deletes a key. Returns whether it existed.
pub fn delete(key: &str) -> bool {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::klines::consumer::state::delete(key);
    #[cfg(not(target_arch = "wasm32"))]
    return crate::testing::state_delete(key);
}

/// Returns the keys that begin with `prefix`, in byte order; an empty prefix means all.
#[must_use]
pub fn list_keys(prefix: &str) -> Vec<String> {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::klines::consumer::state::list_keys(prefix);
    #[cfg(not(target_arch = "wasm32"))]
    return crate::testing::state_keys(prefix);
}
