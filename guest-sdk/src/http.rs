//! Blocking HTTP requests, with the feature `http`: [`post`] sends JSON and waits for the status of the response.
//!
//! The component then imports `wasi:http`. It can reach only the hosts that its operator grants in `allow.http`. Do not
//! put secrets into a request: the operator names them in `allow.secrets`, and klines adds them. Errors name only the
//! [`origin`] of a URL, because the path can be secret as well. Outside a component, [`testing`](crate::testing) answers.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::Failure;

#[cfg(target_arch = "wasm32")]
mod wasi;

/// The default of [`Request::timeout`]: a call of a consumer may take 1 s in all.
const TIMEOUT: Duration = Duration::from_millis(800);

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
///         return Err(Failure::retry(format!("{} answered {status}", http::origin(url))));
///     }
///     Ok(())
/// }
/// # assert_eq!(alert("https://hooks.example.com/alerts", "hello"), Ok(()));
/// ```
#[must_use]
pub fn post(url: impl Into<String>) -> Request {
    Request { url: url.into(), headers: Vec::new(), timeout: TIMEOUT }
}

/// Checks that [`post`] accepts a URL. Call it in [`Consumer::validate`](crate::Consumer::validate), so that `klines check`
/// reports a wrong one.
///
/// ```
/// use klines_guest::http::check_url;
///
/// assert_eq!(check_url("https://hooks.example.com/alerts"), Ok(()));
/// assert_eq!(check_url("hooks.example.com/alerts"), Err("does not begin with https:// or http://".to_owned()));
/// ```
///
/// # Errors
/// What is wrong with the URL. The text does not contain the URL.
pub fn check_url(url: &str) -> Result<(), String> {
    Target::parse(url).map(|_| ())
}

/// Returns the scheme and the host of a URL, such as `https://hooks.example.com`, for logs and errors: the path can be
/// secret. Of a URL that [`check_url`] refuses, it returns `an invalid URL`.
#[must_use]
pub fn origin(url: &str) -> &str {
    let target = Target::parse(url).ok();
    target.and_then(|target| url.get(..url.len() - target.path.len())).unwrap_or("an invalid URL")
}

/// The parts of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "only a component sends the parts"))]
struct Target<'a> {
    /// True for `http`, false for `https`.
    plain: bool,
    /// The host and, if the URL has one, the port.
    authority: &'a str,
    /// The path and the query as the URL has them: empty, or beginning with `/` or `?`.
    path: &'a str,
}

impl<'a> Target<'a> {
    fn parse(url: &'a str) -> Result<Self, String> {
        let (plain, rest) = match url.split_once("://") {
            Some(("https", rest)) => (false, rest),
            Some(("http", rest)) => (true, rest),
            _ => return Err("does not begin with https:// or http://".to_owned()),
        };
        if url.contains('#') || !url.chars().all(|found| ('!'..='~').contains(&found)) {
            return Err("has a #, a blank or a character that is not ASCII".to_owned());
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.is_empty() || authority.starts_with(':') {
            return Err("has no host".to_owned());
        }
        if authority.contains('@') {
            return Err("has a login: put the header `authorization` into `allow.secrets`".to_owned());
        }
        Ok(Self { plain, authority, path })
    }
}

impl Request {
    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the time limit for the whole request, from the connection to the status of the response. Default: 800 ms.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends a value as JSON, waits for the response, and returns its status.
    ///
    /// # Errors
    /// [`Error`] if [`check_url`] refuses the URL, or if there is no response. With `?`, a call of a consumer ends with a [`Failure`]: fatal if the request is
    /// denied, otherwise to be repeated.
    pub fn json(mut self, value: &impl Serialize) -> Result<u16, Error> {
        check_url(&self.url).map_err(|wrong| Error::Failed(format!("the URL {wrong}")))?;
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

#[cfg(test)]
mod tests {
    use crate::testing;

    use super::*;

    #[test]
    fn a_url_that_cannot_be_used_is_refused_with_the_reason() {
        for url in ["https://h", "http://h:8080?a=b", "https://h/a/b?c=@d", "http://[::1]:8080/a"] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
        let scheme = "does not begin with https:// or http://";
        let character = "has a #, a blank or a character that is not ASCII";
        let login = "has a login: put the header `authorization` into `allow.secrets`";
        for (url, wrong) in [
            ("", scheme),
            ("hooks.example.com/x", scheme),
            ("ftp://h/x", scheme),
            ("HTTPS://h/x", scheme),
            ("https://h/a b", character),
            ("https://h/a\n", character),
            ("https://h/#x", character),
            ("https://hé/x", character),
            ("https:///x", "has no host"),
            ("https://?x", "has no host"),
            ("https://:8080/x", "has no host"),
            ("https://user:pw@h/x", login),
        ] {
            assert_eq!(check_url(url), Err(wrong.to_owned()), "{url}");
            let sent = post(url).json(&1);
            assert_eq!(sent, Err(Error::Failed(format!("the URL {wrong}"))), "{url}");
        }
        assert!(testing::take_requests().is_empty());
    }

    #[test]
    fn the_origin_of_a_url_has_no_secret() {
        assert_eq!(origin("https://hooks.example.com/services/secret?token=secret"), "https://hooks.example.com");
        assert_eq!(origin("http://127.0.0.1:8080?token=secret"), "http://127.0.0.1:8080");
        assert_eq!(origin("https://h"), "https://h");
        assert_eq!(origin("https://user:secret@h/"), "an invalid URL");
        assert_eq!(origin("secret"), "an invalid URL");
    }
}
