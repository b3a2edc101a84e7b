//! The summary of a case: whether it passed, the reasons why not, and what it measured. Times are shown, but no
//! expectation depends on them.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use klines_authoring::case::{Case, Ending};
use klines_authoring::harness::{End, Fixture, Outcome, RepeatCommand};
use klines_domain::count::counted;
use serde_json::{Value, json};

/// The result of a case.
#[derive(Debug)]
pub(super) struct Summary {
    name: String,
    failures: Vec<String>,
    notes: Vec<String>,
    again: String,
    ended: Ending,
    end: Option<String>,
    calls: u64,
    klines: u64,
    retries: u64,
    /// Call durations: p50, p99 and maximum.
    times: Option<[Duration; 3]>,
    memory: u64,
    memory_limit: u64,
    lines: usize,
    suppressed: u64,
    dropped: usize,
    /// Number of emitted values by series.
    series: BTreeMap<String, u64>,
    refused_values: u64,
    /// Number of allowed requests by method, URL and status.
    requests: BTreeMap<String, u64>,
    denied: u64,
    denials: Vec<String>,
    unanswered: Vec<String>,
}

impl Summary {
    pub(super) fn new(
        case: &Case,
        fixture: &Fixture,
        outcome: Outcome,
        failures: Vec<String>,
        notes: Vec<String>,
        repeat: &RepeatCommand,
    ) -> Self {
        let record = fixture.capture.read();
        let meters = fixture.blueprint.own_meter();
        let mut series = BTreeMap::new();
        for point in &record.points {
            *series.entry(point.name.to_string()).or_insert(0) += 1;
        }
        let mut requests = BTreeMap::new();
        for made in &record.requests {
            let status = made.status.map_or_else(|| "nobody answers".to_owned(), |status| status.to_string());
            *requests.entry(format!("{} {} -> {status}", made.method, made.url)).or_insert(0) += 1;
        }
        Self {
            name: case.name.clone(),
            failures,
            notes,
            again: repeat.whole(),
            ended: outcome.end.as_ref().map_or(Ending::Ok, End::ending),
            end: outcome.end.as_ref().map(End::describe),
            calls: outcome.calls,
            klines: outcome.klines,
            retries: outcome.retries,
            times: quantiles(outcome.times),
            memory: outcome.memory,
            memory_limit: case.consumer.limits.memory as u64,
            lines: record.lines.len(),
            suppressed: record.suppressed,
            dropped: record.dropped,
            series,
            refused_values: meters.emitted.map_or(0, |counters| counters.refused.load(Ordering::Relaxed)),
            requests,
            denied: meters.http.map_or(0, |counters| counters.read().denied),
            denials: record.denials.clone(),
            unanswered: record.unanswered.iter().cloned().collect(),
        }
    }

    /// Returns whether every expectation was met.
    pub(super) fn passed(&self) -> bool {
        self.failures.is_empty()
    }

    /// Formats the summary as text for people.
    pub(super) fn text(&self) -> String {
        let mut lines = vec![format!("{}: {}", self.name, if self.passed() { "ok" } else { "FAILED" })];
        lines.extend(self.failures.iter().map(|failure| format!("× {failure}")));
        lines.extend(self.notes.iter().cloned());
        lines.extend(self.measurements());
        if !self.passed() {
            lines.push(format!("again: {}", self.again));
        }
        let mut text = String::new();
        for (number, line) in lines.iter().enumerate() {
            for (part, line) in line.lines().enumerate() {
                let indent = if number == 0 {
                    ""
                } else if part == 0 {
                    "  "
                } else {
                    "    "
                };
                text.push_str(&format!("{indent}{line}\n"));
            }
        }
        text
    }

    fn measurements(&self) -> Vec<String> {
        let mut calls = format!("{}, {}", counted(self.calls, "call"), counted(self.klines, "kline"));
        if self.retries > 0 {
            calls.push_str(&format!(", {} repeated", self.retries));
        }
        if let Some([median, high, longest]) = self.times {
            calls.push_str(&format!("; a call takes {median:.1?}, p99 {high:.1?}, at most {longest:.1?}"));
        }
        let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        calls.push_str(&format!("; memory {} of {}", mebibytes(self.memory), mebibytes(self.memory_limit)));
        let mut lines = vec![calls];
        if let Some(end) = self.end.as_ref().filter(|_| self.passed()) {
            lines.push(format!("ended as expected with `{}` {end}", self.ended.as_str()));
        }
        if self.lines > 0 || self.suppressed > 0 {
            let mut text = format!("log: {}", counted(self.lines, "line"));
            if self.suppressed > 0 {
                text.push_str(&format!(", {} dropped (limits.log_lines)", self.suppressed));
            }
            if self.dropped > 0 {
                text.push_str(&format!(", {} of output dropped (limits.output)", counted(self.dropped, "byte")));
            }
            lines.push(text);
        }
        if !self.series.is_empty() || self.refused_values > 0 {
            let mut values: Vec<String> = self.series.iter().map(|(name, count)| format!("{name} {count}")).collect();
            if self.refused_values > 0 {
                values.push(format!("{} refused", self.refused_values));
            }
            lines.push(format!("emitted: {}", values.join(", ")));
        }
        lines.extend(self.requests.iter().map(|(request, count)| format!("http: {count} × {request}")));
        for request in &self.unanswered {
            lines.push(format!("http: nobody answers {request}: it needs an [[http]] in the case"));
        }
        if self.denied > 0 {
            lines.push(format!("denied: {}", counted(self.denied, "request")));
            lines.extend(self.denials.iter().map(|denial| format!("denied: {denial}")));
        }
        lines
    }

    /// Formats the summary as JSON for programs.
    pub(super) fn json(&self) -> Value {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let times =
            self.times.map(|[p50, p99, max]| json!({ "p50": micros(p50), "p99": micros(p99), "max": micros(max) }));
        json!({
            "name": self.name,
            "ok": self.passed(),
            "failures": self.failures,
            "notes": self.notes,
            "again": self.again,
            "ends": self.ended.as_str(),
            "end": self.end,
            "calls": self.calls,
            "klines": self.klines,
            "retries": self.retries,
            "call_us": times,
            "memory": self.memory,
            "log": { "lines": self.lines, "dropped": self.suppressed, "output_dropped": self.dropped },
            "emitted": self.series,
            "emitted_refused": self.refused_values,
            "http": self.requests,
            "http_unanswered": self.unanswered,
            "denied": self.denied,
            "denials": self.denials,
        })
    }
}

fn quantiles(mut times: Vec<Duration>) -> Option<[Duration; 3]> {
    times.sort_unstable();
    let last = times.len().checked_sub(1)?;
    let at = |hundredths: usize| times.get(last * hundredths / 100).copied();
    Some([at(50)?, at(99)?, at(100)?])
}
