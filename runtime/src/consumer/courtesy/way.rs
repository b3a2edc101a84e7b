//! While consumers of our own have something to do, strangers whose calls are long leave the cores to them.
//!
//! Rank is not enough. Threads that wake up together are put behind each other on a core, and one of them is moved to
//! another core only when that has nothing to do, be it of the lowest rank. So a stranger that is busy looks up when
//! there is work, by the clock that ends its calls, and sleeps until it is done.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::on_core;

/// A call that holds a core for this long is in the way of those that the same klines wake up.
const LONG: Duration = Duration::from_micros(100);
/// How long a stranger gives way at most, and how long it goes on for certain before it does again.
const WAY: Duration = Duration::from_millis(3);
/// How often it looks whether it still has to.
const GLANCE: Duration = Duration::from_micros(200);

static CROSSING: LazyLock<Crossing> =
    LazyLock::new(|| Crossing::new(thread::available_parallelism().map_or(1, usize::from)));

thread_local! {
    /// When this thread last gave way, and to which beginning of work.
    static GAVE: Cell<Option<(Instant, u64)>> = const { Cell::new(None) };
}

type LookUp = dyn Fn() + Send + Sync;

/// Where our own consumers and strangers meet: one a process.
struct Crossing {
    cores: usize,
    /// Consumers of our own that have something to do.
    at_work: AtomicUsize,
    /// How often one of them was given something.
    begun: AtomicU64,
    /// Strangers in a call.
    calls: AtomicUsize,
    /// What makes strangers look up.
    summons: RwLock<Vec<Weak<LookUp>>>,
}

impl Crossing {
    fn new(cores: usize) -> Self {
        let (at_work, begun, calls) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicUsize::new(0));
        Self { cores, at_work, begun, calls, summons: RwLock::default() }
    }

    fn begin(&'static self) -> Work {
        self.at_work.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        // Whoever brings work must not wait: strangers that are not told look up by themselves before long.
        if self.calls.load(Ordering::Relaxed) > 0
            && let Ok(summons) = self.summons.try_read()
        {
            summons.iter().filter_map(Weak::upgrade).for_each(|look_up| look_up());
        }
        Work(self)
    }

    fn enter(&'static self) -> Call {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Call(self)
    }

    /// Whether somebody at work finds no core, with `more` strangers than are in a call.
    fn is_crowded(&self, more: usize) -> bool {
        let at_work = self.at_work.load(Ordering::Relaxed);
        at_work > 0 && at_work + self.calls.load(Ordering::Relaxed) + more > self.cores
    }

    /// Sleeps while our own have something to do and no core for it, but not for long, not twice in a row, and once for
    /// what they were given: one of them that is stuck is nothing to wait for. Returns for how long.
    fn give_way(&self, more: usize) -> Duration {
        if !self.is_crowded(more) {
            return Duration::ZERO;
        }
        let (now, begun) = (Instant::now(), self.begun.load(Ordering::Relaxed));
        if GAVE.get().is_some_and(|(at, to)| to == begun || now.saturating_duration_since(at) < WAY) {
            return Duration::ZERO;
        }
        while self.is_crowded(more) && now.elapsed() < WAY {
            thread::park_timeout(GLANCE);
        }
        GAVE.set(Some((Instant::now(), self.begun.load(Ordering::Relaxed))));
        // What the machine took from it besides is its own loss.
        now.elapsed().min(WAY)
    }
}

/// Has strangers look up from what they do when there is work for our own: `look_up` is called whenever one of them is
/// woken up for it, from the thread that brings it, for as long as it exists.
pub(in super::super) fn at_summons(look_up: &Arc<LookUp>) {
    let mut summons = CROSSING.summons.write().unwrap_or_else(PoisonError::into_inner);
    summons.retain(|known| known.strong_count() > 0);
    summons.push(Arc::downgrade(look_up));
}

/// Gives way in the middle of a call. Returns for how long.
pub(in super::super) fn give_way() -> Duration {
    CROSSING.give_way(0)
}

