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
    /// Whether its symbol is no longer watched. It is not requested again.
    has_left: bool,
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
    purpose: Purpose,
}

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// To subscribe to topics.
    Begin,
    /// To end subscriptions for good.
    End,
    /// To end subscriptions that are then requested again.
    Renew,
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
    /// Topics that are no longer covered because they were left, by the last moment of which everything has arrived.
    pub ended: BTreeMap<LocalMillis, Vec<SymbolId>>,
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
            has_left: false,
        });
        Self { category, timing, topics: topics.collect(), pending: BTreeMap::new(), sent: 0 }
    }

    /// Requests every topic that is neither refused nor left, in as few frames as allowed.
    pub fn open(&mut self, now: LocalMillis, frames: &mut Vec<String>) {
        let idle: Vec<usize> = self.wanted(|state| state == TopicState::Idle);
        for chunk in idle.chunks(topic::args_per_frame(self.category)) {
            self.request(chunk.to_vec(), now, frames);
        }
    }

    /// Requests the refused topics again whose time has come, each in a separate frame.
    pub fn retry(&mut self, now: LocalMillis, frames: &mut Vec<String>) {
        for at in self.wanted(|state| matches!(state, TopicState::Refused { retry_at } if retry_at <= now)) {
            self.request(vec![at], now, frames);
        }
    }

    /// Ends the subscriptions to the topics of `symbols`. What is covered stays so until the answer, because trades from
    /// before the request may still arrive.
    pub fn leave(&mut self, symbols: &[SymbolId], now: LocalMillis, frames: &mut Vec<String>) {
        let mut covered = Vec::new();
        for (at, topic) in self.topics.iter_mut().enumerate() {
            if symbols.contains(&topic.symbol) && !std::mem::replace(&mut topic.has_left, true) && topic.is_covered() {
                covered.push(at);
            }
        }
        for chunk in covered.chunks(topic::args_per_frame(self.category)) {
            self.end(chunk.to_vec(), now, Purpose::End, frames);
        }
    }

    /// Ends the subscriptions to the topics of `symbols`, and requests them again after the answer. They are not covered
    /// until that is accepted. Returns those that were covered.
    pub fn renew(&mut self, symbols: &[SymbolId], now: LocalMillis, frames: &mut Vec<String>) -> Vec<SymbolId> {
        let (mut topics, mut renewed) = (Vec::new(), Vec::new());
        for (at, topic) in self.topics.iter_mut().enumerate() {
            if symbols.contains(&topic.symbol) && !topic.has_left && topic.is_covered() {
                topic.state = TopicState::Idle;
                topics.push(at);
                renewed.push(topic.symbol);
            }
        }
        for chunk in topics.chunks(topic::args_per_frame(self.category)) {
            self.end(chunk.to_vec(), now, Purpose::Renew, frames);
        }
        renewed
    }

    /// Returns whether a symbol has been left and is not covered any more.
    pub fn has_left(&self, symbol: SymbolId) -> bool {
        self.topics.iter().any(|topic| topic.symbol == symbol && topic.has_left && !topic.is_covered())
    }

    /// Returns whether every topic has been left, and none is covered any more.
    pub fn are_over(&self) -> bool {
        self.topics.iter().all(|topic| topic.has_left && !topic.is_covered())
    }

    /// Handles the acceptance of a frame. Returns `None` if no frame with that id waits for an answer.
    pub fn accept(&mut self, id: &str, now: LocalMillis) -> Option<Change> {
        let request = self.pending.remove(id)?;
        let mut change = Change::default();
        if self.finish(&request, now, &mut change) {
            return Some(change);
        }
        for at in request.topics {
            self.cover(at, now, &mut change);
        }
        Some(change)
    }

    /// Handles the refusal of a frame. Returns `None` if no frame with that id waits for an answer.
    pub fn refuse(&mut self, id: &str, refusal: &Refusal, now: LocalMillis) -> Option<Change> {
        let request = self.pending.remove(id)?;
        let mut change = Change::default();
        // If it was to end subscriptions, Bybit knows none, so nothing arrives.
        if self.finish(&request, now, &mut change) {
            return Some(change);
        }
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
        let count = |of: fn(&Topic) -> bool| self.topics.iter().filter(|topic| !topic.has_left && of(topic)).count();
        let refused = |topic: &Topic| matches!(topic.state, TopicState::Refused { .. });
        (count(Topic::is_covered), count(refused), count(|_| true))
    }

    /// Returns the indices of the topics in such a state that have not been left.
    fn wanted(&self, is_meant: impl Fn(TopicState) -> bool) -> Vec<usize> {
        let topics = self.topics.iter().enumerate();
        topics.filter(|(_, topic)| !topic.has_left && is_meant(topic.state)).map(|(at, _)| at).collect()
    }

    fn request(&mut self, topics: Vec<usize>, now: LocalMillis, frames: &mut Vec<String>) {
        let mut names = Vec::with_capacity(topics.len());
        for at in &topics {
            if let Some(topic) = self.topics.get_mut(*at) {
                topic.state = TopicState::Requested;
                names.push(topic.topic.clone());
            }
        }
        let id = self.next_id();
        frames.push(answer::subscribe_frame(&id, &names));
        self.pending.insert(id, Request { sent: now, topics, purpose: Purpose::Begin });
    }

    fn end(&mut self, topics: Vec<usize>, now: LocalMillis, purpose: Purpose, frames: &mut Vec<String>) {
        let names: Vec<String> = topics.iter().filter_map(|at| Some(self.topics.get(*at)?.topic.clone())).collect();
        let id = self.next_id();
        frames.push(answer::unsubscribe_frame(&id, &names));
        self.pending.insert(id, Request { sent: now, topics, purpose });
    }

    fn next_id(&mut self) -> String {
        self.sent += 1;
        self.sent.to_string()
    }

    /// Does what follows from an answer to a request that was to end subscriptions. Returns whether it was one.
    fn finish(&mut self, request: &Request, now: LocalMillis, change: &mut Change) -> bool {
        match request.purpose {
            Purpose::Begin => return false,
            Purpose::End => self.uncover(request, change),
            Purpose::Renew => {
                let wanted = self.wanted(|state| state == TopicState::Idle);
                let topics: Vec<usize> = request.topics.iter().copied().filter(|at| wanted.contains(at)).collect();
                if !topics.is_empty() {
                    self.request(topics, now, &mut change.frames);
                }
            }
        }
        true
    }

    /// Ends the coverage of the topics of a request, which it had until then.
    fn uncover(&mut self, request: &Request, change: &mut Change) {
        for at in &request.topics {
            let Some(topic) = self.topics.get_mut(*at) else { continue };
            if let TopicState::Covered { since } = std::mem::replace(&mut topic.state, TopicState::Idle) {
                change.ended.entry(request.sent.max(since)).or_default().push(topic.symbol);
            }
        }
    }

    fn cover(&mut self, at: usize, now: LocalMillis, change: &mut Change) {
        if let Some(topic) = self.topics.get_mut(at) {
            topic.state = TopicState::Covered { since: now };
            change.covered.push(topic.symbol);
            if std::mem::take(&mut topic.is_reported) {
                change.recovered.push(topic.name.clone());
            }
            if topic.has_left {
                // It was left while the request waited for its answer.
                self.end(vec![at], now, Purpose::End, &mut change.frames);
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
