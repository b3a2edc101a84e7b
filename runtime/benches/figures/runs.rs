//! The rows of the tables: a figure and its baseline, each with the spread over its runs.

/// The values of a figure, one for each run; never empty.
pub(crate) struct Runs(Vec<f64>);

impl Runs {
    /// Returns the middle value, the upper one of an even number.
    pub(crate) fn median(&self) -> f64 {
        let mut values = self.0.clone();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }

    /// Returns the difference of the largest and the smallest value in percent of the median; `None` if there is one.
    pub(crate) fn spread(&self) -> Option<f64> {
        let (low, high) = (self.0.iter().copied().reduce(f64::min)?, self.0.iter().copied().reduce(f64::max)?);
        (self.0.len() > 1).then(|| (high - low) / self.median() * 100.0)
    }
}

impl From<f64> for Runs {
    fn from(once: f64) -> Self {
        Self(vec![once])
    }
}

impl From<Vec<f64>> for Runs {
    fn from(values: Vec<f64>) -> Self {
        Self(values)
    }
}

impl FromIterator<f64> for Runs {
    fn from_iter<T: IntoIterator<Item = f64>>(values: T) -> Self {
        Self(values.into_iter().collect())
    }
}

/// Prints the names of the columns.
pub(crate) fn header() {
    print("measurement", "klines", "baseline", "ratio", "spread %", "floor / goal");
}

/// Prints the medians of a figure and its baseline, their ratio and spreads.
pub(crate) fn row(name: &str, ours: impl Into<Runs>, baseline: impl Into<Runs>, unit: &str, floor: &str) {
    let (ours, baseline) = (ours.into(), baseline.into());
    let spread = match (ours.spread(), baseline.spread()) {
        (None, None) => "-".to_owned(),
        (ours, baseline) => {
            let percent = |spread: Option<f64>| spread.map_or_else(|| "-".to_owned(), |spread| format!("{spread:.0}"));
            format!("{} / {}", percent(ours), percent(baseline))
        }
    };
    let (ours, baseline) = (ours.median(), baseline.median());
    let (value, ratio) = (|value: f64| format!("{value:.2} {unit}"), format!("{:.2}", ours / baseline));
    print(name, &value(ours), &value(baseline), &ratio, &spread, floor);
}

/// Prints a row of texts that were measured once and have no ratio.
pub(crate) fn measured(name: &str, ours: &str, baseline: &str, floor: &str) {
    print(name, ours, baseline, "-", "-", floor);
}

fn print(name: &str, ours: &str, baseline: &str, ratio: &str, spread: &str, floor: &str) {
    println!("{name:<58} {ours:>12} {baseline:>12} {ratio:>7} {spread:>10}  {floor}");
}
