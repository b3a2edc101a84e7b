//! The pipeline's state of one connection: its exchange clock, the symbols that it covers, and the time until which
//! everything sent on it has been read. Converts the local times of its events to exchange time. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use klines_domain::clock::{ClockOffset, ExchangeClock, Observation};
use klines_domain::feed::{FeedEvent, FeedMessage, Link};
use klines_domain::mutants::Mutant;
use klines_domain::symbol::SymbolId;
use klines_domain::time::{ExchangeMillis, LocalMillis, Millis, SECOND};

/// How long after an acknowledgement a faster frame corrects its exchange time.
const CORRECTION_WINDOW: Millis = 60 * SECOND;
/// The maximum number of acknowledgements that are corrected; the oldest ones are dropped.
const MAX_STARTS: usize = 256;

/// How far ahead of exchange time the time of a row can be; the same as the decoder's limit for trades.
const MAX_AHEAD: Millis = 10 * SECOND;

/// Events in exchange time.
type Events = Vec<FeedEvent<ExchangeMillis>>;

/// The state of one connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    clock: ExchangeClock,
    /// Local time since when topics are acknowledged; `None` while the connection is down.
    up_since: Option<LocalMillis>,
    /// The exchange time until which everything sent has been read.
    read_until: Option<ExchangeMillis>,
    covered: BTreeSet<SymbolId>,
    /// Whether `covered` has changed.
    has_changed: bool,
    /// The latest exchange time at which one of the symbols began to be covered, as far as is known.
    whole_since: Option<ExchangeMillis>,
    /// Symbols whose coverage began, at a local time, before the exchange time was known.
    waiting: BTreeMap<SymbolId, LocalMillis>,
    /// Misses before the exchange time was known, with the local time of receipt; at most [`MAX_STARTS`], the
    /// oldest ones are dropped.
    missed: VecDeque<(LocalMillis, FeedEvent<LocalMillis>)>,
    starts: VecDeque<CoverageStart>,
    /// Local time of the last frame whose stamp was accepted.
    stamped: LocalMillis,
    /// Its stamp.
    stamp: Option<ExchangeMillis>,
    grace: Millis,
}

/// A start of coverage of some symbols.
#[derive(Debug)]
struct CoverageStart {
    symbols: Vec<SymbolId>,
    local: LocalMillis,
    /// The latest exchange time at which it can have begun, as far as is known.
    at: ExchangeMillis,
}

impl Connection {
    /// Builds a connection whose clock expects the offset of the others, if it is known. A trade is sent at most `grace` after
    /// its time.
    pub(super) fn expecting(offset: Option<ClockOffset>, grace: Millis) -> Self {
        let clock = offset.map_or_else(ExchangeClock::default, ExchangeClock::expecting);
        Self { clock, grace, ..Self::default() }
    }

    /// Processes a message. Appends its events in exchange time, and returns how many of its rows are rejected: all of
    /// them if its stamp is not accepted. `shown` is the category's time, before which coverage cannot begin again.
    pub(super) fn take(&mut self, message: FeedMessage, shown: Option<ExchangeMillis>, out: &mut Events) -> u64 {
        let FeedMessage { received, stamped, link, rejected, events, .. } = message;
        match link {
            // Before the first acknowledgement no covered trade can be unread; at a later one trades may wait in the
            // socket.
            Some(Link::Up) if self.up_since.is_none() => {
                self.up_since = Some(received);
                self.read_until = self.clock.latest(received);
            }
            Some(Link::Up) => {}
            Some(Link::Down) => (self.up_since, self.read_until, self.whole_since) = (None, None, None),
            Some(Link::Drained) => self.read_until = self.read_until.max(self.clock.latest(received)),
            None => {}
        }
        let observation = stamped.map(|stamped| self.observe(received, stamped, shown, out));
        if observation == Some(Observation::Rejected) {
            return rejected + self.reject_frame(received, events, out);
        }
        for event in events {
            self.apply(event, received, out);
        }
        rejected
    }

    /// Returns the exchange time at local time `local` by this connection; `None` if the connection is down or nothing
    /// has been stamped yet.
    pub(super) fn now(&mut self, local: LocalMillis) -> Option<ExchangeMillis> {
        self.up_since.and_then(|_| self.clock.now(local))
    }

    /// Returns the exchange time until which everything sent has been read; `None` if the connection is down or nothing
    /// has been stamped yet.
    pub(super) fn read_until(&self) -> Option<ExchangeMillis> {
        self.up_since.and(self.clock.offset()).and(self.read_until)
    }

