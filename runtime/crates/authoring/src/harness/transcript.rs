//! The transcript: everything that a consumer did, kline by kline, as lines of text. This is the content of a golden
//! file, so it contains no clock time, path or number that differs between runs.

use std::collections::HashMap;

use jiff::Timestamp;
use klines_domain::kline::Kline;
use klines_domain::series::SeriesKey;
use klines_domain::symbol::Category;
use klines_domain::time::Millis;
use klines_wasm::host_observer::Stream;

use super::capture::{Step, level_name};

/// The first line of a golden file.
const HEAD: &str = "# what the consumer did, kline by kline; `klines consumer test --update` writes it";

/// What the consumer did, call by call.
#[derive(Debug, Default)]
pub struct Transcript {
    lines: Vec<String>,
    /// The call that each line belongs to.
    calls: Vec<u64>,
    /// The call in which each kline was delivered, by its head line.
    klines: HashMap<String, u64>,
    /// The index of the first line of the last call.
    last: usize,
    /// The head lines of the klines of the last call.
    heads: Vec<String>,
}

impl Transcript {
    /// Adds the steps of a call other than `consume`.
    pub(super) fn push_other(&mut self, call: &str, number: u64, steps: &[Step]) {
        if !steps.is_empty() {
            self.push(number, call.to_owned());
            self.push_steps(number, steps, true);
        }
    }

    /// Adds the steps of a call of `consume` with these klines.
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

    /// Adds how the case ended.
    pub(super) fn push_end(&mut self, number: u64, how: &str) {
        self.push(number, format!("end {how}"));
    }

    /// Returns the lines.
    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Returns the text of the golden file.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{HEAD}\n");
        for line in &self.lines {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Returns the call that a line belongs to; beyond the end, the call of the last line.
    pub(super) fn call_of(&self, line: usize) -> Option<u64> {
        self.calls.get(line).or(self.calls.last()).copied()
    }

    /// Returns the call in which a kline was delivered, by its head line.
    pub(super) fn call_with(&self, head: &str) -> Option<u64> {
        self.klines.get(head).copied()
    }

    /// Returns the last call with its klines, even if the consumer did nothing in it.
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
                Step::Line { stream: Stream::Log, level, text } => format!("log {} {text}", level_name(*level)),
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

/// Returns the head line of a kline.
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
