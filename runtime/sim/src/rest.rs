//! The REST calls under `/v5/market`, in Bybit's envelope: refusals have HTTP status 200 too. Reads the exchange and
//! changes nothing.

mod instruments;
mod klines;
mod lies;

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{category::Category, exchange::Exchange, fault::RestFault, trade::Fill};

pub(crate) use {instruments::instruments_info, klines::kline};

/// Query parameters; unknown ones are ignored.
pub(crate) type Params = HashMap<String, String>;

/// The faults of one call, as an extension of its request.
#[derive(Clone, Debug)]
pub(crate) struct CallFaults(pub Vec<RestFault>);

const PARAMS_ERROR: i32 = 10_001;
pub(crate) const TIMEOUT: i32 = 10_000;
pub(crate) const TOO_MANY_VISITS: i32 = 10_006;
pub(crate) const SERVER_ERROR: i32 = 10_016;
const NO_ROUTE: i32 = 10_017;

/// An answer: `result` as JSON, or a refusal, whose empty `result` has the shape of its call.
pub(crate) enum Answer {
    Ok(String),
    Refused { code: i32, message: String, result: String },
}

impl Answer {
    fn refused(message: impl Into<String>) -> Self {
        Self::Refused { code: PARAMS_ERROR, message: message.into(), result: "{}".to_owned() }
    }

    fn with_result(self, result: &str) -> Self {
        match self {
            Self::Refused { code, message, .. } => Self::Refused { code, message, result: result.to_owned() },
            Self::Ok(_) => self,
        }
    }

    fn respond(self, exchange: &Exchange) -> Response {
        respond(StatusCode::OK, self, exchange.clock.now())
    }
}

fn respond(status: StatusCode, answer: Answer, time: i64) -> Response {
    let (code, message, result) = match answer {
        Answer::Ok(result) => (0, "OK".to_owned(), result),
        Answer::Refused { code, message, result } => (code, message, result),
    };
    let message = crate::wire::quoted(&message);
    let body = format!(r#"{{"retCode":{code},"retMsg":{message},"result":{result},"retExtInfo":{{}},"time":{time}}}"#);
    (status, [(header::CONTENT_TYPE, "application/json; charset=utf-8")], body).into_response()
}

/// Returns a refusal that does not depend on the request.
pub(crate) fn refused(exchange: &Exchange, code: i32, message: &str) -> Response {
    Answer::Refused { code, message: message.to_owned(), result: "{}".to_owned() }.respond(exchange)
}

/// Returns the refusal of a rate limit of `limit` calls that is reset after `reset`.
pub(crate) fn too_many_visits(exchange: &Exchange, limit: usize, reset: Duration) -> Response {
    let reset_at = exchange.clock.now().saturating_add(i64::try_from(reset.as_millis()).unwrap_or(i64::MAX));
    let headers = [
        ("X-Bapi-Limit", limit.to_string()),
        ("X-Bapi-Limit-Status", "0".to_owned()),
        ("X-Bapi-Limit-Reset-Timestamp", reset_at.to_string()),
    ];
    (headers, refused(exchange, TOO_MANY_VISITS, "Too many visits!")).into_response()
}

pub(crate) async fn time(State(exchange): State<Arc<Exchange>>) -> Response {
    let now = exchange.clock.now();
    let result = format!(r#"{{"timeSecond":"{}","timeNano":"{now}000000"}}"#, now / 1_000);
    respond(StatusCode::OK, Answer::Ok(result), now)
}

pub(crate) async fn not_found(State(exchange): State<Arc<Exchange>>) -> Response {
    let answer = Answer::Refused { code: NO_ROUTE, message: "Route not found.".to_owned(), result: "{}".to_owned() };
    respond(StatusCode::NOT_FOUND, answer, exchange.clock.now())
}

pub(crate) async fn recent_trade(State(exchange): State<Arc<Exchange>>, Query(params): Query<Params>) -> Response {
    recent_trades(&exchange, &params).unwrap_or_else(|refused| refused).respond(&exchange)
}

fn recent_trades(exchange: &Exchange, params: &Params) -> Result<Answer, Answer> {
    let category = category(params, None)?;
    let (default, most) = if category == Category::Spot { (60, 60) } else { (500, 1_000) };
    let limit = limit(params, default, most)?;
    let symbol = params.get("symbol").map(String::as_str).unwrap_or_default();
    let rows = exchange.with_symbol(category, symbol, |symbol_state, _| {
        let newest_first = symbol_state.tape.iter().rev().take(limit);
        newest_first.map(|fill| trade_row(symbol, fill)).collect::<Vec<_>>().join(",")
    });
    let rows = rows.ok_or_else(|| unknown_symbol(category))?;
    Ok(Answer::Ok(format!(r#"{{"category":"{category}","list":[{rows}]}}"#)))
}

fn trade_row(symbol: &str, fill: &Fill) -> String {
    let Fill { time, seq, id, block, rpi, .. } = fill;
    let (price, size, side) = (fill.price.padded(), fill.size.padded(), fill.side.as_str());
    format!(
        r#"{{"execId":"{id}","symbol":"{symbol}","price":"{price}","size":"{size}","side":"{side}","time":"{time}","isBlockTrade":{block},"isRPITrade":{rpi},"seq":"{seq}"}}"#
    )
}

/// Returns the refusal of an unlisted symbol, in the text of the trade and kline calls.
fn unknown_symbol(category: Category) -> Answer {
    Answer::refused(match category {
        Category::Spot => "Not supported symbols",
        Category::Linear | Category::Inverse => "params error: symbol invalid",
    })
}

fn category(params: &Params, default: Option<Category>) -> Result<Category, Answer> {
    match (params.get("category"), default) {
        (Some(text), _) => Category::parse(text).ok_or_else(|| Answer::refused("params error: category invalid")),
        (None, Some(default)) => Ok(default),
        (None, None) => Err(Answer::refused("params error: category invalid")),
    }
}

/// Returns the query's `limit`, at most `most`; a refusal if it is not a positive number.
fn limit(params: &Params, default: usize, most: usize) -> Result<usize, Answer> {
    let Some(text) = params.get("limit").filter(|text| !text.is_empty()) else { return Ok(default) };
    match text.parse::<usize>() {
        Ok(limit @ 1..) => Ok(limit.min(most)),
        _ => Err(Answer::refused("params error: limit invalid")),
    }
}
