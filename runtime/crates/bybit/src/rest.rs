//! Bybit's market endpoints: one request, one connection, one typed answer. Retries are the caller's task; the gate
//! limits the request rate of all callers together.

mod budget;
mod candles;
mod gate;
#[cfg(test)]
mod tests;
mod trades;
mod wire;

use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, HOST, HeaderMap, RETRY_AFTER, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use klines_domain::sanitize::{MAX_SHOWN_BYTES, sanitize};
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::{ExchangeMillis, LocalMillis};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use thiserror::Error;
use tokio::time::timeout;
use url::Url;

pub use self::gate::{Gate, GateMetrics};
use self::wire::{WireInstrument, WireInstruments, WireServerTime};
use super::config::AGENT;
use super::connect::{self, DialError, DialErrorKind, Dialer};
use super::symbols::Instrument;

/// Maximum size of an answer. A page of a thousand instruments has some 1.5 MiB.
const MAX_BODY: usize = 16 * 1024 * 1024;
/// Longest time for one request, including the connection.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Text of a 403 that means the rate limit of an IP address. Any other 403 means a country or network that is not
/// served.
const TOO_FREQUENT: &str = "access too frequent";
/// Wait after a 403; such a refusal lasts long.
const FORBIDDEN_WAIT: Duration = Duration::from_secs(600);
/// Wait after a rate limit if the answer does not contain one.
const LIMITED_WAIT: Duration = Duration::from_secs(5);
/// Maximum number of pages; more would mean that the cursor runs in a circle.
const MAX_PAGES: usize = 100;
/// `retCode` of `Too many visits!`, and of the old form of the IP limit.
const LIMIT_CODES: [i64; 2] = [10_006, 10_018];

/// `retCode`s that the same request gets again: wrong parameters or an unknown symbol, no such route, a symbol that is
/// not allowed.
const LASTING_CODES: [i64; 3] = [10_001, 10_017, 10_029];

/// Why a request failed.
#[derive(Debug, Error)]
pub enum RestError {
    /// The connection could not be opened.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection broke, or the answer was not HTTP.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// No complete answer in time.
    #[error("no answer within {limit} s", limit = TIMEOUT.as_secs())]
    Timeout,
    /// Too many requests.
    #[error("rate limit reached, next request in {} s", .wait.as_secs())]
    Limited {
        /// How long to send no request.
        wait: Duration,
    },
    /// Bybit refuses this IP address because of too many requests. This stops REST for all callers.
    #[error("refused with 403: {message}")]
    TooFrequent {
        /// The beginning of the answer, sanitised.
        message: String,
    },
    /// The request was not sent, because Bybit refuses this IP address for too many requests.
    #[error("request not sent: the exchange refuses this address for too many requests")]
    Stopped {
        /// How long to send no request.
        wait: Duration,
    },
    /// Refused for another reason, such as a country or network that Bybit does not serve.
    #[error("refused with 403, as where a country or a network is not served: {message}")]
    Forbidden {
        /// The beginning of the answer, sanitised.
        message: String,
    },
    /// An HTTP status other than 200.
    #[error("HTTP status {status}")]
    Status {
        /// The status.
        status: StatusCode,
    },
    /// Bybit refuses the request with a code.
    #[error("refused with code {code}: {message}")]
    Refused {
        /// `retCode`.
        code: i64,
        /// `retMsg`, sanitised.
        message: String,
    },
    /// The answer is too long.
    #[error("answer longer than {MAX_BODY} bytes")]
    TooLarge,
    /// The answer is not the documented JSON.
    #[error("answer not understood: {0}")]
    Malformed(String),
}

/// The kind of a failure: the variant, for a dial error its kind, for an answer its status or code.
pub type RestErrorKind = (Discriminant<RestError>, Option<DialErrorKind>, Option<i64>);

impl RestError {
    /// Returns the kind of the failure.
    #[must_use]
    pub fn kind(&self) -> RestErrorKind {
        let (dial, code) = match self {
            Self::Dial(error) => (Some(error.kind()), None),
            Self::Status { status } => (None, Some(i64::from(status.as_u16()))),
            Self::Refused { code, .. } => (None, Some(*code)),
            _ => (None, None),
        };
        (discriminant(self), dial, code)
    }

    /// Returns whether the exchange refuses the request now, but may answer it later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        !matches!(self, Self::Refused { code, .. } if LASTING_CODES.contains(code))
    }

    /// Returns the minimum wait before the next request, if the failure requires one.
    #[must_use]
    pub const fn wait(&self) -> Option<Duration> {
        match self {
            Self::Limited { wait } | Self::Stopped { wait } => Some(*wait),
            Self::TooFrequent { .. } | Self::Forbidden { .. } => Some(FORBIDDEN_WAIT),
            _ => None,
        }
    }
}

/// An answer with the times at which it was sent and received; the exchange clock uses these times too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply<T> {
    /// The result.
    pub result: T,
    /// The exchange's timestamp in the envelope.
    pub stamped: ExchangeMillis,
    /// Local time at which the answer was complete.
    pub received: LocalMillis,
}

/// A client of one REST host.
#[derive(Clone, Debug)]
pub struct RestClient {
    dialer: Dialer,
    gate: Gate,
    base: Url,
}

