//! Bybit's public dialect, as its own clients expect it: acknowledgements, pings and refusals word for word, an
//! acknowledgement before a topic's first data, and no data after that of an unsubscription.
//!
//! Source of the shapes: Bybit's v5 documentation ("Connect", "Kline") and recordings of its public streams.

mod rest;

use klines_domain::interval::Interval;
use klines_domain::series::{SeriesId, SeriesKey};
use klines_domain::symbol::{Category, Symbol};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

pub use self::rest::routes;
use super::close::CloseCode;
use super::outbox::Kind;
use super::push;
use super::seat::Seat;
use super::series::Dialect;

/// Topics in one spot request, as on Bybit.
const SPOT_ARGS: usize = 10;

/// A request; whatever else is in it is ignored.
#[derive(Debug, Deserialize)]
struct WireRequest<'a> {
    #[serde(default)]
    op: String,
    /// A string or a number, echoed as a string.
    #[serde(default)]
    req_id: Value,
    #[serde(borrow, default)]
    args: Option<&'a RawValue>,
}

/// An answer's variable parts.
struct Answer<'a> {
    success: bool,
    message: &'a str,
    request: &'a str,
    op: &'a str,
}

/// Answers a message of a client on the path of `category`.
pub fn hear(seat: &mut Seat, category: Category, text: &str) {
    let request: WireRequest<'_> = match serde_json::from_str(text) {
        Ok(request) => request,
        Err(_) if !seat.is_admitted() => return seat.refuse(CloseCode::AuthenticationFailed),
        Err(error) => {
            let message = format!("Failed to decode incoming data:{error}");
            return answer(seat, &Answer { success: false, message: &message, request: "", op: "" });
        }
    };
    let id = request_id(&request.req_id);
    if !seat.is_admitted() && request.op != "auth" {
        return seat.refuse(CloseCode::AuthenticationFailed);
    }
    match request.op.as_str() {
        "auth" => authenticate(seat, &id, request.args),
        "ping" => pong(seat, category, &id),
        "subscribe" => match topics(seat, category, request.args) {
            Ok(topics) => subscribe(seat, category, &id, &topics),
            Err(message) => {
                answer(seat, &Answer { success: false, message: &message, request: &id, op: "subscribe" });
            }
        },
        "unsubscribe" => unsubscribe(seat, category, &id, request.args),
        op => {
            let conn_id = seat.connection_id();
            let args = request.args.map_or("null", RawValue::get);
            let (op, id) = (quoted(op), quoted(&id));
            let text = format!(
                r#"{{"success":false,"ret_msg":"error:invalid op","conn_id":"{conn_id}","req_id":{id},"request":{{"op":{op},"args":{args}}},"op":""}}"#
            );
            seat.say(&text);
        }
    }
}

/// Adds every topic or none. The answer goes first, then the newest update of each topic.
fn subscribe(seat: &mut Seat, category: Category, id: &str, topics: &[SeriesId]) {
    let server = seat.server.clone();
    let mut board = server.board.lock();
    let mut series: Vec<_> = topics.iter().map(|topic| board.topic(*topic)).collect();
    series.sort_unstable();
    series.dedup();
    let is_new = |id| !seat.follows(id);
    if seat.followed() + series.iter().filter(|id| is_new(**id)).count() > server.settings.topics {
        drop(board);
        let message = format!("error:too many topics,at most {} a connection", server.settings.topics);
        return answer(seat, &Answer { success: false, message: &message, request: id, op: "subscribe" });
    }
    let message = if category == Category::Spot { "subscribe" } else { "" };
    seat.due(&text_of(seat, &Answer { success: true, message, request: id, op: "subscribe" }));
    let mut text = String::new();
    for id in series {
        if seat.follow(id) {
            board.follow(id, Dialect::Bybit, &seat.client);
        }
        if let Some(open) = board.recent(id).and_then(|recent| recent.open()) {
            seat.due_frame(Kind::Update(id), push::bybit::push(open, &mut text));
        }
    }
    drop(board);
    seat.client.flush();
}

/// Ends topics; those that were never followed are as ended as the others.
fn unsubscribe(seat: &mut Seat, category: Category, id: &str, args: Option<&RawValue>) {
    let server = seat.server.clone();
    let mut board = server.board.lock();
    for topic in names(args).unwrap_or_default().iter().filter_map(|name| parse(category, name)) {
        // Nothing is made for a name that nobody follows.
        if let Some(series) = board.known(&topic).filter(|series| seat.leave(*series)) {
            board.leave(series, Dialect::Bybit, seat.client.id);
        }
    }
    seat.due(&text_of(seat, &Answer { success: true, message: "", request: id, op: "unsubscribe" }));
    drop(board);
    seat.client.flush();
}

