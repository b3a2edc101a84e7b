//! Compares what was said with what the exchange had.
//!
//! Of every window, the newest revision counts. *Safety*: a kline that is called complete has every digit of the oracle's;
//! no kline has more than the exchange had; sequences and revisions have no holes; the trades add up. *Liveness*: where a
//! connection is certain to have delivered everything, the kline is there and complete.

mod delivery;
mod required;

use std::collections::{BTreeMap, BTreeSet};

use klines_domain::aggregator::Tally;
use klines_domain::kline::{Kline, Quality};
use klines_domain::time::{ExchangeMillis, MINUTE, Millis, SECOND};

use self::delivery::{CLOSING, Delivery, certain};
use self::required::{demand, knowable, may_be_superseded, reaches, recent_trades_reach};
use super::Outcome;
use super::market::TapeTrade;
use super::oracle::windows::Windows;
use super::oracle::{self, Row};
use super::plan::{Plan, TradingPeriod};

/// How long after the last fault everything works again: an exchange that is mute is noticed after 45 s, and twice that
/// if the first new connection brought no data either.
const RECOVERY: Millis = 100 * SECOND;
/// How long a trade takes at most to be published.
const LONGEST_TRANSIT: Millis = SECOND;
/// How long after the start of a run coverage has begun.
const STARTING: Millis = 2 * SECOND;
/// Faults of one run that are shown.
const SHOWN: usize = 10;

/// A series by its symbol and interval.
type Series = (String, String);
/// A window by its series and start.
type Window = (Series, Millis);

/// What was said and delivered in a run.
pub struct Checker {
    deliveries: Vec<Delivery>,
    /// The newest revision of each window.
    klines: BTreeMap<Series, BTreeMap<Millis, Kline>>,
    sequences: BTreeMap<Series, u64>,
    /// The windows that were open at the end of a run in which gaps are repaired.
    open: Vec<Kline>,
    /// Since when the client knows that symbols have ended, by their names.
    ended: BTreeMap<String, Millis>,
    /// The klines that the process has found, and the windows of which it has published one.
    stored: BTreeMap<Window, Kline>,
    published: BTreeSet<Window>,
    /// How many processes have published klines of a window that were not stored.
    lost: BTreeMap<Window, u32>,
    /// How many processes have crashed, and the time before which windows can have had klines that the process does not know.
    crashes: u32,
    lost_before: Millis,
    faults: Vec<String>,
}