impl RestClient {
    /// Creates a client without connecting. All clients of a process must share one gate.
    #[must_use]
    pub const fn new(dialer: Dialer, gate: Gate, base: Url) -> Self {
        Self { dialer, gate, base }
    }

    /// Returns the base address without secrets, for logs.
    #[must_use]
    pub fn redacted_url(&self) -> String {
        connect::redacted(&self.base)
    }

    /// Requests the exchange's time.
    ///
    /// # Errors
    /// [`RestError`].
    pub async fn time(&self) -> Result<Reply<ExchangeMillis>, RestError> {
        let reply = self.get::<WireServerTime>("time", "").await?;
        let nanos: i64 = reply.result.time_nano.parse().map_err(|_| RestError::Malformed("timeNano".to_owned()))?;
        let result = ExchangeMillis::new(nanos / 1_000_000);
        Ok(Reply { result, stamped: reply.stamped, received: reply.received })
    }

    /// Requests all instruments of a category, page by page.
    ///
    /// # Errors
    /// [`RestError`] of the first page that fails; an incomplete list is never returned.
    pub async fn instruments(&self, category: Category) -> Result<Reply<Vec<Instrument>>, RestError> {
        let Reply { result, stamped, received } = self.all_instruments::<WireInstrument>(category).await?;
        let instruments = result.into_iter().filter_map(|wire| wire.into_instrument(category)).collect();
        Ok(Reply { result: instruments, stamped, received })
    }

    /// Requests all instruments of a category. Returns the name and the exchange's JSON object of each.
    ///
    /// # Errors
    /// As [`RestClient::instruments`].
    pub async fn descriptions(&self, category: Category) -> Result<Vec<(Symbol, String)>, RestError> {
        let rows = self.all_instruments::<Box<RawValue>>(category).await?.result;
        Ok(rows.iter().filter_map(|row| Some((wire::name_of(row)?, row.get().to_owned()))).collect())
    }

    async fn all_instruments<T: DeserializeOwned>(&self, category: Category) -> Result<Reply<Vec<T>>, RestError> {
        let mut found = Vec::new();
        let mut cursor = String::new();
        for _ in 0..MAX_PAGES {
            // The cursor is percent-encoded and is sent back unchanged.
            let next = if cursor.is_empty() { String::new() } else { format!("&cursor={cursor}") };
            let query = format!("category={category}&limit=1000{next}");
            let reply = self.get::<WireInstruments<T>>("instruments-info", &query).await?;
            let is_empty = reply.result.list.is_empty();
            found.extend(reply.result.list);
            match reply.result.next_page_cursor.filter(|next| !next.is_empty()) {
                // If this were taken as the end, an incomplete list would count as complete.
                Some(next) if !is_empty && next == cursor => {
                    return Err(RestError::Malformed("a page of instruments that points to itself".to_owned()));
                }
                Some(next) if !is_empty => cursor = next,
                _ => return Ok(Reply { result: found, stamped: reply.stamped, received: reply.received }),
            }
        }
        Err(RestError::Malformed(format!("more than {MAX_PAGES} pages of instruments")))
    }

    async fn get<T: DeserializeOwned>(&self, endpoint: &str, query: &str) -> Result<Reply<T>, RestError> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/v5/market/{endpoint}", self.base.path().trim_end_matches('/')));
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        self.gate.acquire().await?;
        let answer = timeout(TIMEOUT, self.fetch(&url)).await.unwrap_or(Err(RestError::Timeout));
        let received = self.gate.now();
        let opened = answer.and_then(|body| wire::open(&body)).map_err(|error| match error {
            RestError::Refused { code, .. } if LIMIT_CODES.contains(&code) => RestError::Limited { wait: LIMITED_WAIT },
            other => other,
        });
        match opened {
            Ok((result, stamped)) => Ok(Reply { result, stamped, received }),
            Err(error) => {
                self.gate.record_failure(&error);
                Err(error)
            }
        }
    }

    async fn fetch(&self, url: &Url) -> Result<Bytes, RestError> {
        let stream = self.dialer.dial(url).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let request =
            Request::get(target).header(HOST, host).header(USER_AGENT, AGENT).header(ACCEPT, "application/json");
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| RestError::Malformed(error.to_string()))?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    return RestError::TooLarge;
                }
                error.downcast::<hyper::Error>().map_or(RestError::TooLarge, |error| RestError::Http(*error))
            })?;
            accept(parts.status, &parts.headers, body.to_bytes())
        };
        tokio::select! {
            answer = exchange => answer,
            // If the connection ends without an error, the answer has already been received and `exchange` completes.
            Err(error) = connection => Err(error.into()),
        }
    }
}

/// Returns the body, or the error that the status means.
fn accept(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Result<Bytes, RestError> {
    match status {
        StatusCode::OK => Ok(body),
        StatusCode::TOO_MANY_REQUESTS => {
            let requested = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
            let wait = requested.map_or(LIMITED_WAIT, Duration::from_secs).min(FORBIDDEN_WAIT);
            Err(RestError::Limited { wait })
        }
        StatusCode::FORBIDDEN => {
            let body = String::from_utf8_lossy(&body);
            let message = sanitize(&body, MAX_SHOWN_BYTES);
            let is_limit = body.to_ascii_lowercase().contains(TOO_FREQUENT);
            Err(if is_limit { RestError::TooFrequent { message } } else { RestError::Forbidden { message } })
        }
        status => Err(RestError::Status { status }),
    }
}
