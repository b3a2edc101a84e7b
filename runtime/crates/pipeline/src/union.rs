//! Joins what several connections cover: a symbol is covered while one of those that carry it covers it.
//!
//! A symbol that only one connection carries keeps that connection's events as they are. Of several, each one's spans are
//! kept for a while, and only what none of them covered becomes a gap. Pure; all times are the exchange's.

use std::collections::{BTreeMap, VecDeque};

use klines_domain::feed::FeedEvent;
use klines_domain::mutants::Mutant;
use klines_domain::symbol::SymbolId;
use klines_domain::time::{ExchangeMillis, Millis};

/// The number of spans that are kept of a connection. Without the older ones less counts as covered.
const MAX_SPANS: usize = 32;
/// The end of a span that is not over.
const OPEN_END: Millis = Millis::MAX;

/// An event in exchange time.
type Event = FeedEvent<ExchangeMillis>;
/// The first and the last moment of a span.
type Span = (Millis, Millis);

/// What is covered of each symbol.
#[derive(Debug, Default)]
pub(super) struct Union(BTreeMap<SymbolId, Symbol>);

/// What is covered of one symbol.
#[derive(Debug, Default)]
struct Symbol {
    /// By connection.
    feeds: BTreeMap<usize, Feed>,
    /// The last reported starts of coverage, with their corrections.
    starts: VecDeque<Millis>,
}

impl Symbol {
    fn add_start(&mut self, at: Millis) {
        self.starts.push_back(at);
        if self.starts.len() > MAX_SPANS {
            self.starts.pop_front();
        }
    }
}

impl Union {
    /// Takes an event of a connection, and adds to `out` what it means for the symbols.
    pub(super) fn take(&mut self, connection: usize, event: Event, out: &mut Vec<Event>) {
        match event {
            FeedEvent::Covered { mut symbols, from } => {
                symbols.retain(|symbol| self.cover(connection, *symbol, from.get()));
                out.extend((!symbols.is_empty()).then_some(FeedEvent::Covered { symbols, from }));
            }
            FeedEvent::Hole { symbols, last_seen, until } => {
                let keeps = |symbol: &SymbolId| self.lose(connection, *symbol, last_seen.get(), until, out);
                let symbols: Vec<SymbolId> = symbols.into_iter().filter(keeps).collect();
                out.extend((!symbols.is_empty()).then_some(FeedEvent::Hole { symbols, last_seen, until }));
            }
            FeedEvent::Delayed { symbols, from, at } => {
                let keeps = |symbol: &SymbolId| self.delay(connection, *symbol, (from.get(), at.get()), out);
                let symbols: Vec<SymbolId> = symbols.into_iter().filter(keeps).collect();
                out.extend((!symbols.is_empty()).then_some(FeedEvent::Delayed { symbols, from, at }));
            }
            FeedEvent::Missed { symbol, from, to } => {
                if self.miss(connection, symbol, (from.get(), to.get()), out) {
                    out.push(FeedEvent::Missed { symbol, from, to });
                }
            }
            FeedEvent::Trade(_) | FeedEvent::Ended { .. } | FeedEvent::Listed { .. } => out.push(event),
        }
    }

    /// Forgets a symbol that is no longer watched.
    pub(super) fn forget(&mut self, symbol: SymbolId) {
        self.0.remove(&symbol);
    }

    /// Begins coverage by a connection. Returns whether that begins the coverage of the symbol.
    fn cover(&mut self, connection: usize, symbol: SymbolId, from: Millis) -> bool {
        let known = self.0.entry(symbol).or_default();
        known.feeds.entry(connection).or_default().cover(from);
        let is_first = !known.feeds.iter().any(|(other, feed)| *other != connection && feed.is_open());
        if is_first {
            known.add_start(from);
        }
        is_first
    }

    /// Ends coverage by a connection. Returns whether the symbol has no other one; otherwise adds what nothing covered.
    fn lose(
        &mut self,
        connection: usize,
        symbol: SymbolId,
        last_seen: Millis,
        until: Option<ExchangeMillis>,
        out: &mut Vec<Event>,
    ) -> bool {
        let known = self.0.entry(symbol).or_default();
        let feed = known.feeds.entry(connection).or_default();
        let covered_until = feed.spans.back().map_or(Millis::MIN, |(_, to)| *to);
        feed.interrupt(last_seen);
        let until = until.map(ExchangeMillis::get);
        if let Some(until) = until {
            feed.cover(until);
        }
        if known.feeds.len() == 1 || Mutant::OtherFeedIgnored.is_made() {
            until.into_iter().for_each(|until| known.add_start(until));
            return true;
        }
        // A connection that was down already says nothing new, unless it was lost earlier than it was said to be.
        if covered_until > last_seen && !Mutant::OtherFeedBelieved.is_made() {
            let to = until.map_or(covered_until, |until| covered_until.min(until - 1));
            for (from, to) in uncovered(&known.feeds, (last_seen + 1, to)) {
                out.push(gap(symbol, from, to));
            }
        }
        false
    }

