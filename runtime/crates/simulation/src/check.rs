//! Compares what was said with what the exchange had.
//!
//! Of every window, the newest revision counts. *Safety*: a kline that is called complete has every digit of the oracle's;
//! no kline has more than the exchange had; sequences and revisions have no holes; the trades add up. *Liveness*: where a
//! connection is certain to have delivered everything, the kline is there and complete.

use std::collections::BTreeMap;

use klines_domain::aggregator::Tally;
use klines_domain::interval::Interval;
use klines_domain::kline::{Kline, Quality};
use klines_domain::time::{MINUTE, Millis, SECOND};

use super::Outcome;
use super::market::TapeTrade;
use super::oracle::{self, Row};
use super::plan::{Fault, Kind, Plan};

/// How far from the beginning and the end of a connection a trade may be known or not: transit, clocks and timers.
const SLACK: Millis = 2 * SECOND;
/// How long before the end of a run a window must have ended to be closed.
const CLOSING: Millis = 2 * SECOND;
/// How long after the last fault everything works again: an exchange that is mute is noticed after 45 s, and twice that
/// if the first new connection brought no data either.
const RECOVERY: Millis = 100 * SECOND;
/// How long after the start of a run coverage has begun.
const STARTING: Millis = 2 * SECOND;
/// Faults of one run that are shown.
const SHOWN: usize = 10;

/// The time for which a connection certainly delivered everything, in spans of the exchange's time.
#[derive(Clone, Debug, Default)]
struct Delivery {
    spans: Vec<(Millis, Millis)>,
    since: Option<Millis>,
    /// When trades were last read.
    read: Millis,
    /// The longest time from a frame's stamp until it was read.
    slowest: Millis,
}

impl Delivery {
    fn end(&mut self, at: Millis) {
        if let Some(since) = self.since.take() {
            self.spans.push((since, at));
        }
    }
}

/// A series by its symbol and interval.
type Series = (String, Interval);

/// What was said and delivered in a run.
pub struct Checker {
    deliveries: Vec<Delivery>,
    /// The newest revision of each window.
    klines: BTreeMap<Series, BTreeMap<Millis, Kline>>,
    sequences: BTreeMap<Series, u64>,
    /// The windows that were open at the end of a run in which gaps are repaired.
    open: Vec<Kline>,
    faults: Vec<String>,
}

