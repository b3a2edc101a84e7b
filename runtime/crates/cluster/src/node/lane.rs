//! What a node sends for one partition: first its last minute, if Redis is another one than before, then new klines. One
//! call at a time is on its way, so that the klines of a series arrive in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use klines_domain::mutants::Mutant;

use crate::library::Written;
use crate::tail::Tail;
use crate::version::{Given, Identity, MAX_KLINES, Version};

/// How long a call that Redis could not take waits until it is repeated.
const PAUSE: Duration = Duration::from_millis(100);

/// The state of one partition.
#[derive(Debug, Default)]
pub struct Lane {
    /// Whether a call is on its way.
    is_busy: bool,
    not_before: Duration,
    /// The epoch that the last answer named; 0 before the first.
    epoch: u64,
    /// The Redis that knows the last minute of this node.
    synced: Option<Arc<str>>,
    tail: Tail,
    resending: Option<Resending>,
    /// Whether the last minute was sent again because Redis waits for somebody: that can be this node.
    has_waited: bool,
}

/// The last minute while it is sent again.
#[derive(Debug)]
struct Resending {
    replication: Arc<str>,
    parts: VecDeque<Vec<Given>>,
    /// What was answered so far, which replaces the tail at the end.
    answered: Tail,
}

/// What is sent next.
#[derive(Clone, Debug)]
pub enum Next {
    /// A part of the last minute.
    Resend {
        /// The last epoch that the node knows.
        epoch: u64,
        /// The klines.
        klines: Vec<Given>,
    },
    /// New klines.
    Append(Vec<(Identity, Version)>),
}

impl Lane {
    /// Returns what is sent next to a Redis, and expects its answer. `new` returns the klines that wait.
    pub fn next(
        &mut self,
        replication: &Arc<str>,
        now: Duration,
        new: impl FnOnce() -> Vec<(Identity, Version)>,
    ) -> Option<Next> {
        if self.is_busy || now < self.not_before {
            return None;
        }
        let next = if self.synced.as_ref() == Some(replication) {
            let klines = new();
            (!klines.is_empty()).then_some(Next::Append(klines))
        } else {
            Some(Next::Resend { epoch: self.epoch, klines: self.part(replication) })
        };
        self.is_busy = next.is_some();
        next
    }

    /// Returns the part of the last minute that is sent next; at least one is sent, which may be empty.
    fn part(&mut self, replication: &Arc<str>) -> Vec<Given> {
        let is_new = self.resending.as_ref().is_none_or(|resending| resending.replication != *replication);
        if is_new {
            let mut last = self.tail.resend();
            last.retain(|_| !Mutant::ResendSkipped.is_made());
            let parts = last.chunks(MAX_KLINES).map(<[Given]>::to_vec).collect();
            self.resending = Some(Resending { replication: replication.clone(), parts, answered: Tail::default() });
        }
        let parts = self.resending.as_ref().map(|resending| &resending.parts);
        parts.and_then(VecDeque::front).cloned().unwrap_or_default()
    }

    /// Takes the answer for new klines.
    pub fn appended(&mut self, klines: &[(Identity, Version)], written: &Written, now: Duration) {
        (self.is_busy, self.epoch, self.has_waited) = (false, written.epoch, false);
        for ((identity, version), outcome) in klines.iter().zip(&written.outcomes) {
            self.tail.note(identity, version, *outcome, now);
        }
    }

    /// Takes the answer for a part of the last minute.
    pub fn resent(&mut self, klines: &[Given], written: &Written, now: Duration) {
        (self.is_busy, self.epoch) = (false, written.epoch);
        let Some(resending) = &mut self.resending else { return };
        for (given, outcome) in klines.iter().zip(&written.outcomes) {
            resending.answered.note(&given.kline.identity, &given.kline.version, *outcome, now);
        }
        resending.parts.pop_front();
        if resending.parts.is_empty()
            && let Some(done) = self.resending.take()
        {
            (self.tail, self.synced) = (done.answered, Some(done.replication));
        }
    }

    /// Redis has refused the call for now, or did not answer: it is repeated after a pause.
    pub fn failed(&mut self, now: Duration) {
        (self.is_busy, self.not_before) = (false, now + PAUSE);
    }

    /// Redis waits until a node has sent its last minute again. If it has forgotten who did, that is this one.
    pub fn waits(&mut self, now: Duration) {
        self.failed(now);
        if !self.has_waited {
            (self.has_waited, self.synced) = (true, None);
        }
    }

