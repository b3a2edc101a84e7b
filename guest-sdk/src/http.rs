//! Blocking HTTP requests, with the feature `http`: [`post`] sends JSON and waits for the status of the response.
//!
//! The component then imports `wasi:http`. It can reach only the hosts that its operator grants in `allow.http`. Do not
//! put secrets into a request: the operator names them in `allow.secrets`, and klines adds them. Outside a component,
//! [`testing`](crate::testing) answers.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::Failure;

#[cfg(target_arch = "wasm32")]
mod wasi;

/// The default of [`Request::timeout`]: a call of a consumer may take 1 s in all.
const TIMEOUT: Duration = Duration::from_millis(400);

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The operator has not granted the request. The text names it; the log of klines shows the line that would grant it.
    Denied(String),
    /// The request is not valid, or there was no connection or no response in time. The text is the reason.
    Failed(String),
}

/// A request that is not sent yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) timeout: Duration,
}

/// Returns a POST request to a URL, such as `https://hooks.example.com/alerts`.
///
/// ```
/// use klines_guest::{Failure, http};
///
/// fn alert(url: &str, text: &str) -> Result<(), Failure> {
///     let status = http::post(url).header("user-agent", "demo").json(&serde_json::json!({ "text": text }))?;
///     if status >= 300 {
///         return Err(Failure::retry(format!("{url} answered {status}")));
///     }
///     Ok(())
/// }
/// # assert_eq!(alert("https://hooks.example.com/alerts", "hello"), Ok(()));
/// ```
#[must_use]
pub fn post(url: impl Into<String>) -> Request {
    Request { url: url.into(), headers: Vec::new(), timeout: TIMEOUT }
}

impl Request {
    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the time limit for the connection, and again for the response. Default: 400 ms.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends a value as JSON, waits for the response, and returns its status.
    ///
    /// # Errors
    /// [`Error`] if there is no response. With `?`, a call of a consumer ends with a [`Failure`]: fatal if the request is
    /// denied, otherwise to be repeated.
    pub fn json(mut self, value: &impl Serialize) -> Result<u16, Error> {
        let body = serde_json::to_vec(value).map_err(|error| Error::Failed(error.to_string()))?;
        self.headers.push(("content-type".to_owned(), "application/json".to_owned()));
        self.headers.push(("content-length".to_owned(), body.len().to_string()));
        #[cfg(target_arch = "wasm32")]
        return wasi::send(&self, &body);
        #[cfg(not(target_arch = "wasm32"))]
        return crate::testing::send(&self, &body);
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(text) | Self::Failed(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Denied(text) => Self::fatal(text),
            Error::Failed(text) => Self::retry(text),
        }
    }
}
