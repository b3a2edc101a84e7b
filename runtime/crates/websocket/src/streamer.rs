//! The dialect of `/`, that of Bybit Klines Streamer: a log-in with the first message, then every batch of closed
//! klines of one category, pings, and a message when the server stops.

use klines_domain::symbol::Category;
use serde::Deserialize;

use super::close::CloseCode;
use super::session::Session;

/// The last message to every client before the server stops.
pub const SHUTDOWN: &str = r#"{"type":"server_shutdown"}"#;

const AUTHENTICATED: &str = r#"{"status":"authenticated"}"#;
const INVALID_FORMAT: &str = r#"{"error":"Invalid auth format"}"#;
const FAILED: &str = r#"{"error":"Authentication failed"}"#;
const TIMEOUT: &str = r#"{"error":"Authentication timeout"}"#;

#[derive(Debug, Deserialize)]
struct WireLogin {
    user: String,
    key: String,
}

#[derive(Debug, Deserialize)]
struct WireMessage<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<std::borrow::Cow<'a, str>>,
}

/// Confirms the log-in and subscribes the client to the batches of `category`.
pub fn welcome(session: &Session, category: Category) {
    let server = session.server.clone();
    let mut subscriptions = server.subscriptions.lock();
    session.enqueue(AUTHENTICATED);
    subscriptions.follow_batches(category, &session.client);
    drop(subscriptions);
    session.client.flush();
}

/// Handles a message from a client that is connected for `category`.
pub fn handle(session: &mut Session, category: Category, text: &str) {
    if !session.is_admitted() {
        let Ok(WireLogin { user, key }) = serde_json::from_str(text) else {
            session.reply(INVALID_FORMAT);
            return session.refuse(CloseCode::AuthenticationFailed);
        };
        if !session.check_pair(&user, &key) {
            session.reply(FAILED);
            return session.refuse(CloseCode::AuthenticationFailed);
        }
        return welcome(session, category);
    }
    // A client that logged in with a header may still send its key as the first message.
    if serde_json::from_str::<WireLogin>(text).is_ok() {
        return session.reply(AUTHENTICATED);
    }
    let kind = serde_json::from_str::<WireMessage<'_>>(text).ok().and_then(|message| message.kind);
    if kind.as_deref() == Some("ping") {
        session.reply(r#"{"type":"pong"}"#);
    }
}

/// Sends the error for a client that did not log in within the time limit.
pub fn time_out(session: &Session) {
    session.reply(TIMEOUT);
}