impl Checker {
    pub fn new(plan: &Plan) -> Self {
        Self {
            deliveries: vec![Delivery::default(); plan.connections.len()],
            klines: BTreeMap::new(),
            sequences: BTreeMap::new(),
            open: Vec::new(),
            ended: BTreeMap::new(),
            stored: BTreeMap::new(),
            published: BTreeSet::new(),
            lost: BTreeMap::new(),
            crashes: 0,
            lost_before: Millis::MIN,
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

    /// The client has learned that a symbol has ended at `at`, and has not traded since.
    pub fn ended(&mut self, symbol: &str, at: Millis) {
        self.ended.entry(symbol.to_owned()).or_insert(at);
    }

    /// A kline was emitted.
    pub fn kline(&mut self, kline: &Kline) {
        let series = series_of(kline);
        if !kline.confirm {
            self.faults.push(format!("{series:?} {}: not confirmed, although no updates are wanted", kline.start));
        }
        // A late list can be younger than the last frames by their longest way.
        let is_over = |at: &Millis| kline.trades == 0 && kline.revision == 0 && kline.start > at + MINUTE;
        if self.ended.get(kline.series.symbol.as_str()).is_some_and(is_over) {
            self.faults.push(format!("{series:?} {}: a flat kline, although the symbol has ended", kline.start));
        }
        let sequence = self.sequences.entry(series.clone()).or_default();
        if kline.sequence != *sequence + 1 {
            self.faults.push(format!("{series:?} {}: sequence {} after {sequence}", kline.start, kline.sequence));
        }
        *sequence = kline.sequence;
        let known = self.klines.entry(series.clone()).or_default().insert(kline.start, kline.clone());
        let window = (series.clone(), kline.start);
        let stored = self.stored.get(&window);
        if stored.is_some_and(is_right) {
            self.faults.push(format!("{series:?} {}: had a kline before the process ended", kline.start));
        }
        let stored = stored.map_or(0, |stored| stored.revision + 1);
        let (least, most) = if self.published.contains(&window) {
            let next = known.map_or(0, |known| known.revision + 1);
            (next, next)
        } else {
            // After a crash, a process does not know everything that was published.
            let crashes = if kline.end < self.lost_before { self.crashes } else { 0 };
            (stored + self.lost.get(&window).copied().unwrap_or(0), stored + crashes)
        };
        if !(least..=most).contains(&kline.revision) {
            self.faults.push(format!("{series:?} {}: revision {}, not {least} to {most}", kline.start, kline.revision));
        }
        self.published.insert(window);
    }

    /// Something is wrong that was found elsewhere.
    pub fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    /// A process ended with these counts.
    pub fn add_up(&mut self, tally: Tally) {
        let Tally { received, counted, duplicate, late, rejected, excluded, superseded, gaps: _ } = tally;
        if received != counted + duplicate + late + rejected + excluded + superseded {
            self.faults.push(format!("the trades do not add up: {tally:?}"));
        }
    }

    /// Another process begins, which knows the klines that were stored, how many crashes there were, and until when klines may
    /// have been published without being stored.
    pub fn restarted<'a>(&mut self, stored: impl Iterator<Item = &'a Kline>, crashes: &[ExchangeMillis]) {
        self.crashes = u32::try_from(crashes.len()).unwrap_or(u32::MAX);
        self.lost_before = crashes.iter().map(|crash| crash.get()).max().unwrap_or(Millis::MIN);
        self.sequences.clear();
        for kline in stored {
            let series = series_of(kline);
            let sequence = self.sequences.entry(series.clone()).or_default();
            *sequence = kline.sequence.max(*sequence);
            self.stored.insert((series, kline.start), kline.clone());
        }
        for window in std::mem::take(&mut self.published) {
            let last = self.klines.get(&window.0).and_then(|klines| klines.get(&window.1)).map(|kline| kline.revision);
            if last > self.stored.get(&window).map(|kline| kline.revision) {
                *self.lost.entry(window).or_default() += 1;
            }
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
        self.add_up(tally);
        let (mut compared, mut required) = (0, 0);
        for (series, klines) in &self.klines {
            let tape = tapes.iter().find(|(name, _)| *name == series.0).map_or(&[][..], |(_, tape)| tape);
            compared += klines.len();
            let certain = klines.values().filter(|kline| !may_be_unnoticed(kline, plan));
            self.faults.extend(certain.filter_map(|kline| compare(kline, tape, plan).err()));
        }
        for delivery in &mut self.deliveries {
            delivery.end(plan.end);
        }
        for (symbol, (name, tape)) in tapes.iter().enumerate() {
            let carries = |(delivery, symbols): (_, &Vec<usize>)| symbols.contains(&symbol).then_some(delivery);
            let deliveries: Vec<&Delivery> =
                self.deliveries.iter().zip(&plan.connections).filter_map(carries).collect();
            let spans = certain(plan, &deliveries);
            for (interval, windows) in intervals(plan) {
                let none = BTreeMap::new();
                let klines = self.klines.get(&((*name).to_owned(), interval.to_owned())).unwrap_or(&none);
                let mut demanded = demand(&spans, tape, windows);
                let series = ((*name).to_owned(), interval.to_owned());
                demanded.retain(|start| {
                    let end = windows.next(*start) - 1;
                    // What was delivered to a process that could not store it is up to the recent trades.
                    let is_lost = self.lost.contains_key(&(series.clone(), *start));
                    !is_lost
                        && is_alive(plan, symbol, *start, end)
                        && !plan.steps.unsettles(*start, end)
                        && !may_be_superseded(plan, windows, *start)
                });
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
        for (symbol, (name, tape)) in tapes.iter().enumerate() {
            for (interval, windows) in intervals(plan) {
                let none = BTreeMap::new();
                let klines = self.klines.get(&((*name).to_owned(), interval.to_owned())).unwrap_or(&none);
                let is_reached = recent_trades_reach(plan, tape);
                let series = ((*name).to_owned(), interval.to_owned());
                let of_series = self.stored.range((series.clone(), Millis::MIN)..=(series, Millis::MAX));
                let stored: BTreeMap<Millis, &Kline> = of_series.map(|((_, start), kline)| (*start, kline)).collect();
                let first = stored.keys().next();
                let began = plan.restarts.last().map(|restart| restart.until + STARTING);
                let mut starts = knowable(plan, tape, windows, is_reached);
                starts.retain(|start| {
                    let end = windows.next(*start) - 1;
                    // A process knows nothing of what was before the first kline that was stored of a series, or of a doubt
                    // that was not.
                    let is_unknown = first.is_none_or(|first| start < first)
                        || stored.get(start).is_some_and(|kline| is_right(kline));
                    let is_done = is_unknown && began.is_some_and(|began| end < began);
                    !plan.is_refused(symbol) && !plan.steps.repeats(*start, end) && !is_done
                });
                required += starts.len();
                let is_whole = windows.is_whole();
                let is_known = |kline: &Kline| match kline.quality {
                    Quality::Complete => true,
                    Quality::Repaired => is_whole && !(is_reached && reaches(plan, tape, kline.start)),
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
            let symbol = tapes.iter().position(|(name, _)| *name == kline.series.symbol.as_str());
            let whole = symbol.filter(|_| windows_of(kline).is_whole());
            let fault = whole.and_then(|symbol| compare_open(kline, tapes.get(symbol)?.1, (plan, symbol)).err());
            self.faults.extend(fault);
        }
        required
    }
}

/// Compares the kline of a window that was open at the end with what the exchange had: the last trades may be on their
/// way.
fn compare_open(kline: &Kline, tape: &[TapeTrade], (plan, symbol): (&Plan, usize)) -> Result<(), String> {
    let end = plan.exchange(plan.end);
    let name = format!("{} {} {} (open)", kline.series.symbol, kline.series.interval, kline.start);
    let is_known = matches!(kline.quality, Quality::Complete | Quality::Repaired);
    let has_gap = end - kline.start > RECOVERY + SECOND * 120 && !plan.is_refused(symbol);
    if plan.steps.repeats(kline.start, kline.end) {
        return Ok(());
    }
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

/// Returns the intervals of a plan with their windows.
fn intervals(plan: &Plan) -> impl Iterator<Item = (&'static str, Windows)> {
    plan.intervals.iter().filter_map(|interval| Some((*interval, Windows::of(interval)?)))
}

fn is_right(kline: &Kline) -> bool {
    matches!(kline.quality, Quality::Complete | Quality::Repaired)
}

fn series_of(kline: &Kline) -> Series {
    (kline.series.symbol.to_string(), kline.series.interval.to_string())
}

/// Returns the windows of a kline's interval.
fn windows_of(kline: &Kline) -> Windows {
    Windows::of(&kline.series.interval.to_string()).unwrap_or(Windows::Fixed(1))
}

/// Returns whether a symbol is traded and its topic alive all through a window. What is listed is subscribed again when a retry
/// is due, and that can go wrong until everything works.
fn is_alive(plan: &Plan, symbol: usize, start: Millis, end: Millis) -> bool {
    let period = plan.trading_period(symbol);
    let listed = if period.listed == Millis::MIN { Millis::MIN } else { plan.exchange(plan.healed + RECOVERY) };
    let ended = if period.ended == Millis::MAX { Millis::MAX } else { plan.exchange(period.ended) };
    let is_dead = plan
        .dead
        .is_some_and(|dead| dead.symbol == symbol && start < dead.at + RECOVERY && end + LONGEST_TRANSIT > dead.at);
    // Flat klines that were withheld because lists omitted the symbol are up to the process that has withheld them.
    let is_withheld = plan.restarts.iter().any(|restart| start < restart.at && end + MINUTE > period.omitted.0)
        && period.omitted != TradingPeriod::WHOLE.omitted;
    start >= listed && end < ended && !is_dead && !is_withheld
}

/// Returns whether a process has closed a window on a connection whose silence it did not live to notice: nothing corrects
/// that afterwards.
fn may_be_unnoticed(kline: &Kline, plan: &Plan) -> bool {
    let is_near = |at: Millis| kline.end < at && kline.end > at - RECOVERY && plan.is_silent_at(at, RECOVERY);
    plan.restarts.iter().any(|restart| is_near(restart.at))
}

/// Compares a kline with what the exchange had.
fn compare(kline: &Kline, tape: &[TapeTrade], plan: &Plan) -> Result<(), String> {
    let name = format!("{} {} {}", kline.series.symbol, kline.series.interval, kline.start);
    let end = windows_of(kline).next(kline.start) - 1;
    if kline.end != end || windows_of(kline).start_of(kline.start) != kline.start {
        return Err(format!("{name}: ends at {}, not {end}", kline.end));
    }
    let Some(row) = oracle::row(tape, kline.start, end) else {
        return Err(format!("{name}: before the first trade"));
    };
    let said = said(kline);
    let row_before = |step: Millis| {
        let before: Vec<TapeTrade> = tape.iter().filter(|trade| trade.matched < step).copied().collect();
        oracle::row(&before, kline.start, end)
    };
    let is_same = |row: &Row| match kline.quality {
        Quality::Complete => said == *row,
        _ => (&said.prices, &said.volume, &said.turnover) == (&row.prices, &row.volume, &row.turnover),
    };
    let is_final = || plan.steps.is_final_at(end).and_then(row_before).is_some_and(|row| is_same(&row));
    let may_lack = || plan.steps.passes_twice(kline.start, end) && plan.loses();
    match kline.quality {
        Quality::Complete | Quality::Repaired if !is_same(&row) && !is_final() && !may_lack() => {
            Err(format!("{name}: {said:?} is called {}, the exchange had {row:?}", kline.quality))
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

/// Returns the connections that do not deliver although everything has worked for long enough.
fn unhealed(plan: &Plan, deliveries: &[Delivery]) -> Vec<String> {
    let is_whole = |delivery: &&(usize, &Delivery)| {
        delivery.1.spans.last().is_some_and(|(from, to)| *from <= plan.healed + RECOVERY && *to >= plan.end)
    };
    let broken = deliveries.iter().enumerate().filter(|delivery| !is_whole(&delivery));
    broken.map(|(number, delivery)| format!("connection {number} has not recovered: {:?}", delivery.spans)).collect()
}
