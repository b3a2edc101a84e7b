//! `/v5/market/kline`: the exchange's klines, newest first, the open one included.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Query, State},
    response::Response,
};

use super::{Answer, CallFaults, Params, category, lies::Edge, limit, unknown_symbol};
use crate::{
    amount::Amount, category::Category, exchange::Exchange, fault::RestFault, history::KlineQuery, interval::Interval,
    klines::Window,
};

pub(crate) async fn kline(
    State(exchange): State<Arc<Exchange>>,
    Extension(CallFaults(faults)): Extension<CallFaults>,
    Query(params): Query<Params>,
) -> Response {
    rows(&exchange, &params, &faults).unwrap_or_else(|refused| refused).respond(&exchange)
}

fn rows(exchange: &Exchange, params: &Params, faults: &[RestFault]) -> Result<Answer, Answer> {
    let category = category(params, Some(Category::Linear))?;
    let limit = limit(params, 200, 1_000)?;
    let code = params.get("interval").map(String::as_str).unwrap_or_default();
    let interval = Interval::from_code(code).ok_or_else(|| Answer::refused("Invalid period!"))?;
    let (start, end) = (time(params, "start")?, time(params, "end")?);
    let symbol = params.get("symbol").map(String::as_str).unwrap_or_default();
    let found = exchange.with_symbol(category, symbol, |it, now| {
        let edge = faults.iter().any(|fault| fault.distorts_klines()).then(|| Edge::of(it, interval, now));
        (it.settled_history(interval, now), edge)
    });
    let (history, edge) = found.ok_or_else(|| unknown_symbol(category))?;
    // The past is computed here, after the exchange's lock is released: it can take milliseconds.
    let mut windows = history.select(KlineQuery { start, end, limit });
    if let Some(edge) = edge {
        edge.distort(&mut windows, faults);
    }
    let list: Vec<String> = windows.iter().rev().map(row).collect();
    let list = list.join(",");
    Ok(Answer::Ok(format!(r#"{{"category":"{category}","symbol":"{symbol}","list":[{list}]}}"#)))
}

fn row(window: &Window) -> String {
    let Window { start, open, high, low, close, volume, turnover, .. } = window;
    let numbers = [open, high, low, close, volume, turnover].map(|amount| Amount::trimmed(*amount));
    format!(r#"["{start}","{}"]"#, numbers.join(r#"",""#))
}

fn time(params: &Params, key: &str) -> Result<Option<i64>, Answer> {
    let Some(text) = params.get(key).filter(|text| !text.is_empty()) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| Answer::refused(format!("params error: {key} invalid")))
}
