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
/// What a kline takes in an answer, at most.
const KLINE_BYTES: usize = 640;
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
            let mut named: Vec<&str> = topics.iter().map(String::as_str).collect();
            named.sort_unstable();
            named.dedup();
            let resolve =
                |name| topic::resolve(name, &seat.server).map(|key| (name, key)).map_err(|error| (name, error));
            let resolved: Result<Vec<_>, _> = named.into_iter().map(resolve).collect();
            match resolved {
                Ok(topics) => subscribe(seat, &id, &topics, &since, history.min(LONGEST_HISTORY)),
                Err((name, error)) => seat.say(&wire::refusal("subscribe", &id, &error, Some(name))),
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
fn subscribe(seat: &mut Seat, id: &Value, topics: &[(&str, SeriesKey)], since: &Since, history: usize) {
    let server = seat.server.clone();
    let mut board = server.board.lock();
    let ids: Vec<SeriesId> = topics.iter().map(|(_, key)| board.series(key)).collect();
    if seat.followed() + ids.iter().filter(|id| !seat.follows(**id)).count() > server.settings.topics {
        drop(board);
        let error = format!("too many topics: at most {} a connection", server.settings.topics);
        return seat.say(&wire::refusal("subscribe", id, &error, None));
    }
    // What an answer may hold is bounded: beyond that nothing is recovered, and snapshots have no history.
    let mut room = seat.client.room_for_answer() / KLINE_BYTES;
    let first = server.board.first();
    let (mut states, mut plans) = (Vec::with_capacity(ids.len()), Vec::with_capacity(ids.len()));
    for ((name, key), series) in topics.iter().zip(&ids) {
        let Some(recent) = board.recent(*series) else { continue };
        let epoch = server.board.epoch(Some(recent));
        let asked = since.get(*name);
        let missed = asked.filter(|since| since.epoch == epoch.to_string()).and_then(|since| recent.since(since.seq));
        let missed = missed.filter(|missed| missed.len() <= room);
        let recovered = asked.map(|_| missed.is_some());
        states.push(wire::TopicState { name, epoch, seq: recent.last(), recovered });
        let history = history.min(room);
        room -= missed.as_ref().map_or(history, Vec::len);
        plans.push((key, *series, epoch, recovered, missed, history));
    }
    seat.due(&wire::subscribed(id, &states));
    let mut text = String::new();
    for (key, series, epoch, recovered, missed, history) in plans {
        let Some(recent) = board.recent(series) else { continue };
        if let Some(missed) = missed {
            for kline in missed.iter().chain(recent.open()) {
                seat.due_frame(Kind::Answer, push(kline, first, epoch, &mut text));
            }
        } else {
            let frame = snapshot(key, first, epoch, recent, history, recovered, &mut text);
            seat.due_frame(Kind::Answer, frame);
        }
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
        if let Some(series) = board.known(&key).filter(|series| seat.leave(*series)) {
            board.leave(series, Dialect::Stream, seat.client.id);
        }
    }
    seat.due(&wire::done("unsubscribe", id));
    drop(board);
    seat.client.flush();
}
