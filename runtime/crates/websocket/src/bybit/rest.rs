//! The REST calls that Bybit's clients need: time, instruments and klines, in Bybit's envelope.
//!
//! Instruments are the exchange's own words about what is watched; klines come from memory, the newest first and the
//! open one among them.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, Response, Uri};
use axum::routing::get;
use klines_domain::interval::Interval;
use klines_domain::kline::Kline;
use klines_domain::series::SeriesKey;
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::Millis;
use serde_json::{Value, json};

use crate::server::Server;
use crate::upgrade::{Peer, Shown, is_known_host, shown, unauthorized, unknown_host};

/// Rows of a page of klines: unless asked for, and at most.
const ROWS: usize = 200;
const MOST_ROWS: usize = 1_000;
/// The end of the year 9999: no window is looked for beyond it.
const LATEST: Millis = 253_402_300_799_999;
/// Bybit's code for a parameter that it does not take.
const BAD_PARAMETER: u32 = 10_001;

/// Builds the paths under `/v5/market`.
pub fn routes() -> Router<Arc<Server>> {
    Router::new()
        .route("/v5/market/time", get(time))
        .route("/v5/market/instruments-info", get(instruments))
        .route("/v5/market/kline", get(klines))
}

/// The parameters of a request; of one that is written twice, the last.
struct Parameters(HashMap<String, String>);

impl Parameters {
    fn of(uri: &Uri) -> Self {
        Self(url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A number, if it is written; the error is Bybit's words.
    fn number(&self, name: &str) -> Result<Option<i64>, String> {
        let number = |text: &str| text.parse().map_err(|_| format!("params error: {name} invalid"));
        self.text(name).filter(|text| !text.is_empty()).map(number).transpose()
    }
}

async fn time(State(server): State<Arc<Server>>) -> Response<Body> {
    let now = server.wall_clock();
    let result = format!(r#"{{"timeSecond":"{}","timeNano":"{now}000000"}}"#, now / 1_000);
    envelope(&server, 0, "OK", &result)
}

async fn instruments(
    State(server): State<Arc<Server>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    uri: Uri,
) -> Response<Body> {
    if let Some(refusal) = refused(&server, &peer, &headers, &uri) {
        return refusal;
    }
    let asked = Parameters::of(&uri);
    let name = asked.text("category").unwrap_or_default();
    let category = match name {
        // Nothing is watched there, and clients that list everything ask all the same.
        "option" => None,
        name => match name.parse::<Category>() {
            Ok(category) => Some(category),
            Err(_) => return envelope(&server, BAD_PARAMETER, "params error: Category is invalid", "{}"),
        },
    };
    let is_asked = |row: &str| {
        let row: Value = serde_json::from_str(row).unwrap_or_default();
        let has = |key: &str| asked.text(key).is_none_or(|wanted| row.get(key) == Some(&json!(wanted)));
        has("status") && has("baseCoin") && has("symbol")
    };
    let rows = category.map(|category| server.descriptions(category)).unwrap_or_default();
    let found: Vec<&str> = rows.iter().map(|(_, row)| row.as_ref()).filter(|row| is_asked(row)).collect();
    if found.is_empty() && asked.text("symbol").is_some() && category.is_some_and(|found| found != Category::Spot) {
        let nothing = r#"{"category":"","list":[],"nextPageCursor":""}"#;
        return envelope(&server, BAD_PARAMETER, "params error: symbol invalid", nothing);
    }
    let result = format!(r#"{{"category":"{name}","list":[{}],"nextPageCursor":""}}"#, found.join(","));
    envelope(&server, 0, "OK", &result)
}

async fn klines(
    State(server): State<Arc<Server>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    uri: Uri,
) -> Response<Body> {
    if let Some(refusal) = refused(&server, &peer, &headers, &uri) {
        return refusal;
    }
    match page(&server, &Parameters::of(&uri)) {
        Ok(result) => envelope(&server, 0, "OK", &result),
        Err(message) => envelope(&server, BAD_PARAMETER, &message, "{}"),
    }
}

/// Writes a page of klines, the newest first, or says in Bybit's words what is wrong with the request.
fn page(server: &Server, asked: &Parameters) -> Result<String, String> {
    let category: Category =
        asked.text("category").unwrap_or("linear").parse().map_err(|_| "params error: Category is invalid")?;
    let interval = asked.text("interval").and_then(|code| code.parse::<Interval>().ok());
    let interval = interval.filter(|interval| server.settings.intervals.contains(interval)).ok_or("Invalid period!")?;
    let symbol = asked.text("symbol").and_then(|name| Symbol::new(name).ok());
    let key = symbol.map(|symbol| SeriesKey { category, symbol, interval }).filter(|key| server.makes(key));
    let key = key.ok_or(match category {
        Category::Spot => "Not supported symbols",
        _ => "params error: symbol invalid",
    })?;
    let (start, end) = (asked.number("start")?, asked.number("end")?);
    let count = asked.number("limit")?.map_or(ROWS, |limit| usize::try_from(limit).unwrap_or(1)).clamp(1, MOST_ROWS);
    // `start` selects the kline that contains it; alone, it is walked forward from.
    let from = start.map_or(0, |start| interval.start_of(start.clamp(0, LATEST)));
    let to = end.unwrap_or(LATEST);
    let forward = start.is_some() && end.is_none();
    let mut rows = Vec::new();
    if let Some(recent) = server.board.lock().find(&key).filter(|_| from <= to) {
        rows = recent.range(from..=to, count, forward);
        let is_last = |open: &Kline| rows.last().is_none_or(|row| row.start < open.start);
        rows.extend(recent.open().filter(|open| (from..=to).contains(&open.start) && is_last(open)).cloned());
    }
    let surplus = rows.len().saturating_sub(count);
    let page = if forward { rows.get(..rows.len() - surplus) } else { rows.get(surplus..) };
    let mut result = format!(r#"{{"category":"{category}","symbol":"{}","list":["#, key.symbol);
    for (at, kline) in page.unwrap_or_default().iter().rev().enumerate() {
        let Kline { start, open, high, low, close, volume, turnover, .. } = kline.as_ref();
        let separator = if at > 0 { "," } else { "" };
        let _ = write!(result, r#"{separator}["{start}","{open}","{high}","{low}","{close}","{volume}","{turnover}"]"#);
    }
    result.push_str("]}");
    Ok(result)
}

/// The answer to a request that may not see klines: credentials are needed where they are asked for, and never may be wrong.
/// Where none are asked for a page's request cannot be told from another's, so that the name has to be this server's.
fn refused(server: &Server, peer: &Peer, headers: &HeaderMap, uri: &Uri) -> Option<Response<Body>> {
    match shown(server, peer, headers, uri) {
        Shown::Right => None,
        Shown::Nothing if server.settings.auth => Some(unauthorized()),
        Shown::Nothing => (!is_known_host(server, headers)).then(unknown_host),
        Shown::Wrong => Some(unauthorized()),
    }
}

fn envelope(server: &Server, code: u32, message: &str, result: &str) -> Response<Body> {
    let time = server.wall_clock();
    let text =
        format!(r#"{{"retCode":{code},"retMsg":"{message}","result":{result},"retExtInfo":{{}},"time":{time}}}"#);
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
