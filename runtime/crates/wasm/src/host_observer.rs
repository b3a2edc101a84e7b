//! Observes everything that a guest does, and answers its requests in place of the network. It is for tests of
//! consumers; see the harness in `authoring`. A normal run has no observer, and no configuration can add one: only code
//! can put one into a `Setup`.

use std::fmt::Debug;
use std::time::Duration;

use hyper::http::HeaderMap;
use klines_delivery::Failure;
use tracing::Level;

/// The source of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The function `log` of the contract.
    Log,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A request that the grants allow.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The method, in upper case.
    pub method: &'a str,
    /// The whole URL.
    pub url: &'a str,
    /// The headers, including secrets.
    pub headers: &'a HeaderMap,
}

/// The reply that the guest receives in place of a response from the network.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The number with which the body of the request is reported later.
    pub ticket: usize,
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Observes the instances of one consumer. All functions but [`HostObserver::sent`] are called on the guest's thread.
pub trait HostObserver: Send + Sync + Debug {
    /// Returns the elapsed time by which the lines per second are counted. It never decreases.
    fn passed(&self) -> Duration;

    /// Observes a line that was logged, sanitized and truncated.
    fn logged(&self, stream: Stream, level: Level, text: &str);

    /// Observes that a line was suppressed, because this second had too many.
    fn suppressed(&self);

    /// Observes that `bytes` of output were dropped, because they were over the limit of one call.
    fn dropped(&self, bytes: usize);

    /// Observes a request that was not allowed, or over a limit. `line` is a sentence that says what would grant it; it
    /// is given once for each host.
    fn refused(&self, method: &str, url: &str, error: &str, line: Option<&str>);

    /// Observes an allowed request. Returns the reply, or `None` if the request fails.
    fn asked(&self, asked: &Asked<'_>) -> Option<Reply>;

    /// Observes the complete body of a request that has a reply.
    fn sent(&self, ticket: usize, body: &[u8]);

    /// Observes that the consumer failed to stop.
    fn stop_failed(&self, failure: &Failure);
}
