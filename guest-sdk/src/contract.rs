//! Constructors and names of the contract's types. The types themselves are generated from the WIT files.

use std::fmt;

use crate::{Batch, Category, ExactKline, Failure, Kline, Problem, Quality, Subscription, host};

impl Batch {
    /// Returns the exact digits of row `row`, counted from 0.
    ///
    /// Call it only in `consume`, for the batch that `consume` received. A row beyond the end is a bug: the runtime
    /// ends the instance.
    #[must_use]
    pub fn exact(&self, row: usize) -> ExactKline {
        host::exact(self, row)
    }

    /// Iterates over the klines together with their exact digits; each row takes one host call. The conditions of
    /// [`Batch::exact`] apply.
    pub fn exact_rows(&self) -> impl Iterator<Item = (&Kline, ExactKline)> {
        self.klines.iter().enumerate().map(|(row, kline)| (kline, self.exact(row)))
    }
}

impl Subscription {
    /// Returns a subscription to every symbol and interval, including updates of open windows.
    #[must_use]
    pub fn all() -> Self {
        Self { symbols: Vec::new(), intervals: Vec::new(), closed_only: false }
    }

    /// Returns a subscription to every symbol and interval, closed klines only.
    #[must_use]
    pub fn closed() -> Self {
        Self { closed_only: true, ..Self::all() }
    }
}

impl Failure {
    /// Makes a failure after which the runtime sends the same batch again after a pause, until it succeeds.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry(reason.into())
    }

    /// Makes a failure after which the runtime stops the consumer and shows the reason to the operator.
    pub fn fatal(reason: impl Into<String>) -> Self {
        Self::Fatal(reason.into())
    }
}

impl Problem {
    /// Makes a problem: `message` says what is wrong at the dotted `path` inside the settings (an empty path means all
    /// settings), and `expected` what is valid.
    pub fn new(path: impl Into<String>, message: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), expected: expected.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if !self.expected.is_empty() {
            write!(f, ", expected {}", self.expected)?;
        }
        Ok(())
    }
}

impl Category {
    /// Returns the name that Bybit uses: `linear`, `spot`, `inverse` or `option`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Spot => "spot",
            Self::Inverse => "inverse",
            Self::Option => "option",
        }
    }
}

impl Quality {
    /// Returns the name that the contract uses: `complete`, `partial`, `gapped` or `repaired`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Gapped => "gapped",
            Self::Repaired => "repaired",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
