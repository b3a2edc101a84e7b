//! Every frame that the streams send, written from the simulator's own literals in Bybit's key order of each category.
//! Shares no type with the program under test.

use std::fmt::Write as _;

use crate::{
    category::Category,
    interval::Interval,
    klines::{Push, Window},
    trade::Fill,
};

/// Bybit splits longer matches over several messages.
pub(crate) const MAX_TRADES_PER_FRAME: usize = 1_024;

/// Returns `text` as a JSON string with its quotes.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns the trade frames of one symbol, with at most 1,024 trades each.
pub(crate) fn trade_frames(category: Category, symbol: &str, ts: i64, fills: &[Fill]) -> Vec<String> {
    fills.chunks(MAX_TRADES_PER_FRAME).map(|chunk| trade_frame(category, symbol, ts, chunk)).collect()
}

fn trade_frame(category: Category, symbol: &str, ts: i64, fills: &[Fill]) -> String {
    let mut text = match category {
        Category::Spot => format!(r#"{{"topic":"publicTrade.{symbol}","ts":{ts},"type":"snapshot","data":["#),
        _ => format!(r#"{{"topic":"publicTrade.{symbol}","type":"snapshot","ts":{ts},"data":["#),
    };
    for (n, fill) in fills.iter().enumerate() {
        if n > 0 {
            text.push(',');
        }
        text.push_str(&trade_row(category, symbol, fill));
    }
    text.push_str("]}");
    text
}

fn trade_row(category: Category, symbol: &str, fill: &Fill) -> String {
    let Fill { time, seq, id, side, block, rpi, direction, .. } = fill;
    let (price, size, side, tick) = (fill.price.padded(), fill.size.padded(), side.as_str(), direction.as_str());
    match category {
        Category::Spot => format!(
            r#"{{"i":"{id}","T":{time},"p":"{price}","v":"{size}","S":"{side}","seq":{seq},"s":"{symbol}","BT":{block},"RPI":{rpi}}}"#
        ),
        _ => format!(
            r#"{{"T":{time},"s":"{symbol}","S":"{side}","v":"{size}","p":"{price}","L":"{tick}","i":"{id}","BT":{block},"RPI":{rpi},"seq":{seq}}}"#
        ),
    }
}

/// Returns the kline frames of one push: contracts put the closed and the new window into one frame, spot sends two.
pub(crate) fn kline_frames(category: Category, symbol: &str, push: &Push) -> Vec<String> {
    let Push { interval, at, closed, open } = push;
    let closing = closed.map(|window| kline_object(*interval, *at, &window, true));
    let current = kline_object(*interval, *at, open, false);
    match (category, closing) {
        (_, None) => vec![kline_frame(category, symbol, *interval, *at, &current)],
        (Category::Spot, Some(closing)) => {
            [closing, current].map(|object| kline_frame(category, symbol, *interval, *at, &object)).into()
        }
        (_, Some(closing)) => vec![kline_frame(category, symbol, *interval, *at, &format!("{closing},{current}"))],
    }
}

fn kline_frame(category: Category, symbol: &str, interval: Interval, ts: i64, objects: &str) -> String {
    let code = interval.code();
    match category {
        Category::Spot => {
            format!(r#"{{"type":"snapshot","topic":"kline.{code}.{symbol}","data":[{objects}],"ts":{ts}}}"#)
        }
        _ => format!(r#"{{"topic":"kline.{code}.{symbol}","data":[{objects}],"ts":{ts},"type":"snapshot"}}"#),
    }
}

fn kline_object(interval: Interval, at: i64, window: &Window, confirm: bool) -> String {
    let Window { start, end, .. } = window;
    let mut text = format!(r#"{{"start":{start},"end":{end},"interval":"{}""#, interval.code());
    let fields = [
        ("open", window.open),
        ("close", window.close),
        ("high", window.high),
        ("low", window.low),
        ("volume", window.volume),
        ("turnover", window.turnover),
    ];
    for (name, amount) in fields {
        let _ = write!(text, r#","{name}":"{}""#, amount.trimmed());
    }
    let _ = write!(text, r#","confirm":{confirm},"timestamp":{at}}}"#);
    text
}

/// Returns the answer to `op`. It has `req_id` always for contracts, for spot only if the request has it.
pub(crate) fn ack(
    category: Category,
    success: bool,
    message: &str,
    conn_id: &str,
    req_id: Option<&str>,
    op: &str,
) -> String {
    let req_id = match (category, req_id) {
        (Category::Spot, None) => String::new(),
        (_, id) => format!(r#""req_id":{},"#, quoted(id.unwrap_or_default())),
    };
    let message = quoted(message);
    format!(r#"{{"success":{success},"ret_msg":{message},"conn_id":"{conn_id}",{req_id}"op":{}}}"#, quoted(op))
}

/// Returns the answer to an unknown operation. `args` is the request's, as JSON.
pub(crate) fn invalid_op(conn_id: &str, op: &str, args: &str) -> String {
    format!(
        r#"{{"success":false,"ret_msg":"error:invalid op","conn_id":"{conn_id}","request":{{"op":{},"args":{args}}}}}"#,
        quoted(op)
    )
}

/// Returns a frame of a trade that did not happen and is not on the tape, with this text as its price.
pub(crate) fn forged_trade(category: Category, symbol: &str, ts: i64, price: &str) -> String {
    let id = format!("00000000-0000-5000-8000-{:012x}", ts & 0xffff_ffff_ffff);
    match category {
        Category::Spot => format!(
            r#"{{"topic":"publicTrade.{symbol}","ts":{ts},"type":"snapshot","data":[{{"i":"{ts}","T":{ts},"p":"{price}","v":"1","S":"Buy","seq":1,"s":"{symbol}","BT":false,"RPI":false}}]}}"#
        ),
        _ => format!(
            r#"{{"topic":"publicTrade.{symbol}","type":"snapshot","ts":{ts},"data":[{{"T":{ts},"s":"{symbol}","S":"Buy","v":"1","p":"{price}","L":"PlusTick","i":"{id}","BT":false,"RPI":false,"seq":1}}]}}"#
        ),
    }
}

#[cfg(test)]
mod tests;
