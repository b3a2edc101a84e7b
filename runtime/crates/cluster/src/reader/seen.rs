//! Which klines a reader has handed on: after a failover, and when it goes on after a restart, it reads some of them again.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use klines_domain::kline::Kline;
use klines_domain::series::{SeriesId, SeriesKey};
use klines_domain::time::Millis;

/// How long klines are remembered. Nodes send their last minute again, and a reader goes back two.
const SPAN: Duration = Duration::from_secs(300);
/// The maximum number of klines that are remembered; the oldest is forgotten first.
const MOST: usize = 1 << 20;

/// What a kline is for a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was not handed on before.
    New {
        /// The number of sequences that are missing before it.
        missing: u64,
    },
    /// It was handed on before.
    Repeated,
    /// Another content was handed on under its revision.
    Conflicting,
}

/// A window and its revision.
type Identity = (SeriesId, Millis, u32);

/// What was handed on.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The last sequence of each series of earlier runs, until the first kline of this run.
    earlier: BTreeMap<SeriesKey, u64>,
    /// The last sequence of each series, and its epoch.
    last: HashMap<SeriesId, (u64, u64)>,
    /// The start of the newest closed window of each series.
    closed: HashMap<SeriesId, Millis>,
    recent: HashMap<Identity, Kline>,
    times: VecDeque<(Duration, Identity)>,
}

impl Seen {
    pub(crate) fn new(earlier: BTreeMap<SeriesKey, u64>) -> Self {
        Self { earlier, ..Self::default() }
    }

    /// Judges a kline that was read, and remembers it if it is new.
    pub(crate) fn judge(&mut self, kline: &Kline, epoch: u64, now: Duration) -> Verdict {
        let identity = (kline.series, kline.start, kline.revision);
        let closed = self.closed.entry(kline.series).or_insert(kline.start);
        *closed = kline.start.max(*closed);
        if let Some(known) = self.recent.get(&identity) {
            let is_same = Kline { sequence: known.sequence, emitted: known.emitted, ..kline.clone() } == *known;
            if is_same {
                // Restored after a failover; its sequence may be a later one.
                self.advance(kline.series, kline.sequence, epoch);
            }
            return if is_same { Verdict::Repeated } else { Verdict::Conflicting };
        }
        let last = match self.last.get(&kline.series) {
            Some(last) => Some(*last),
            None => self.earlier.remove(&*kline.series).map(|last| (last, epoch)),
        };
        // Epochs grow, and what was published in an earlier one lies before: a reader that goes back reads it again.
        if let Some((last, known)) = last
            && (epoch < known || (epoch == known && kline.sequence <= last))
        {
            self.last.insert(kline.series, (last, known));
            return Verdict::Repeated;
        }
        let missing = last.map_or(0, |(last, _)| kline.sequence.saturating_sub(last + 1));
        self.advance(kline.series, kline.sequence, epoch);
        self.recent.insert(identity, kline.clone());
        self.times.push_back((now, identity));
        Verdict::New { missing }
    }

    /// Returns an update of an open window as it is handed on, with the sequence that its kline will have; `None` if the window
    /// is closed already.
    pub(crate) fn update(&self, update: &Kline) -> Option<Kline> {
        let is_open = self.closed.get(&update.series).is_none_or(|closed| update.start > *closed);
        let sequence = self.last.get(&update.series).map_or(0, |(last, _)| *last) + 1;
        is_open.then(|| Kline { sequence, ..update.clone() })
    }

    /// Forgets what is old.
    pub(crate) fn forget(&mut self, now: Duration) {
        while self.times.len() > MOST || self.times.front().is_some_and(|(at, _)| *at + SPAN < now) {
            if let Some((_, identity)) = self.times.pop_front() {
                self.recent.remove(&identity);
            }
        }
    }

    fn advance(&mut self, series: SeriesId, sequence: u64, epoch: u64) {
        let last = self.last.entry(series).or_insert((sequence, epoch));
        *last = if last.1 == epoch { (last.0.max(sequence), epoch) } else { (sequence, epoch) };
    }
}

