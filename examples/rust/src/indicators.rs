//! The two indicators. They work on plain numbers and do not depend on klines.

/// An exponential moving average. The first `length` values are averaged with equal weights.
#[derive(Debug)]
pub struct Ema {
    length: u32,
    count: u32,
    value: f64,
}

/// Wilder's relative strength index, 0 to 100.
#[derive(Debug)]
pub struct Rsi {
    period: u32,
    count: u32,
    last: Option<f64>,
    gain: f64,
    loss: f64,
}

impl Ema {
    /// Returns an empty average over `length` values.
    pub fn new(length: u32) -> Self {
        Self { length, count: 0, value: 0.0 }
    }

    /// Adds a value; returns the average once there are `length` of them.
    pub fn add(&mut self, value: f64) -> Option<f64> {
        self.count = self.count.saturating_add(1);
        let weight =
            if self.count <= self.length { 1.0 / f64::from(self.count) } else { 2.0 / (f64::from(self.length) + 1.0) };
        self.value += (value - self.value) * weight;
        (self.count >= self.length).then_some(self.value)
    }
}

impl Rsi {
    /// Returns an empty index over `period` changes.
    pub fn new(period: u32) -> Self {
        Self { period, count: 0, last: None, gain: 0.0, loss: 0.0 }
    }

    /// Adds a close; returns the index once there are `period` changes.
    pub fn add(&mut self, close: f64) -> Option<f64> {
        let change = close - self.last.replace(close)?;
        self.count = self.count.saturating_add(1);
        // The first `period` changes have equal weights; after them the weights decrease exponentially.
        let weight = 1.0 / f64::from(self.count.min(self.period));
        self.gain += (change.max(0.0) - self.gain) * weight;
        self.loss += ((-change).max(0.0) - self.loss) * weight;
        if self.count < self.period {
            return None;
        }
        let moved = self.gain + self.loss;
        // Without a change the index is neutral.
        Some(if moved > 0.0 { 100.0 * self.gain / moved } else { 50.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_of_three_needs_three_values() {
        let mut ema = Ema::new(3);
        let found: Vec<Option<f64>> = [1.0, 2.0, 6.0, 7.0].map(|value| ema.add(value)).into();
        assert_eq!(found, [None, None, Some(3.0), Some(5.0)]);
    }

    #[test]
    fn the_index_goes_from_0_to_100() {
        let last = |closes: &[f64]| {
            let mut rsi = Rsi::new(2);
            closes.iter().filter_map(|close| rsi.add(*close)).last()
        };
        assert_eq!(last(&[1.0, 2.0]), None);
        assert_eq!(last(&[1.0, 2.0, 3.0]), Some(100.0));
        assert_eq!(last(&[3.0, 2.0, 1.0]), Some(0.0));
        assert_eq!(last(&[2.0, 2.0, 2.0]), Some(50.0));
        assert_eq!(last(&[1.0, 2.0, 1.0]), Some(50.0));
        // Gains 1, 0, 1 and losses 0, 1, 0 smoothed by halves: 0.75 against 0.25.
        assert_eq!(last(&[1.0, 2.0, 1.0, 2.0]), Some(75.0));
    }
}
