//! What replicas compare: the identity of a kline, and one version of it. Comparing needs no more of a kline than its
//! digest, its quality and its number of trades; the rest is text that nobody reads on the way.

use std::fmt;

use klines_domain::kline::Quality;

/// The maximum length of the name of a series.
pub const MAX_SERIES: usize = 96;
/// The maximum length of the text of a kline.
pub const MAX_BODY: usize = 1_024;
/// The maximum number of klines in one call.
pub const MAX_KLINES: usize = 512;
/// The maximum number of nodes whose versions of one kline are kept.
pub const MAX_VERSIONS: usize = 8;
/// Sequences, revisions and start times stay below this number, so that every number with which Lua calculates is one that
/// a double holds exactly (up to 2^53, which has 16 digits).
pub const MAX_NUMBER: u64 = 999_999_999_999_999;

/// A version whose revision is another one's by now gets the next multiple of this. Other nodes may have been given
/// revisions that this Redis has lost, but fewer than this in the minute that they send again.
pub const REVISION_STEP: u64 = 1_000;

/// The identity of a kline: the name of its series, such as `linear BTCUSDT 1m`, and the start of its window.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Category, symbol and interval.
    pub series: String,
    /// The first millisecond of the window.
    pub start: u64,
    /// The hash in Redis that keeps it.
    pub bucket: Bucket,
}

/// Klines are kept in hashes by the end of their windows, each of which expires as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bucket {
    /// How long its klines are kept.
    pub class: Class,
    /// The number of lengths of a bucket since 1970.
    pub number: u64,
}

/// How long a kline is kept for comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Intervals below `1m`: 10 minutes, in buckets of one minute.
    Short,
    /// Intervals from `1m` up: 24 hours, in buckets of one hour.
    Long,
}

impl Class {
    /// Returns the name in keys.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Long => "long",
        }
    }

    /// Returns the length of a bucket in milliseconds.
    #[must_use]
    pub const fn length(self) -> u64 {
        match self {
            Self::Short => 60_000,
            Self::Long => 3_600_000,
        }
    }

    /// Returns how long klines are kept after the end of their bucket, in milliseconds.
    #[must_use]
    pub const fn retention(self) -> u64 {
        match self {
            Self::Short => 600_000,
            Self::Long => 86_400_000,
        }
    }
}

impl Bucket {
    /// Returns the bucket of a window that ends at `end`.
    #[must_use]
    pub const fn of(class: Class, end: u64) -> Self {
        Self { class, number: end / class.length() }
    }

    /// Returns when the bucket expires, by the clock of Redis.
    #[must_use]
    pub const fn expires(self) -> u64 {
        (self.number + 1) * self.class.length() + self.class.retention()
    }
}

/// The first 16 bytes of a SHA-256 over a kline without `emitted`, `revision` and `sequence`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 16]);

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// One version of a kline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// What versions are compared by.
    pub digest: Digest,
    /// How complete it is.
    pub quality: Quality,
    /// Its number of trades.
    pub trades: u64,
    /// The kline as text.
    pub body: String,
}

/// A version with the numbers that it was given when it was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Which kline it is.
    pub identity: Identity,
    /// The version.
    pub version: Version,
    /// Its revision.
    pub revision: u64,
    /// Its number in the series.
    pub sequence: u64,
}

/// What a node was answered for a version, as it sends it to a Redis that may have lost it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The version that the node had sent, and the numbers of what was published then.
    pub kline: Published,
    /// Whether the node's version was the one that was published under these numbers. Otherwise it was another node's, which
    /// nobody can restore if that node has ended, too.
    pub own: bool,
}

/// Returns the place of a quality in the order of replicas: the least is the best. The order is that of
/// [`Quality::worse`].
#[must_use]
pub const fn rank(quality: Quality) -> u8 {
    match quality {
        Quality::Complete => 0,
        Quality::Repaired => 1,
        Quality::Partial => 2,
        Quality::Gapped => 3,
    }
}

/// Returns the quality with a rank; `None` if there is none.
#[must_use]
pub fn of_rank(rank: u8) -> Option<Quality> {
    let all = [Quality::Complete, Quality::Repaired, Quality::Partial, Quality::Gapped];
    all.get(usize::from(rank)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_the_aggregator() {
        for (one, other) in (0..4).flat_map(|one| (0..4).map(move |other| (one, other))) {
            let [left, right] = [one, other].map(|rank| of_rank(rank).unwrap());
            assert_eq!(rank(left.worse(right)), one.max(other));
        }
        assert_eq!(of_rank(4), None);
    }

    #[test]
    fn a_kline_is_kept_for_at_least_its_time_after_its_window() {
        for (class, least) in [(Class::Short, 600_000), (Class::Long, 86_400_000)] {
            for end in [0, class.length() - 1, class.length(), 1_786_310_879_999] {
                let kept = Bucket::of(class, end).expires() - end;
                assert!((least..=least + class.length()).contains(&kept), "{end}: {kept}");
            }
        }
    }
}