    /// Returns the stamp of the last frame; `None` if the connection is down or nothing has been stamped yet.
    pub(super) fn stamp(&self) -> Option<ExchangeMillis> {
        self.up_since.and(self.stamp)
    }

    /// Returns the symbols that the connection covers.
    pub(super) const fn covered(&self) -> &BTreeSet<SymbolId> {
        &self.covered
    }

    /// Returns whether the symbols that the connection covers have changed since the last call.
    pub(super) const fn take_changed(&mut self) -> bool {
        std::mem::replace(&mut self.has_changed, false)
    }

    /// Returns since when the connection covers all of its symbols; `None` while that is not known.
    pub(super) fn whole_since(&self) -> Option<ExchangeMillis> {
        self.whole_since.filter(|_| self.waiting.is_empty())
    }

    /// Ends the coverage of a symbol after `last_seen`, of which the connection has brought nothing since, although it is up.
    pub(super) fn uncover(&mut self, symbol: SymbolId, last_seen: ExchangeMillis, out: &mut Events) {
        if self.covered.remove(&symbol) {
            self.has_changed = true;
            out.push(FeedEvent::Hole { symbols: vec![symbol], last_seen, until: None });
        }
    }

    /// Returns the local time from which on everything sent until `at` can have arrived; `None` if the connection is
    /// down, if nothing has been stamped yet, or if everything until then has been read.
    pub(super) fn local_of(&self, at: ExchangeMillis) -> Option<LocalMillis> {
        let offset = self.clock.offset().filter(|_| self.up_since.is_some())?;
        (at != ExchangeMillis::MAX && self.read_until.is_none_or(|read| read < at)).then(|| offset.to_local(at))
    }

    fn observe(
        &mut self,
        received: LocalMillis,
        stamp: ExchangeMillis,
        shown: Option<ExchangeMillis>,
        out: &mut Events,
    ) -> Observation {
        let (before, seen) = (self.clock.offset(), self.clock.seen_until(self.stamped));
        let observation = self.clock.observe(received, stamp);
        if observation == Observation::Rejected {
            return observation;
        }
        match (observation, seen) {
            (Observation::Jumped, Some(last_seen)) => self.report_jump(received, last_seen, shown, out),
            _ => self.correct(received, before, out),
        }
        (self.stamped, self.stamp) = (received, Some(stamp));
        self.apply_waiting(out);
        if let Some(since) = self.up_since {
            self.read_until = self.read_until.max(Some(stamp)).max(self.clock.latest(since));
        }
        observation
    }

    /// Handles a jump of the exchange's clock: reports a hole for all covered symbols. After a jump back it begins where the
    /// clock can have been put: what is stamped from there on belongs to time that was covered before, and the frames that
    /// were refused are of it.
    fn report_jump(
        &mut self,
        received: LocalMillis,
        last_seen: ExchangeMillis,
        shown: Option<ExchangeMillis>,
        out: &mut Events,
    ) {
        self.starts.clear();
        let last_seen = self.clock.seen_until(self.stamped).map_or(last_seen, |again| again.min(last_seen));
        self.read_until = None;
        self.up_since = self.up_since.map(|_| received);
        let symbols: Vec<SymbolId> = self.covered.iter().copied().collect();
        let until = self.clock.latest(received).max(shown.map(|shown| shown + 1));
        if until.is_some() && !symbols.is_empty() && !Mutant::JumpIgnored.is_made() {
            out.push(FeedEvent::Hole { symbols, last_seen, until });
        }
        self.whole_since = until;
    }

    /// Corrects the start of coverage if a frame was faster than all before: the acknowledgements were then sent later
    /// than assumed.
    fn correct(&mut self, received: LocalMillis, before: Option<ClockOffset>, out: &mut Events) {
        while self.starts.front().is_some_and(|start| start.local < received - CORRECTION_WINDOW) {
            self.starts.pop_front();
        }
        if before.is_none_or(|before| self.clock.offset().is_none_or(|offset| offset <= before)) {
            return;
        }
        for CoverageStart { symbols, local, at } in &mut self.starts {
            let Some(later) = self.clock.latest(*local).filter(|later| *later > *at) else { continue };
            out.push(FeedEvent::Delayed { symbols: symbols.clone(), from: *at, at: later });
            *at = later;
            self.whole_since = self.whole_since.max(Some(later));
        }
    }

