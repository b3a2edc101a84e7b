//! What a consumer keeps from one life to the next: a small store of its own, which outlives crashes, restarts and new
//! versions of the component.
//!
//! What a call changes is kept if the call succeeds and forgotten if it fails, together with the record of the klines
//! that it took: a batch is never half applied. Outside a component the store of [`testing`](crate::testing) answers.

/// Returns the value of a key.
#[must_use]
pub fn get(key: &str) -> Option<Vec<u8>> {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::klines::consumer::state::get(key);
    #[cfg(not(target_arch = "wasm32"))]
    return crate::testing::state_get(key);
}

/// Returns the value of a key as text; nothing if it is not UTF-8.
#[must_use]
pub fn get_text(key: &str) -> Option<String> {
    String::from_utf8(get(key)?).ok()
}

/// Sets a key's value.
///
/// # Errors
/// The reason, in words: the key is empty or over 256 bytes, or the quota (16 MiB of keys and values unless configured)
/// would be passed. Nothing is changed then.
pub fn set(key: &str, value: impl AsRef<[u8]>) -> Result<(), String> {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::klines::consumer::state::set(key, value.as_ref());
    #[cfg(not(target_arch = "wasm32"))]
    return crate::testing::state_set(key, value.as_ref());
}

/// Forgets a key. Returns whether it was there.
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
