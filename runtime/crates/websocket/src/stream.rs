//! The dialect of `/v1/stream`: numbered pushes, snapshots and resumption. `docs/websocket.md` describes it.

mod reply;
#[cfg(test)]
mod tests;
mod topic;
mod wire;

use klines_delivery::encode::ValueTopic;
use serde_json::Value;

use self::reply::Reply;
use self::topic::Topic;
use self::wire::{Request, Since};
use super::close::CloseCode;
use super::dialect::Dialect;
use super::frame;
use super::outbox::TopicId;
use super::push::stream::KlineTopic;
use super::session::Session;
use super::values::MAX_AWAITED;

/// The last message to every client before the server stops.
pub const SHUTDOWN: &str = r#"{"v":1,"type":"shutdown"}"#;
/// The maximum number of closed records in one snapshot.
const LONGEST_HISTORY: usize = 1_000;

/// Sends the state of the feeds to an admitted client, now and at every change.
pub fn welcome(session: &Session) {
    session.server.feeds.follow(&session.client, session.server.now());
    session.client.flush();
}

/// Handles a message from a client.
pub fn handle(session: &mut Session, text: &str) {
    let request: Request = match serde_json::from_str(text) {
        Ok(request) => request,
        Err(_) if !session.is_admitted() => return session.refuse(CloseCode::AuthenticationFailed),
        Err(error) => return session.reply(&wire::refusal("", &Value::Null, &format!("not a request: {error}"), None)),
    };
    if !session.is_admitted() && !matches!(request, Request::Auth { .. }) {
        return session.refuse(CloseCode::AuthenticationFailed);
    }
    match request {
        Request::Auth { id, user, key, args } => authenticate(session, &id, (user, key), args.as_deref()),
        Request::Ping { id } => session.reply(&wire::pong(&id, session.server.wall_clock())),
        Request::Topics { id } => {
            let text = wire::topics(&id, &session.server);
            session.reply(&text);
        }
        Request::Subscribe { id, topics, since, history } => {
            let mut named: Vec<&str> = topics.iter().map(String::as_str).collect();
            named.sort_unstable();
            named.dedup();
            let resolve =
                |name| topic::resolve(name, &session.server).map(|key| (name, key)).map_err(|error| (name, error));
            let resolved: Result<Vec<_>, _> = named.into_iter().map(resolve).collect();
            match resolved {
                Ok(topics) => subscribe(session, &id, &topics, &since, history.min(LONGEST_HISTORY)),
                Err((name, error)) => session.reply(&wire::refusal("subscribe", &id, &error, Some(name))),
            }
        }
        Request::Unsubscribe { id, topics } => unsubscribe(session, &id, &topics),
    }
}

fn authenticate(session: &mut Session, id: &Value, pair: (Option<String>, Option<String>), args: Option<&[Value]>) {
    let is_right = match (pair, args) {
        ((Some(user), Some(key)), _) => session.check_pair(&user, &key),
        (_, Some([Value::String(user), expires, Value::String(signature)])) => {
            let expires = expires.as_u64().or_else(|| expires.as_str()?.parse().ok());
            expires.is_some_and(|expires| session.check_signature(user, expires, signature))
        }
        _ => false,
    };
    if is_right {
        session.enqueue(&wire::done("auth", id));
        return welcome(session);
    }
    session.reply(&wire::refusal("auth", id, "authentication failed", None));
    session.refuse(CloseCode::AuthenticationFailed);
}

/// Subscribes to all topics or to none. Sends the answer first, then for each topic the missed records or a snapshot.
fn subscribe(session: &mut Session, id: &Value, topics: &[(&str, Topic)], since: &Since, history: usize) {
    let server = session.server.clone();
    let mut subscriptions = server.subscriptions.lock();
    let id_of = |topic: &Topic| match topic {
        Topic::Klines(key) => subscriptions.topic(*key),
        Topic::Values(series) => subscriptions.values.get_or_add(series),
    };
    let ids: Vec<TopicId> = topics.iter().map(|(_, topic)| topic).map(id_of).collect();
    let most = server.settings.topics;
    let refused = if session.followed() + ids.iter().filter(|id| !session.follows(**id)).count() > most {
        Some(format!("too many topics: at most {most} a connection"))
    } else if subscriptions.values.awaited() > MAX_AWAITED {
        Some("too many topics without a value yet are subscribed to on this server".to_owned())
    } else {
        None
    };
    if let Some(error) = refused {
        ids.into_iter().for_each(|id| subscriptions.values.remove_if_unused(id));
        drop(subscriptions);
        return session.reply(&wire::refusal("subscribe", id, &error, None));
    }
    let (first, mut states) = (server.subscriptions.first(), Vec::with_capacity(ids.len()));
    let (mut reply, mut positions) = (Reply::new(session.client.room_for_answer(), history), Vec::new());
    for ((name, topic), series) in topics.iter().zip(&ids) {
        let asked = since.get(*name);
        match topic {
            Topic::Klines(key) => {
                let Some(recent) = subscriptions.recent(*series) else { continue };
                let crashed = asked.and_then(|since| server.subscriptions.crashed_epoch(recent, since.seq));
                let epochs = (server.subscriptions.epoch(recent), crashed);
                let state = reply.add(name, &KlineTopic::new(key, first), epochs, recent, asked);
                positions.push((*series, state.seq));
                states.push(state);
            }
            Topic::Values(series_of) => {
                let Some(recent) = subscriptions.values.get(*series).map(|followed| &followed.recent) else { continue };
                let full = ValueTopic { series: series_of, first };
                states.push(reply.add(name, &full, (server.subscriptions.values_epoch(recent), None), recent, asked));
            }
        }
    }
    session.enqueue_answer(Box::new(reply.with_answer(frame::text(&wire::subscribed(id, &states)))));
    for series in ids {
        if session.follow(series) {
            subscriptions.follow(series, Dialect::Stream, &session.client);
        }
    }
    for (series, position) in positions {
        subscriptions.hold_back(series, session.client.id, position);
    }
    drop(subscriptions);
    session.client.flush();
}

/// Unsubscribes from topics; the answer is the same for unknown topics and those that were not subscribed to.
fn unsubscribe(session: &mut Session, id: &Value, topics: &[String]) {
    let server = session.server.clone();
    let mut subscriptions = server.subscriptions.lock();
    for topic in topics.iter().filter_map(|name| topic::resolve(name, &server).ok()) {
        let known = match &topic {
            Topic::Klines(key) => subscriptions.known(key),
            Topic::Values(series) => subscriptions.values.id(series),
        };
        if let Some(series) = known.filter(|series| session.unfollow(*series)) {
            subscriptions.unfollow(series, Dialect::Stream, session.client.id);
        }
    }
    session.enqueue(&wire::done("unsubscribe", id));
    drop(subscriptions);
    session.client.flush();
}
