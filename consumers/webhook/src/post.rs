//! One POST request: its target and its possible results. Follows no redirect and repeats nothing.

#[cfg(target_arch = "wasm32")]
mod wasi;

use std::time::Duration;

/// The address to which requests are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// True for `http`, false for `https`.
    pub(crate) plain: bool,
    /// The host and, if the URL has one, the port.
    pub(crate) authority: String,
    /// The path and the query.
    pub(crate) path: String,
}

/// The head of the server's response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "only a component and the tests make all variants"))]
pub(crate) enum PostError {
    /// The runtime does not allow the request.
    NotGranted,
    /// There was no connection, no response in time, or an unexpected one.
    Unreachable(String),
}

/// Sends requests.
pub(crate) trait Post {
    /// Posts `body` and waits for the status of the response.
    fn post(
        &mut self,
        target: &Target,
        headers: &[(&str, &str)],
        body: &[u8],
        timeout: Duration,
    ) -> Result<Answer, PostError>;
}

/// Returns the sender of a component; outside a component, one that always fails.
pub(crate) fn sender() -> Box<dyn Post> {
    #[cfg(target_arch = "wasm32")]
    return Box::new(wasi::Sender);
    #[cfg(not(target_arch = "wasm32"))]
    Box::new(NoSender)
}

/// The sender outside a component: `wasi:http` does not exist there.
#[cfg(not(target_arch = "wasm32"))]
struct NoSender;

#[cfg(not(target_arch = "wasm32"))]
impl Post for NoSender {
    fn post(&mut self, _: &Target, _: &[(&str, &str)], _: &[u8], _: Duration) -> Result<Answer, PostError> {
        Err(PostError::NotGranted)
    }
}

impl Target {
    /// Parses a URL.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let (plain, rest) = match url.split_once("://") {
            Some(("https", rest)) => (false, rest),
            Some(("http", rest)) => (true, rest),
            _ => return Err("does not begin with https:// or http://".to_owned()),
        };
        if url.contains('#') || !url.chars().all(|found| ('!'..='~').contains(&found)) {
            return Err("has a #, a blank or a character that is not ASCII".to_owned());
        }
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        if authority.is_empty() || authority.starts_with(':') {
            return Err("has no host".to_owned());
        }
        if authority.contains('@') {
            return Err("has a login: put the header `authorization` into `allow.secrets`".to_owned());
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { plain, authority: authority.to_owned(), path: format!("{slash}{path}") })
    }

    /// Returns the host and the port, for messages.
    pub(crate) fn host(&self) -> &str {
        &self.authority
    }
}
