//! The dialect of `/`, as Bybit Klines Streamer spoke it: log in with the first message, then every batch of closed
//! klines of one category, pings, and a last word when the server stops.

use klines_domain::symbol::Category;
use serde::Deserialize;

use super::close::CloseCode;
use super::seat::Seat;

/// Sent to every client before the server goes.
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

/// Says that the client may begin, and lets it follow the batches.
pub fn welcome(seat: &Seat, category: Category) {
    let server = seat.server.clone();
    let mut board = server.board.lock();
    seat.due(AUTHENTICATED);
    board.follow_batches(category, &seat.client);
    drop(board);
    seat.client.flush();
}

/// Answers a message of a client that follows `category`.
pub fn hear(seat: &mut Seat, category: Category, text: &str) {
    if !seat.is_admitted() {
        let Ok(WireLogin { user, key }) = serde_json::from_str(text) else {
            seat.say(INVALID_FORMAT);
            return seat.refuse(CloseCode::AuthenticationFailed);
        };
        if !seat.check_pair(&user, &key) {
            seat.say(FAILED);
            return seat.refuse(CloseCode::AuthenticationFailed);
        }
        return welcome(seat, category);
    }
    // A client that logged in by a header may still send its key first, as it always did.
    if serde_json::from_str::<WireLogin>(text).is_ok() {
        return seat.say(AUTHENTICATED);
    }
    let kind = serde_json::from_str::<WireMessage<'_>>(text).ok().and_then(|message| message.kind);
    if kind.as_deref() == Some("ping") {
        seat.say(r#"{"type":"pong"}"#);
    }
}

/// Says that the client was too late.
pub fn late(seat: &Seat) {
    seat.say(TIMEOUT);
}