/// Reads and checks the topics of a request.
fn topics(seat: &Seat, category: Category, args: Option<&RawValue>) -> Result<Vec<SeriesId>, String> {
    let Some(names) = names(args) else { return Err("error:args is not a list of topics".to_owned()) };
    if category == Category::Spot && names.len() > SPOT_ARGS {
        return Err(format!("args size >{SPOT_ARGS}"));
    }
    let known = |name: &str| parse(category, name).filter(|key| seat.server.makes(key)).map(SeriesId::of);
    names
        .iter()
        .map(|name| {
            known(name).ok_or_else(|| match category {
                Category::Spot => format!("Invalid symbol :[{name}]"),
                _ => format!("error:handler not found,topic:{name}"),
            })
        })
        .collect()
}

fn names(args: Option<&RawValue>) -> Option<Vec<String>> {
    serde_json::from_str(args?.get()).ok()
}

/// Reads `kline.{code}.{symbol}`. Only the code that pushes carry is a topic.
fn parse(category: Category, topic: &str) -> Option<SeriesKey> {
    let (code, symbol) = topic.strip_prefix("kline.")?.split_once('.')?;
    let interval = Interval::from_bybit_code(code).or_else(|| {
        let interval: Interval = code.parse().ok()?;
        (interval.bybit_code().is_none() && interval.to_string() == code).then_some(interval)
    })?;
    Some(SeriesKey { category, symbol: Symbol::new(symbol).ok()?, interval })
}

/// `[user, expires, signature]`; `expires` is a number from some clients and a string from others.
fn authenticate(seat: &mut Seat, id: &str, args: Option<&RawValue>) {
    let args: Option<(String, Value, String)> = args.and_then(|args| serde_json::from_str(args.get()).ok());
    let read = args.and_then(|(user, expires, signature)| {
        let expires = expires.as_u64().or_else(|| expires.as_str()?.parse().ok())?;
        Some((user, expires, signature))
    });
    let is_right = read.is_some_and(|(user, expires, signature)| seat.check_signature(&user, expires, &signature));
    let (conn_id, id) = (seat.connection_id(), quoted(id));
    if is_right {
        let text = format!(r#"{{"success":true,"ret_msg":"","op":"auth","conn_id":"{conn_id}","req_id":{id}}}"#);
        return seat.say(&text);
    }
    let text = format!(
        r#"{{"success":false,"ret_msg":"Authentication failed","op":"auth","conn_id":"{conn_id}","req_id":{id}}}"#
    );
    seat.say(&text);
    seat.refuse(CloseCode::AuthenticationFailed);
}

/// The operation of the answer is `ping`, and on spot an absent id stays absent.
fn pong(seat: &Seat, category: Category, id: &str) {
    let conn_id = seat.connection_id();
    let echo = if category == Category::Spot && id.is_empty() {
        String::new()
    } else {
        format!(r#""req_id":{},"#, quoted(id))
    };
    seat.say(&format!(r#"{{"success":true,"ret_msg":"pong","conn_id":"{conn_id}",{echo}"op":"ping"}}"#));
}

fn answer(seat: &Seat, answer: &Answer<'_>) {
    seat.say(&text_of(seat, answer));
}

fn text_of(seat: &Seat, answer: &Answer<'_>) -> String {
    let Answer { success, message, request, op } = answer;
    let (message, request, conn_id) = (quoted(message), quoted(request), seat.connection_id());
    format!(r#"{{"success":{success},"ret_msg":{message},"conn_id":"{conn_id}","req_id":{request},"op":"{op}"}}"#)
}

fn request_id(id: &Value) -> String {
    match id {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_what_its_pushes_are_called() {
        for (topic, interval) in [
            ("kline.1.BTCUSDT", Some("1m")),
            ("kline.D.BTCUSDT", Some("1D")),
            ("kline.1s.BTCUSDT", Some("1s")),
            ("kline.90m.BTCUSDT", Some("90m")),
            ("kline.1m.BTCUSDT", None),
            ("kline.60s.BTCUSDT", None),
            ("kline.1.btcusdt", None),
            ("publicTrade.BTCUSDT", None),
            ("kline.1", None),
        ] {
            let found = parse(Category::Linear, topic).map(|key| key.interval.to_string());
            assert_eq!(found.as_deref(), interval, "{topic}");
        }
    }

    #[test]
    fn request_ids_come_back_as_strings() {
        for (given, echoed) in [(r#""a\"b""#, "a\"b"), ("7", "7"), ("null", ""), ("{}", "")] {
            assert_eq!(request_id(&serde_json::from_str(given).unwrap()), echoed);
        }
    }
}
