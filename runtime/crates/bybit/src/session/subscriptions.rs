//! Which topics of one connection are wanted, requested, covered or refused, and which frames to send next.
//!
//! A frame is accepted or refused as a whole, and a refusal names at most its first bad topic: that topic is dropped
//! and the rest sent again; if no topic is named, each one is sent alone. Knows no socket; time is an argument.

use std::collections::BTreeMap;

use klines_domain::symbol::{Category, Symbol, SymbolId};
use klines_domain::time::LocalMillis;

use super::Timing;
use crate::answer::{self, Refusal, RefusalKind};
use crate::topic;

/// The state of a topic on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TopicState {
    /// Not requested yet.
    Idle,
    /// Requested in a frame that is not answered yet.
    Requested,
    /// Acknowledged.
    Covered { since: LocalMillis },
    /// Refused; requested again, alone, at this time.
    Refused { retry_at: LocalMillis },
}

#[derive(Debug)]
struct Topic {
    symbol: SymbolId,
    name: Symbol,
    topic: String,
    state: TopicState,
    /// Whether its refusal was reported since the last acceptance.
    is_reported: bool,
}

impl Topic {
    const fn is_covered(&self) -> bool {
        matches!(self.state, TopicState::Covered { .. })
    }
}

/// A frame that is not answered yet.
#[derive(Debug)]
struct Request {
    sent: LocalMillis,
    /// Indices into the topics.
    topics: Vec<usize>,
}

/// What an answer changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Frames to send.
    pub frames: Vec<String>,
    /// Topics that are covered now.
    pub covered: Vec<SymbolId>,
    /// Refused for the first time, with Bybit's text.
    pub refused: Vec<(Symbol, String)>,
    /// Accepted after a reported refusal.
    pub recovered: Vec<Symbol>,
}

/// The topics of one connection.
#[derive(Debug)]
pub struct Subscriptions {
    category: Category,
    timing: Timing,
    topics: Vec<Topic>,
    pending: BTreeMap<String, Request>,
    /// Number of frames sent; the source of ids, which are not reused over connections.
    sent: u64,
}

impl Subscriptions {
    /// Creates the set of wanted topics; nothing is requested yet.
    pub fn new(category: Category, symbols: Vec<(SymbolId, Symbol)>, timing: Timing) -> Self {
        let topics = symbols.into_iter().map(|(symbol, name)| Topic {
            symbol,
            topic: topic::trades(&name),
            name,
            state: TopicState::Idle,
            is_reported: false,
        });
        Self { category, timing, topics: topics.collect(), pending: BTreeMap::new(), sent: 0 }
    }

    /// Requests every topic that is not refused, in as few frames as allowed.
    pub fn open(&mut self, now: LocalMillis, frames: &mut Vec<String>) {
        let idle = (0..self.topics.len()).filter(|at| self.state(*at) == Some(TopicState::Idle));
        let idle: Vec<usize> = idle.collect();
        for chunk in idle.chunks(topic::args_per_frame(self.category)) {
            self.request(chunk.to_vec(), now, frames);
        }
    }

    /// Requests the refused topics again whose time has come, each in a separate frame.
    pub fn retry(&mut self, now: LocalMillis, frames: &mut Vec<String>) {
        let due = (0..self.topics.len())
            .filter(|at| matches!(self.state(*at), Some(TopicState::Refused { retry_at }) if retry_at <= now));
        for at in due.collect::<Vec<_>>() {
            self.request(vec![at], now, frames);
        }
    }

    /// Handles the acceptance of a frame. Returns `None` if no frame with that id waits for an answer.
    pub fn accept(&mut self, id: &str, now: LocalMillis) -> Option<Change> {
        let request = self.pending.remove(id)?;
        let mut change = Change::default();
        for at in request.topics {
            self.cover(at, now, &mut change);
        }
        Some(change)
    }

