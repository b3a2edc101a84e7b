//! What a consumer publishes: named series of its own, such as an average or a signal, each value of which belongs to
//! a kline of the batch in hand.
//!
//! Clients of the runtime find them as `ext.{consumer}.{name}.{interval}.{symbol}`. Values are published after
//! [`Consumer::consume`](crate::Consumer::consume) has succeeded, and forgotten if it fails. A value for an open window
//! is provisional, as its kline is.

/// Publishes a number of the series `name` for the kline in row `row` of the batch in hand.
///
/// ```
/// use klines_guest::{Batch, Failure, emit};
///
/// fn consume(batch: &Batch) -> Result<(), Failure> {
///     for (row, kline) in batch.klines.iter().enumerate() {
///         emit::number(row, "range", kline.high - kline.low).map_err(Failure::fatal)?;
///     }
///     Ok(())
/// }
/// ```
///
/// # Errors
/// The reason, in words: there is no such row, the name is not 1 to 32 of `a-z 0-9 _ -`, the number is not finite, or a
/// limit would be passed (unless configured 32 names, and 256 KiB a call, a value counting as 64 bytes and its text).
pub fn number(row: usize, name: &str, value: f64) -> Result<(), String> {
    publish(row, name, Value::Number(value))
}

/// Publishes a text of JSON, at most 4 KiB of it: what serde makes of `value`.
///
/// # Errors
/// As for [`number`]; and if serde cannot write the value.
pub fn json(row: usize, name: &str, value: &impl serde::Serialize) -> Result<(), String> {
    publish(row, name, Value::Json(serde_json::to_string(value).map_err(|error| error.to_string())?))
}

/// One value.
#[cfg(target_arch = "wasm32")]
use crate::bindings::klines::consumer::emit::Value;

/// One value.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A finite number.
    Number(f64),
    /// A text of JSON.
    Json(String),
}

fn publish(row: usize, name: &str, value: Value) -> Result<(), String> {
    #[cfg(target_arch = "wasm32")]
    // A row that does not fit is out of any batch's range, which is what the host will say.
    return crate::bindings::klines::consumer::emit::publish(u32::try_from(row).unwrap_or(u32::MAX), name, &value);
    #[cfg(not(target_arch = "wasm32"))]
    return crate::testing::emit(row, name, value);
}
