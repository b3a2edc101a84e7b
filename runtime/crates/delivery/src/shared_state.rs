//! A state of a consumer that is kept outside this process, together with the consumer's position: another process goes on
//! from both.

use std::fmt;
use std::sync::Arc;

/// The bytes of a value.
pub type Value = Arc<[u8]>;

/// A key and its value.
pub type Entry = (Arc<str>, Value);

/// A change of one key: the new value, or `None` for a deleted key.
pub type Change = (Arc<str>, Option<Value>);

/// Keeps the state of one instance.
pub trait SharedState: Send + Sync + fmt::Debug {
    /// Returns all keys and values, as they were written last.
    ///
    /// # Errors
    /// Why they cannot be read, as text for an operator.
    fn read(&self) -> Result<Vec<Entry>, String>;

    /// Writes the changes of a call together with the position behind what the call has processed: all of it, or nothing.
    /// Blocks until that is certain.
    ///
    /// # Errors
    /// Why nothing was written, as text for an operator.
    fn write(&self, changes: Vec<Change>) -> Result<(), String>;
}
