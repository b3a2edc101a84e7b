//! The REST endpoints that Bybit's clients need: time, instruments and klines, in Bybit's envelope.
//!
//! Instruments are the exchange's own JSON for the watched symbols. Klines are those of the store and of memory,
//! newest first, including the open one.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, Response, Uri};
use axum::routing::get;
use klines_delivery::history::Side;
use klines_domain::interval::Interval;
use klines_domain::kline::Kline;
use klines_domain::series::SeriesKey;
use klines_domain::symbol::{Category, Symbol};
use serde_json::{Value, json};

use crate::kline_page::{self, DEFAULT_ROWS, KlinePage, LATEST, MAX_ROWS, PageQuery};
use crate::server::Server;
use crate::upgrade::{Peer, refused};

/// Bybit's `retCode` for an invalid parameter.
const BAD_PARAMETER: u32 = 10_001;

/// Creates the routes under `/v5/market`.
pub fn routes() -> Router<Arc<Server>> {
    Router::new()
        .route("/v5/market/time", get(time))
        .route("/v5/market/instruments-info", get(instruments))
        .route("/v5/market/kline", get(klines))
}

/// The query parameters of a request; the last value wins where a name is repeated.
struct Parameters(HashMap<String, String>);

impl Parameters {
    fn of(uri: &Uri) -> Self {
        Self(url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Parses a number; returns `None` if the parameter is absent or empty, and Bybit's message if it is not a number.
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
        // Options are never watched, but clients that load all markets request them.
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
        let empty = r#"{"category":"","list":[],"nextPageCursor":""}"#;
        return envelope(&server, BAD_PARAMETER, "params error: symbol invalid", empty);
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
    let query = match query(&server, &Parameters::of(&uri)) {
        Ok(query) => query,
        Err(message) => return envelope(&server, BAD_PARAMETER, &message, "{}"),
    };
    let page = kline_page::read(&server, &query).await;
    let mut response = envelope(&server, 0, "OK", &encode(&query.series, &page));
    page.mark(response.headers_mut());
    response
}

/// Parses a request for klines; the error is Bybit's message for an invalid one.
fn query(server: &Server, asked: &Parameters) -> Result<PageQuery, String> {
    let category: Category =
        asked.text("category").unwrap_or("linear").parse().map_err(|_| "params error: Category is invalid")?;
    let interval = asked.text("interval").and_then(|code| code.parse::<Interval>().ok());
    let interval = interval.filter(|interval| server.reads(*interval)).ok_or("Invalid period!")?;
    let symbol = asked.text("symbol").and_then(|name| Symbol::new(name).ok());
    let key = symbol.map(|symbol| SeriesKey { category, symbol, interval }).filter(|key| server.reads_series(key));
    let series = key.ok_or(match category {
        Category::Spot => "Not supported symbols",
        _ => "params error: symbol invalid",
    })?;
    let (start, end) = (asked.number("start")?, asked.number("end")?);
    let limit =
        asked.number("limit")?.map_or(DEFAULT_ROWS, |limit| usize::try_from(limit).unwrap_or(1)).clamp(1, MAX_ROWS);
    // `start` selects the kline that contains it; without `end`, the page goes forward from it.
    let from = start.map_or(0, |start| interval.start_of(start.clamp(0, LATEST)));
    let side = if start.is_some() && end.is_none() { Side::Oldest } else { Side::Newest };
    Ok(PageQuery { series, starts: from..=end.unwrap_or(LATEST).min(LATEST), limit, side, has_open: true })
}

/// Encodes a page of klines, newest first.
fn encode(SeriesKey { category, symbol, .. }: &SeriesKey, page: &KlinePage) -> String {
    let mut result = format!(r#"{{"category":"{category}","symbol":"{symbol}","list":["#);
    for (at, kline) in page.klines.iter().rev().enumerate() {
        let Kline { start, open, high, low, close, volume, turnover, .. } = kline.as_ref();
        let separator = if at > 0 { "," } else { "" };
        let _ = write!(result, r#"{separator}["{start}","{open}","{high}","{low}","{close}","{volume}","{turnover}"]"#);
    }
    result.push_str("]}");
    result
}

fn envelope(server: &Server, code: u32, message: &str, result: &str) -> Response<Body> {
    let time = server.wall_clock();
    let text =
        format!(r#"{{"retCode":{code},"retMsg":"{message}","result":{result},"retExtInfo":{{}},"time":{time}}}"#);
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