    /// Corrects a start of coverage by a connection from `from` to `at`. Returns whether the symbol has no other one;
    /// otherwise adds what nothing covered: at the reported start of coverage, that start was later as well.
    fn delay(&mut self, connection: usize, symbol: SymbolId, (from, at): Span, out: &mut Vec<Event>) -> bool {
        let Symbol { feeds, starts } = self.0.entry(symbol).or_default();
        let span = (from, at - 1);
        feeds.entry(connection).or_default().miss(span);
        if feeds.len() == 1 {
            starts.iter_mut().filter(|start| **start == from).for_each(|start| *start = at);
            return true;
        }
        for (from, to) in uncovered(feeds, span) {
            if let Some(start) = starts.iter_mut().find(|start| (from..=to).contains(*start)) {
                let (reported, later) = (ExchangeMillis::new(*start), ExchangeMillis::new(to + 1));
                out.extend((from < *start).then(|| gap(symbol, from, *start - 1)));
                out.push(FeedEvent::Delayed { symbols: vec![symbol], from: reported, at: later });
                *start = to + 1;
            } else {
                out.push(gap(symbol, from, to));
            }
        }
        false
    }

    /// Removes a span from what a connection covers. Returns whether the symbol has no other one; otherwise adds what
    /// nothing covered.
    fn miss(&mut self, connection: usize, symbol: SymbolId, span: Span, out: &mut Vec<Event>) -> bool {
        let Symbol { feeds, .. } = self.0.entry(symbol).or_default();
        feeds.entry(connection).or_default().miss(span);
        if feeds.len() == 1 {
            return true;
        }
        out.extend(uncovered(feeds, span).into_iter().map(|(from, to)| gap(symbol, from, to)));
        false
    }
}

/// Returns the event of a span that nothing covers.
fn gap(symbol: SymbolId, from: Millis, to: Millis) -> Event {
    if to == OPEN_END {
        let last_seen = ExchangeMillis::new(from - 1);
        return FeedEvent::Hole { symbols: vec![symbol], last_seen, until: None };
    }
    FeedEvent::Missed { symbol, from: ExchangeMillis::new(from), to: ExchangeMillis::new(to) }
}

/// Returns the parts of a span that no feed covers, ascending.
fn uncovered(feeds: &BTreeMap<usize, Feed>, span: Span) -> Vec<Span> {
    let mut left = vec![span];
    for (start, end) in feeds.values().flat_map(|feed| &feed.spans) {
        left = left.into_iter().flat_map(|part| without(part, (*start, *end))).collect();
    }
    left
}

/// Returns the parts of a span outside of another one.
fn without((from, to): Span, (start, end): Span) -> impl Iterator<Item = Span> {
    let before = (from, to.min(start.saturating_sub(1)));
    let after = (from.max(end.saturating_add(1)), to);
    let is_apart = end < from || to < start;
    let parts =
        if is_apart { [Some((from, to)), None] } else { [Some(before), Some(after).filter(|_| end < OPEN_END)] };
    parts.into_iter().flatten().filter(|(from, to)| from <= to)
}

/// What one connection covers of a symbol.
#[derive(Debug)]
struct Feed {
    /// Ascending and apart from each other.
    spans: VecDeque<Span>,
    /// Coverage cannot begin again before this time.
    not_before: Millis,
}

impl Default for Feed {
    fn default() -> Self {
        Self { spans: VecDeque::new(), not_before: Millis::MIN }
    }
}

impl Feed {
    fn is_open(&self) -> bool {
        self.spans.back().is_some_and(|(_, to)| *to == OPEN_END)
    }

    fn cover(&mut self, from: Millis) {
        if self.is_open() {
            return;
        }
        let after = self.spans.back().map_or(Millis::MIN, |(_, to)| to + 1);
        self.spans.push_back((from.max(self.not_before).max(after), OPEN_END));
        if self.spans.len() > MAX_SPANS {
            self.spans.pop_front();
        }
    }

    fn interrupt(&mut self, last_seen: Millis) {
        if let Some((from, _)) = self.spans.back().filter(|(_, to)| *to == OPEN_END) {
            // What an earlier interruption left uncertain stays uncertain.
            self.not_before = self.not_before.max(*from);
        }
        self.spans = self.spans.drain(..).filter(|(from, _)| *from <= last_seen).collect();
        if let Some((_, to)) = self.spans.back_mut() {
            *to = last_seen.min(*to);
        }
    }

    fn miss(&mut self, span: Span) {
        if !self.is_open() {
            self.not_before = self.not_before.max(span.1 + 1);
        }
        self.spans = self.spans.drain(..).flat_map(|part| without(part, span)).collect();
    }
}

#[cfg(test)]
mod tests;
