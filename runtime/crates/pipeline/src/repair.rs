//! Decides what to ask the exchange about the gaps of a category, and gives the answers to the aggregator. Pure: time is an
//! argument, and requests are values.
//!
//! A gap that is over is a case of its symbol. First the recent trades are asked for, as often as it takes to prove that
//! the answer reaches from the gap to trades that a feed has delivered since. What they do not reach is asked for in
//! candles of the exchange, once these are settled. The time before the first coverage is repaired in the same way, so
//! that the first windows are right. A symbol that is silent for long is asked about, too, in case that its topic is dead.

mod case;
mod silence;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use klines_domain::aggregator::Aggregator;
use klines_domain::mutants::Mutant;
use klines_domain::repair::{Answer, Failure, Found, Request};
use klines_domain::symbol::SymbolId;
use klines_domain::time::{ExchangeMillis, HOUR, MINUTE, Millis, SECOND};
use klines_domain::trade::Trade;

use self::case::{Case, Proof, Step, end_of};
use self::silence::Silence;

/// The most requests of a category that are on their way at once.
const MAX_ASKED: usize = 12;
/// The most of them that are about silent symbols.
const MAX_ASKED_SILENT: usize = 2;
/// How long after its end a candle is asked for: Bybit settles it about a second after its end.
const SETTLING: Millis = 3 * SECOND;
/// The time between two answers of which the second one proves that nothing has happened.
const QUIET: Millis = 3 * SECOND;
/// The most candles of one request, without the one before the first.
const MAX_ROW: Millis = 998;
/// Recent trades older than this are used from a full hour on if they do not reach to the beginning of what is seeded: when
/// the candles before them are asked for, minutes may no longer reach that far.
const TRADES_REACH: Millis = 8 * HOUR;
/// How often something is asked before it is given up although the exchange answers.
const MAX_TRIES: u32 = 6;
/// The shortest and the longest pause after a failure.
const PAUSES: [Millis; 2] = [SECOND, MINUTE];

/// What is repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepairSettings {
    /// How old a gap can become before it is given up, in ms.
    pub horizon: Millis,
    /// Whether candles of the exchange can take the place of trades: not if klines open with their first trade, or leave
    /// out block trades.
    pub candles: bool,
}

/// The state of the repairs of a category.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepairStatus {
    /// The symbols whose first windows are known, or were given up.
    pub seeded: usize,
    /// The symbols that have been covered.
    pub covered: usize,
    /// The symbols that have gaps which are being repaired.
    pub cases: usize,
    /// The requests so far.
    pub requests: u64,
    /// The requests that have failed.
    pub failures: u64,
}

/// The repairs of one category.
#[derive(Debug)]
pub struct Repairer {
    settings: RepairSettings,
    cases: BTreeMap<SymbolId, Case>,
    /// Whether the ids of recent trades are those of the feed: one trade of both was equal in every field.
    ids_agree: bool,
    /// Whether the time before its first coverage is being repaired, for each symbol that has been covered.
    seeds: BTreeMap<SymbolId, bool>,
    silence: Silence,
    /// The symbols that turned out to have been silent without cause, and the last moment at which they were covered.
    dead: Vec<(SymbolId, ExchangeMillis)>,
    /// The stamp of the last frame of a feed. If the exchange is late, so are its candles.
    stamp: ExchangeMillis,
    asked: usize,
    requests: u64,
    failures: u64,
    /// Nothing is due before this time.
    due_at: Millis,
}

impl Repairer {
    /// Builds the repairs of a category without gaps.
    #[must_use]
    pub fn new(settings: RepairSettings) -> Self {
        Self {
            settings,
            cases: BTreeMap::new(),
            ids_agree: false,
            seeds: BTreeMap::new(),
            silence: Silence::default(),
            dead: Vec::new(),
            stamp: ExchangeMillis::MAX,
            asked: 0,
            requests: 0,
            failures: 0,
            due_at: Millis::MAX,
        }
    }

    /// Returns the state of the repairs.
    #[must_use]
    pub fn status(&self) -> RepairStatus {
        RepairStatus {
            seeded: self.seeds.values().filter(|is_seeding| !**is_seeding).count(),
            covered: self.seeds.len(),
            cases: self.cases.len(),
            requests: self.requests,
            failures: self.failures,
        }
    }

    /// Returns when something is next to be asked; [`ExchangeMillis::MAX`] if nothing is, or only after an answer.
    #[must_use]
    pub fn due_at(&self) -> ExchangeMillis {
        let due_at = self.due_at.min(self.silence.scan_at());
        ExchangeMillis::new(if self.asked < MAX_ASKED { due_at } else { Millis::MAX })
    }

