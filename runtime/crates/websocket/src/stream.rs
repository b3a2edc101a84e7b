//! Our own dialect on `/v1/stream`: numbered pushes, snapshots and resumption. `docs/websocket.md` describes it.

mod reply;
mod topic;
mod wire;

use klines_delivery::encode::ValueTopic;
use serde_json::Value;

use self::reply::Reply;
use self::topic::Topic;
use self::wire::{Request, Since};
use super::close::CloseCode;
use super::frame;
use super::outbox::TopicId;
use super::push::stream::Name;
use super::seat::Seat;
use super::series::Dialect;
use super::values::MOST_AWAITED;

/// Sent to every client before the server goes.
pub const SHUTDOWN: &str = r#"{"v":1,"type":"shutdown"}"#;
/// Closed records in one snapshot at most.
const LONGEST_HISTORY: usize = 1_000;

/// Lets a client that may follow know how the feeds stand, now and whenever that changes.
pub fn welcome(seat: &Seat) {
    seat.server.feeds.join(&seat.client, seat.server.now());
    seat.client.flush();
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
        seat.due(&wire::done("auth", id));
        return welcome(seat);
    }
    seat.say(&wire::refusal("auth", id, "authentication failed", None));
    seat.refuse(CloseCode::AuthenticationFailed);
}

/// The answer first, then for each topic what was missed or a snapshot; from then on it is followed.
fn subscribe(seat: &mut Seat, id: &Value, topics: &[(&str, Topic)], since: &Since, history: usize) {
    let server = seat.server.clone();
    let mut board = server.board.lock();
    let take_up = |topic: &Topic| match topic {
        Topic::Klines(key) => board.topic(*key),
        Topic::Values(series) => board.values.take_up(series),
    };
    let ids: Vec<TopicId> = topics.iter().map(|(_, topic)| topic).map(take_up).collect();
    let most = server.settings.topics;
    let refused = if seat.followed() + ids.iter().filter(|id| !seat.follows(**id)).count() > most {
        Some(format!("too many topics: at most {most} a connection"))
    } else if board.values.awaited() > MOST_AWAITED {
        Some("too many series that have no value yet are waited for here".to_owned())
    } else {
        None
    };
    if let Some(error) = refused {
        ids.into_iter().for_each(|id| board.values.tidy(id));
        drop(board);
        return seat.say(&wire::refusal("subscribe", id, &error, None));
    }
    let (first, mut states) = (server.board.first(), Vec::with_capacity(ids.len()));
    let mut reply = Reply::new(seat.client.room_for_answer(), history);
    for ((name, topic), series) in topics.iter().zip(&ids) {
        let asked = since.get(*name);
        match topic {
            Topic::Klines(key) => {
                let Some(recent) = board.recent(*series) else { continue };
                states.push(reply.add(name, &Name::new(key, first), server.board.epoch(recent), recent, asked));
            }
            Topic::Values(series_of) => {
                let Some(recent) = board.values.get(*series).map(|followed| &followed.recent) else { continue };
                let full = ValueTopic { series: series_of, first };
                states.push(reply.add(name, &full, server.board.epoch(recent), recent, asked));
            }
        }
    }
    seat.due_answer(Box::new(reply.answered(frame::text(&wire::subscribed(id, &states)))));
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
    for topic in topics.iter().filter_map(|name| topic::resolve(name, &server).ok()) {
        let known = match &topic {
            Topic::Klines(key) => board.known(key),
            Topic::Values(series) => board.values.id(series),
        };
        if let Some(series) = known.filter(|series| seat.leave(*series)) {
            board.leave(series, Dialect::Stream, seat.client.id);
        }
    }
    seat.due(&wire::done("unsubscribe", id));
    drop(board);
    seat.client.flush();
}
