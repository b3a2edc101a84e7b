//! Makes klines of the past from the minutes of the REST API, a day at a time. Days whose klines are all stored are not
//! asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use klines_bybit::rest::{Gate, Reply, RestClient, RestError};
use klines_config::Config;
use klines_delivery::history::{Query, Side};
use klines_domain::interval::Interval;
use klines_domain::kline::{Kline, Quality};
use klines_domain::repair::{Candle, Grain};
use klines_domain::series::SeriesKey;
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::{DAY, ExchangeMillis, MINUTE, Millis, SECOND};
use klines_system::clock::LocalClock;
use tokio::time::sleep;

use super::super::meter::{Meter, Unit};
use super::super::{exchange, output};
use super::Taker;
use super::compose::{Composer, is_composable};

/// How long after its end a minute is settled: the exchange counts trades a little late.
const SETTLED_AFTER: Millis = 3 * SECOND;
/// How many klines are compared and stored at once: what an interruption costs.
const BATCH: usize = 2_000;
/// Minutes of one request.
const MINUTES: Millis = 720;
/// Failures in a row, other than refusals for too many requests, after which the exchange is given up.
const ATTEMPTS: u32 = 8;
/// The wait after the first failure; it doubles with each further one, up to [`MAX_PAUSE`].
const PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// What is asked for.
pub(in super::super) struct Wanted {
    /// The symbols with their categories.
    pub symbols: Vec<(Category, Symbol)>,
    /// Intervals of whole minutes.
    pub intervals: Vec<Interval>,
    /// The earliest start of a kline.
    pub from: Millis,
    /// The latest end of a kline; `None` means now.
    pub to: Option<Millis>,
    /// Whether the klines that are stored are asked for, too.
    pub is_all: bool,
    /// What the progress is called.
    pub what: &'static str,
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Walked {
    /// Klines that were not asked for, because they are stored.
    pub known: u64,
    /// Until when the exchange has settled minutes, or less if less is wanted.
    pub until: Millis,
    /// Whether a window of an interval begins and ends in the time that is wanted.
    pub has_windows: bool,
}

/// Removes the intervals that minutes do not make, and says so.
///
/// # Errors
/// When none is left, or the configured klines are made in another way.
pub(in super::super) fn check(config: &Config, intervals: &mut Vec<Interval>) -> anyhow::Result<()> {
    if !config.klines.fit_candles() {
        anyhow::bail!(
            "minutes from REST open at the previous close and include block trades, which `open` and `block_trades` in \
             [klines] do not: use archives (--files)"
        );
    }
    let short: Vec<String> = intervals.extract_if(.., |it| !is_composable(*it)).map(|it| it.to_string()).collect();
    if !short.is_empty() {
        output::eprint(&format!("{} cannot be composed of minutes: use archives (--files)", short.join(", ")));
    }
    if intervals.is_empty() { Err(anyhow::anyhow!("no interval is left")) } else { Ok(()) }
}

/// Asks for the minutes of what is wanted and passes the klines to `taker`. `oldest` has the earliest start of each interval
/// that is taken.
///
/// # Errors
/// When the exchange refuses the symbol or this address, does not answer, or as `taker` does.
pub(in super::super) fn walk(
    config: &Config,
    wanted: &Wanted,
    oldest: &BTreeMap<Interval, Millis>,
    taker: &mut dyn Taker,
) -> anyhow::Result<Walked> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rest =
        exchange::rest_client(&exchange::wanted(config), exchange::dialer(config)?, Gate::new(LocalClock::start()))?;
    runtime.block_on(async {
        let now = patiently(async || rest.time().await).await.context("asking for the exchange's time")?;
        let settled = now.result.get() - SETTLED_AFTER;
        let until = wanted.to.map_or(settled, |to| settled.min(to + 1));
        let until = until - until.rem_euclid(MINUTE);
        let spans = wanted.intervals.iter().map(|interval| {
            let from = oldest.get(interval).copied().unwrap_or(Millis::MIN).max(wanted.from);
            (*interval, (from, until))
        });
        let mut walk = Walk { rest: &rest, spans: spans.collect(), is_all: wanted.is_all, taker, absent: 0, known: 0 };
        walk.all(wanted, until).await?;
        let is_window =
            |(interval, (from, until)): &(Interval, Span)| interval.next(first_start(*interval, *from)) <= *until;
        Ok(Walked { known: walk.known, until, has_windows: walk.spans.iter().any(is_window) })
    })
}

/// The earliest start and the end of the klines of an interval, the latter not included.
type Span = (Millis, Millis);

struct Walk<'a> {
    rest: &'a RestClient,
    spans: Vec<(Interval, Span)>,
    is_all: bool,
    taker: &'a mut dyn Taker,
    /// Minutes that the exchange does not have.
    absent: u64,
    /// Klines that were not asked for, because they are stored.
    known: u64,
}

