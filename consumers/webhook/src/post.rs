//! One POST request: where it goes, and what can come of it. Follows no redirect and tries nothing twice.

#[cfg(target_arch = "wasm32")]
mod wasi;

use std::time::Duration;

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) plain: bool,
    /// Host and, if it is written, port.
    pub(crate) authority: String,
    /// Path and query.
    pub(crate) path: String,
}

/// What the other side answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "only a component and the tests meet all of it"))]
pub(crate) enum Trouble {
    /// The runtime does not allow it.
    NotGranted,
    /// No connection, no answer in time, or not the one that was expected.
    Unreachable(String),
}

/// Sends requests.
pub(crate) trait Post {
    /// Posts `body` and waits for the status.
    fn post(
        &mut self,
        target: &Target,
        headers: &[(&str, &str)],
        body: &[u8],
        timeout: Duration,
    ) -> Result<Answer, Trouble>;
}

/// What sends for real.
pub(crate) fn sender() -> Box<dyn Post> {
    #[cfg(target_arch = "wasm32")]
    return Box::new(wasi::Sender);
    #[cfg(not(target_arch = "wasm32"))]
    Box::new(Nowhere)
}

/// Outside a component there is nobody to send with.
#[cfg(not(target_arch = "wasm32"))]
struct Nowhere;

#[cfg(not(target_arch = "wasm32"))]
impl Post for Nowhere {
    fn post(&mut self, _: &Target, _: &[(&str, &str)], _: &[u8], _: Duration) -> Result<Answer, Trouble> {
        Err(Trouble::NotGranted)
    }
}

impl Target {
    /// Reads an address.
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

    /// Host and port, for messages.
    pub(crate) fn host(&self) -> &str {
        &self.authority
    }
}
