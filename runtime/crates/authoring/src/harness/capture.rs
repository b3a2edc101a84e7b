//! What a consumer under test does, written down as it does it: lines, values, requests. Answers its requests.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use klines_delivery::Failure;
use klines_delivery::emit::{Outlet, Point};
use klines_wasm::host_observer::{Asked, HostObserver, Reply, Stream};
use tracing::Level;

use crate::case::Stub;

/// One step of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Wrote a line.
    Line {
        /// Where it came from.
        stream: Stream,
        /// Its level.
        level: Level,
        /// Its text.
        text: String,
    },
    /// Published a value.
    Emit(Point),
    /// Made a request.
    Http {
        /// Its method.
        method: String,
        /// Its address.
        url: String,
        /// The status of the answer, or why there was none.
        outcome: String,
    },
    /// Answered, or ended, in this way.
    Answer(String),
}

/// A request that was allowed.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// Its address.
    pub url: String,
    /// The status that it got; none if nobody answered.
    pub status: Option<u16>,
    /// Its body.
    pub body: Vec<u8>,
}

/// All of it, over all calls.
#[derive(Debug, Default)]
pub struct Record {
    /// Since the last call.
    steps: Vec<Step>,
    /// Lines with their level in front.
    pub lines: Vec<String>,
    /// Lines over the limit of a second.
    pub suppressed: u64,
    /// Bytes of output beyond what a call may write.
    pub dropped: usize,
    /// Values that it published.
    pub points: Vec<Point>,
    /// Requests that were allowed.
    pub requests: Vec<Request>,
    /// What was not allowed, with the line that would grant it.
    pub denials: Vec<String>,
    /// Allowed requests without an answer in the case.
    pub unanswered: BTreeSet<String>,
    /// Why it did not stop well.
    pub bad_stop: Option<Failure>,
    passed: Duration,
    stubs: Vec<(Stub, u32)>,
    is_listening: bool,
}

/// Writes down, and answers.
#[derive(Debug)]
pub struct Capture {
    /// Counts real time; otherwise the time of the klines.
    since: Option<Instant>,
    record: Mutex<Record>,
}

impl Capture {
    /// Begins to write down what the consumer does.
    pub fn new(stubs: &[Stub], in_real_time: bool) -> Self {
        let stubs = stubs.iter().map(|stub| (stub.clone(), 0)).collect();
        let record = Mutex::new(Record { stubs, is_listening: true, ..Record::default() });
        Self { since: in_real_time.then(Instant::now), record }
    }

    /// Lets the time of the klines pass.
    pub fn pass(&self, passed: Duration) {
        let mut record = self.read();
        record.passed = record.passed.max(passed);
    }

    /// Takes what was done since the last call.
    pub fn take(&self) -> Vec<Step> {
        std::mem::take(&mut self.read().steps)
    }

    /// Writes nothing down any more.
    pub fn close(&self) {
        self.read().is_listening = false;
    }

    /// What was done so far.
    pub fn read(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostObserver for Capture {
    fn passed(&self) -> Duration {
        self.since.map_or_else(|| self.read().passed, |since| since.elapsed())
    }

    fn logged(&self, stream: Stream, level: Level, text: &str) {
        let mut record = self.read();
        if record.is_listening {
            record.lines.push(format!("{} {text}", word(level)));
            record.steps.push(Step::Line { stream, level, text: text.to_owned() });
        }
    }

    fn suppressed(&self) {
        self.read().suppressed += 1;
    }

    fn dropped(&self, bytes: usize) {
        self.read().dropped += bytes;
    }

    fn refused(&self, method: &str, url: &str, error: &str, line: Option<&str>) {
        let mut record = self.read();
        if let Some(line) = line {
            record.denials.push(format!("{method} {url}: {line}"));
        }
        record.steps.push(Step::Http { method: method.to_owned(), url: url.to_owned(), outcome: error.to_owned() });
    }

    fn asked(&self, asked: &Asked<'_>) -> Option<Reply> {
        let mut record = self.read();
        let ticket = record.requests.len();
        let fitting = record
            .stubs
            .iter_mut()
            .find(|(stub, given)| stub.fits(asked.method, asked.url) && stub.times.is_none_or(|most| *given < most));
        let reply = fitting.map(|(stub, given)| {
            *given += 1;
            Reply { ticket, status: stub.status, headers: stub.headers.clone(), body: stub.body.clone().into_bytes() }
        });
        let (method, url) = (asked.method.to_owned(), asked.url.to_owned());
        let status = reply.as_ref().map(|reply| reply.status);
        if status.is_none() {
            record.unanswered.insert(format!("{method} {url}"));
        }
        let outcome = status.map_or_else(|| "nobody answers".to_owned(), |status| status.to_string());
        record.steps.push(Step::Http { method: method.clone(), url: url.clone(), outcome });
        record.requests.push(Request { method, url, status, body: Vec::new() });
        reply
    }

    fn sent(&self, ticket: usize, body: &[u8]) {
        if let Some(request) = self.read().requests.get_mut(ticket) {
            request.body = body.to_vec();
        }
    }

    fn stopped_badly(&self, failure: &Failure) {
        self.read().bad_stop = Some(failure.clone());
    }
}

impl Outlet for Capture {
    fn publish(&self, points: Vec<Point>) -> usize {
        let mut record = self.read();
        record.steps.extend(points.iter().cloned().map(Step::Emit));
        record.points.extend(points);
        0
    }
}

/// A level as it is written.
pub fn word(level: Level) -> &'static str {
    match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warn",
        Level::ERROR => "error",
    }
}
