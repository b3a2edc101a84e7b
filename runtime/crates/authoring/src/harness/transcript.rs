//! Everything that a consumer did, kline by kline, as plain lines: the golden file. No clock, no path, no figure that
//! differs from run to run.

use std::collections::HashMap;

use jiff::Timestamp;
use klines_domain::kline::Kline;
use klines_domain::series::SeriesKey;
use klines_domain::symbol::Category;
use klines_domain::time::Millis;
use klines_wasm::host_observer::Stream;

use super::capture::{Step, word};

/// The first line of a golden file.
const HEAD: &str = "# what the consumer did, kline by kline; `klines consumer test --update` writes it";

/// What was done, call by call.
#[derive(Debug, Default)]
pub struct Transcript {
    lines: Vec<String>,
    /// The call that each line belongs to.
    calls: Vec<u64>,
    /// The call in which each kline was handed over.
    klines: HashMap<String, u64>,
    /// Where the last call begins.
    last: usize,
    /// What the last call was given.
    heads: Vec<String>,
}

impl Transcript {
    /// Adds what was done in a call that is given no klines.
    pub(super) fn push_other(&mut self, call: &str, number: u64, steps: &[Step]) {
        if !steps.is_empty() {
            self.push(number, call.to_owned());
            self.push_steps(number, steps, true);
        }
    }

    /// Adds what was done with these klines.
    pub(super) fn push_consume(&mut self, number: u64, heads: Vec<String>, steps: &[Step]) {
        self.last = self.lines.len();
        if !steps.is_empty() {
            for head in &heads {
                self.push(number, head.clone());
            }
            self.push_steps(number, steps, heads.len() <= 1);
        }
        for head in &heads {
            self.klines.entry(head.clone()).or_insert(number);
        }
        self.heads = heads;
    }

    /// Adds how it ended.
    pub(super) fn push_end(&mut self, number: u64, how: &str) {
        self.push(number, format!("end {how}"));
    }

    /// The lines.
    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The file's text.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{HEAD}\n");
        for line in &self.lines {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// The call that a line belongs to; that of the last line beyond the end.
    pub(super) fn call_of(&self, line: usize) -> Option<u64> {
        self.calls.get(line).or(self.calls.last()).copied()
    }

    /// The call in which a kline was handed over, by its head line.
    pub(super) fn call_with(&self, head: &str) -> Option<u64> {
        self.klines.get(head).copied()
    }

    /// The last call with what it was given, whether or not it did anything.
    pub fn last_call(&self) -> String {
        let done = self.lines.get(self.last..).unwrap_or_default();
        let begins_with_head = done.first().is_some_and(|line| self.heads.first() == Some(line));
        let heads = if begins_with_head { &[] } else { self.heads.as_slice() };
        let lines: Vec<&str> = heads.iter().chain(done).map(String::as_str).collect();
        lines.join("\n")
    }

    fn push_steps(&mut self, number: u64, steps: &[Step], is_single: bool) {
        for step in steps {
            let line = match step {
                Step::Line { stream: Stream::Log, level, text } => format!("log {} {text}", word(*level)),
                Step::Line { stream: Stream::Stdout, text, .. } => format!("stdout {text}"),
                Step::Line { stream: Stream::Stderr, text, .. } => format!("stderr {text}"),
                Step::Emit(point) if is_single => format!("emit {} {}", point.name, point.value),
                Step::Emit(point) => {
                    let series = format!("{} {} {}", point.series.symbol, point.series.interval, time(point.start));
                    format!("emit {} {} for {series}", point.name, point.value)
                }
                Step::Http { method, url, outcome } => format!("http {method} {url} -> {outcome}"),
                Step::Answer(text) => text.clone(),
            };
            self.push(number, format!("  {line}"));
        }
    }

    fn push(&mut self, number: u64, line: String) {
        self.lines.push(line);
        self.calls.push(number);
    }
}

/// A kline in one line.
pub(super) fn head(kline: &Kline) -> String {
    let category = match kline.series.category {
        Category::Linear => String::new(),
        other => format!("{other}:"),
    };
    let Kline { series, revision, close, .. } = kline;
    let SeriesKey { symbol, interval, .. } = &**series;
    let (start, state) = (time(kline.start), if kline.confirm { "confirmed" } else { "open" });
    format!("kline {category}{symbol} {interval} {start} {state} r{revision} close={close}")
}

fn time(at: Millis) -> String {
    Timestamp::from_millisecond(at).map_or_else(|_| at.to_string(), |at| at.to_string())
}
