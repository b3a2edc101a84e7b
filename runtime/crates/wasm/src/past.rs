//! What a guest may read of the past: the klines of its subscription that are stored, as of its position.
//!
//! A kline is stored a moment after it was published. What was delivered since is therefore added from memory, and what is
//! not delivered yet is left out.

mod read_thread;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::read_thread::ReadThread;
use super::call_time::{CallTime, Overdue};
use klines_delivery::Subscription;
use klines_delivery::filter::Filter;
use klines_delivery::history::{History, HistoryError, NoHistory, Query, Side, Waiting};
use klines_delivery::position::Position;
use klines_delivery::seeded::Seeded;
use klines_domain::kline::Kline;
use klines_domain::series::{SeriesId, SeriesKey};
use klines_domain::time::Millis;

/// The most klines of one answer.
const MAX_KLINES: u32 = 1_000;
/// How long delivered klines are kept in memory. The store has them after a tenth of a second, unless its disk is slow.
const KEPT: Duration = Duration::from_secs(10);
/// The most delivered klines that are kept in memory.
const MAX_KEPT: usize = 65_536;
/// How often an answer is read again, because klines were published while it was read.
const MAX_READS: u32 = 4;

/// The past that the instances of one consumer may read.
#[derive(Clone, Debug)]
pub struct Past {
    /// The klines that are stored.
    pub history: Arc<dyn History>,
    /// What the operator allows the consumer to receive.
    pub allowed: Subscription,
    /// When the past of the run is known; `None` if nothing is waited for.
    pub seeded: Option<Arc<Seeded>>,
}

impl Past {
    /// Returns a past of which nothing can be read; `why` also says what to do about it.
    #[must_use]
    pub fn unknown(why: &'static str) -> Self {
        Self { history: Arc::new(NoHistory(why)), allowed: Subscription::default(), seeded: None }
    }
}

/// What the instances of one consumer share.
#[derive(Debug, Default)]
pub(super) struct SharedPast {
    recent: Recent,
    thread: ReadThread,
}

/// What was delivered to a consumer a moment ago.
#[derive(Debug, Default)]
struct Recent(Mutex<VecDeque<(Instant, Arc<Kline>)>>);

impl Recent {
    /// Adds the confirmed klines of a delivery, and removes those that are stored by now.
    fn add(&self, klines: &[Arc<Kline>]) {
        let (mut kept, now) = (self.0.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        while kept.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > KEPT) {
            kept.pop_front();
        }
        kept.extend(klines.iter().filter(|kline| kline.confirm).map(|kline| (now, kline.clone())));
        let surplus = kept.len().saturating_sub(MAX_KEPT);
        kept.drain(..surplus);
    }

    fn of(&self, series: SeriesId) -> Vec<Arc<Kline>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().filter(|(_, kline)| kline.series == series).map(|(_, kline)| kline.clone()).collect()
    }
}

/// A question of a guest, in terms that are checked.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) series: SeriesKey,
    /// The start of the first window that is not wanted any more.
    pub(super) before: Millis,
    pub(super) limit: u32,
}

/// One instance's access to the past.
#[derive(Debug)]
pub(super) struct PastReader {
    history: Arc<dyn History>,
    /// `None` if the component reads no past.
    shared: Option<Arc<SharedPast>>,
    allowed: Filter,
    /// What the consumer receives; `None` before it has subscribed.
    filter: Option<Filter>,
    /// `None` if it has no queue: then it has received everything.
    position: Option<Arc<Position>>,
    /// Whether the call in progress may read.
    is_open: bool,
    /// The bytes that one answer may take.
    most: usize,
}

impl PastReader {
    pub(super) fn new(past: &Past, shared: Option<Arc<SharedPast>>, most: usize) -> Self {
        Self {
            history: past.history.clone(),
            shared,
            allowed: Filter::new(&past.allowed),
            filter: None,
            position: None,
            is_open: false,
            most,
        }
    }

    /// Takes the position of the consumer.
    pub(super) fn follow(&mut self, position: &Arc<Position>) {
        self.position = Some(position.clone());
    }

    /// Takes what the consumer subscribes to.
    pub(super) fn subscribe(&mut self, wish: &Subscription) {
        self.filter = Some(self.allowed.clone().and(wish));
    }

    /// Begins a call that may read.
    pub(super) fn open(&mut self) {
        self.is_open = true;
    }