#[cfg(test)]
mod tests {
    use klines_delivery::fixture;

    use super::*;

    fn kline(minute: i64, revision: u32, sequence: u64) -> Kline {
        Kline { revision, sequence, ..fixture::kline("BTCUSDT", "1m", minute, true) }
    }

    const NEW: Verdict = Verdict::New { missing: 0 };

    #[test]
    fn klines_of_an_earlier_run_and_repeated_ones_are_not_handed_on_again() {
        let key = (*kline(0, 0, 0).series).clone();
        let mut seen = Seen::new(BTreeMap::from([(key, 6)]));
        let verdicts = [(0, 5), (1, 6), (2, 7), (2, 7), (3, 9)]
            .map(|(minute, sequence)| seen.judge(&kline(minute, 0, sequence), 1, Duration::ZERO));
        let expected = [Verdict::Repeated, Verdict::Repeated, NEW, Verdict::Repeated, Verdict::New { missing: 1 }];
        assert_eq!(verdicts, expected);
    }

    #[test]
    fn what_a_failover_restores_is_known_and_what_it_has_given_another_number_is_new() {
        let mut seen = Seen::default();
        assert_eq!(seen.judge(&kline(1, 0, 1), 1, Duration::ZERO), NEW);
        assert_eq!(seen.judge(&kline(2, 0, 2), 1, Duration::ZERO), NEW);
        // The second one was lost; another node's third one had been given its number, and it comes after it.
        assert_eq!(seen.judge(&kline(3, 0, 2), 2, Duration::ZERO), NEW);
        assert_eq!(seen.judge(&kline(2, 0, 3), 2, Duration::ZERO), Verdict::Repeated);
        assert_eq!(seen.judge(&kline(4, 0, 4), 2, Duration::ZERO), NEW, "no number is missing");
        let other = Kline { trades: 77, ..kline(3, 0, 5) };
        assert_eq!(seen.judge(&other, 2, Duration::ZERO), Verdict::Conflicting);
        assert_eq!(seen.judge(&kline(3, 1, 5), 2, Duration::ZERO), NEW);
    }

    #[test]
    fn what_lies_before_the_beginning_of_a_run_is_not_handed_on_when_the_reader_goes_back() {
        let mut seen = Seen::new(BTreeMap::from([((*kline(0, 0, 0).series).clone(), 8)]));
        assert_eq!(seen.judge(&kline(9, 0, 9), 1, Duration::ZERO), NEW);
        assert_eq!(seen.judge(&kline(10, 0, 10), 2, Duration::ZERO), NEW, "after a failover");
        assert_eq!(seen.judge(&kline(5, 0, 5), 1, Duration::ZERO), Verdict::Repeated);
        assert_eq!(seen.judge(&kline(11, 0, 11), 2, Duration::ZERO), NEW);
    }

    #[test]
    fn an_update_has_the_next_sequence_and_none_follows_the_kline_of_its_window() {
        let mut seen = Seen::default();
        let update = |minute| Kline { confirm: false, sequence: 0, ..kline(minute, 0, 0) };
        assert_eq!(seen.update(&update(7)).map(|update| update.sequence), Some(1));
        seen.judge(&kline(7, 0, 41), 1, Duration::ZERO);
        assert_eq!(seen.update(&update(7)), None);
        assert_eq!(seen.update(&update(8)).map(|update| (update.sequence, update.confirm)), Some((42, false)));
        // A correction of an earlier window changes nothing of that.
        seen.judge(&kline(6, 1, 42), 1, Duration::ZERO);
        assert_eq!((seen.update(&update(7)), seen.update(&update(8)).is_some()), (None, true));
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let mut seen = Seen::default();
        seen.judge(&kline(1, 0, 1), 1, Duration::ZERO);
        seen.forget(SPAN + Duration::from_secs(1));
        assert!(seen.recent.is_empty() && seen.times.is_empty());
    }
}