/// A consumer of our own has something to do, until this is dropped.
pub(in super::super) struct Work(&'static Crossing);

impl Work {
    pub(in super::super) fn begin() -> Self {
        CROSSING.begin()
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Work")
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stranger is in a call, until this is dropped.
pub(in super::super) struct Call(&'static Crossing);

impl Call {
    pub(in super::super) fn begin() -> Self {
        CROSSING.enter()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Lets a consumer whose last call was long begin its next after those that were woken up with it. One that has more to
/// do than time for it does not wait.
#[derive(Debug, Default)]
pub(in super::super) struct Deference {
    is_long: bool,
    begun: Duration,
}

impl Deference {
    /// Lets others go first, having slept for so long.
    pub(in super::super) fn give_way(&self, slept: Duration) {
        if self.is_long && slept > WAY {
            CROSSING.give_way(1);
        }
    }

    /// Begins a call.
    pub(in super::super) fn begin(&mut self) {
        self.begun = on_core();
    }

    /// Ends it.
    pub(in super::super) fn end(&mut self) {
        self.is_long = on_core().saturating_sub(self.begun) >= LONG;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crossing(cores: usize) -> &'static Crossing {
        GAVE.set(None);
        Box::leak(Box::new(Crossing::new(cores)))
    }

    #[test]
    fn a_stranger_gives_way_to_work_that_finds_no_core_and_to_nothing_else() {
        let crossing = crossing(2);
        let _call = crossing.enter();
        assert_eq!(crossing.give_way(0), Duration::ZERO);
        let work = crossing.begin();
        assert_eq!(crossing.give_way(0), Duration::ZERO, "there is a core for each");
        let more = crossing.begin();
        assert_eq!(crossing.give_way(0), WAY);
        drop((work, more));
        GAVE.set(None);
        assert_eq!(crossing.give_way(0), Duration::ZERO);
    }

    #[test]
    fn one_that_is_stuck_is_given_way_to_once() {
        let crossing = crossing(1);
        let (_call, _stuck) = (crossing.enter(), crossing.begin());
        assert_eq!(crossing.give_way(0), WAY);
        // As if that were long ago.
        GAVE.set(GAVE.get().map(|(at, to)| (at.checked_sub(WAY * 2).unwrap(), to)));
        assert_eq!(crossing.give_way(0), Duration::ZERO);
        let _work = crossing.begin();
        assert_eq!(crossing.give_way(0), WAY);
    }

    #[test]
    fn a_stranger_goes_on_between_work_and_work() {
        let crossing = crossing(1);
        let (_call, _work) = (crossing.enter(), crossing.begin());
        // As if it were giving way at this moment: however long the test is kept waiting, that is in the future.
        GAVE.set(Some((Instant::now() + Duration::from_secs(3_600), 0)));
        assert_eq!(crossing.give_way(0), Duration::ZERO);
    }

    #[test]
    fn strangers_in_calls_look_up_whenever_work_begins() {
        let crossing = crossing(2);
        let looked = Arc::new(AtomicUsize::new(0));
        let count = looked.clone();
        let look_up: Arc<LookUp> = Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        crossing.summons.write().unwrap().push(Arc::downgrade(&look_up));
        drop(crossing.begin());
        assert_eq!(looked.load(Ordering::Relaxed), 0, "there is nobody");
        let _call = crossing.enter();
        let _work = (crossing.begin(), crossing.begin());
        assert_eq!(looked.load(Ordering::Relaxed), 2);
        drop(look_up);
        drop(crossing.begin());
        assert_eq!(looked.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_call_is_long_by_its_time_on_a_core() {
        let mut deference = Deference::default();
        deference.begin();
        while on_core() - deference.begun < LONG {
            std::hint::black_box(0);
        }
        deference.end();
        assert!(deference.is_long);
        // As if the call had not begun yet: it holds no core.
        deference.begun = on_core() + Duration::from_secs(3_600);
        deference.end();
        assert!(!deference.is_long);
    }
}
