//! Numbers of things in messages: `1 kline`, `2 klines`.

use std::fmt::Display;

/// Returns the number with its noun, which is in the plural unless there is exactly one.
///
/// ```
/// use klines_domain::count::counted;
///
/// assert_eq!(counted(0, "kline"), "0 klines");
/// assert_eq!(counted(1, "closed kline"), "1 closed kline");
/// assert_eq!(counted(2, "batch"), "2 batches");
/// assert_eq!(counted(3, "retry"), "3 retries");
/// ```
#[must_use]
pub fn counted<N: Copy + Display + TryInto<u64>>(count: N, noun: &str) -> String {
    if count.try_into().is_ok_and(|count| count == 1) {
        return format!("{count} {noun}");
    }
    if let Some(stem) = noun.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u'])) {
        return format!("{count} {stem}ies");
    }
    let is_sibilant = ["s", "x", "ch", "sh"].iter().any(|end| noun.ends_with(end));
    format!("{count} {noun}{}", if is_sibilant { "es" } else { "s" })
}
