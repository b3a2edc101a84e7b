//! CPU time for untrusted code: its threads rank below all others where cores are short.

use std::cell::Cell;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

thread_local! {
    /// Whether this thread has the lowest rank, which is for good: only a privileged one could come back.
    static IS_LOWEST: Cell<bool> = const { Cell::new(false) };
}

/// Returns this thread's time on a core since it began.
pub fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(target_os = "linux")]
mod linux {
    use rustix::process::setpriority_process;
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
        thread_native_id, thread_schedule_policy,
    };

    /// How much nicer than others: at 10 it gets a tenth of a core that both want.
    const NICER: i32 = 10;
    const IDLE: ThreadSchedulePolicy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);

    pub fn rank_low() {
        // Of the calling thread, on Linux. What it has from the thread that started it does not count.
        if let Err(error) = setpriority_process(None, NICER) {
            tracing::debug!(%error, "an untrusted thread cannot be ranked below others");
        }
    }

    pub fn rank_lowest() -> bool {
        // The policy is set first; what can fail after that is the niceness, which the policy makes meaningless.
        let set = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, IDLE);
        let is_lowest = thread_schedule_policy().is_ok_and(|policy| policy == IDLE);
        if let (false, Err(error)) = (is_lowest, set) {
            tracing::debug!(?error, "an untrusted thread cannot be given the lowest rank");
        }
        is_lowest
    }
}

/// Ranks this thread below others where cores are short: it gets a tenth of one that both want.
pub fn rank_low() {
    #[cfg(target_os = "linux")]
    linux::rank_low();
}

/// Gives this thread only what all others leave, for good: a thread that wakes up does not wait for it. Returns whether
/// the system does so.
pub fn rank_lowest() -> bool {
    IS_LOWEST.set(true);
    #[cfg(target_os = "linux")]
    return linux::rank_lowest();
    #[cfg(not(target_os = "linux"))]
    false
}

/// Returns whether [`rank_lowest`] was called in this thread.
pub fn is_lowest() -> bool {
    IS_LOWEST.get()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_can_be_given_the_lowest_rank_whoever_owns_it() {
        let thread = thread::spawn(|| {
            rank_low();
            (rank_lowest(), is_lowest())
        });
        assert_eq!(thread.join().unwrap(), (true, true));
        assert!(!is_lowest());
    }
}
