//! CPU priority of untrusted code: its threads get less than all others when cores are short.

use std::cell::Cell;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

thread_local! {
    /// Whether this thread has the lowest priority. It keeps it: only a privileged thread could raise it again.
    static IS_LOWEST: Cell<bool> = const { Cell::new(false) };
}

/// Returns the CPU time of this thread since it started.
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

    /// Niceness: at 10 a thread gets a tenth of a core for which it competes with a normal one.
    const NICER: i32 = 10;
    const IDLE: ThreadSchedulePolicy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);

    pub fn rank_low() {
        // On Linux this sets the niceness of the calling thread alone, whatever it inherited.
        if let Err(error) = setpriority_process(None, NICER) {
            tracing::debug!(%error, "the priority of an untrusted thread cannot be lowered");
        }
    }

    pub fn rank_lowest() -> bool {
        // The policy is set first. After that only setting the niceness can fail, which this policy ignores.
        let set = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, IDLE);
        let is_lowest = thread_schedule_policy().is_ok_and(|policy| policy == IDLE);
        if let (false, Err(error)) = (is_lowest, set) {
            tracing::debug!(?error, "an untrusted thread cannot get the lowest priority");
        }
        is_lowest
    }
}

/// Lowers the priority of this thread: it gets a tenth of a core for which it competes with a normal thread.
pub fn rank_low() {
    #[cfg(target_os = "linux")]
    linux::rank_low();
}

/// Gives this thread the lowest priority until it ends: it runs only on idle cores, and a thread that wakes up does not
/// wait for it. Returns whether the system supports this.
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
    fn any_user_can_give_a_thread_the_lowest_priority() {
        let thread = thread::spawn(|| {
            rank_low();
            (rank_lowest(), is_lowest())
        });
        assert_eq!(thread.join().unwrap(), (true, true));
        assert!(!is_lowest());
    }
}
