//! How threads that run strangers' code stand behind those that do not, where cores are short: by rank on Linux, where a
//! thread can have one of its own, and everywhere by giving way.

use std::mem;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A call that holds a core for this long is in the way of those that the same klines wake up.
const LONG: Duration = Duration::from_micros(100);
/// What a consumer with such calls gives way for: the others are done by then, unless they wait for something.
const WAY: Duration = Duration::from_millis(3);

static CROWD: LazyLock<Crowd> = LazyLock::new(|| Crowd {
    cores: thread::available_parallelism().map_or(1, usize::from),
    long: AtomicUsize::new(0),
});

/// Those that run strangers' code in this process.
#[derive(Debug)]
struct Crowd {
    cores: usize,
    /// Consumers whose last call was long.
    long: AtomicUsize,
}

/// Lets a consumer whose calls are long begin after those that were woken up with it, where there are as many such as
/// cores. The scheduler would let it go first as often as not, whatever its rank, and then for a whole slice.
#[derive(Debug)]
pub(super) struct Deference {
    crowd: &'static Crowd,
    is_long: bool,
    begun: Duration,
}

impl Default for Deference {
    fn default() -> Self {
        Self { crowd: &CROWD, is_long: false, begun: Duration::ZERO }
    }
}

impl Deference {
    /// How long to wait before the next call after `slept` without any, for those that were woken up with this thread. One
    /// that has more to do than time for it never waits.
    pub(super) fn wait(&self, slept: Duration) -> Option<Duration> {
        let is_crowded = self.crowd.long.load(Ordering::Relaxed) >= self.crowd.cores;
        (self.is_long && is_crowded && slept > WAY).then_some(WAY)
    }

    /// Begins a call.
    pub(super) fn begin(&mut self) {
        self.begun = on_core();
    }

    /// Ends it.
    pub(super) fn end(&mut self) {
        self.note(on_core().saturating_sub(self.begun) >= LONG);
    }

    /// Is in nobody's way until the next call: its consumer rests.
    pub(super) fn rest(&mut self) {
        self.note(false);
    }

    fn note(&mut self, is_long: bool) {
        match (mem::replace(&mut self.is_long, is_long), is_long) {
            (false, true) => self.crowd.long.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.crowd.long.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
    }
}

impl Drop for Deference {
    fn drop(&mut self) {
        self.rest();
    }
}

/// What this thread has had of a core in its life.
pub(super) fn on_core() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(target_os = "linux")]
mod linux {
    use rustix::process::nice;
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
        thread_native_id, thread_schedule_policy,
    };

    /// How much nicer than others: at 10 it gets a tenth of a core that both want.
    const NICER: i32 = 10;
    const IDLE: ThreadSchedulePolicy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);

    pub fn behind_others() {
        if let Err(error) = nice(NICER) {
            tracing::debug!(%error, "a stranger's thread could not be put behind others");
        }
    }

    pub fn aside() -> bool {
        // The policy is set first; what can fail after that is the niceness, which the policy makes meaningless.
        let set = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, IDLE);
        let is_aside = thread_schedule_policy().is_ok_and(|policy| policy == IDLE);
        if let (false, Err(error)) = (is_aside, set) {
            tracing::debug!(?error, "a stranger's thread could not be put aside");
        }
        is_aside
    }
}

/// Lets this thread have less than others when cores are short: a tenth of one that both want.
pub fn behind_others() {
    #[cfg(target_os = "linux")]
    linux::behind_others();
}

/// Lets this thread have only what all others leave, for good: whoever wakes up beside it does not wait for it. Returns
/// whether it does now.
pub fn aside() -> bool {
    #[cfg(target_os = "linux")]
    return linux::aside();
    #[cfg(not(target_os = "linux"))]
    false
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    fn of_two_cores() -> &'static Crowd {
        Box::leak(Box::new(Crowd { cores: 2, long: AtomicUsize::new(0) }))
    }

    fn call(turn: &mut Deference, length: Duration) {
        turn.begin();
        while on_core() - turn.begun < length {
            black_box(0);
        }
        turn.end();
    }

    #[test]
    fn long_calls_give_way_where_as_many_want_a_core_as_there_are() {
        let crowd = of_two_cores();
        let turn = || Deference { crowd, ..Deference::default() };
        let (mut long, mut other, short) = (turn(), turn(), turn());
        call(&mut long, LONG);
        assert_eq!(long.wait(WAY * 2), None, "there is a core for the others");
        call(&mut other, LONG);
        assert_eq!(long.wait(WAY * 2), Some(WAY));
        assert_eq!(long.wait(WAY), None, "it is behind with its work");
        assert_eq!(short.wait(WAY * 2), None);
        drop(other);
        assert_eq!(long.wait(WAY * 2), None, "one is gone");
    }

    #[test]
    fn a_call_that_is_short_again_counts_no_more() {
        let crowd = of_two_cores();
        let mut turns: [_; 3] = std::array::from_fn(|_| Deference { crowd, ..Deference::default() });
        turns.iter_mut().for_each(|turn| turn.note(true));
        turns[0].note(false);
        turns[0].rest();
        turns[1].note(true);
        assert_eq!(crowd.long.load(Ordering::Relaxed), 2);
        assert_eq!((turns[0].wait(WAY * 2), turns[1].wait(WAY * 2)), (None, Some(WAY)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_can_be_put_aside_whoever_it_belongs_to() {
        let thread = thread::spawn(|| {
            behind_others();
            aside()
        });
        assert!(thread.join().unwrap());
    }
}
