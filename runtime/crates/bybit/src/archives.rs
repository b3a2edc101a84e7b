//! Downloads Bybit's archives of trades: a gzip file of CSV for each symbol and day. What has arrived of a file is kept in
//! a part file, from whose end the next attempt continues. Does not repeat attempts.
//! `check` reads what was downloaded.

pub mod check;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_RANGE, HOST, HeaderMap, RANGE, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::Millis;
use thiserror::Error;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use url::Url;

use super::config::AGENT;
use super::connect::{self, DialError, Dialer};

/// The address of Bybit's archives.
pub const ARCHIVES: &str = "https://public.bybit.com";
/// Shortest time between two requests: ten a second. The host refuses addresses that send more than about 40.
const BETWEEN: Duration = Duration::from_millis(100);
/// Longest time without a byte.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The archive of one symbol and one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveDay {
    /// The category.
    pub category: Category,
    /// The symbol.
    pub symbol: Symbol,
    /// First millisecond of the day.
    pub day: Millis,
}

impl ArchiveDay {
    /// Returns the name of the file.
    #[must_use]
    pub fn file_name(&self) -> String {
        let (symbol, date) = (&self.symbol, self.date());
        match self.category {
            Category::Spot => format!("{symbol}_{date}.csv.gz"),
            Category::Linear | Category::Inverse => format!("{symbol}{date}.csv.gz"),
        }
    }

    /// Returns the day as `YYYY-MM-DD`.
    #[must_use]
    pub fn date(&self) -> String {
        let day = Timestamp::from_millisecond(self.day).unwrap_or_default();
        day.strftime("%Y-%m-%d").to_string()
    }

    fn path(&self) -> String {
        let tree = if self.category == Category::Spot { "spot" } else { "trading" };
        format!("{tree}/{}/{}", self.symbol, self.file_name())
    }
}

/// Why a file was not downloaded.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The host has no such file: no trades, not listed, or the day is not over.
    #[error("there is no such file")]
    Missing,
    /// The host refuses this address.
    #[error(
        "refused with 403: too many requests, or a country or network that is not served; try again in ten minutes"
    )]
    Refused,
    /// The connection could not be opened.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection broke, or the answer was not HTTP.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// Nothing arrived for a while.
    #[error("nothing arrived for {limit} s", limit = TIMEOUT.as_secs())]
    Timeout,
    /// Another HTTP status.
    #[error("HTTP status {0}")]
    Status(StatusCode),
    /// The answer is not the part that was asked for.
    #[error("the answer is not the rest of the file")]
    OtherPart,
    /// The part file cannot be written.
    #[error("{0}")]
    File(#[from] io::Error),
}

impl ArchiveError {
    /// Returns whether another attempt can succeed soon.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        !matches!(self, Self::Missing | Self::Refused | Self::File(_))
    }
}

/// A host of archives.
#[derive(Debug)]
pub struct ArchiveHost {
    dialer: Dialer,
    base: Url,
    pace: Interval,
}

impl ArchiveHost {
    /// Creates a client without connecting. Needs an executor with time.
    #[must_use]
    pub fn new(dialer: Dialer, base: Url) -> Self {
        let mut pace = interval(BETWEEN);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { dialer, base, pace }
    }

    /// Returns the address of a file without secrets, for messages.
    #[must_use]
    pub fn redacted_url(&self, day: &ArchiveDay) -> String {
        connect::redacted(&self.url(day))
    }

    /// Downloads the bytes of a file that a part file does not have yet, and appends them to it; begins again if the host
    /// does not send parts. Calls `received` with the length of each piece.
    ///
    /// # Errors
    /// [`ArchiveError`]; what has arrived stays in the part file.
    pub async fn download(
        &mut self,
        day: &ArchiveDay,
        part: &Path,
        mut received: impl FnMut(u64),
    ) -> Result<(), ArchiveError> {
        self.pace.tick().await;
        let url = self.url(day);
        let from = std::fs::metadata(part).map_or(0, |found| found.len());
        let stream = self.dialer.dial(&url).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let mut request = Request::get(target).header(HOST, host).header(USER_AGENT, AGENT);
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(io::Error::other)?;
        let exchange = async {
            let response = timeout(TIMEOUT, sender.send_request(request)).await;
            let response = response.map_err(|_| ArchiveError::Timeout)??;
            match begin(part, from, &response)? {
                Some(file) => receive(response, file, &mut received).await,
                None => Ok(()),
            }
        };
        tokio::select! {
            answer = exchange => answer,
            // If the connection ends without an error, the answer has already been received and `exchange` completes.
            Err(error) = connection => Err(error.into()),
        }
    }

