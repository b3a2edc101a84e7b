//! Our own dialect on `/v1/stream`: numbered pushes, snapshots and resumption. `docs/websocket.md` describes it.

mod topic;
mod wire;

use std::fmt;

use bytes::Bytes;
use serde_json::Value;

use super::board::{Dialect, SeriesKey};
use super::close::CloseCode;
use super::frame;
use super::memory::Recent;
use super::outbox::{Kind, SeriesId};
use super::seat::Seat;
use crate::domain::kline::Kline;
use crate::domain::symbol::Category;

use wire::{Request, Since};

/// Sent to every client before the server goes.
pub const SHUTDOWN: &str = r#"{"v":1,"type":"shutdown"}"#;
/// Klines in one snapshot at most.
const LONGEST_HISTORY: usize = 1_000;
/// Klines in the snapshot that follows a loss inside the server.
pub const AFTER_LOSS: usize = 100;

/// The life of a series' numbering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Of the server.
    pub server: u64,
    /// How often the series' numbering broke since.
    pub breaks: u32,
}

impl fmt::Display for Epoch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.breaks {
            0 => write!(out, "{:016x}", self.server),
            breaks => write!(out, "{:016x}-{breaks}", self.server),
        }
    }
}

/// Makes the frame of a kline.
pub fn push(kline: &Kline, first: Category, epoch: Epoch, text: &mut String) -> Bytes {
    wire::kline(kline, first, epoch, text);
    frame::text(text)
}

/// Makes the frame of a snapshot with the newest `history` closed klines.
pub fn snapshot(
    key: &SeriesKey,
    first: Category,
    epoch: Epoch,
    recent: &Recent,
    history: usize,
    recovered: Option<bool>,
    text: &mut String,
) -> Bytes {
    wire::snapshot(key, first, epoch, recent, history, recovered, text);
    frame::text(text)
}

/// Answers a message.
pub fn hear(seat: &mut Seat, text: &str) {
    let request: Request = match serde_json::from_str(text) {
        Ok(request) => request,
        Err(_) if !seat.is_admitted() => return seat.refuse(CloseCode::AuthenticationFailed),
        Err(error) => return seat.say(&wire::refusal("", &Value::Null, &format!("not a request: {error}"), None)),
    };
    if !seat.is_admitted() && !matches!(request, Request::Auth { .. }) {
        return seat.refuse(CloseCode::AuthenticationFailed);
    }
    match request {
        Request::Auth { id, user, key, args } => authenticate(seat, &id, (user, key), args.as_deref()),
        Request::Ping { id } => seat.say(&wire::pong(&id, seat.server.wall_clock())),
        Request::Topics { id } => {
            let text = wire::topics(&id, &seat.server);
            seat.say(&text);
        }
        Request::Subscribe { id, topics, since, history } => {
            let resolved: Result<Vec<_>, _> = topics
                .iter()
                .map(|name| topic::resolve(name, &seat.server).map_err(|error| (name.clone(), error)))
                .collect();
            match resolved {
                Ok(keys) => subscribe(seat, &id, &topics, &keys, &since, history.min(LONGEST_HISTORY)),
                Err((name, error)) => seat.say(&wire::refusal("subscribe", &id, &error, Some(&name))),
            }
        }
        Request::Unsubscribe { id, topics } => unsubscribe(seat, &id, &topics),
    }
}

fn authenticate(seat: &mut Seat, id: &Value, pair: (Option<String>, Option<String>), args: Option<&[Value]>) {
    let is_right = match (pair, args) {
        ((Some(user), Some(key)), _) => seat.check_pair(&user, &key),
        (_, Some([Value::String(user), expires, Value::String(signature)])) => {
            let expires = expires.as_u64().or_else(|| expires.as_str()?.parse().ok());
            expires.is_some_and(|expires| seat.check_signature(user, expires, signature))
        }
        _ => false,
    };
    if is_right {
        return seat.say(&wire::done("auth", id));
    }
    seat.say(&wire::refusal("auth", id, "authentication failed", None));
    seat.refuse(CloseCode::AuthenticationFailed);
}

/// The answer first, then for each topic what was missed or a snapshot; from then on it is followed.
fn subscribe(seat: &mut Seat, id: &Value, names: &[String], keys: &[SeriesKey], since: &Since, history: usize) {
    let server = seat.server.clone();
    let mut board = server.board.lock();
    let ids: Vec<SeriesId> = keys.iter().map(|key| board.series(key)).collect();
    if seat.followed() + ids.iter().filter(|id| !seat.follows(**id)).count() > server.settings.topics {
        drop(board);
        let error = format!("too many topics: at most {} a connection", server.settings.topics);
        return seat.say(&wire::refusal("subscribe", id, &error, None));
    }
    let first = server.board.first();
    let mut text = String::new();
    let (mut states, mut frames) = (Vec::with_capacity(ids.len()), Vec::new());
    for ((name, key), series) in names.iter().zip(keys).zip(&ids) {
        let Some(recent) = board.recent(*series) else { continue };
        let epoch = server.board.epoch(Some(recent));
        let missed = since.get(name).map(|since| {
            let same_life = since.epoch == epoch.to_string();
            if same_life { recent.since(since.seq) } else { None }
        });
        let recovered = missed.as_ref().map(Option::is_some);
        states.push(wire::TopicState { name, epoch, seq: recent.last(), recovered });
        match missed.flatten() {
            Some(missed) => {
                frames.extend(missed.iter().map(|kline| (Kind::Firm, push(kline, first, epoch, &mut text))));
                frames.extend(recent.open().map(|open| (Kind::Update(*series), push(open, first, epoch, &mut text))));
            }
            None => {
                let frame = snapshot(key, first, epoch, recent, history, recovered, &mut text);
                frames.push((Kind::Firm, frame));
            }
        }
    }
    seat.due(&wire::subscribed(id, &states));
    for (kind, frame) in frames {
        seat.due_frame(kind, frame);
    }
    for series in ids {
        if seat.follow(series) {
            board.follow(series, Dialect::Stream, &seat.client);
        }
    }
    drop(board);
    seat.client.flush();
}

/// Topics that are not followed, or unknown, are as ended as the others.
fn unsubscribe(seat: &mut Seat, id: &Value, topics: &[String]) {
    let server = seat.server.clone();
    let mut board = server.board.lock();
    for key in topics.iter().filter_map(|name| topic::resolve(name, &server).ok()) {
        let series = board.series(&key);
        if seat.leave(series) {
            board.leave(series, Dialect::Stream, seat.client.id);
        }
    }
    seat.due(&wire::done("unsubscribe", id));
    drop(board);
    seat.client.flush();
}
