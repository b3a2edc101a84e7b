//! Which topics of one connection are wanted, asked for, covered or refused, and which frames to send next.
//!
//! A frame is accepted or refused whole, and a refusal names at most its first offender: that topic is dropped and
//! the rest sent again; where none is named, each topic is sent alone. Knows no socket; time is an argument.

use std::collections::BTreeMap;

use klines_domain::symbol::{Category, Symbol, SymbolId};
use klines_domain::time::LocalMillis;

use super::Timing;
use crate::answer::{self, Refusal, RefusalKind};
use crate::topic;

/// How a topic stands on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// To be asked for.
    Idle,
    /// In a frame that is not answered yet.
    Asked,
    /// Acknowledged.
    Covered { since: LocalMillis },
    /// Refused; asked for again, alone, at this time.
    Refused { retry_at: LocalMillis },
}

#[derive(Debug)]
struct Topic {
    symbol: SymbolId,
    name: Symbol,
    topic: String,
    standing: Standing,
    /// Its refusal has been reported, and no acceptance since.
    is_reported: bool,
}

impl Topic {
    const fn is_covered(&self) -> bool {
        matches!(self.standing, Standing::Covered { .. })
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
    /// Ids are not used twice, whatever connection they were sent on.
    sent: u64,
}

impl Subscriptions {
    /// Builds the wanted set; nothing is asked for yet.
    pub fn new(category: Category, symbols: Vec<(SymbolId, Symbol)>, timing: Timing) -> Self {
        let topics = symbols.into_iter().map(|(symbol, name)| Topic {
            symbol,
            topic: topic::trades(&name),
            name,
            standing: Standing::Idle,
            is_reported: false,
        });
        Self { category, timing, topics: topics.collect(), pending: BTreeMap::new(), sent: 0 }
    }

    /// Asks for everything that is not refused, in as few frames as allowed.
    pub fn open(&mut self, now: LocalMillis, frames: &mut Vec<String>) {
        let idle = (0..self.topics.len()).filter(|at| self.standing(*at) == Some(Standing::Idle));
        let idle: Vec<usize> = idle.collect();
        for chunk in idle.chunks(topic::args_per_frame(self.category)) {
            self.ask(chunk.to_vec(), now, frames);
        }
    }

    /// Asks again, one by one, for the refused topics whose time has come.
    pub fn retry(&mut self, now: LocalMillis, frames: &mut Vec<String>) {
        let due = (0..self.topics.len())
            .filter(|at| matches!(self.standing(*at), Some(Standing::Refused { retry_at }) if retry_at <= now));
        for at in due.collect::<Vec<_>>() {
            self.ask(vec![at], now, frames);
        }
    }

    /// Takes the acceptance of a frame. Nothing when no frame of that id waits for an answer.
    pub fn accept(&mut self, id: &str, now: LocalMillis) -> Option<Change> {
        let request = self.pending.remove(id)?;
        let mut change = Change::default();
        for at in request.topics {
            self.cover(at, now, &mut change);
        }
        Some(change)
    }

    /// Takes the refusal of a frame. Nothing when no frame of that id waits for an answer.
    pub fn refuse(&mut self, id: &str, refusal: &Refusal, now: LocalMillis) -> Option<Change> {
        let request = self.pending.remove(id)?;
        let mut change = Change::default();
        let (named, rest): (Vec<usize>, Vec<usize>) =
            request.topics.iter().partition(|at| self.topics.get(**at).is_some_and(|t| refusal.names(&t.topic)));
        // A frame of one topic needs no name to blame it.
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
            self.ask(rest, now, &mut change.frames);
        } else {
            for at in rest {
                self.ask(vec![at], now, &mut change.frames);
            }
        }
        Some(change)
    }

    /// Returns when the oldest unanswered frame was sent.
    pub fn waiting_since(&self) -> Option<LocalMillis> {
        self.pending.values().map(|request| request.sent).min()
    }

    /// The connection is gone, and nothing is known after `last_seen`: nothing is covered or pending any more. Returns
    /// what was covered, by the last moment that it can be trusted for: none before its own coverage began.
    pub fn close(&mut self, last_seen: LocalMillis) -> BTreeMap<LocalMillis, Vec<SymbolId>> {
        self.pending.clear();
        let mut covered: BTreeMap<LocalMillis, Vec<SymbolId>> = BTreeMap::new();
        for topic in &mut self.topics {
            if let Standing::Covered { since } = topic.standing {
                covered.entry(last_seen.max(since)).or_default().push(topic.symbol);
            }
            if matches!(topic.standing, Standing::Covered { .. } | Standing::Asked) {
                topic.standing = Standing::Idle;
            }
        }
        covered
    }

    /// Whether a symbol's topic is acknowledged.
    pub fn covers(&self, symbol: SymbolId) -> bool {
        self.topics.iter().any(|topic| topic.symbol == symbol && topic.is_covered())
    }

    /// Returns how many topics are (covered, refused, wanted in all).
    pub fn totals(&self) -> (usize, usize, usize) {
        let covered = self.topics.iter().filter(|topic| topic.is_covered()).count();
        let refused = self.topics.iter().filter(|topic| matches!(topic.standing, Standing::Refused { .. })).count();
        (covered, refused, self.topics.len())
    }

    fn standing(&self, at: usize) -> Option<Standing> {
        self.topics.get(at).map(|topic| topic.standing)
    }

    fn ask(&mut self, topics: Vec<usize>, now: LocalMillis, frames: &mut Vec<String>) {
        let mut names = Vec::with_capacity(topics.len());
        for at in &topics {
            if let Some(topic) = self.topics.get_mut(*at) {
                topic.standing = Standing::Asked;
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
            topic.standing = Standing::Covered { since: now };
            change.covered.push(topic.symbol);
            if std::mem::take(&mut topic.is_reported) {
                change.recovered.push(topic.name.clone());
            }
        }
    }

    fn drop_refused(&mut self, at: usize, message: &str, retry_at: LocalMillis, change: &mut Change) {
        if let Some(topic) = self.topics.get_mut(at) {
            topic.standing = Standing::Refused { retry_at };
            if !std::mem::replace(&mut topic.is_reported, true) {
                change.refused.push((topic.name.clone(), message.to_owned()));
            }
        }
    }
}