    /// Takes note of the delivery of the call that begins.
    pub(super) fn deliver(&self, klines: &[Arc<Kline>]) {
        self.shared.iter().for_each(|shared| shared.recent.add(klines));
    }

    /// Ends a call.
    pub(super) fn close(&mut self) {
        self.is_open = false;
    }

    /// Answers a question within the time of the call. `size` is the size of a kline without its symbol in the guest's
    /// memory. The inner error is for the guest.
    pub(super) fn closed(
        &self,
        question: Question,
        size: usize,
        time: &mut CallTime,
    ) -> Result<Result<Vec<Arc<Kline>>, String>, Overdue> {
        if let Err(problem) = self.check(&question, size) {
            return Ok(Err(problem));
        }
        if question.before <= 0 {
            return Ok(Ok(Vec::new()));
        }
        let Some(shared) = self.shared.clone() else {
            return Ok(Err("this component does not import `history`".to_owned()));
        };
        let (history, position, own) = (self.history.clone(), self.position.clone(), shared.clone());
        let read = move || answer(history.as_ref(), &own.recent, position.as_deref(), &question);
        let answered = time.wait_for_work(shared.thread.run(read))?;
        Ok(answered.map_err(|error| format!("klines of the past cannot be read: {error}")))
    }

    fn check(&self, Question { series, limit, .. }: &Question, size: usize) -> Result<(), String> {
        if !self.is_open {
            return Err("`closed` can be called in `start` and `consume` only".to_owned());
        }
        if !(1..=MAX_KLINES).contains(limit) {
            return Err(format!("the limit is {limit}: ask for 1 to {MAX_KLINES} klines, and again for older ones"));
        }
        if !self.filter.as_ref().is_some_and(|filter| filter.passes_series(series)) {
            let SeriesKey { symbol, interval, .. } = series;
            return Err(format!(
                "this consumer does not receive {symbol} {interval}: subscribe to it in `setup`, and see which symbols and \
                 intervals its configuration allows"
            ));
        }
        let bytes = (size + series.symbol.as_str().len()).saturating_mul(usize::try_from(*limit).unwrap_or(usize::MAX));
        if bytes > self.most {
            let most = self.most;
            return Err(format!(
                "{limit} klines would take {bytes} bytes, and a host call may copy {most} (limits.hostcall_fuel): ask for fewer"
            ));
        }
        Ok(())
    }
}

/// Returns the answer to a question. Blocks.
fn answer(
    history: &dyn History,
    recent: &Recent,
    position: Option<&Position>,
    question: &Question,
) -> Result<Vec<Arc<Kline>>, HistoryError> {
    let Question { series, before, limit } = question;
    let limit = usize::try_from(*limit).unwrap_or(usize::MAX);
    // A series that never had a kline has no id, and nothing of it waits.
    let waiting = || match (position, SeriesId::find(series)) {
        (Some(position), Some(id)) => position.waiting(id),
        _ => Waiting::default(),
    };
    let query = Query { series: series.clone(), from: 0, to: before - 1, limit, side: Side::Newest };
    let mut reads = 0;
    loop {
        // What is stored was put into the queue before.
        let known = waiting();
        let mut stored = history.klines_before(&query, &known)?;
        let now = waiting();
        reads += 1;
        if reads < MAX_READS && stored.iter().any(|kline| now.has(kline.start, kline.revision)) {
            continue;
        }
        stored.retain(|kline| !now.has(kline.start, kline.revision));
        let delivered = SeriesId::find(series).map(|id| recent.of(id)).unwrap_or_default();
        let is_wanted = |kline: &Arc<Kline>| kline.start < *before && !now.has(kline.start, kline.revision);
        return Ok(merged(stored, delivered.into_iter().filter(is_wanted), limit));
    }
}

/// Returns the newest revision of each window, of the last `limit` windows.
fn merged(stored: Vec<Arc<Kline>>, delivered: impl Iterator<Item = Arc<Kline>>, limit: usize) -> Vec<Arc<Kline>> {
    let mut windows: BTreeMap<Millis, Arc<Kline>> = BTreeMap::new();
    for kline in stored.into_iter().chain(delivered) {
        match windows.get(&kline.start) {
            Some(known) if known.revision > kline.revision => {}
            _ => drop(windows.insert(kline.start, kline)),
        }
    }
    let surplus = windows.len().saturating_sub(limit);
    windows.into_values().skip(surplus).collect()
}
