//! The REST calls that Bybit's clients need: time, instruments and klines, in Bybit's envelope.
//!
//! Instruments are the exchange's own words about what is watched; klines come from memory, the newest first and the
//! open one among them.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, Response, Uri};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::consumer::websocket::board::SeriesKey;
use crate::consumer::websocket::server::Server;
use crate::consumer::websocket::upgrade::{Peer, Shown, shown, unauthorized};
use crate::domain::interval::Interval;
use crate::domain::kline::Kline;
use crate::domain::symbol::{Category, Symbol};
use crate::domain::time::Millis;

/// Rows of a page of klines: unless asked for, and at most.
const ROWS: usize = 200;
const MOST_ROWS: usize = 1_000;
/// Bybit's code for a parameter that it does not take.
const BAD_PARAMETER: u32 = 10_001;

/// Builds the paths under `/v5/market`.
pub fn routes() -> Router<Arc<Server>> {
    Router::new()
        .route("/v5/market/time", get(time))
        .route("/v5/market/instruments-info", get(instruments))
        .route("/v5/market/kline", get(klines))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct InstrumentsQuery {
    category: Option<String>,
    symbol: Option<String>,
    status: Option<String>,
    base_coin: Option<String>,
}

#[derive(Debug, Deserialize)]
struct KlineQuery {
    category: Option<String>,
    symbol: Option<String>,
    interval: Option<String>,
    start: Option<Millis>,
    end: Option<Millis>,
    limit: Option<usize>,
}

async fn time(State(server): State<Arc<Server>>) -> Response<Body> {
    let now = server.wall_clock();
    let result = format!(r#"{{"timeSecond":"{}","timeNano":"{now}000000"}}"#, now / 1_000);
    envelope(&server, 0, "OK", &result)
}

async fn instruments(
    State(server): State<Arc<Server>>,
    Extension(peer): Extension<Peer>,
    Query(query): Query<InstrumentsQuery>,
    headers: HeaderMap,
    uri: Uri,
) -> Response<Body> {
    if !may_ask(&server, &peer, &headers, &uri) {
        return unauthorized();
    }
    let name = query.category.unwrap_or_default();
    let category = match name.as_str() {
        // Nothing is watched there, and clients that list everything ask all the same.
        "option" => None,
        name => match name.parse::<Category>() {
            Ok(category) => Some(category),
            Err(_) => return envelope(&server, BAD_PARAMETER, "params error: Category is invalid", "{}"),
        },
    };
    let is_asked = |row: &str| {
        let row: Value = serde_json::from_str(row).unwrap_or_default();
        let has = |key, wanted: &Option<String>| wanted.is_none() || row.get(key) == Some(&json!(wanted));
        has("status", &query.status) && has("baseCoin", &query.base_coin) && has("symbol", &query.symbol)
    };
    let rows = category.map(|category| server.descriptions(category)).unwrap_or_default();
    let mut result = format!(r#"{{"category":"{name}","list":["#);
    for (at, (_, row)) in rows.iter().filter(|(_, row)| is_asked(row)).enumerate() {
        if at > 0 {
            result.push(',');
        }
        result.push_str(row);
    }
    result.push_str(r#"],"nextPageCursor":""}"#);
    envelope(&server, 0, "OK", &result)
}

async fn klines(
    State(server): State<Arc<Server>>,
    Extension(peer): Extension<Peer>,
    Query(query): Query<KlineQuery>,
    headers: HeaderMap,
    uri: Uri,
) -> Response<Body> {
    if !may_ask(&server, &peer, &headers, &uri) {
        return unauthorized();
    }
    let refuse = |message| envelope(&server, BAD_PARAMETER, message, "{}");
    let name = query.category.as_deref().unwrap_or("linear");
    let Ok(category) = name.parse::<Category>() else { return refuse("params error: Category is invalid") };
    let Some(interval) = query.interval.as_deref().and_then(|code| code.parse::<Interval>().ok()) else {
        return refuse("Invalid period!");
    };
    let symbol = query.symbol.as_deref().and_then(|name| Symbol::new(name).ok());
    let key = symbol.map(|symbol| SeriesKey { category, symbol, interval }).filter(|key| server.makes(key));
    let Some(key) = key else {
        return refuse(match category {
            Category::Spot => "Not supported symbols",
            _ => "params error: symbol invalid",
        });
    };
    let count = query.limit.unwrap_or(ROWS).clamp(1, MOST_ROWS);
    // `start` selects the kline that contains it; alone, it is walked forward from.
    let from = query.start.map_or(Millis::MIN, |start| interval.start_of(start));
    let to = query.end.unwrap_or(Millis::MAX);
    let forward = query.start.is_some() && query.end.is_none();
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
    envelope(&server, 0, "OK", &result)
}

/// Whether the request may see klines: credentials where they are asked for, and never wrong ones.
fn may_ask(server: &Server, peer: &Peer, headers: &HeaderMap, uri: &Uri) -> bool {
    match shown(server, peer, headers, uri) {
        Shown::Right => true,
        Shown::Nothing => !server.settings.auth,
        Shown::Wrong => false,
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
