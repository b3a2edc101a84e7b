//! Observes everything that a guest does, and answers its requests in place of the network: for tests of consumers, see
//! the harness in `authoring`. A run has none, and no configuration leads to one: only code can put it into a `Setup`.

use std::fmt::Debug;
use std::time::Duration;

use hyper::http::HeaderMap;
use klines_delivery::Failure;
use tracing::Level;

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The contract's `log`.
    Log,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A request that the grants allow.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its method, in upper case.
    pub method: &'a str,
    /// The whole address.
    pub url: &'a str,
    /// Its headers, secrets included.
    pub headers: &'a HeaderMap,
}

/// What comes back in place of the network's answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The number by which the request's body is reported later.
    pub ticket: usize,
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// Observes the instances of one consumer. Called on the guest's thread, but for [`HostObserver::sent`].
pub trait HostObserver: Send + Sync + Debug {
    /// How much of the time in which lines a second are counted has passed. Never less than before.
    fn passed(&self) -> Duration;

    /// A line reached the log, sanitized and cut.
    fn logged(&self, stream: Stream, level: Level, text: &str);

    /// A line was one too many for this second.
    fn suppressed(&self);

    /// This many bytes of output were over the limit of one call.
    fn dropped(&self, bytes: usize);

    /// A request was not allowed, or was over a limit. `line` is a sentence on what would grant it, given once for each host.
    fn refused(&self, method: &str, url: &str, error: &str, line: Option<&str>);

    /// A request is allowed. Returns the reply, or `None` if the request fails.
    fn asked(&self, asked: &Asked<'_>) -> Option<Reply>;

    /// The body of a request that was replied to is complete.
    fn sent(&self, ticket: usize, body: &[u8]);

    /// The consumer did not stop well.
    fn stopped_badly(&self, failure: &Failure);
}
