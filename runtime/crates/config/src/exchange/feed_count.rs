//! How many connections carry each set of topics.

use std::num::NonZeroUsize;

use crate::value::{Fault, Scalar};

/// A number of redundant connections, from 1 to 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedCount(NonZeroUsize);

impl FeedCount {
    /// More cost CPU time and count towards the exchange's limits, and make a loss hardly less likely.
    const MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> NonZeroUsize {
        self.0
    }
}

impl Default for FeedCount {
    fn default() -> Self {
        Self(NonZeroUsize::MIN.saturating_add(1))
    }
}

impl Scalar for FeedCount {
    const EXPECTED: &'static str = "a number from 1 to 4";
    const BARE: bool = true;

    fn parse(text: &str) -> Result<Self, Fault> {
        let found = text.parse().ok().filter(|number| *number <= Self::MAX);
        found.map(Self).ok_or_else(|| Fault::new(format!("`{text}` is not a valid number of feeds"), Self::EXPECTED))
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}
