//! How threads that run strangers' code stand behind those that do not, where cores are short: by rank on Linux, where a
//! thread can have one of its own, and everywhere by giving way.

mod way;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

pub(super) use way::{Call, Deference, Work, at_summons, give_way};

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
    use std::thread;

    use super::*;

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