    fn url(&self, day: &ArchiveDay) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{}", self.base.path().trim_end_matches('/'), day.path()));
        url
    }
}

/// Opens the part file where an answer continues it; `None` if it is complete already.
fn begin(part: &Path, from: u64, response: &Response<Incoming>) -> Result<Option<File>, ArchiveError> {
    match response.status() {
        StatusCode::OK => Ok(Some(OpenOptions::new().create(true).write(true).truncate(true).open(part)?)),
        StatusCode::PARTIAL_CONTENT if continues(response.headers(), from) => {
            Ok(Some(OpenOptions::new().append(true).open(part)?))
        }
        StatusCode::RANGE_NOT_SATISFIABLE if length_of(response.headers()) == Some(from) => Ok(None),
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
            // The next attempt begins again.
            std::fs::remove_file(part)?;
            Err(ArchiveError::OtherPart)
        }
        StatusCode::NOT_FOUND => Err(ArchiveError::Missing),
        StatusCode::FORBIDDEN => Err(ArchiveError::Refused),
        status => Err(ArchiveError::Status(status)),
    }
}

fn continues(headers: &HeaderMap, from: u64) -> bool {
    range_of(headers).is_some_and(|range| range.starts_with(&format!("bytes {from}-")))
}

/// Returns the length of the whole file that an answer names.
fn length_of(headers: &HeaderMap) -> Option<u64> {
    range_of(headers)?.rsplit('/').next()?.parse().ok()
}

fn range_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_RANGE)?.to_str().ok()
}

async fn receive(
    response: Response<Incoming>,
    mut file: File,
    received: &mut impl FnMut(u64),
) -> Result<(), ArchiveError> {
    let mut body = response.into_body();
    loop {
        let Some(frame) = timeout(TIMEOUT, body.frame()).await.map_err(|_| ArchiveError::Timeout)? else { break };
        if let Some(bytes) = frame?.data_ref() {
            file.write_all(bytes)?;
            received(bytes.len() as u64);
        }
    }
    Ok(file.sync_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_the_names_and_the_places_of_bybits_archives() {
        let path = |category, symbol| {
            ArchiveDay { category, symbol: Symbol::new(symbol).unwrap(), day: 1_704_067_200_000 }.path()
        };
        assert_eq!(path(Category::Linear, "BTCUSDT"), "trading/BTCUSDT/BTCUSDT2024-01-01.csv.gz");
        assert_eq!(path(Category::Inverse, "BTCUSD"), "trading/BTCUSD/BTCUSD2024-01-01.csv.gz");
        assert_eq!(path(Category::Spot, "BTCUSDT"), "spot/BTCUSDT/BTCUSDT_2024-01-01.csv.gz");
    }

    #[tokio::test]
    async fn requests_are_at_least_a_tenth_of_a_second_apart() {
        const REQUESTS: u32 = 6;
        // Nobody listens there, so that a request ends at once. A slow machine can only make all of it longer.
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let base = Url::parse(&format!("http://{gone}")).unwrap();
        let mut host = ArchiveHost::new(Dialer::new(|_| None).unwrap(), base);
        let folder = tempfile::TempDir::new().unwrap();
        let day = ArchiveDay { category: Category::Linear, symbol: Symbol::new("BTCUSDT").unwrap(), day: 0 };
        let begun = tokio::time::Instant::now();
        for _ in 0..REQUESTS {
            assert!(host.download(&day, &folder.path().join("part"), |_| ()).await.is_err());
        }
        assert!(begun.elapsed() >= BETWEEN * (REQUESTS - 1), "{:?}", begun.elapsed());
    }
}
