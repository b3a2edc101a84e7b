//! The dialects that have subscriptions to single topics; in the third, a client follows all batches of a category.

/// A dialect with subscriptions to single topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Bybit's, on `/v5/public/{category}`.
    Bybit,
    /// That of `/v1/stream`.
    Stream,
}