    /// Returns whether nothing is being repaired.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.cases.is_empty()
    }

    /// Takes notice of a trade of a feed.
    #[inline]
    pub fn saw(&mut self, trade: &Trade) {
        self.silence.saw(trade);
        if !self.cases.is_empty()
            && let Some(case) = self.cases.get_mut(&trade.symbol)
        {
            case.saw(trade);
        }
    }

    /// Takes notice of the stamp of the last frame of a feed.
    pub fn note_stamp(&mut self, stamp: ExchangeMillis) {
        self.stamp = stamp;
    }

    /// Takes the symbols whose topics are dead: they have traded, no feed has brought that, and they were covered until the
    /// given time.
    pub fn take_dead(&mut self) -> Vec<(SymbolId, ExchangeMillis)> {
        std::mem::take(&mut self.dead)
    }

    /// Looks for new gaps, gives up those that are too old, and appends what is to be asked at `now`.
    pub fn advance(&mut self, now: ExchangeMillis, aggregator: &mut Aggregator, out: &mut Vec<Request>) {
        for symbol in aggregator.take_gapped() {
            self.plan(symbol, now, aggregator);
        }
        if now < self.due_at() {
            return;
        }
        while self.asked < MAX_ASKED {
            let is_due = |symbol: &SymbolId, case: &Case| case.is_due(now.get()) && !self.silence.is_asked(*symbol);
            let due = self.cases.iter().filter(|(symbol, case)| is_due(symbol, case));
            let Some((symbol, _)) = due.min_by_key(|(_, case)| case.rank()) else { break };
            let symbol = *symbol;
            // What was planned may be too old by now, and a later minute may be settled.
            self.plan(symbol, now, aggregator);
            if let Some(case) = self.cases.get_mut(&symbol).filter(|case| case.is_due(now.get())) {
                out.extend(case.ask(now.get()));
                self.asked += 1;
                self.requests += 1;
            }
        }
        if now.get() >= self.silence.scan_at() {
            self.ask_silent(now, aggregator, out);
        }
        self.schedule();
    }

    /// Asks about symbols that are silent, and of which nothing else is asked.
    fn ask_silent(&mut self, now: ExchangeMillis, aggregator: &Aggregator, out: &mut Vec<Request>) {
        let free = MAX_ASKED_SILENT.saturating_sub(self.silence.asked()).min(MAX_ASKED.saturating_sub(self.asked));
        let quiet = self.seeds.keys().filter(|symbol| !self.cases.contains_key(symbol));
        let quiet = quiet.filter_map(|symbol| Some((*symbol, aggregator.up_since(*symbol)?.get())));
        for symbol in self.silence.scan(now.get(), free, quiet, &mut self.dead) {
            out.push(Request::RecentTrades { symbol });
            self.asked += 1;
            self.requests += 1;
        }
    }

    /// Takes the answer to a request that was asked before.
    pub fn answer(&mut self, answer: Answer, now: ExchangeMillis, aggregator: &mut Aggregator) {
        self.asked = self.asked.saturating_sub(1);
        let symbol = answer.request.symbol();
        if self.silence.is_asked(symbol) {
            self.failures += u64::from(answer.result.is_err());
            let trades = if let Ok(Found::Trades(trades)) = answer.result { trades } else { Vec::new() };
            self.silence.answer(symbol, &trades, aggregator.up_since(symbol));
            return self.schedule();
        }
        let Some(case) = self.cases.get_mut(&symbol) else { return };
        match (answer.request, answer.result) {
            (Request::RecentTrades { .. }, Ok(Found::Trades(trades))) => {
                if let Some(proof) = case.take_trades(trades, now.get(), &mut self.ids_agree) {
                    recover(symbol, &proof, now, aggregator);
                    let counted = proof.trades.iter().filter(|trade| trade.time.get() <= proof.whole_until);
                    counted.for_each(|trade| self.silence.saw(trade));
                }
            }
            (Request::Candles { grain, from, .. }, Ok(Found::Candles(candles))) => {
                case.took_candles(now.get());
                // Those that are refused stay wanted, and are asked for again.
                aggregator.repair(symbol, grain, from + grain.millis(), &candles);
            }
            (_, Err(Failure::Refused)) => {
                self.failures += 1;
                case.failed(now.get(), None);
            }
            (_, Err(Failure::Later { wait })) => {
                self.failures += 1;
                case.failed(now.get(), Some(wait));
            }
            // An answer of the wrong kind is none.
            (_, Ok(_)) => case.failed(now.get(), Some(0)),
        }
        self.plan(symbol, now, aggregator);
        self.schedule();
    }

    /// Forgets a symbol that is no longer watched. An answer that is on its way changes nothing.
    pub fn forget(&mut self, symbol: SymbolId) {
        self.cases.remove(&symbol);
        self.seeds.remove(&symbol);
        self.silence.forget(symbol);
        self.schedule();
    }

    /// Decides what is next for a symbol.
    fn plan(&mut self, symbol: SymbolId, now: ExchangeMillis, aggregator: &mut Aggregator) {
        let Some(since) = aggregator.since(symbol) else { return };
        self.give_up_old(symbol, now, since, aggregator);
        while let Some((from, to)) = self.plan_next(symbol, now, since, aggregator) {
            aggregator.give_up(symbol, ExchangeMillis::new(from), ExchangeMillis::new(to));
        }
    }

    /// Decides what is next for a symbol. Returns the time about which nothing more will be found out, if there is some.
    fn plan_next(
        &mut self,
        symbol: SymbolId,
        now: ExchangeMillis,
        since: ExchangeMillis,
        aggregator: &Aggregator,
    ) -> Option<(Millis, Millis)> {
        let gaps = aggregator.gaps(symbol);
        let gaps: Vec<(Millis, Millis)> = gaps.into_iter().map(|(from, to)| (from.get(), to.get())).collect();
        let is_seeding = gaps.first().is_some_and(|(from, _)| *from < since.get());
        // A start of coverage that is corrected later opens a gap of some milliseconds before it; the first windows were known.
        self.seeds.entry(symbol).and_modify(|was_seeding| *was_seeding &= is_seeding).or_insert(is_seeding);
        if gaps.is_empty() {
            if self.cases.get(&symbol).is_some_and(|case| !case.is_asking()) {
                self.cases.remove(&symbol);
            }
            return None;
        }
        let case = self.cases.entry(symbol).or_insert_with(|| Case::new(symbol));
        if case.is_asking() {
            return None;
        }
        // The minute in which a gap begins that is not over is not asked for yet: its trades may still be recovered.
        let open = aggregator.down_from(symbol).map(|from| from.get() - from.get().rem_euclid(MINUTE) + SETTLING);
        let stamp = open.map_or(self.stamp.get(), |open| self.stamp.get().min(open));
        match case.plan(&gaps, since.get(), (now.get(), stamp), self.settings.candles) {
            Step::Ask => {
                self.due_at = self.due_at.min(case.due());
                None
            }
            Step::GiveUp(from, to) => Some((from, to)),
        }
    }

    /// Returns for how long a gap is repaired.
    pub(crate) const fn horizon(&self) -> Millis {
        self.settings.horizon
    }

    /// Gives up what is older than the horizon. The time before the first coverage counts from then.
    fn give_up_old(&self, symbol: SymbolId, now: ExchangeMillis, since: ExchangeMillis, aggregator: &mut Aggregator) {
        let oldest = now - self.settings.horizon;
        let is_old = |(from, _): &(ExchangeMillis, ExchangeMillis)| {
            if *from < since { since < oldest } else { *from < oldest }
        };
        for (from, to) in aggregator.gaps(symbol).into_iter().filter(is_old) {
            aggregator.give_up(symbol, from, to.min(oldest - 1));
        }
    }

    fn schedule(&mut self) {
        let waits = |symbol: &SymbolId, case: &Case| !case.is_asking() && !self.silence.is_asked(*symbol);
        let waiting = self.cases.iter().filter(|(symbol, case)| waits(symbol, case));
        self.due_at = waiting.map(|(_, case)| case.due()).min().unwrap_or(Millis::MAX);
    }
}

