//! A deterministic model of the exchange's side of one connection and of the coverage that the events report.

use std::collections::{BTreeSet, VecDeque};

use super::*;

/// The text of refusals.
#[derive(Clone, Copy, Debug)]
pub enum Wording {
    /// `error:handler not found,topic:T`.
    Derivatives,
    /// `Invalid symbol :[T]`.
    Spot,
    /// A text without a topic.
    Vague,
}

/// The session under test, its peer, and the coverage that its events reported.
pub struct World {
    pub session: Session,
    pub now: LocalMillis,
    pub wording: Wording,
    /// Topics that the peer refuses.
    pub refused_topics: BTreeSet<String>,
    /// Whether the peer answers nothing.
    pub is_mute: bool,
    /// Frames that the peer has not answered yet.
    requests: VecDeque<String>,
    subscribed: BTreeSet<String>,
    pub is_up: bool,
    /// Covered symbols according to the events, with the start of coverage.
    pub covered: std::collections::BTreeMap<SymbolId, LocalMillis>,
    pub trades: u64,
    pub offered: u64,
    names: Arc<SymbolTable>,
}

impl World {
    pub fn new(category: Category, count: usize, wording: Wording) -> Self {
        let (names, ids) = table(count);
        Self {
            session: Session::new(category, 0, names.clone(), &ids, Timing::default()),
            now: NOW,
            wording,
            refused_topics: BTreeSet::new(),
            is_mute: false,
            requests: VecDeque::new(),
            subscribed: BTreeSet::new(),
            is_up: false,
            covered: std::collections::BTreeMap::new(),
            trades: 0,
            offered: 0,
            names,
        }
    }

    pub fn open(&mut self) {
        if !self.is_up {
            (self.is_up, self.is_mute) = (true, false);
            self.drive(Session::on_open);
        }
    }

    pub fn cut(&mut self) {
        self.hang_up();
        self.drive(Session::on_close);
        assert!(self.covered.is_empty(), "covered without a connection");
    }

    pub fn wait(&mut self, millis: Millis) {
        self.now += millis;
        if self.is_up {
            self.drive(Session::on_tick);
        }
    }

    pub fn receive(&mut self, text: &str) {
        if self.is_up {
            self.drive(|session, now, out| session.on_frame(now, text, out));
        }
    }

    pub fn trade(&mut self, at: usize) {
        let name = format!("{}USDT", NAMES[at]);
        if self.is_up && self.subscribed.contains(&format!("publicTrade.{name}")) {
            self.offered += 1;
            self.receive(&trade(&name));
        }
    }

    /// Answers the oldest request.
    pub fn answer(&mut self) {
        let Some(request) = self.requests.pop_front().filter(|_| !self.is_mute) else { return };
        let request: serde_json::Value = serde_json::from_str(&request).unwrap();
        let id = request["req_id"].as_str().unwrap();
        if request["op"] == "ping" {
            self.receive(&format!(r#"{{"success":true,"ret_msg":"pong","req_id":"{id}","op":"ping"}}"#));
            return;
        }
        let args: Vec<String> = serde_json::from_value(request["args"].clone()).unwrap();
        let refusal = args.iter().find_map(|topic| match self.wording {
            _ if self.subscribed.contains(topic) => Some(format!("error:already subscribed,topic:{topic}")),
            _ if !self.refused_topics.contains(topic) => None,
            Wording::Derivatives => Some(format!("error:handler not found,topic:{topic}")),
            Wording::Spot => Some(format!("Invalid symbol :[{topic}]")),
            Wording::Vague => Some("something is wrong".to_owned()),
        });
        match refusal {
            Some(message) => self.receive(&refused(id, &message)),
            None => {
                self.subscribed.extend(args);
                self.receive(&accepted(id));
            }
        }
    }

    pub fn is_subscribed(&self, symbol: SymbolId) -> bool {
        self.subscribed.contains(&crate::topic::trades(self.names.name(symbol).unwrap()))
    }

    fn hang_up(&mut self) {
        self.is_up = false;
        self.requests.clear();
        self.subscribed.clear();
    }

    fn drive(&mut self, input: impl FnOnce(&mut Session, LocalMillis, &mut Vec<Action>)) {
        let mut out = Vec::new();
        input(&mut self.session, self.now, &mut out);
        for action in out {
            match action {
                Action::Send(text) => self.requests.push_back(text),
                Action::Close(_) => {
                    self.hang_up();
                    assert!(self.covered.is_empty(), "the gap comes before the close");
                }
                Action::Notice(_) => {}
                Action::Emit(message) => message.events.iter().for_each(|event| self.check_event(event)),
            }
        }
    }

    /// Checks an event and applies it to the model.
    fn check_event(&mut self, event: &FeedEvent<LocalMillis>) {
        match event {
            FeedEvent::Trade(_) => self.trades += 1,
            FeedEvent::Covered { symbols, from } => self.cover(symbols, *from),
            FeedEvent::Hole { symbols, last_seen, until } => {
                assert!(*last_seen <= self.now);
                for symbol in symbols {
                    let since = self.covered.remove(symbol).expect("a hole of a symbol that was not covered");
                    assert!(since <= *last_seen, "a hole before the start of coverage");
                }
                if let Some(until) = until {
                    self.cover(symbols, *until);
                }
            }
            FeedEvent::Missed { .. } => {}
            FeedEvent::Delayed { .. } => panic!("a session knows no exchange time"),
            FeedEvent::Ended { .. } | FeedEvent::Listed { .. } => panic!("a session never ends an instrument"),
        }
    }

    fn cover(&mut self, symbols: &[SymbolId], from: LocalMillis) {
        for symbol in symbols {
            assert!(self.is_subscribed(*symbol), "covered without a subscription");
            assert_eq!(self.covered.insert(*symbol, from), None, "covered twice");
        }
    }
}
