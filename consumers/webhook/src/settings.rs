//! The settings of `[consumers.webhook.settings]`. Sends no request.

use std::collections::BTreeMap;

use klines_guest::Problem;
use serde::Deserialize;

use crate::post::Target;

/// Where and how klines are posted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Settings {
    /// The URL: `https://host/path`, or `http://` if `allow.http` sets `plain`.
    pub(crate) url: String,
    /// The consumer's name in the body. Default `webhook`.
    #[serde(default = "webhook")]
    pub(crate) consumer: String,
    /// Posts only closed klines, or also updates of open windows. Default `closed`.
    #[serde(default)]
    pub(crate) show: Show,
    /// The format of the body. Default `json`.
    #[serde(default)]
    pub(crate) format: Format,
    /// The most klines in one request, 1 to 64. Default 64.
    #[serde(default = "batch")]
    pub(crate) batch: usize,
    /// The time in ms for all requests of one call; it has to be below the limit `call`. Default 800.
    #[serde(default = "timeout_ms")]
    pub(crate) timeout_ms: u64,
    /// Additional headers. Secrets belong in `allow.secrets`.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Show {
    #[default]
    Closed,
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    #[default]
    Json,
    Ndjson,
}

fn webhook() -> String {
    "webhook".to_owned()
}

fn batch() -> usize {
    64
}

fn timeout_ms() -> u64 {
    800
}

/// Headers that a setting cannot set: they belong to the connection, or this consumer writes them.
const RESERVED_HEADERS: [&str; 9] = [
    "host",
    "connection",
    "content-length",
    "content-type",
    "idempotency-key",
    "klines-lost",
    "te",
    "transfer-encoding",
    "upgrade",
];

impl Settings {
    /// Returns all problems of values that have the right type.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Err(what) = Target::parse(&self.url) {
            problems.push(Problem::new("url", what, "an address such as https://hooks.example.com/klines"));
        }
        if !(1..=64).contains(&self.batch) {
            problems.push(Problem::new("batch", format!("is {}", self.batch), "1 to 64"));
        }
        if !(10..=600_000).contains(&self.timeout_ms) {
            problems.push(Problem::new("timeout_ms", format!("is {}", self.timeout_ms), "10 to 600000 ms"));
        }
        for (name, value) in &self.headers {
            let path = format!("headers.{name}");
            let is_letter = |found: char| found.is_ascii_alphanumeric() || matches!(found, '-' | '_');
            let lower = name.to_ascii_lowercase();
            if name.is_empty() || !name.chars().all(is_letter) {
                problems.push(Problem::new(&path, "is not the name of a header", "letters, digits, - and _"));
            } else if RESERVED_HEADERS.contains(&lower.as_str()) || lower.starts_with("proxy-") {
                problems.push(Problem::new(&path, "is written by klines itself", "another header"));
            }
            if !value.chars().all(|found| (' '..='~').contains(&found)) {
                problems.push(Problem::new(&path, "has characters that cannot stand in a header", "printable ASCII"));
            }
        }
        problems
    }
}