impl Walk<'_> {
    async fn all(&mut self, wanted: &Wanted, until: Millis) -> anyhow::Result<()> {
        let Some(from) = self.spans.iter().map(|(interval, (from, _))| first_start(*interval, *from)).min() else {
            return Ok(());
        };
        let first = from - from.rem_euclid(DAY);
        let days = u64::try_from((until - first + DAY - 1).div_euclid(DAY)).unwrap_or(0);
        let mut meter = Meter::start(wanted.what, days * wanted.symbols.len() as u64, Unit::Things("days"));
        let mut done = 0;
        for (category, symbol) in &wanted.symbols {
            let mut composer = Composer::new(*category, symbol, &wanted.intervals);
            let mut klines = Vec::new();
            for day in (first..until).step_by(86_400_000) {
                let span = (day.max(from), (day + DAY).min(until));
                let known = if self.is_all { None } else { self.known(*category, symbol, span)? };
                self.known += known.unwrap_or(0);
                if known.is_none() {
                    let minutes = self.minutes(*category, symbol, span).await;
                    let minutes = minutes.with_context(|| format!("asking for {category} {symbol}"));
                    let minutes = match minutes {
                        Ok(minutes) => minutes,
                        Err(error) => {
                            // What is known so far is not asked for again.
                            self.taker.take(&klines)?;
                            return Err(error);
                        }
                    };
                    minutes.iter().for_each(|minute| composer.add(minute, &mut klines));
                }
                if klines.len() >= BATCH {
                    self.taker.take(&klines)?;
                    klines.clear();
                }
                done += 1;
                meter.set(done);
            }
            self.taker.take(&klines)?;
        }
        meter.finish();
        if self.absent > 0 {
            output::eprint(&format!(
                "the exchange has no candle of {} minutes; windows with them are left out",
                self.absent
            ));
        }
        Ok(())
    }

    /// Returns the candles of a span of whole minutes.
    async fn minutes(&mut self, category: Category, symbol: &Symbol, (from, to): Span) -> anyhow::Result<Vec<Candle>> {
        let mut minutes = Vec::new();
        for start in (from..to).step_by(43_200_000) {
            let last = (start + MINUTES * MINUTE).min(to) - MINUTE;
            let [first, last] = [start, last].map(ExchangeMillis::new);
            let answer =
                patiently(async || self.rest.candles(category, symbol, Grain::Minute, first, last).await).await?;
            minutes.extend(answer.result);
        }
        let wanted = u64::try_from((to - from) / MINUTE).unwrap_or(0);
        self.absent += wanted.saturating_sub(minutes.len() as u64);
        Ok(minutes)
    }

    /// Returns how many klines begin in a span, if those of all windows that touch it are stored with their sums.
    fn known(&self, category: Category, symbol: &Symbol, (from, to): Span) -> anyhow::Result<Option<u64>> {
        let mut known = 0;
        for (interval, (oldest, until)) in &self.spans {
            let mut starts = starts(*interval, interval.start_of(from).max(first_start(*interval, *oldest)), to);
            starts.retain(|start| interval.next(*start) <= *until);
            let (Some(first), Some(last)) = (starts.first(), starts.last()) else { continue };
            let series = SeriesKey { category, symbol: symbol.clone(), interval: *interval };
            let query = Query { series, from: *first, to: *last, limit: usize::MAX, side: Side::Oldest };
            let stored = self.taker.reader().read(&query)?;
            let has_sums = |kline: &&Arc<Kline>| matches!(kline.quality, Quality::Complete | Quality::Repaired);
            if stored.iter().filter(has_sums).count() < starts.len() {
                return Ok(None);
            }
            known += starts.iter().filter(|start| **start >= from).count() as u64;
        }
        Ok(Some(known))
    }
}

/// Returns the first start of a window that is not before `from`.
fn first_start(interval: Interval, from: Millis) -> Millis {
    let start = interval.start_of(from);
    if start == from { start } else { interval.next(start) }
}

/// Returns the starts of windows from `first` on that are before `to`.
fn starts(interval: Interval, first: Millis, to: Millis) -> Vec<Millis> {
    let starts = std::iter::successors(Some(first), |start| Some(interval.next(*start)));
    starts.take_while(|start| *start < to).collect()
}

/// Repeats a request until there is an answer. Refusals for too many requests are waited for, however long they last.
///
/// # Errors
/// If the request is refused for another reason, or fails too often.
async fn patiently<T>(mut ask: impl AsyncFnMut() -> Result<Reply<T>, RestError>) -> anyhow::Result<Reply<T>> {
    let (mut failures, mut pause) = (0, PAUSE);
    loop {
        let error = match ask().await {
            Ok(reply) => return Ok(reply),
            Err(error) => error,
        };
        let wait = match &error {
            RestError::Limited { .. } | RestError::TooFrequent { .. } | RestError::Stopped { .. } => {
                let wait = error.wait().unwrap_or(PAUSE);
                output::eprint(&format!("{error}; waiting {} s", wait.as_secs()));
                wait
            }
            RestError::Forbidden { .. } => return Err(error.into()),
            RestError::Refused { .. } if !error.is_passing() => return Err(error.into()),
            _ => {
                failures += 1;
                if failures >= ATTEMPTS {
                    return Err(error.into());
                }
                pause = (pause * 2).min(MAX_PAUSE);
                pause
            }
        };
        sleep(wait).await;
    }
}