impl Checker {
    pub fn new(plan: &Plan) -> Self {
        Self {
            deliveries: vec![Delivery::default(); plan.connections.len()],
            klines: BTreeMap::new(),
            sequences: BTreeMap::new(),
            open: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// The client read that subscriptions are acknowledged.
    pub fn acknowledged(&mut self, connection: usize, now: Millis) {
        let Some(delivery) = self.deliveries.get_mut(connection) else { return };
        // The last of several counts.
        delivery.since = Some(now);
    }

    /// Nothing that was sent since `at` is certain to have arrived. Of what was not traded before it, nobody can know.
    pub fn lost(&mut self, connection: usize, at: Millis) {
        if let Some(delivery) = self.deliveries.get_mut(connection) {
            delivery.end(at.min(delivery.read));
        }
    }

    /// The client gave the connection up, because what it watches has been silent since `at`: it may count less as
    /// delivered than was.
    pub fn given_up(&mut self, connection: usize, at: Millis) {
        self.lost(connection, at);
        let spans = self.deliveries.get_mut(connection).map(|delivery| &mut delivery.spans);
        if let Some((from, to)) = spans.and_then(|spans| spans.last_mut()) {
            *to = (*to).min(at.max(*from));
        }
    }

    /// The client closed the connection.
    pub fn closed(&mut self, connection: usize) {
        if let Some(delivery) = self.deliveries.get_mut(connection) {
            delivery.end(delivery.read);
        }
    }

    /// The client read a damaged frame.
    pub fn doubtful(&mut self, connection: usize, now: Millis) {
        if let Some(delivery) = self.deliveries.get_mut(connection)
            && delivery.since.is_some()
        {
            delivery.end(now);
            delivery.since = Some(now);
        }
    }

    /// The client read trades of a frame that was stamped at `stamped`.
    pub fn read(&mut self, connection: usize, stamped: Millis, now: Millis) {
        if let Some(delivery) = self.deliveries.get_mut(connection) {
            delivery.read = now;
            delivery.slowest = delivery.slowest.max(now - stamped);
        }
    }

    /// A kline was emitted.
    pub fn kline(&mut self, kline: &Kline) {
        let series = (kline.series.symbol.to_string(), kline.series.interval);
        if !kline.confirm {
            self.faults.push(format!("{series:?} {}: not confirmed, although no updates are wanted", kline.start));
        }
        let sequence = self.sequences.entry(series.clone()).or_default();
        if kline.sequence != *sequence + 1 {
            self.faults.push(format!("{series:?} {}: sequence {} after {sequence}", kline.start, kline.sequence));
        }
        *sequence = kline.sequence;
        let known = self.klines.entry(series.clone()).or_default().insert(kline.start, kline.clone());
        let expected = known.map_or(0, |known| known.revision + 1);
        if kline.revision != expected {
            self.faults.push(format!("{series:?} {}: revision {}, not {expected}", kline.start, kline.revision));
        }
    }

    /// A kline was emitted when the run ended: the last revision of a closed window, or an open one.
    pub fn at_end(&mut self, kline: &Kline) {
        if kline.confirm {
            self.kline(kline);
        } else {
            self.open.push(kline.clone());
        }
    }

    /// Checks everything at the end of a run.
    pub fn finish(
        mut self,
        plan: &Plan,
        tapes: &[(&str, &[TapeTrade])],
        tally: Tally,
        trace: Option<String>,
    ) -> Outcome {
        let Tally { received, counted, duplicate, late, rejected, excluded, superseded, gaps: _ } = tally;
        if received != counted + duplicate + late + rejected + excluded + superseded {
            self.faults.push(format!("the trades do not add up: {tally:?}"));
        }
        let (mut compared, mut required) = (0, 0);
        for (series, klines) in &self.klines {
            let tape = tapes.iter().find(|(name, _)| *name == series.0).map_or(&[][..], |(_, tape)| tape);
            compared += klines.len();
            self.faults.extend(klines.values().filter_map(|kline| compare(kline, tape).err()));
        }
        for delivery in &mut self.deliveries {
            delivery.end(plan.end);
        }
        for (symbol, (name, tape)) in tapes.iter().enumerate() {
            let carries = |(delivery, symbols): (_, &Vec<usize>)| symbols.contains(&symbol).then_some(delivery);
            let deliveries: Vec<&Delivery> =
                self.deliveries.iter().zip(&plan.connections).filter_map(carries).collect();
            let spans = certain(plan, &deliveries);
            for interval in plan.intervals.iter().filter_map(|interval| interval.parse::<Interval>().ok()) {
                let none = BTreeMap::new();
                let klines = self.klines.get(&((*name).to_owned(), interval)).unwrap_or(&none);
                let mut demanded = demand(&spans, tape, interval);
                demanded.retain(|start| !may_be_superseded(plan, interval, *start));
                required += demanded.len();
                let is_missing =
                    |start: &Millis| klines.get(start).is_none_or(|kline| kline.quality != Quality::Complete);
                self.faults.extend(demanded.into_iter().filter(is_missing).map(|start| {
                    let said = klines.get(&start).map(|kline| kline.quality);
                    format!("{name} {interval} {start}: must be complete, is {said:?}")
                }));
            }
        }
        if plan.is_repaired {
            required += self.repaired(plan, tapes);
        }
        self.faults.extend(unhealed(plan, &self.deliveries));
        self.faults.truncate(SHOWN);
        Outcome { trace: trace.unwrap_or_default(), faults: self.faults, compared, required }
    }
}

impl Checker {
    /// Checks that everything is known that can be known. Returns the number of klines that had to be right.
    fn repaired(&mut self, plan: &Plan, tapes: &[(&str, &[TapeTrade])]) -> usize {
        let mut required = 0;
        for (name, tape) in tapes {
            for interval in plan.intervals.iter().filter_map(|interval| interval.parse::<Interval>().ok()) {
                let none = BTreeMap::new();
                let klines = self.klines.get(&((*name).to_owned(), interval)).unwrap_or(&none);
                let is_reached = recent_trades_reach(plan, tape);
                let starts = knowable(plan, tape, interval, is_reached);
                required += starts.len();
                let is_whole = interval.nominal_millis() % MINUTE == 0;
                let is_known = |kline: &Kline| match kline.quality {
                    Quality::Complete => true,
                    Quality::Repaired => is_whole && !is_reached,
                    Quality::Partial | Quality::Gapped => false,
                };
                self.faults.extend(starts.into_iter().filter_map(|start| {
                    let kline = klines.get(&start);
                    let fault = format!("{name} {interval} {start}: can be known, is {:?}", kline.map(|it| it.quality));
                    (!kline.is_some_and(is_known)).then_some(fault)
                }));
            }
        }
        for kline in &self.open {
            let tape = tapes.iter().find(|(name, _)| *name == kline.series.symbol.as_str());
            let is_whole = kline.series.interval.nominal_millis() % MINUTE == 0;
            let fault = tape.filter(|_| is_whole).and_then(|(_, tape)| compare_open(kline, tape, plan.end).err());
            self.faults.extend(fault);
        }
        required
    }
}

/// Returns the starts of the windows that must be right: those of whole minutes, and if the recent trades reach back to
/// every gap, all others. They end after the start, and the faults of the feed and of the requests were over for long
/// enough when the run ended.
fn knowable(plan: &Plan, tape: &[TapeTrade], interval: Interval, is_reached: bool) -> Vec<Millis> {
    let mut starts = Vec::new();
    let is_filled = interval.nominal_millis() >= SECOND;
    if interval.nominal_millis() % MINUTE != 0 && !is_reached {
        return starts;
    }
    let mut start = interval.start_of(plan.start + STARTING);
    while interval.next(start) <= plan.healed + RECOVERY {
        let is_traded = || oracle::row(tape, start, interval.next(start) - 1).is_some_and(|row| row.trades > 0);
        if tape.first().is_some_and(|trade| trade.time < start) && (is_filled || is_traded()) {
            starts.push(start);
        }
        start = interval.next(start);
    }
    starts
}

/// Returns whether one answer has all trades of the run, and nothing can make it useless.
fn recent_trades_reach(plan: &Plan, tape: &[TapeTrade]) -> bool {
    let first = tape.partition_point(|trade| trade.time < plan.start);
    let holds_back = |fault: &Fault| matches!(fault.kind, Kind::Stall | Kind::Pause);
    tape.len() - first < plan.recent_trades && plan.rest_faults.is_empty() && !plan.faults.iter().any(holds_back)
}

/// Compares the kline of a window that was open at the end with what the exchange had: the last trades may be on their
/// way.
fn compare_open(kline: &Kline, tape: &[TapeTrade], end: Millis) -> Result<(), String> {
    let name = format!("{} {} {} (open)", kline.series.symbol, kline.series.interval, kline.start);
    let is_known = matches!(kline.quality, Quality::Complete | Quality::Repaired);
    let has_gap = end - kline.start > RECOVERY + SECOND * 120;
    if !is_known {
        return if has_gap { Err(format!("{name}: can be known, is {:?}", kline.quality)) } else { Ok(()) };
    }
    let rows = kline.start.max(end - CLOSING);
    let (Some(least), Some(most)) = (oracle::row(tape, kline.start, rows), oracle::row(tape, kline.start, end)) else {
        return Err(format!("{name}: before the first trade"));
    };
    let said = said(kline);
    let volume = |row: &Row| row.volume.parse::<f64>().unwrap_or(f64::NAN);
    let is_between = volume(&least) <= volume(&said) && volume(&said) <= volume(&most);
    let [open, high, low, _] = [0, 1, 2, 3].map(|at| price(&said, at));
    let is_inside =
        high <= price(&most, 1) && high >= price(&least, 1) && low >= price(&most, 2) && low <= price(&least, 2);
    if is_between && is_inside && (open - price(&most, 0)).abs() < f64::EPSILON {
        return Ok(());
    }
    Err(format!("{name}: {said:?} is called {}, the exchange had {least:?} to {most:?}", kline.quality))
}

/// Returns a price as a number, to compare it with others.
fn price(row: &Row, at: usize) -> f64 {
    row.prices.get(at).and_then(|price| price.parse().ok()).unwrap_or(f64::NAN)
}

/// Compares a kline with what the exchange had.
fn compare(kline: &Kline, tape: &[TapeTrade]) -> Result<(), String> {
    let name = format!("{} {} {}", kline.series.symbol, kline.series.interval, kline.start);
    let end = kline.series.interval.next(kline.start) - 1;
    if kline.end != end || kline.series.interval.start_of(kline.start) != kline.start {
        return Err(format!("{name}: ends at {}, not {end}", kline.end));
    }
    let Some(row) = oracle::row(tape, kline.start, end) else {
        return Err(format!("{name}: before the first trade"));
    };
    let said = said(kline);
    match kline.quality {
        Quality::Complete if said != row => {
            Err(format!("{name}: {said:?} is called complete, the exchange had {row:?}"))
        }
        Quality::Repaired
            if (&said.prices, &said.volume, &said.turnover) != (&row.prices, &row.volume, &row.turnover) =>
        {
            Err(format!("{name}: {said:?} is called repaired, the exchange had {row:?}"))
        }
        _ if said.last_trade_time > row.last_trade_time => {
            Err(format!("{name}: last trade at {}, not {}", said.last_trade_time, row.last_trade_time))
        }
        _ if said.trades > row.trades => {
            Err(format!("{name}: {} trades, the exchange had {}", said.trades, row.trades))
        }
        _ => Ok(()),
    }
}

fn said(kline: &Kline) -> Row {
    let text = |value: klines_domain::decimal::Decimal| value.trimmed().to_string();
    Row {
        prices: [kline.open, kline.high, kline.low, kline.close].map(text),
        volume: text(kline.volume),
        turnover: text(kline.turnover),
        buy_volume: text(kline.buy_volume),
        buy_turnover: text(kline.buy_turnover),
        trades: kline.trades,
        last_trade_time: kline.last_trade_time,
    }
}

/// Returns the spans of which everything is certain to have been delivered by one connection or another.
fn certain(plan: &Plan, deliveries: &[&Delivery]) -> Vec<(Millis, Millis)> {
    // A loss is noticed as late as a frame can be, and what was read last can be as old as that.
    let slowest = deliveries.iter().map(|delivery| delivery.slowest).max().unwrap_or_default();
    let margin = SLACK + 2 * slowest;
    let inner = |(from, to): &(Millis, Millis)| (from + SLACK, (to - margin).min(plan.end - CLOSING));
    let mut spans: Vec<_> = deliveries.iter().flat_map(|delivery| &delivery.spans).map(inner).collect();
    spans.retain(|(from, to)| from < to);
    spans.sort_unstable();
    let mut joined: Vec<(Millis, Millis)> = Vec::new();
    for (from, to) in spans {
        match joined.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            _ => joined.push((from, to)),
        }
    }
    joined
}

/// Returns the starts of the windows that must be complete: everything in them was delivered, and so was a trade before
/// them, with which they open.
fn demand(spans: &[(Millis, Millis)], tape: &[TapeTrade], interval: Interval) -> Vec<Millis> {
    let mut starts = Vec::new();
    let is_filled = interval.nominal_millis() >= SECOND;
    for (from, to) in spans {
        let Some(before) = tape.get(tape.partition_point(|trade| trade.time < *from)) else { continue };
        let mut start = interval.next(interval.start_of(before.time));
        while interval.next(start) - 1 < *to {
            let end = interval.next(start) - 1;
            let is_traded = || oracle::row(tape, start, end).is_some_and(|row| row.trades > 0);
            if is_filled || is_traded() {
                starts.push(start);
            }
            start = interval.next(start);
        }
    }
    starts
}

/// Returns whether trades of a window shorter than a minute can have come after the candle of their minute was taken.
fn may_be_superseded(plan: &Plan, interval: Interval, start: Millis) -> bool {
    let minute = start - start % MINUTE;
    let holds_back = |fault: &&Fault| matches!(fault.kind, Kind::Stall | Kind::Pause);
    let mut late = plan.faults.iter().filter(holds_back);
    plan.is_repaired
        && interval.nominal_millis() % MINUTE != 0
        && late.any(|fault| fault.from < minute + MINUTE + SECOND && fault.until > minute + MINUTE)
}

/// Returns the connections that do not deliver although everything has worked for long enough.
fn unhealed(plan: &Plan, deliveries: &[Delivery]) -> Vec<String> {
    let is_whole = |delivery: &&(usize, &Delivery)| {
        delivery.1.spans.last().is_some_and(|(from, to)| *from <= plan.healed + RECOVERY && *to >= plan.end)
    };
    let broken = deliveries.iter().enumerate().filter(|delivery| !is_whole(&delivery));
    broken.map(|(number, delivery)| format!("connection {number} has not recovered: {:?}", delivery.spans)).collect()
}
