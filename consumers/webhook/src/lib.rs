//! Posts klines to a URL, in order, and loses none silently: a request that the server cannot accept now is repeated.
//!
//! This module decides what a response means; `post` sends a request, `body` makes its content.

mod body;
mod post;
mod settings;

use std::time::{Duration, Instant};

use klines_guest::{Batch, Consumer, Failure, Problem, Subscription, error, warn};

use self::body::{Body, Row};
use self::post::{Answer, Post, PostError, Target};
use self::settings::{Format, Settings, Show};

klines_guest::manifest!(
    r#"{
        "name": "webhook",
        "version": "0.1.0",
        "description": "Posts klines as JSON to an address of your choice",
        "http": [{ "host": "*", "methods": ["POST"] }],
        "secrets": [{ "header": "authorization", "host": "*" }, { "header": "x-api-key", "host": "*" }]
    }"#
);

struct Webhook {
    settings: Settings,
    target: Target,
    post: Box<dyn Post>,
    /// The most klines in one request; less than the setting after the server answered 413.
    max_klines: usize,
    /// The number of lost klines that no accepted request has reported to the server yet.
    lost: u64,
    /// The identity of the batch that is not finished, and the number of its klines that are done.
    unfinished: Option<(String, usize)>,
}

/// What to do after a response.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The server accepted the klines: send the next.
    Taken,
    /// The server found these klines wrong: drop them and send the next.
    Refused,
    /// The request has too many klines: send fewer.
    TooMany,
    /// Send the same request again later, for this reason.
    Later(String),
}

impl Consumer for Webhook {
    type Settings = Settings;

    fn validate(settings: &Settings) -> Vec<Problem> {
        settings.problems()
    }

    fn setup(settings: Settings) -> Result<Self, Failure> {
        Self::new(settings, post::sender())
    }

    fn subscription(&self) -> Subscription {
        match self.settings.show {
            Show::Closed => Subscription::closed(),
            Show::All => Subscription::all(),
        }
    }

    fn consume(&mut self, batch: &Batch) -> Result<(), Failure> {
        let rows: Vec<Row> = batch.exact_rows().map(|(kline, digits)| Row::new(kline, digits)).collect();
        let id = format!("{} {}", body::idempotency_key(&rows), batch.lost);
        let mut done = match self.unfinished.take() {
            Some((same, done)) if same == id => done,
            _ => {
                self.lost += batch.lost;
                0
            }
        };
        let deadline = Instant::now() + Duration::from_millis(self.settings.timeout_ms);
        while let Some(rest) = rows.get(done..).filter(|rest| !rest.is_empty()) {
            let part = rest.get(..self.max_klines).unwrap_or(rest);
            match self.send(part, deadline) {
                Ok(Verdict::Taken) => done += part.len(),
                Ok(Verdict::TooMany) => self.max_klines = part.len() / 2,
                Ok(Verdict::Refused) => {
                    done += part.len();
                    self.lost += u64::try_from(part.len()).unwrap_or(u64::MAX);
                }
                Ok(Verdict::Later(reason)) => {
                    self.unfinished = Some((id, done));
                    return Err(Failure::retry(reason));
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }
}

impl Webhook {
    fn new(settings: Settings, post: Box<dyn Post>) -> Result<Self, Failure> {
        let target = Target::parse(&settings.url).map_err(|what| Failure::fatal(format!("url: {what}")))?;
        Ok(Self { max_klines: settings.batch, settings, target, post, lost: 0, unfinished: None })
    }

    fn send(&mut self, rows: &[Row], deadline: Instant) -> Result<Verdict, Failure> {
        let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
            return Ok(Verdict::Later("more klines than fit into one call's time".to_owned()));
        };
        let body = Body { consumer: &self.settings.consumer, klines: rows, lost: self.lost };
        let (media, bytes) = match self.settings.format {
            Format::Json => ("application/json", body.json()?),
            Format::Ndjson => ("application/x-ndjson", body.ndjson()?),
        };
        let key = body::idempotency_key(rows);
        let lost = self.lost.to_string();
        let own = self.settings.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut headers: Vec<(&str, &str)> = own.collect();
        headers.extend([("content-type", media), ("idempotency-key", &key), ("klines-lost", &lost)]);
        match self.post.post(&self.target, &headers, &bytes, left) {
            Ok(answer) => {
                let verdict = judge(&answer, rows.len());
                if verdict == Verdict::Taken {
                    self.lost = 0;
                }
                if verdict == Verdict::Refused {
                    let (klines, are) = if rows.len() == 1 { ("kline", "is") } else { ("klines", "are") };
                    error!(
                        "{} {klines} from {} on {are} dropped: the address answered {}",
                        rows.len(),
                        first_key(rows),
                        answer.status
                    );
                }
                if verdict == Verdict::TooMany {
                    warn!("{} klines at once are too many for the address, trying half", rows.len());
                }
                Ok(verdict)
            }
            Err(PostError::NotGranted) => Err(Failure::fatal(format!(
                "requests to {} are not granted: see `klines consumer inspect`",
                self.target.host()
            ))),
            Err(PostError::Unreachable(what)) => Ok(Verdict::Later(what)),
        }
    }
}

/// Returns what the response to a request with this number of klines means. Klines are dropped only if the server
/// rejects the body itself: every other cause can be fixed on the server, and no kline is lost in the meantime.
fn judge(answer: &Answer, klines: usize) -> Verdict {
    match answer.status {
        200..=299 => Verdict::Taken,
        413 if klines > 1 => Verdict::TooMany,
        400 | 413 | 422 => Verdict::Refused,
        status @ 300..=399 => {
            let to = answer.location.as_deref().unwrap_or("nowhere");
            Verdict::Later(format!("the address answered {status}, and redirects are not followed: it points to {to}"))
        }
        status => Verdict::Later(format!("the address answered {status}")),
    }
}

fn first_key(rows: &[Row]) -> String {
    rows.first().map(Row::key).unwrap_or_default()
}

klines_guest::export!(Webhook);

#[cfg(test)]
mod tests;
