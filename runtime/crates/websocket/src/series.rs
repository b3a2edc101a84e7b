//! The dialects in which single series can be followed.

/// The dialects that subscribe to single series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Bybit's.
    Bybit,
    /// Ours.
    Stream,
}