    /// Handles the refusal of a frame. Returns `None` if no frame with that id waits for an answer.
    pub fn refuse(&mut self, id: &str, refusal: &Refusal, now: LocalMillis) -> Option<Change> {
        let request = self.pending.remove(id)?;
        let mut change = Change::default();
        let (named, rest): (Vec<usize>, Vec<usize>) =
            request.topics.iter().partition(|at| self.topics.get(**at).is_some_and(|t| refusal.names(&t.topic)));
        // In a frame of one topic, that topic is the bad one even if it is not named.
        let is_named = !named.is_empty();
        let (blamed, rest) = if is_named || rest.len() > 1 { (named, rest) } else { (rest, named) };
        for at in blamed {
            if refusal.kind == RefusalKind::AlreadySubscribed {
                self.cover(at, now, &mut change);
            } else {
                let wait = if is_named { self.timing.refused_retry } else { self.timing.unexplained_retry };
                self.drop_refused(at, &refusal.message, now + wait, &mut change);
            }
        }
        if is_named && !rest.is_empty() {
            self.request(rest, now, &mut change.frames);
        } else {
            for at in rest {
                self.request(vec![at], now, &mut change.frames);
            }
        }
        Some(change)
    }

    /// Returns when the oldest unanswered frame was sent.
    pub fn waiting_since(&self) -> Option<LocalMillis> {
        self.pending.values().map(|request| request.sent).min()
    }

    /// Handles a lost connection, of which nothing is known after `last_seen`: no topic is covered or pending any more.
    /// Returns the symbols that were covered, by the end of their coverage, which is never before its start.
    pub fn close(&mut self, last_seen: LocalMillis) -> BTreeMap<LocalMillis, Vec<SymbolId>> {
        self.pending.clear();
        let mut covered: BTreeMap<LocalMillis, Vec<SymbolId>> = BTreeMap::new();
        for topic in &mut self.topics {
            if let TopicState::Covered { since } = topic.state {
                covered.entry(last_seen.max(since)).or_default().push(topic.symbol);
            }
            if matches!(topic.state, TopicState::Covered { .. } | TopicState::Requested) {
                topic.state = TopicState::Idle;
            }
        }
        covered
    }

    /// Returns whether a symbol's topic is acknowledged.
    pub fn covers(&self, symbol: SymbolId) -> bool {
        self.topics.iter().any(|topic| topic.symbol == symbol && topic.is_covered())
    }

    /// Returns the numbers of covered, refused and wanted topics.
    pub fn totals(&self) -> (usize, usize, usize) {
        let covered = self.topics.iter().filter(|topic| topic.is_covered()).count();
        let refused = self.topics.iter().filter(|topic| matches!(topic.state, TopicState::Refused { .. })).count();
        (covered, refused, self.topics.len())
    }

    fn state(&self, at: usize) -> Option<TopicState> {
        self.topics.get(at).map(|topic| topic.state)
    }

    fn request(&mut self, topics: Vec<usize>, now: LocalMillis, frames: &mut Vec<String>) {
        let mut names = Vec::with_capacity(topics.len());
        for at in &topics {
            if let Some(topic) = self.topics.get_mut(*at) {
                topic.state = TopicState::Requested;
                names.push(topic.topic.clone());
            }
        }
        self.sent += 1;
        let id = self.sent.to_string();
        frames.push(answer::subscribe_frame(&id, &names));
        self.pending.insert(id, Request { sent: now, topics });
    }

    fn cover(&mut self, at: usize, now: LocalMillis, change: &mut Change) {
        if let Some(topic) = self.topics.get_mut(at) {
            topic.state = TopicState::Covered { since: now };
            change.covered.push(topic.symbol);
            if std::mem::take(&mut topic.is_reported) {
                change.recovered.push(topic.name.clone());
            }
        }
    }

    fn drop_refused(&mut self, at: usize, message: &str, retry_at: LocalMillis, change: &mut Change) {
        if let Some(topic) = self.topics.get_mut(at) {
            topic.state = TopicState::Refused { retry_at };
            if !std::mem::replace(&mut topic.is_reported, true) {
                change.refused.push((topic.name.clone(), message.to_owned()));
            }
        }
    }
}
