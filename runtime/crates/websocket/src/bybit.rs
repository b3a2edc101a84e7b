//! Bybit's public dialect, as Bybit's own clients expect it. Acknowledgements, pings and refusals are worded as Bybit
//! words them. An acknowledgement precedes a topic's first data, and no data follows that of an unsubscription.
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
use super::dialect::Dialect;
use super::outbox::FrameKind;
use super::push;
use super::session::Session;

/// The maximum number of topics in one spot request, as on Bybit.
const SPOT_ARGS: usize = 10;

/// A request; unknown fields are ignored.
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

/// The variable parts of an answer.
struct Answer<'a> {
    success: bool,
    message: &'a str,
    request: &'a str,
    op: &'a str,
}

/// Handles a message from a client that is connected to the path of `category`.
pub fn handle(session: &mut Session, category: Category, text: &str) {
    let request: WireRequest<'_> = match serde_json::from_str(text) {
        Ok(request) => request,
        Err(_) if !session.is_admitted() => return session.refuse(CloseCode::AuthenticationFailed),
        Err(error) => {
            let message = format!("Failed to decode incoming data:{error}");
            return answer(session, &Answer { success: false, message: &message, request: "", op: "" });
        }
    };
    let id = request_id(&request.req_id);
    if !session.is_admitted() && request.op != "auth" {
        return session.refuse(CloseCode::AuthenticationFailed);
    }
    match request.op.as_str() {
        "auth" => authenticate(session, &id, request.args),
        "ping" => pong(session, category, &id),
        "subscribe" => match topics(session, category, request.args) {
            Ok(topics) => subscribe(session, category, &id, &topics),
            Err(message) => {
                answer(session, &Answer { success: false, message: &message, request: &id, op: "subscribe" });
            }
        },
        "unsubscribe" => unsubscribe(session, category, &id, request.args),
        op => {
            let conn_id = session.connection_id();
            let args = request.args.map_or("null", RawValue::get);
            let (op, id) = (quoted(op), quoted(&id));
            let text = format!(
                r#"{{"success":false,"ret_msg":"error:invalid op","conn_id":"{conn_id}","req_id":{id},"request":{{"op":{op},"args":{args}}},"op":""}}"#
            );
            session.reply(&text);
        }
    }
}

/// Subscribes to all topics or to none. Sends the answer first, then the newest update of each topic.
fn subscribe(session: &mut Session, category: Category, id: &str, topics: &[SeriesId]) {
    let server = session.server.clone();
    let mut subscriptions = server.subscriptions.lock();
    let mut series: Vec<_> = topics.iter().map(|topic| subscriptions.topic(*topic)).collect();
    series.sort_unstable();
    series.dedup();
    let is_new = |id| !session.follows(id);
    if session.followed() + series.iter().filter(|id| is_new(**id)).count() > server.settings.topics {
        drop(subscriptions);
        let message = format!("error:too many topics,at most {} a connection", server.settings.topics);
        return answer(session, &Answer { success: false, message: &message, request: id, op: "subscribe" });
    }
    let message = if category == Category::Spot { "subscribe" } else { "" };
    session.enqueue(&text_of(session, &Answer { success: true, message, request: id, op: "subscribe" }));
    let mut text = String::new();
    for id in series {
        if session.follow(id) {
            subscriptions.follow(id, Dialect::Bybit, &session.client);
        }
        if let Some(open) = subscriptions.recent(id).and_then(|recent| recent.open()) {
            session.enqueue_frame(FrameKind::Update(id), push::bybit::push(open, &mut text));
        }
    }
    drop(subscriptions);
    session.client.flush();
}

