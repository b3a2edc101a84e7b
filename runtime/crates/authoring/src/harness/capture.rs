//! Records what a consumer under test does: lines, values and requests. Answers its requests with the stubs of the
//! case.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use klines_delivery::Failure;
use klines_delivery::emit::{Outlet, Point};
use klines_wasm::host_observer::{Asked, HostObserver, Reply, Stream};
use tracing::Level;

use crate::case::Stub;

/// One recorded action of the consumer.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// It wrote a line.
    Line {
        /// The stream that it wrote to.
        stream: Stream,
        /// The level of the line.
        level: Level,
        /// The text of the line.
        text: String,
    },
    /// It emitted a value.
    Emit(Point),
    /// It sent a request.
    Http {
        /// The method of the request.
        method: String,
        /// The address of the request.
        url: String,
        /// The status of the answer, or why there was none.
        outcome: String,
    },
    /// It answered a call with an error, or crashed in it; the text describes the failure.
    Answer(String),
}

/// A request that the grants allowed.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// Its address.
    pub url: String,
    /// The status of the answer. `None` if no stub matched.
    pub status: Option<u16>,
    /// Its body.
    pub body: Vec<u8>,
}

/// Everything that the consumer did, in all calls.
#[derive(Debug, Default)]
pub struct Record {
    /// The steps since they were last taken.
    steps: Vec<Step>,
    /// All lines, each after its level.
    pub lines: Vec<String>,
    /// The number of lines over the limit per second.
    pub suppressed: u64,
    /// The bytes of output over the limit per call.
    pub dropped: usize,
    /// The values that it emitted.
    pub points: Vec<Point>,
    /// The requests that the grants allowed.
    pub requests: Vec<Request>,
    /// The denied requests, with the line that would grant each.
    pub denials: Vec<String>,
    /// The allowed requests for which the case has no answer.
    pub unanswered: BTreeSet<String>,
    /// Why its call of `stop` failed.
    pub bad_stop: Option<Failure>,
    /// The time of the klines that has passed.
    passed: Duration,
    /// The stubs, each with the number of its uses.
    stubs: Vec<(Stub, u32)>,
    is_recording: bool,
}

/// Records what the consumer does, and answers its requests.
#[derive(Debug)]
pub struct Capture {
    /// When recording began, for limits in real time. `None` means that limits count the time of the klines.
    since: Option<Instant>,
    record: Mutex<Record>,
}

impl Capture {
    /// Starts to record.
    pub fn new(stubs: &[Stub], in_real_time: bool) -> Self {
        let stubs = stubs.iter().map(|stub| (stub.clone(), 0)).collect();
        let record = Mutex::new(Record { stubs, is_recording: true, ..Record::default() });
        Self { since: in_real_time.then(Instant::now), record }
    }

    /// Advances the time of the klines to `passed` since the first kline.
    pub fn pass(&self, passed: Duration) {
        let mut record = self.read();
        record.passed = record.passed.max(passed);
    }

    /// Returns the steps since the last call of `take`.
    pub fn take(&self) -> Vec<Step> {
        std::mem::take(&mut self.read().steps)
    }

    /// Stops recording.
    pub fn close(&self) {
        self.read().is_recording = false;
    }

    /// Returns the record so far.
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
        if record.is_recording {
            record.lines.push(format!("{} {text}", level_name(level)));
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

    fn stop_failed(&self, failure: &Failure) {
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

/// Returns the name of a level in lower case.
pub fn level_name(level: Level) -> &'static str {
    match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warn",
        Level::ERROR => "error",
    }
}