    /// Applies the events that waited for the exchange time.
    fn apply_waiting(&mut self, out: &mut Events) {
        let mut by_time: BTreeMap<LocalMillis, Vec<SymbolId>> = BTreeMap::new();
        for (symbol, local) in std::mem::take(&mut self.waiting) {
            by_time.entry(local).or_default().push(symbol);
        }
        by_time.into_iter().for_each(|(local, symbols)| self.cover(symbols, local, out));
        for (received, event) in std::mem::take(&mut self.missed) {
            self.apply(event, received, out);
        }
    }

    /// Converts the local times of an event to exchange time. A hole begins at the earliest stamp that its first
    /// missing frame can have, by the slowest frame of the last minute, and ends at the latest one, by the fastest. A loss of
    /// the connection does not begin before what its last frame shows to have been read.
    fn apply(&mut self, event: FeedEvent<LocalMillis>, received: LocalMillis, out: &mut Events) {
        match event {
            FeedEvent::Missed { symbol, from, to } => match self.clock.latest(received) {
                // A row with a time too far ahead has no valid time: the frame is marked at its receipt instead.
                Some(now) if from > now + MAX_AHEAD => {}
                Some(now) => out.push(FeedEvent::Missed { symbol, from, to: to.min(now + MAX_AHEAD) }),
                None => {
                    if self.missed.len() == MAX_STARTS {
                        self.missed.pop_front();
                    }
                    self.missed.push_back((received, event));
                }
            },
            FeedEvent::Trade(trade) => out.push(FeedEvent::Trade(trade)),
            FeedEvent::Listed { symbol } => out.push(FeedEvent::Listed { symbol }),
            FeedEvent::Covered { symbols, from } => self.cover(symbols, from, out),
            FeedEvent::Hole { symbols, last_seen, until } => self.interrupt(symbols, last_seen, until, out),
            FeedEvent::Ended { symbol, at } => {
                out.extend(self.clock.latest(at).map(|at| FeedEvent::Ended { symbol, at }));
            }
            // Only this connection creates it, in exchange time.
            FeedEvent::Delayed { .. } => {}
        }
    }

    fn cover(&mut self, symbols: Vec<SymbolId>, from: LocalMillis, out: &mut Events) {
        if let Some(from) = self.start_coverage(&symbols, from) {
            out.push(FeedEvent::Covered { symbols, from });
        }
    }

    /// Records that coverage begins at a local time. Returns the exchange time of that; `None` if it is not known yet,
    /// and the start waits.
    fn start_coverage(&mut self, symbols: &[SymbolId], local: LocalMillis) -> Option<ExchangeMillis> {
        self.has_changed = true;
        self.covered.extend(symbols);
        let Some(at) = self.clock.latest(local) else {
            self.waiting.extend(symbols.iter().map(|symbol| (*symbol, local)));
            return None;
        };
        if self.starts.len() == MAX_STARTS {
            self.starts.pop_front();
        }
        self.whole_since = self.whole_since.max(Some(at));
        self.starts.push_back(CoverageStart { symbols: symbols.to_vec(), local, at });
        Some(at)
    }

    fn interrupt(
        &mut self,
        symbols: Vec<SymbolId>,
        last_seen: LocalMillis,
        until: Option<LocalMillis>,
        out: &mut Events,
    ) {
        self.has_changed = true;
        for symbol in &symbols {
            self.covered.remove(symbol);
            self.waiting.remove(symbol);
        }
        // The start of coverage that has ended is corrected, too: a connection can end before a fast frame has come.
        let until = until.and_then(|until| self.start_coverage(&symbols, until));
        let stamp = self.stamp.filter(|_| until.is_none() && self.stamped <= last_seen);
        let read_until = stamp.map(|stamp| stamp - self.grace);
        if let Some(last_seen) = self.clock.seen_until(last_seen).max(read_until) {
            out.push(FeedEvent::Hole { symbols, last_seen, until });
        }
    }

    /// Rejects the trades of a frame whose stamp was not accepted, and reports a hole for its symbols.
    fn reject_frame(&mut self, received: LocalMillis, events: Vec<FeedEvent<LocalMillis>>, out: &mut Events) -> u64 {
        let (mut rejected, mut touched) = (0, BTreeSet::new());
        for event in events {
            match event {
                FeedEvent::Trade(trade) => {
                    rejected += 1;
                    touched.insert(trade.symbol);
                }
                FeedEvent::Missed { symbol, .. } => {
                    touched.insert(symbol);
                }
                other => self.apply(other, received, out),
            }
        }
        let symbols: Vec<SymbolId> = touched.intersection(&self.covered).copied().collect();
        if !symbols.is_empty() {
            self.interrupt(symbols, received - 1, Some(received + 1), out);
        }
        rejected
    }
}
