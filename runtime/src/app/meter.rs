//! Shows how far a long command is: a bar on a terminal, a line for each tenth otherwise, both with the rate and the time
//! that remains.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::output;

/// In how many steps the lines come.
const STEPS: u64 = 10;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things with this name, in the plural.
    Things(&'static str),
}

/// The progress of a command.
#[derive(Debug)]
pub struct Meter {
    what: &'static str,
    unit: Unit,
    total: u64,
    began: Instant,
    /// The bar; `None` without a terminal.
    bar: Option<ProgressBar>,
    /// The steps that were printed.
    steps: u64,
}

impl Meter {
    /// Begins to show the progress of `what` towards `total`.
    #[must_use]
    pub fn start(what: &'static str, total: u64, unit: Unit) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total);
            let template = match unit {
                Unit::Bytes => format!("{what} {{bar:30}} {{bytes}}/{{total_bytes}} {{bytes_per_sec}} {{eta}}"),
                Unit::Things(name) => format!("{what} {{bar:30}} {{pos}}/{{len}} {name} {{per_sec}} {{eta}}"),
            };
            if let Ok(style) = ProgressStyle::with_template(&template) {
                bar.set_style(style);
            }
            bar
        });
        Self { what, unit, total, began: Instant::now(), bar, steps: 0 }
    }

    /// Shows that `position` of the total is done.
    pub fn set(&mut self, position: u64) {
        if let Some(bar) = &self.bar {
            return bar.set_position(position);
        }
        if let Some(line) = self.line(position, self.began.elapsed()) {
            output::eprint(&line);
        }
    }

    /// Returns the line of a tenth that was reached, but not of the last one.
    fn line(&mut self, position: u64, elapsed: Duration) -> Option<String> {
        let step = position.saturating_mul(STEPS) / self.total.max(1);
        if step <= self.steps || step >= STEPS {
            return None;
        }
        self.steps = step;
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = |factor: u64| position.saturating_mul(1_000 * factor) / millis;
        let left = self.total.saturating_sub(position).saturating_mul(millis) / position.max(1) / 1_000;
        let (what, percent, total) = (self.what, step * 100 / STEPS, self.total);
        let amounts = match self.unit {
            Unit::Bytes => format!("{} of {}, {}/s", HumanBytes(position), HumanBytes(total), HumanBytes(rate(1))),
            Unit::Things(name) => format!("{position} of {total} {name}, {}.{} {name}/s", rate(1), rate(10) % 10),
        };
        Some(format!("{what}: {percent} %, {amounts}, {left} s left"))
    }

    /// Prints a line beside the bar.
    pub fn print(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::eprint(line)),
            None => output::eprint(line),
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tenth_is_a_line_with_the_rate_and_the_rest() {
        let mut meter = Meter {
            what: "backfill",
            unit: Unit::Things("days"),
            total: 30,
            began: Instant::now(),
            bar: None,
            steps: 0,
        };
        let mut line = |position| meter.line(position, Duration::from_secs(position));
        assert_eq!(line(2), None);
        assert_eq!(line(3).unwrap(), "backfill: 10 %, 3 of 30 days, 1.0 days/s, 27 s left");
        assert_eq!(line(4), None);
        assert_eq!(line(29).unwrap(), "backfill: 90 %, 29 of 30 days, 1.0 days/s, 1 s left");
        assert_eq!(line(30), None);
    }
}
