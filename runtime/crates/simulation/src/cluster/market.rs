//! The klines that nodes make: what was traded is the same for all, and what a node says of it differs if it has missed
//! trades, or knows of a late one already.

use klines_cluster::partition::Partition;
use klines_cluster::version::{Bucket, Class, Digest, Identity, Version, rank};
use klines_domain::kline::Quality;

/// The start of every run, in milliseconds since 1970: 2026-08-10.
pub const BEGIN: u64 = 1_786_310_880_000;

/// Returns the identity of the kline of a window, counted from 0.
pub fn identity(partition: Partition, window: u64, length: u64) -> Identity {
    let start = BEGIN + window * length;
    Identity {
        series: format!("linear S{partition} {}s", length / 1_000),
        start,
        bucket: Bucket::of(Class::Short, start + length - 1),
    }
}

/// What a node knows of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// All trades.
    Whole,
    /// As many trades, and others.
    Other,
    /// Some trades.
    Part,
}

/// Returns what a node says of a window after a number of late trades.
pub fn version(node: usize, window: u64, late: u8, knowledge: Knowledge) -> Version {
    let node = u8::try_from(node % 200).unwrap_or_default() + 1;
    let traded = 10 + window % 5;
    let (quality, trades, by) = match knowledge {
        Knowledge::Part => (Quality::Gapped, traded - u64::from(node % 9), node),
        Knowledge::Other => (Quality::Complete, traded + u64::from(late), node),
        Knowledge::Whole => (Quality::Complete, traded + u64::from(late), 0),
    };
    let mut digest = [by; 16];
    let [first, second, third, ..] = &mut digest;
    (*first, *second, *third) = (rank(quality), u8::try_from(trades).unwrap_or_default(), late);
    Version { digest: Digest(digest), quality, trades, body: String::new() }
}
