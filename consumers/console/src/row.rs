//! Formats one kline as the texts of its columns. Does not know widths or colours.

use klines_guest::{Category, Date, ExactKline, IntervalUnit, Kline, Quality, TimeOfDay};

/// The columns from left to right.
pub(crate) const COLUMNS: [Column; 10] = [
    Column { name: "time", numeric: false, rank: 9 },
    Column { name: "symbol", numeric: false, rank: 10 },
    Column { name: "", numeric: false, rank: 7 },
    Column { name: "", numeric: false, rank: 8 },
    Column { name: "open", numeric: true, rank: 5 },
    Column { name: "high", numeric: true, rank: 4 },
    Column { name: "low", numeric: true, rank: 3 },
    Column { name: "close", numeric: true, rank: 10 },
    Column { name: "volume", numeric: true, rank: 2 },
    Column { name: "trades", numeric: true, rank: 1 },
];

/// The index of the column that is coloured by direction.
pub(crate) const CLOSE: usize = 7;
/// The index of the column that marks a kline as closed or updating.
pub(crate) const MARK: usize = 3;

/// The properties of a column that are the same in every row.
pub(crate) struct Column {
    /// The heading.
    pub(crate) name: &'static str,
    /// Aligned to the right.
    pub(crate) numeric: bool,
    /// A narrow terminal drops the columns with the lowest rank first; columns of rank 10 always stay.
    pub(crate) rank: u8,
}

/// The direction of the price between the open and the close of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Up,
    Down,
    Flat,
}

/// The categories that have been printed so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Categories {
    first: Option<Category>,
    several: bool,
}

impl Categories {
    pub(crate) fn note(&mut self, category: Category) {
        self.several |= *self.first.get_or_insert(category) != category;
    }

    /// Returns whether the row names the category. It does not while only linear klines have been printed.
    fn need_naming(self, category: Category) -> bool {
        self.several || category != Category::Linear
    }
}

/// One line of the table, not laid out yet.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) cells: [String; COLUMNS.len()],
    /// Words after the columns: the quality unless `complete`, the revision unless 0, the category where needed.
    pub(crate) tags: String,
    /// The same with `r2` for `revision 2`, for terminals that have no room for it.
    pub(crate) short_tags: String,
    pub(crate) direction: Direction,
    pub(crate) confirm: bool,
}

impl Row {
    pub(crate) fn new(kline: &Kline, digits: &ExactKline, categories: Categories) -> Self {
        let price = |digits: &str| with_decimals(digits, kline.price_decimals);
        let tags = |revision: &str| {
            let quality = (kline.quality != Quality::Complete).then(|| kline.quality.to_string());
            let revision = (kline.revision > 0).then(|| format!("{revision}{}", kline.revision));
            let category = categories.need_naming(kline.category).then(|| kline.category.to_string());
            [quality, revision, category].into_iter().flatten().collect::<Vec<_>>().join(" ")
        };
        Self {
            cells: [
                time(kline),
                kline.symbol.clone(),
                kline.interval.to_string(),
                if kline.confirm { "✓" } else { "…" }.to_owned(),
                price(&digits.open),
                price(&digits.high),
                price(&digits.low),
                price(&digits.close),
                with_decimals(&digits.volume, kline.volume_decimals),
                kline.trades.to_string(),
            ],
            tags: tags("revision "),
            short_tags: tags("r"),
            direction: if kline.close > kline.open {
                Direction::Up
            } else if kline.close < kline.open {
                Direction::Down
            } else {
                Direction::Flat
            },
            confirm: kline.confirm,
        }
    }
}

/// Returns the start of the window as text, with the precision that the interval needs.
fn time(kline: &Kline) -> String {
    match kline.interval.unit {
        IntervalUnit::Millisecond => format!("{:.3}", TimeOfDay::of(kline.start)),
        IntervalUnit::Second | IntervalUnit::Minute | IntervalUnit::Hour => TimeOfDay::of(kline.start).to_string(),
        IntervalUnit::Day | IntervalUnit::Week | IntervalUnit::Month => Date::of(kline.start).to_string(),
    }
}

/// Appends the trailing zeros that exact digits leave out, so that the decimal points are aligned.
fn with_decimals(digits: &str, decimals: u8) -> String {
    let present = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let missing = usize::from(decimals).saturating_sub(present);
    let point = if present == 0 && missing > 0 { "." } else { "" };
    format!("{digits}{point}{}", "0".repeat(missing))
}