/// Unsubscribes from topics; the answer is the same for topics that were not subscribed to.
fn unsubscribe(session: &mut Session, category: Category, id: &str, args: Option<&RawValue>) {
    let server = session.server.clone();
    let mut subscriptions = server.subscriptions.lock();
    for topic in names(args).unwrap_or_default().iter().filter_map(|name| parse(category, name)) {
        // `known` does not create an entry for a topic without subscribers.
        if let Some(series) = subscriptions.known(&topic).filter(|series| session.unfollow(*series)) {
            subscriptions.unfollow(series, Dialect::Bybit, session.client.id);
        }
    }
    session.enqueue(&text_of(session, &Answer { success: true, message: "", request: id, op: "unsubscribe" }));
    drop(subscriptions);
    session.client.flush();
}

/// Parses and validates the topics of a request.
fn topics(session: &Session, category: Category, args: Option<&RawValue>) -> Result<Vec<SeriesId>, String> {
    let Some(names) = names(args) else { return Err("error:args is not a list of topics".to_owned()) };
    if category == Category::Spot && names.len() > SPOT_ARGS {
        return Err(format!("args size >{SPOT_ARGS}"));
    }
    let known = |name: &str| parse(category, name).filter(|key| session.server.has_series(key)).map(SeriesId::of);
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

/// Parses `kline.{code}.{symbol}`. Only the interval code that pushes carry is accepted.
fn parse(category: Category, topic: &str) -> Option<SeriesKey> {
    let (code, symbol) = topic.strip_prefix("kline.")?.split_once('.')?;
    let interval = Interval::from_bybit_code(code).or_else(|| {
        let interval: Interval = code.parse().ok()?;
        (interval.bybit_code().is_none() && interval.to_string() == code).then_some(interval)
    })?;
    Some(SeriesKey { category, symbol: Symbol::new(symbol).ok()?, interval })
}

/// Checks the signature in `args`, which are `[user, expires, signature]`; some clients send `expires` as a number and
/// others as a string.
fn authenticate(session: &mut Session, id: &str, args: Option<&RawValue>) {
    let args: Option<(String, Value, String)> = args.and_then(|args| serde_json::from_str(args.get()).ok());
    let read = args.and_then(|(user, expires, signature)| {
        let expires = expires.as_u64().or_else(|| expires.as_str()?.parse().ok())?;
        Some((user, expires, signature))
    });
    let is_right = read.is_some_and(|(user, expires, signature)| session.check_signature(&user, expires, &signature));
    let (conn_id, id) = (session.connection_id(), quoted(id));
    if is_right {
        let text = format!(r#"{{"success":true,"ret_msg":"","op":"auth","conn_id":"{conn_id}","req_id":{id}}}"#);
        return session.reply(&text);
    }
    let text = format!(
        r#"{{"success":false,"ret_msg":"Authentication failed","op":"auth","conn_id":"{conn_id}","req_id":{id}}}"#
    );
    session.reply(&text);
    session.refuse(CloseCode::AuthenticationFailed);
}

/// Answers a ping as Bybit does: `op` is `ping`, and on spot `req_id` is left out if the request has none.
fn pong(session: &Session, category: Category, id: &str) {
    let conn_id = session.connection_id();
    let echo = if category == Category::Spot && id.is_empty() {
        String::new()
    } else {
        format!(r#""req_id":{},"#, quoted(id))
    };
    session.reply(&format!(r#"{{"success":true,"ret_msg":"pong","conn_id":"{conn_id}",{echo}"op":"ping"}}"#));
}

fn answer(session: &Session, answer: &Answer<'_>) {
    session.reply(&text_of(session, answer));
}

fn text_of(session: &Session, answer: &Answer<'_>) -> String {
    let Answer { success, message, request, op } = answer;
    let (message, request, conn_id) = (quoted(message), quoted(request), session.connection_id());
    format!(r#"{{"success":{success},"ret_msg":{message},"conn_id":"{conn_id}","req_id":{request},"op":"{op}"}}"#)
}

fn request_id(id: &Value) -> String {
    match id {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

/// Returns `text` as a JSON string with its quotes.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_has_the_interval_code_of_its_pushes() {
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
