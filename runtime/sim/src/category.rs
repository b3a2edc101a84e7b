//! The three product categories that the simulator serves, and a small table with one entry for each.

use std::fmt;

/// Product category, as in the path `/v5/public/{category}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// USDT and USDC perpetuals and futures.
    Linear,
    /// Spot pairs.
    Spot,
    /// Coin-margined contracts.
    Inverse,
}

impl Category {
    /// Every category.
    pub const ALL: [Self; 3] = [Self::Linear, Self::Spot, Self::Inverse];

    /// Returns Bybit's name: `linear`, `spot` or `inverse`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Spot => "spot",
            Self::Inverse => "inverse",
        }
    }

    /// Parses Bybit's name. Returns `None` for any other text, `option` included.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.as_str() == text)
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One value for each category.
#[derive(Clone, Debug, Default)]
pub(crate) struct PerCategory<T> {
    linear: T,
    spot: T,
    inverse: T,
}

impl<T> PerCategory<T> {
    pub fn get(&self, category: Category) -> &T {
        match category {
            Category::Linear => &self.linear,
            Category::Spot => &self.spot,
            Category::Inverse => &self.inverse,
        }
    }

    pub fn get_mut(&mut self, category: Category) -> &mut T {
        match category {
            Category::Linear => &mut self.linear,
            Category::Spot => &mut self.spot,
            Category::Inverse => &mut self.inverse,
        }
    }
}