    /// This Redis does not know what was sent before.
    pub fn must_resend(&mut self) {
        (self.is_busy, self.synced) = (false, None);
    }

    /// Forgets answers that are older than a minute.
    pub fn forget(&mut self, now: Duration) {
        self.tail.forget(now);
    }
}

#[cfg(test)]
mod tests {
    use klines_domain::kline::Quality;

    use super::*;
    use crate::model::ledger::{Outcome, Status};
    use crate::version::{Bucket, Class, Digest};

    fn kline(start: u64) -> (Identity, Version) {
        let bucket = Bucket::of(Class::Long, start);
        let identity = Identity { series: "linear BTCUSDT 1m".to_owned(), start, bucket };
        let version = Version { digest: Digest([0; 16]), quality: Quality::Complete, trades: 0, body: "b".to_owned() };
        (identity, version)
    }

    fn written(count: u64) -> Written {
        let outcome = |sequence| Outcome { status: Status::Published, revision: 0, sequence };
        Written { now: 0, epoch: 7, entry: None, outcomes: (1..=count).map(outcome).collect() }
    }

    /// Sends what is next, and returns it as the number of klines; `true` for those that are sent again.
    fn send(lane: &mut Lane, replication: &str, new: u64) -> Option<(bool, usize)> {
        let new = || (0..new).map(kline).collect();
        match lane.next(&Arc::from(replication), Duration::ZERO, new)? {
            Next::Resend { klines, .. } => {
                let count = klines.len();
                lane.resent(&klines, &written(count as u64), Duration::ZERO);
                Some((true, count))
            }
            Next::Append(klines) => {
                let count = klines.len();
                lane.appended(&klines, &written(count as u64), Duration::ZERO);
                Some((false, count))
            }
        }
    }

    #[test]
    fn the_last_minute_comes_first_whenever_redis_is_another_one() {
        let mut lane = Lane::default();
        assert_eq!(send(&mut lane, "r1", 600), Some((true, 0)));
        assert_eq!(send(&mut lane, "r1", 600), Some((false, 600)));
        assert_eq!(send(&mut lane, "r1", 0), None);
        assert_eq!(send(&mut lane, "r2", 1), Some((true, MAX_KLINES)));
        assert_eq!(send(&mut lane, "r2", 1), Some((true, 600 - MAX_KLINES)));
        assert_eq!(send(&mut lane, "r2", 1), Some((false, 1)));
        lane.must_resend();
        // One of them, with sequence 1, is another kline's answer by now.
        assert_eq!(send(&mut lane, "r2", 1), Some((true, MAX_KLINES)));
    }

    #[test]
    fn while_redis_waits_the_last_minute_is_sent_once_more() {
        let mut lane = Lane::default();
        assert_eq!(send(&mut lane, "r1", 5), Some((true, 0)));
        assert_eq!(send(&mut lane, "r1", 5), Some((false, 5)));
        let next = |lane: &mut Lane, at| lane.next(&Arc::from("r1"), at, || vec![kline(9)]);
        assert!(matches!(next(&mut lane, PAUSE), Some(Next::Append(_))));
        lane.waits(PAUSE);
        let Some(Next::Resend { klines, .. }) = next(&mut lane, 2 * PAUSE) else { panic!("not sent again") };
        assert_eq!(klines.len(), 5);
        lane.resent(&klines, &written(5), 2 * PAUSE);
        assert!(matches!(next(&mut lane, 2 * PAUSE), Some(Next::Append(_))));
        lane.waits(2 * PAUSE);
        assert!(matches!(next(&mut lane, 3 * PAUSE), Some(Next::Append(_))), "once is enough");
    }

    #[test]
    fn one_call_is_on_its_way_and_one_that_failed_is_repeated_after_a_pause() {
        let (mut lane, replication) = (Lane::default(), Arc::from("r1"));
        assert!(lane.next(&replication, Duration::ZERO, Vec::new).is_some());
        assert!(lane.next(&replication, Duration::ZERO, Vec::new).is_none());
        lane.failed(Duration::ZERO);
        assert!(lane.next(&replication, Duration::ZERO, Vec::new).is_none());
        assert!(lane.next(&replication, PAUSE, Vec::new).is_some());
    }
}
