//! Publishes values: a consumer has named series, such as an average or a signal, and each value belongs to a kline of
//! the current batch.
//!
//! Clients of the runtime receive them as the topic `ext.{consumer}.{name}.{interval}.{symbol}`. Values are published
//! after [`Consumer::consume`](crate::Consumer::consume) has succeeded, and discarded if it fails. A value for an open
//! window is provisional, like its kline.

/// Publishes a number in the series `name` for the kline in row `row` of the current batch.
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
/// The reason as text: the row does not exist, the name is not 1 to 32 characters of `a-z 0-9 _ -`, the number is not
/// finite, or a limit would be exceeded (by default 32 names, and 256 KiB per call, where a value counts as 64 bytes
/// plus its text).
pub fn number(row: usize, name: &str, value: f64) -> Result<(), String> {
    publish(row, name, Value::Number(value))
}

/// Publishes `value`, serialized by serde as a JSON text of at most 4 KiB.
///
/// # Errors
/// The same as for [`number`], and an error of serde if it cannot serialize the value.
pub fn json(row: usize, name: &str, value: &impl serde::Serialize) -> Result<(), String> {
    publish(row, name, Value::Json(serde_json::to_string(value).map_err(|error| error.to_string())?))
}

/// A published value.
#[cfg(target_arch = "wasm32")]
use crate::bindings::klines::consumer::emit::Value;

/// A published value.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A finite number.
    Number(f64),
    /// A JSON text.
    Json(String),
}

fn publish(row: usize, name: &str, value: Value) -> Result<(), String> {
    #[cfg(target_arch = "wasm32")]
    // A row that does not fit into 32 bits is beyond any batch; the host reports that.
    return crate::bindings::klines::consumer::emit::publish(u32::try_from(row).unwrap_or(u32::MAX), name, &value);
    #[cfg(not(target_arch = "wasm32"))]
    return crate::testing::emit(row, name, value);
}
