//! The archives of trades: a gzip file of CSV for each symbol and each day that is over, under the addresses and in the
//! forms of public.bybit.com. They have the trades of the tape and, from before it, those of which the past is composed, so
//! that their sums are the klines of REST. Ranges of bytes can be asked for.

use std::{fmt::Write as _, io::Write as _, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{ConnectInfo, Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};
use futures_util::{StreamExt as _, stream};
use tokio::time::sleep;

use crate::{
    amount::Amount, category::Category, exchange::Exchange, fault::RestFault, interval, listener::ConnectionHandle,
    symbol_state::SymbolState,
};

const DAY_MS: i64 = 86_400_000;
/// How long a connection that breaks stays open after its last byte.
const CUT_DELAY: Duration = Duration::from_millis(20);

/// A trade of a file.
struct ArchiveRow {
    time: i64,
    side: &'static str,
    price: Amount,
    size: Amount,
    direction: &'static str,
    id: String,
    rpi: bool,
}

/// `GET /trading/{symbol}/{symbol}{date}.csv.gz`: contracts, linear or inverse.
pub(crate) async fn derivatives(
    State(exchange): State<Arc<Exchange>>,
    ConnectInfo(connection): ConnectInfo<ConnectionHandle>,
    Path((symbol, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let day = day_of(&file, &symbol);
    for category in [Category::Linear, Category::Inverse] {
        if let Some(bytes) = day.and_then(|day| pack(&exchange, category, &symbol, day)) {
            return answer(&exchange, &connection, category, bytes, &headers).await;
        }
    }
    StatusCode::NOT_FOUND.into_response()
}

/// `GET /spot/{symbol}/{symbol}_{date}.csv.gz`.
pub(crate) async fn spot(
    State(exchange): State<Arc<Exchange>>,
    ConnectInfo(connection): ConnectInfo<ConnectionHandle>,
    Path((symbol, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let day = day_of(&file, &format!("{symbol}_"));
    match day.and_then(|day| pack(&exchange, Category::Spot, &symbol, day)) {
        Some(bytes) => answer(&exchange, &connection, Category::Spot, bytes, &headers).await,
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Returns the first ms of the day in a file's name; `None` if it has another form.
fn day_of(file: &str, prefix: &str) -> Option<i64> {
    let date = file.strip_prefix(prefix)?.strip_suffix(".csv.gz")?;
    let (year, rest) = date.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    if [year.len(), month.len(), day.len()] != [4, 2, 2] {
        return None;
    }
    Some(interval::days_of(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?) * DAY_MS)
}

/// Returns the file of a day; `None` if the day is not over or has no trades.
fn pack(exchange: &Exchange, category: Category, symbol: &str, day: i64) -> Option<Vec<u8>> {
    let rows = exchange.with_symbol(category, symbol, |state, now| (now >= day + DAY_MS).then(|| rows(state, day)));
    let rows = rows.flatten().filter(|rows| !rows.is_empty())?;
    let text = if category == Category::Spot { spot_csv(&rows) } else { derivatives_csv(category, symbol, &rows) };
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(text.as_bytes()).ok()?;
    packed.finish().ok()
}

fn rows(state: &SymbolState, day: i64) -> Vec<ArchiveRow> {
    let end = day + DAY_MS;
    let past = state.past_trades(day, end);
    let past = past.into_iter().enumerate().map(|(at, trade)| ArchiveRow {
        time: trade.time,
        side: if at % 2 == 0 { "Buy" } else { "Sell" },
        price: trade.price,
        size: trade.size,
        direction: "ZeroPlusTick",
        id: format!("00000000-0000-4000-8000-{:012x}", trade.time),
        rpi: false,
    });
    let tape = state.tape.iter().filter(|fill| (day..end).contains(&fill.time)).map(|fill| ArchiveRow {
        time: fill.time,
        side: fill.side.as_str(),
        price: fill.price,
        size: fill.size,
        direction: fill.direction.as_str(),
        id: fill.id.to_string(),
        rpi: fill.rpi,
    });
    past.chain(tape).collect()
}

fn derivatives_csv(category: Category, symbol: &str, rows: &[ArchiveRow]) -> String {
    let mut text = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,\
                    foreignNotional,RPI\n"
        .to_owned();
    for row in rows {
        let (size, price) = (row.size.trimmed(), row.price.trimmed());
        let other = match category {
            Category::Inverse => row.size.divided_by(row.price).trimmed(),
            Category::Linear | Category::Spot => row.size.times(row.price).trimmed(),
        };
        // The units of 1e-8 of what the last column has.
        let gross = Amount::new(100_000_000, 0).times(Amount::parse(&other).unwrap_or_default()).trimmed();
        let (seconds, millis) = (row.time / 1_000, row.time % 1_000);
        let _ = writeln!(
            text,
            "{seconds}.{millis:03}0,{symbol},{},{size},{price},{},{},{gross},{size},{other},{}",
            row.side,
            row.direction,
            row.id,
            u8::from(row.rpi)
        );
    }
    text
}

fn spot_csv(rows: &[ArchiveRow]) -> String {
    let mut text = "id,timestamp,price,volume,side,rpi\n".to_owned();
    for (number, row) in rows.iter().enumerate() {
        let (price, size, side) = (row.price.trimmed(), row.size.trimmed(), row.side.to_lowercase());
        let _ = writeln!(text, "{},{},{price},{size},{side},{}", number + 1, row.time, u8::from(row.rpi));
    }
    text
}

/// Answers with the bytes from the start of a range on, or as the faults of REST say.
async fn answer(
    exchange: &Exchange,
    connection: &ConnectionHandle,
    category: Category,
    mut file: Vec<u8>,
    headers: &HeaderMap,
) -> Response {
    if !exchange.admit_archive() {
        return (StatusCode::FORBIDDEN, "too many requests").into_response();
    }
    let mut is_cut = false;
    for fault in exchange.draw_rest_faults(Some(category)) {
        match fault {
            RestFault::TooFrequent | RestFault::Blocked => return StatusCode::FORBIDDEN.into_response(),
            RestFault::Limited | RestFault::LimitedFor(_) => return StatusCode::TOO_MANY_REQUESTS.into_response(),
            RestFault::Unavailable | RestFault::Failing => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
            RestFault::Status(status) => {
                return StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response();
            }
            RestFault::Reset => {
                connection.cut.cancel();
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            }
            RestFault::Truncated => is_cut = true,
            // One wrong byte in the middle.
            RestFault::Garbage => {
                let middle = file.len() / 2;
                file.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 0xff);
            }
            RestFault::Late(by) => sleep(by).await,
            _ => {}
        }
    }
    respond(file, start_of_range(headers), is_cut)
}

/// Returns the first byte that is asked for, if a range to the end is.
fn start_of_range(headers: &HeaderMap) -> Option<usize> {
    let range = headers.get(header::RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

fn respond(file: Vec<u8>, from: Option<usize>, is_cut: bool) -> Response {
    let length = file.len();
    let file = Bytes::from(file);
    if from.is_some_and(|from| from >= length) {
        return (StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, format!("bytes */{length}"))])
            .into_response();
    }
    let rest = file.slice(from.unwrap_or(0)..);
    let mut response = Response::builder()
        .status(if from.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK })
        .header(header::CONTENT_TYPE, "application/gzip")
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::CONTENT_LENGTH, rest.len());
    if let Some(from) = from {
        response = response.header(header::CONTENT_RANGE, format!("bytes {from}-{}/{length}", length - 1));
    }
    let body = if is_cut { broken(rest.slice(..rest.len() / 2)) } else { Body::from(rest) };
    response.body(body).unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// Returns a body after which the connection breaks.
fn broken(bytes: Bytes) -> Body {
    let cut = stream::once(async {
        // What was sent before reaches the client first.
        sleep(CUT_DELAY).await;
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    });
    Body::from_stream(stream::iter([Ok(bytes)]).chain(cut))
}
