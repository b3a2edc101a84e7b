//! The exchange's side of one connection: answers requests, and sends the trades of the subscribed topics.

use std::collections::BTreeSet;

use klines_domain::time::Millis;
use serde_json::Value;

use super::network::Network;

/// One connection as the exchange sees it.
#[derive(Debug, Default)]
pub struct Peer {
    pub network: Network,
    /// Distinguishes what belongs to an earlier connection.
    pub generation: u32,
    pub is_open: bool,
    topics: BTreeSet<String>,
    /// Topics that bring nothing until they are subscribed to again.
    dead: BTreeSet<String>,
    pub is_mute: bool,
    pub duplicate_until: Millis,
    pub reorder_until: Millis,
    pub noise_until: Millis,
    pub no_answer_until: Millis,
    /// Whether the next frame of trades is damaged.
    pub is_damaging: bool,
    /// A frame that the next one overtakes.
    pub held: Option<String>,
}

impl Peer {
    /// Accepts a new connection.
    pub fn open(&mut self) {
        self.generation += 1;
        self.is_open = true;
        self.topics.clear();
        self.dead.clear();
        self.network.reopen();
        self.held = None;
        self.is_mute = false;
    }

    /// Answers a request; `None` if it is not answered. A request with an unknown symbol is refused as a whole.
    pub fn answer(&mut self, now: Millis, request: &str, unknown: &[String]) -> Option<String> {
        if now < self.no_answer_until {
            return None;
        }
        let request: Value = serde_json::from_str(request).ok()?;
        let id = request.get("req_id")?.as_str()?;
        if request.get("op")? == "ping" {
            return Some(format!(r#"{{"success":true,"ret_msg":"pong","conn_id":"c","req_id":"{id}","op":"ping"}}"#));
        }
        let topics: Vec<String> = request.get("args")?.as_array()?.iter().filter_map(text).collect();
        if let Some(topic) = topics.iter().find(|topic| unknown.contains(topic)) {
            let message = format!("error:handler not found,topic:{topic}");
            return Some(format!(
                r#"{{"success":false,"ret_msg":"{message}","conn_id":"c","req_id":"{id}","op":"subscribe"}}"#
            ));
        }
        if request.get("op")? == "unsubscribe" {
            self.topics.retain(|topic| !topics.contains(topic));
            self.dead.retain(|topic| !topics.contains(topic));
            return Some(format!(
                r#"{{"success":true,"ret_msg":"","conn_id":"c","req_id":"{id}","op":"unsubscribe"}}"#
            ));
        }
        self.topics.extend(topics);
        Some(format!(r#"{{"success":true,"ret_msg":"","conn_id":"c","req_id":"{id}","op":"subscribe"}}"#))
    }

    /// Returns whether trades of this symbol are sent.
    pub fn sends(&self, symbol: &str) -> bool {
        self.is_open && !self.is_mute && self.is_subscribed(symbol)
    }

    /// Returns whether what is sent on the connection arrives.
    pub const fn delivers(&self) -> bool {
        self.is_open && !self.is_mute && !self.network.is_half_open
    }

    /// Lets the topic of a symbol bring nothing any more, if it is subscribed to.
    pub fn kill(&mut self, symbol: &str) {
        self.dead.insert(format!("publicTrade.{symbol}"));
    }

    fn is_subscribed(&self, symbol: &str) -> bool {
        let topic = format!("publicTrade.{symbol}");
        self.topics.contains(&topic) && !self.dead.contains(&topic)
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
