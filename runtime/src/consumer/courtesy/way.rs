//! While consumers of our own have something to do, strangers whose calls are long leave the cores to them.
//!
//! Rank is not enough. Threads that wake up together are put behind each other on a core, and one of them is moved to
//! another core only when that has nothing to do, be it of the lowest rank. So a stranger that is busy looks up when
//! there is work, by the clock that ends its calls, and sleeps until it is done.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::on_core;

/// A call that holds a core for this long is in the way of those that the same klines wake up.
const LONG: Duration = Duration::from_micros(100);
/// How long a stranger gives way at most, and how long it goes on for certain before it does again.
const WAY: Duration = Duration::from_millis(3);
/// How often it looks whether it still has to.
const GLANCE: Duration = Duration::from_micros(200);

static CROSSING: Crossing = Crossing::new();

type LookUp = dyn Fn() + Send + Sync;

/// Where our own consumers and strangers meet: one a process.
#[derive(Default)]
struct Crossing {
    /// Consumers of our own that have something to do.
    at_work: AtomicUsize,
    /// What makes strangers look up.
    summons: RwLock<Vec<Weak<LookUp>>>,
}

impl Crossing {
    const fn new() -> Self {
        Self { at_work: AtomicUsize::new(0), summons: RwLock::new(Vec::new()) }
    }

    fn begin(&'static self) -> Work {
        if self.at_work.fetch_add(1, Ordering::Relaxed) == 0
            // Whoever brings work must not wait: strangers that are not told look up by themselves before long.
            && let Ok(summons) = self.summons.try_read()
        {
            summons.iter().filter_map(Weak::upgrade).for_each(|look_up| look_up());
        }
        Work(self)
    }

    fn is_busy(&self) -> bool {
        self.at_work.load(Ordering::Relaxed) > 0
    }
}

/// Has strangers look up from what they do when there is work for our own: `look_up` is called whenever that begins, from
/// the thread that brings it, for as long as it exists.
pub(in super::super) fn at_summons(look_up: &Arc<LookUp>) {
    let mut summons = CROSSING.summons.write().unwrap_or_else(PoisonError::into_inner);
    summons.retain(|known| known.strong_count() > 0);
    summons.push(Arc::downgrade(look_up));
}

/// A consumer of our own has something to do, until this is dropped.
pub(in super::super) struct Work(&'static Crossing);

impl Work {
    pub(in super::super) fn begin() -> Self {
        CROSSING.begin()
    }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Work")
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One stranger's way of giving way: never more than half of its time.
pub(in super::super) struct Way {
    crossing: &'static Crossing,
    gave: Option<Instant>,
}

impl Way {
    pub(in super::super) const fn new() -> Self {
        Self { crossing: &CROSSING, gave: None }
    }

    /// Sleeps while our own have something to do, but not for long and not twice in a row. Returns for how long.
    pub(in super::super) fn give(&mut self) -> Duration {
        if !self.crossing.is_busy() {
            return Duration::ZERO;
        }
        let begun = Instant::now();
        if self.gave.is_some_and(|gave| begun.saturating_duration_since(gave) < WAY) {
            return Duration::ZERO;
        }
        while self.crossing.is_busy() && begun.elapsed() < WAY {
            thread::park_timeout(GLANCE);
        }
        self.gave = Some(Instant::now());
        begun.elapsed()
    }
}

impl std::fmt::Debug for Way {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Way").field("gave", &self.gave).finish_non_exhaustive()
    }
}

/// Lets a consumer whose last call was long begin its next after those that were woken up with it.
#[derive(Debug)]
pub(in super::super) struct Deference {
    way: Way,
    is_long: bool,
    begun: Duration,
}

impl Deference {
    pub(in super::super) const fn new() -> Self {
        Self { way: Way::new(), is_long: false, begun: Duration::ZERO }
    }

    /// Begins a call, when it is this one's turn.
    pub(in super::super) fn begin(&mut self) {
        if self.is_long {
            self.way.give();
        }
        self.begun = on_core();
    }

    /// Ends it.
    pub(in super::super) fn end(&mut self) {
        self.is_long = on_core().saturating_sub(self.begun) >= LONG;
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    fn crossing() -> &'static Crossing {
        Box::leak(Box::default())
    }

    #[test]
    fn a_stranger_gives_way_to_work_and_to_nothing_else() {
        let crossing = crossing();
        let mut way = Way { crossing, gave: None };
        assert_eq!(way.give(), Duration::ZERO);
        let (work, more) = (crossing.begin(), crossing.begin());
        drop(work);
        assert!(way.give() >= WAY, "there is still work");
        drop(more);
        way.gave = None;
        assert_eq!(way.give(), Duration::ZERO);
    }

    #[test]
    fn a_stranger_goes_on_beside_work_that_does_not_end() {
        let crossing = crossing();
        let _work = crossing.begin();
        // As if it were giving way at this moment: however long the test is kept waiting, that is in the future.
        let mut way = Way { crossing, gave: Some(Instant::now() + Duration::from_secs(3_600)) };
        assert_eq!(way.give(), Duration::ZERO);
        assert!(Way { crossing, gave: None }.give() >= WAY);
    }

    #[test]
    fn strangers_look_up_when_work_begins_and_as_long_as_they_are_there() {
        let crossing = crossing();
        let looked = Arc::new(AtomicUsize::new(0));
        let count = looked.clone();
        let look_up: Arc<LookUp> = Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        crossing.summons.write().unwrap().push(Arc::downgrade(&look_up));
        let work = (crossing.begin(), crossing.begin());
        assert_eq!(looked.load(Ordering::Relaxed), 1, "once for all that comes at the same time");
        drop(work);
        drop(crossing.begin());
        assert_eq!(looked.load(Ordering::Relaxed), 2);
        drop(look_up);
        drop(crossing.begin());
        assert_eq!(looked.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn only_long_calls_let_others_go_first() {
        let crossing = crossing();
        let mut deference = Deference { way: Way { crossing, gave: None }, ..Deference::new() };
        let _work = crossing.begin();
        deference.begin();
        assert!(deference.way.gave.is_none(), "nothing is known of it yet");
        while on_core() - deference.begun < LONG {
            black_box(0);
        }
        deference.end();
        deference.begin();
        assert!(deference.way.gave.take().is_some());
        // As if the call had not begun yet: it holds no core.
        deference.begun = on_core() + Duration::from_secs(3_600);
        deference.end();
        deference.begin();
        assert!(deference.way.gave.is_none());
    }
}
