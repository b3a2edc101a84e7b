//! What a node was answered for its klines in the last minute. A failover of Redis is asynchronous and may lose as much:
//! after every connect, a node sends this first.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::model::ledger::{Outcome, Status};
use crate::version::{Given, Identity, Published, Version};

/// How long answers are kept.
pub const SPAN: Duration = Duration::from_secs(60);
/// The maximum number of kept answers; the oldest is forgotten first. All series of a large exchange close at midnight.
pub const MAX_GIVEN: usize = 65_536;

/// The newest answers of one partition, in the order in which they are sent again.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    answers: BTreeMap<Key, (Duration, Given)>,
    /// When each answer came, oldest first; those that came again since are there more than once.
    times: VecDeque<(Duration, Key)>,
}

/// What an answer replaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// An own version that was published: series and sequence. In this order, each can be restored after the one before.
    Own(String, u64),
    /// A kline for which another node's version was published: of these answers, the newest is of use.
    Kept(Identity),
}

impl Tail {
    /// Keeps the answer for a version. A version that was too old has none.
    pub fn note(&mut self, identity: &Identity, version: &Version, outcome: Outcome, now: Duration) {
        if outcome.status == Status::Old {
            return;
        }
        let own = matches!(outcome.status, Status::Published | Status::Same);
        let (revision, sequence) = (outcome.revision, outcome.sequence);
        if own {
            // The node's newest version has to come last.
            self.answers.remove(&Key::Kept(identity.clone()));
        }
        let key = if own { Key::Own(identity.series.clone(), sequence) } else { Key::Kept(identity.clone()) };
        let kline = Published { identity: identity.clone(), version: version.clone(), revision, sequence };
        self.answers.insert(key.clone(), (now, Given { kline, own }));
        self.times.push_back((now, key));
        self.forget(now);
    }

    /// Forgets what is older than a minute.
    pub fn forget(&mut self, now: Duration) {
        while self.times.len() > MAX_GIVEN || self.times.front().is_some_and(|(at, _)| *at + SPAN < now) {
            let Some((at, key)) = self.times.pop_front() else { return };
            if self.answers.get(&key).is_some_and(|(newest, _)| *newest == at) {
                self.answers.remove(&key);
            }
        }
    }

    /// Returns what has to be sent again: own published versions, each series in the order of its sequences, then those
    /// in whose place another node's was published.
    #[must_use]
    pub fn resend(&self) -> Vec<Given> {
        self.answers.values().map(|(_, given)| given.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use klines_domain::kline::Quality;

    use super::*;
    use crate::version::{Bucket, Class, Digest};

    fn note(tail: &mut Tail, (series, start): (&str, u64), (status, sequence): (Status, u64), second: u64) {
        let identity = Identity { series: series.to_owned(), start, bucket: Bucket::of(Class::Long, start) };
        let version = Version { digest: Digest([1; 16]), quality: Quality::Complete, trades: 1, body: "b".to_owned() };
        tail.note(&identity, &version, Outcome { status, revision: 0, sequence }, Duration::from_secs(second));
    }

    fn sequences(tail: &Tail) -> Vec<(String, u64, bool)> {
        tail.resend().into_iter().map(|given| (given.kline.identity.series, given.kline.sequence, given.own)).collect()
    }

    #[test]
    fn own_versions_come_first_in_order_and_of_the_others_the_newest() {
        let mut tail = Tail::default();
        note(&mut tail, ("b", 1), (Status::Kept, 1), 0);
        note(&mut tail, ("b", 2), (Status::Same, 3), 1);
        note(&mut tail, ("a", 1), (Status::Published, 1), 2);
        note(&mut tail, ("b", 1), (Status::Conflict, 2), 3);
        note(&mut tail, ("b", 3), (Status::Old, 0), 4);
        let expected = [("a", 1, true), ("b", 3, true), ("b", 2, false)];
        assert_eq!(sequences(&tail), expected.map(|(series, sequence, own)| (series.to_owned(), sequence, own)));
    }

    #[test]
    fn answers_are_forgotten_after_a_minute() {
        let mut tail = Tail::default();
        note(&mut tail, ("a", 1), (Status::Published, 1), 0);
        note(&mut tail, ("a", 2), (Status::Published, 2), 61);
        assert_eq!(sequences(&tail), [("a".to_owned(), 2, true)]);
        tail.forget(Duration::from_secs(200));
        assert_eq!(sequences(&tail), []);
    }
}