/// Gives recent trades to the gaps that were over at `until`, as far as they reach.
fn recover(symbol: SymbolId, proof: &Proof, now: ExchangeMillis, aggregator: &mut Aggregator) {
    let Proof { until, whole_until, trades } = proof;
    let Some(oldest) = trades.first() else { return };
    let since = aggregator.since(symbol).unwrap_or(now);
    // Other trades of the same millisecond as the oldest one may be missing.
    let reached = oldest.time + 1;
    // Before the gaps, because ids are kept no longer than these.
    let after = ExchangeMillis::new(until + 1).max(reached);
    // A topic can have been dead before its connection was lost.
    aggregator.doubt(symbol, reached, ExchangeMillis::new(*until), trades);
    aggregator.confirm(symbol, after, ExchangeMillis::new(*whole_until), trades);
    for (from, to) in aggregator.gaps(symbol) {
        // The rest of an old hour is up to a candle of the whole hour, which must not have a part of it twice.
        let is_old = from < since && from < reached && now - reached > TRADES_REACH;
        let is_cut = is_old && !Mutant::HourDivided.is_made();
        let reached = if is_cut { ExchangeMillis::new(end_of(oldest.time.get(), HOUR) + 1) } else { reached };
        let from = from.max(reached);
        if from <= to && to.get() <= *until {
            aggregator.recover(symbol, from, to, trades);
        }
    }
}

/// Returns the pause after some failures in a row.
fn pause(failures: u32) -> Millis {
    let [shortest, longest] = PAUSES;
    (shortest << failures.min(6)).min(longest)
}
