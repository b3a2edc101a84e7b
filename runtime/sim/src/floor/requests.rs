//! What clients ask on a stream, and the answers, word for word as each category words them.

use super::{Floor, State};
use crate::{
    category::Category,
    command::Command,
    limits::count,
    peers::Peer,
    topics::{Topic, symbol_of},
    wire,
};

impl Floor {
    /// Carries out a request frame of client `id`. Answers go into the client's queue in the order in which the floor
    /// saw them: an ack precedes the data of its topics, and no data follows the ack of an unsubscribe.
    pub fn request(&self, id: u64, text: &str) {
        let state = &mut *self.state();
        let Some(peer) = state.peers.get(id) else { return };
        let (category, conn_id) = (peer.category, peer.conn_id.clone());
        let command = match Command::parse(text) {
            Ok(command) => command,
            Err(message) => {
                let text = wire::ack(category, false, &message, &conn_id, None, "");
                return state.peers.answer(id, text, &state.faults);
            }
        };
        let ack = |success, message: &str| {
            wire::ack(category, success, message, &conn_id, command.req_id.as_deref(), &command.op)
        };
        match command.op.as_str() {
            "ping" => {
                count(&self.tally.pings);
                state.peers.answer(id, ack(true, "pong"), &state.faults);
            }
            "subscribe" => {
                count(&self.tally.subscribes);
                match self.refusal(state, id, &command.args) {
                    Some(message) => state.peers.answer(id, ack(false, &message), &state.faults),
                    None => {
                        state.peers.subscribe(id, &command.args);
                        state.peers.answer(id, ack(true, done(category, "subscribe")), &state.faults);
                        state.send_last_klines(id, category, &command.args);
                    }
                }
            }
            "unsubscribe" => {
                count(&self.tally.unsubscribes);
                state.peers.unsubscribe(id, &command.args);
                state.peers.answer_last(id, ack(true, done(category, "unsubscribe")), &state.faults);
            }
            op => {
                let text = wire::invalid_op(&conn_id, op, &command.raw_args);
                state.peers.answer(id, text, &state.faults);
            }
        }
    }

    /// Why a subscribe request is refused as a whole; only the first offender is named.
    fn refusal(&self, state: &State, id: u64, args: &[String]) -> Option<String> {
        let peer = state.peers.get(id)?;
        if peer.category == Category::Spot && args.len() > self.limits.spot_args {
            return Some(format!("args size >{}", self.limits.spot_args));
        }
        let chars: usize = args.iter().map(String::len).sum();
        if peer.args_chars() + chars > self.limits.args_chars {
            return Some(format!("args length >{}", self.limits.args_chars));
        }
        args.iter().enumerate().find_map(|(n, topic)| {
            let before = args.get(..n).unwrap_or_default();
            topic_refusal(state, peer, before, topic)
        })
    }
}

fn topic_refusal(state: &State, peer: &Peer, before: &[String], topic: &String) -> Option<String> {
    if !state.serves(peer.category, topic) {
        return Some(match peer.category {
            Category::Spot => format!("Invalid symbol :[{topic}]"),
            Category::Linear | Category::Inverse => format!("error:handler not found,topic:{topic}"),
        });
    }
    let again = peer.topics.contains(topic) || before.contains(topic);
    again.then(|| format!("error:already subscribed,topic:{topic}"))
}

/// `ret_msg` of a success.
fn done(category: Category, op: &'static str) -> &'static str {
    match category {
        Category::Spot => op,
        Category::Linear | Category::Inverse => "",
    }
}

impl State {
    fn serves(&self, category: Category, topic: &str) -> bool {
        if self.faults.refuses(category, symbol_of(topic)) {
            return false;
        }
        let listed = |symbol: &str| self.books.get(category).get(symbol).is_some_and(|book| book.listed);
        match Topic::parse(topic) {
            Topic::Trade { symbol } | Topic::Kline { symbol, .. } => listed(symbol),
            Topic::Other => self.market.has_topic(category, topic),
        }
    }

    /// A new subscriber to klines gets the last push at once, however old.
    fn send_last_klines(&mut self, id: u64, category: Category, topics: &[String]) {
        for topic in topics {
            let Topic::Kline { interval, symbol } = Topic::parse(topic) else { continue };
            let texts = match self.last_push(category, interval, symbol) {
                Some(push) => wire::kline_frames(category, symbol, &push),
                None => self.last_klines.get(category).get(topic).cloned().into_iter().collect(),
            };
            for text in texts {
                self.peers.send_data(id, &text.into(), &self.faults);
            }
        }
    }
}
