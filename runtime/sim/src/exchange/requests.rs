//! Requests of clients on a stream, and the answers in the exact text that Bybit uses in each category.

use super::{Exchange, ExchangeState};
use crate::{
    category::Category,
    clients::Client,
    command::Command,
    limits::count,
    topics::{Topic, symbol_of},
    wire,
};

impl Exchange {
    /// Handles a request frame of client `id`. Answers enter the client's queue in the order in which the requests were
    /// handled: an ack precedes the data of its topics, and no data follows the ack of an unsubscribe.
    pub fn request(&self, id: u64, text: &str) {
        let state = &mut *self.state();
        let Some(client) = state.clients.get(id) else { return };
        let (category, conn_id) = (client.category, client.conn_id.clone());
        let command = match Command::parse(text) {
            Ok(command) => command,
            Err(message) => {
                let text = wire::ack(category, false, &message, &conn_id, None, "");
                return state.clients.answer(id, text, &state.faults);
            }
        };
        let ack = |success, message: &str| {
            wire::ack(category, success, message, &conn_id, command.req_id.as_deref(), &command.op)
        };
        match command.op.as_str() {
            "ping" => {
                count(&self.counters.pings);
                state.clients.answer(id, ack(true, "pong"), &state.faults);
            }
            "subscribe" => {
                count(&self.counters.subscribes);
                match self.refusal(state, id, &command.args) {
                    Some(message) => state.clients.answer(id, ack(false, &message), &state.faults),
                    None => {
                        state.clients.subscribe(id, &command.args);
                        state.clients.answer(id, ack(true, done(category, "subscribe")), &state.faults);
                        state.send_last_klines(id, category, &command.args);
                    }
                }
            }
            "unsubscribe" => {
                count(&self.counters.unsubscribes);
                state.clients.unsubscribe(id, &command.args);
                state.clients.answer_last(id, ack(true, done(category, "unsubscribe")), &state.faults);
            }
            op => {
                let text = wire::invalid_op(&conn_id, op, &command.raw_args);
                state.clients.answer(id, text, &state.faults);
            }
        }
    }

    /// Returns the text with which a whole subscribe request is refused; it names only the first bad topic.
    fn refusal(&self, state: &ExchangeState, id: u64, args: &[String]) -> Option<String> {
        let client = state.clients.get(id)?;
        if client.category == Category::Spot && args.len() > self.limits.spot_args {
            return Some(format!("args size >{}", self.limits.spot_args));
        }
        let chars: usize = args.iter().map(String::len).sum();
        if client.args_chars() + chars > self.limits.args_chars {
            return Some(format!("args length >{}", self.limits.args_chars));
        }
        args.iter().enumerate().find_map(|(n, topic)| {
            let before = args.get(..n).unwrap_or_default();
            topic_refusal(state, client, before, topic)
        })
    }
}

fn topic_refusal(state: &ExchangeState, client: &Client, before: &[String], topic: &String) -> Option<String> {
    if !state.serves(client.category, topic) {
        return Some(match client.category {
            Category::Spot => format!("Invalid symbol :[{topic}]"),
            Category::Linear | Category::Inverse => format!("error:handler not found,topic:{topic}"),
        });
    }
    let duplicate = client.topics.contains(topic) || before.contains(topic);
    duplicate.then(|| format!("error:already subscribed,topic:{topic}"))
}

/// Returns the `ret_msg` of a successful request.
fn done(category: Category, op: &'static str) -> &'static str {
    match category {
        Category::Spot => op,
        Category::Linear | Category::Inverse => "",
    }
}

impl ExchangeState {
    fn serves(&self, category: Category, topic: &str) -> bool {
        if self.faults.refuses(category, symbol_of(topic)) {
            return false;
        }
        let listed = |symbol: &str| self.symbols.get(category).get(symbol).is_some_and(|it| it.listed);
        match Topic::parse(topic) {
            Topic::Trade { symbol } | Topic::Kline { symbol, .. } => listed(symbol),
            Topic::Other => self.market.has_topic(category, topic),
        }
    }

    /// Sends the last push of each kline topic to a new subscriber at once, however old it is.
    fn send_last_klines(&mut self, id: u64, category: Category, topics: &[String]) {
        for topic in topics {
            let Topic::Kline { interval, symbol } = Topic::parse(topic) else { continue };
            let texts = match self.last_push(category, interval, symbol) {
                Some(push) => wire::kline_frames(category, symbol, &push),
                None => self.last_klines.get(category).get(topic).cloned().into_iter().collect(),
            };
            for text in texts {
                self.clients.send_data(id, &text.into(), &self.faults);
            }
        }
    }
}
