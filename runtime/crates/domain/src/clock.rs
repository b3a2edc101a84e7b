//! Estimates the exchange's clock from its stamps: local monotonic time plus the offset of the fastest recent frame.

use std::collections::VecDeque;

use super::time::{ExchangeMillis, LocalMillis, Millis, SECOND};

/// How long an observation is used.
const OBSERVATION_WINDOW: Millis = 60 * SECOND;
/// A stamp that differs from the clock by more than this is accepted only if others confirm it.
const MAX_DEVIATION: Millis = 30 * SECOND;
/// How many consecutive stamps must agree before the clock jumps.
const MIN_AGREEING: usize = 5;
/// The maximum time between a match and the stamp of its trade: 0 to 3 ms in recordings of Bybit, with room for a busy
/// engine.
pub const MAX_PUBLISH_DELAY: Millis = 10;

/// The offset of the exchange's clock from the local clock. The only way to convert between [`LocalMillis`] and
/// [`ExchangeMillis`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClockOffset(Millis);

impl ClockOffset {
    /// Returns the offset at which both instants are the same moment.
    #[must_use]
    pub const fn between(local: LocalMillis, exchange: ExchangeMillis) -> Self {
        Self(exchange.get().saturating_sub(local.get()))
    }

    /// Returns the exchange time of a local time.
    #[must_use]
    pub const fn to_exchange(self, local: LocalMillis) -> ExchangeMillis {
        ExchangeMillis::new(local.get().saturating_add(self.0))
    }

    /// Returns the local time of an exchange time.
    #[must_use]
    pub const fn to_local(self, exchange: ExchangeMillis) -> LocalMillis {
        LocalMillis::new(exchange.get().saturating_sub(self.0))
    }

    const fn is_far(self, other: Self) -> bool {
        self.0.saturating_sub(other.0).saturating_abs() > MAX_DEVIATION
    }
}

/// The result of an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The stamp agrees with the clock.
    Accepted,
    /// The stamp differs from the clock by more than any transit time: its frame must not be used.
    Rejected,
    /// The last few stamps agree on another time, to which the clock has jumped.
    Jumped,
}

/// Computes exchange time as local time + the maximum (stamp − receipt) of the last 60 s, never going back.
///
/// The transit time is included: when a frame without queueing delay is received, the clock shows its stamp.
#[derive(Clone, Debug, Default)]
pub struct ExchangeClock {
    /// Receipt and offset of the observations that can still be the maximum, offsets falling.
    greatest: VecDeque<(LocalMillis, ClockOffset)>,
    /// Receipt and offset of the observations that can still be the minimum, offsets rising.
    least: VecDeque<(LocalMillis, ClockOffset)>,
    shown: Option<ExchangeMillis>,
    /// The offset with which the first stamp is compared.
    expected: ClockOffset,
    /// Receipt and offset of the last stamps, if they contradict the others and agree with each other.
    suspects: Vec<(LocalMillis, ClockOffset)>,
}

impl ExchangeClock {
    /// Builds a clock whose first stamp is compared with a known offset.
    #[must_use]
    pub fn expecting(offset: ClockOffset) -> Self {
        Self { expected: offset, ..Self::default() }
    }

    /// Records that something with the exchange's stamp `stamp` was received at local time `received`.
    pub fn observe(&mut self, received: LocalMillis, stamp: ExchangeMillis) -> Observation {
        let offset = ClockOffset::between(received, stamp);
        // A first stamp far from the expected time needs the same confirmation as a jump.
        let known = self.greatest.front().map(|(_, best)| *best);
        let mut observation = Observation::Accepted;
        if offset.is_far(known.unwrap_or(self.expected)) {
            if self.suspects.last().is_some_and(|(_, other)| offset.is_far(*other)) {
                self.suspects.clear();
            }
            self.suspects.push((received, offset));
            if self.suspects.len() < MIN_AGREEING {
                return Observation::Rejected;
            }
            self.greatest.clear();
            self.least.clear();
            observation = Observation::Jumped;
            // The newest of them may have been slower, or stamped before, than those that were refused.
            for (received, offset) in std::mem::take(&mut self.suspects) {
                self.note(received, offset);
            }
        } else {
            self.suspects.clear();
            self.note(received, offset);
        }
        self.forget(received);
        observation
    }

    fn note(&mut self, received: LocalMillis, offset: ClockOffset) {
        while self.greatest.back().is_some_and(|(_, other)| *other <= offset) {
            self.greatest.pop_back();
        }
        self.greatest.push_back((received, offset));
        while self.least.back().is_some_and(|(_, other)| *other >= offset) {
            self.least.pop_back();
        }
        self.least.push_back((received, offset));
    }

    /// Removes observations older than a minute, except the newest.
    fn forget(&mut self, local: LocalMillis) {
        for offsets in [&mut self.greatest, &mut self.least] {
            while offsets.len() > 1 && offsets.front().is_some_and(|(at, _)| *at < local - OBSERVATION_WINDOW) {
                offsets.pop_front();
            }
        }
    }

    /// Returns the exchange's time at local time `local`, or `None` before the first observation.
    pub fn now(&mut self, local: LocalMillis) -> Option<ExchangeMillis> {
        self.forget(local);
        let now = self.latest(local)?;
        let shown = self.shown.map_or(now, |shown| shown.max(now));
        self.shown = Some(shown);
        Some(shown)
    }

    /// Returns the maximum offset of the exchange's stamps from local time; `None` before the first observation.
    #[must_use]
    pub fn offset(&self) -> Option<ClockOffset> {
        self.greatest.front().map(|(_, offset)| *offset)
    }

    /// Returns the latest possible stamp of something received at `local`.
    #[must_use]
    pub fn latest(&self, local: LocalMillis) -> Option<ExchangeMillis> {
        self.offset().map(|offset| offset.to_exchange(local))
    }

    /// Returns the exchange time until which every match had been received by `local`, if no frame takes longer than
    /// the slowest of the last 60 s.
    #[must_use]
    pub fn seen_until(&self, local: LocalMillis) -> Option<ExchangeMillis> {
        self.least.front().map(|(_, offset)| offset.to_exchange(local) - MAX_PUBLISH_DELAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock with plain numbers.
    #[derive(Default)]
    struct Plain(ExchangeClock);

    impl Plain {
        fn observe(&mut self, received: Millis, stamp: Millis) -> Observation {
            self.0.observe(LocalMillis::new(received), ExchangeMillis::new(stamp))
        }

        fn now(&mut self, local: Millis) -> Option<Millis> {
            self.0.now(LocalMillis::new(local)).map(ExchangeMillis::get)
        }
    }

    #[test]
    fn the_fastest_frame_of_the_last_minute_sets_the_clock() {
        let mut clock = Plain::default();
        assert_eq!(clock.now(1_000), None);
        clock.observe(1_000, 900);
        clock.observe(2_000, 1_950);
        clock.observe(3_000, 2_800);
        assert_eq!(clock.now(3_000), Some(2_950));
        assert_eq!(clock.0.seen_until(LocalMillis::new(3_000)), Some(ExchangeMillis::new(2_790)));
        clock.observe(63_000, 62_900);
        assert_eq!(clock.now(63_000), Some(62_900));
    }

    #[test]
    fn it_never_steps_back() {
        let mut clock = Plain::default();
        clock.observe(0, 0);
        assert_eq!(clock.now(100), Some(100));
        clock.observe(70_000, 69_000);
        assert_eq!(clock.now(70_000), Some(69_000));
        assert_eq!(clock.now(69_500), Some(69_000));
    }

    #[test]
    fn one_stamp_from_the_future_is_rejected() {
        let mut clock = Plain::default();
        assert_eq!(clock.observe(0, 0), Observation::Accepted);
        assert_eq!(clock.observe(1, 1_000_000), Observation::Rejected);
        assert_eq!(clock.now(10), Some(10));
        for at in 2..5 {
            assert_eq!(clock.observe(at, 1_000_000 + at), Observation::Rejected);
        }
        assert_eq!(clock.observe(5, 1_000_005), Observation::Jumped);
        assert_eq!(clock.observe(6, 1_000_006), Observation::Accepted);
        assert_eq!(clock.now(10), Some(1_000_010), "several stamps that agree are accepted");
    }

    #[test]
    fn a_jump_goes_by_all_stamps_that_agree() {
        let mut clock = Plain::default();
        clock.observe(0, 0);
        for (at, stamp) in [(1, 100_001), (2, 100_902), (3, 100_003), (4, 100_004), (5, 100_005)] {
            clock.observe(at, stamp);
        }
        assert_eq!(clock.now(5), Some(100_905), "the second one was stamped later than the last one");
        assert_eq!(clock.0.seen_until(LocalMillis::new(5)), Some(ExchangeMillis::new(99_995)));
    }

    #[test]
    fn a_wrong_first_stamp_does_not_set_the_clock() {
        let mut clock = Plain::default();
        clock.observe(0, 4_000_000);
        clock.observe(1, i64::MIN);
        clock.observe(2, i64::MAX);
        assert_eq!(clock.now(3), None);
        clock.observe(4, 4);
        assert_eq!(clock.now(5), Some(5));
    }

    #[test]
    fn a_first_stamp_may_be_far_from_the_local_clock_if_that_is_expected() {
        let mut clock = Plain(ExchangeClock::expecting(ClockOffset(3_600_000)));
        assert_eq!(clock.observe(0, 3_600_050), Observation::Accepted);
        assert_eq!(clock.0.offset(), Some(ClockOffset(3_600_050)));
    }

    #[test]
    fn stamps_that_contradict_each_other_do_not_move_the_clock() {
        let mut clock = Plain::default();
        clock.observe(0, 0);
        for (at, stamp) in [(1, 100_000), (2, 200_000), (3, -900_000), (4, 500_000), (5, 90_000_000), (6, 700_000)] {
            clock.observe(at, stamp);
        }
        assert_eq!(clock.now(10), Some(10));
    }

    #[test]
    fn an_offset_converts_both_ways() {
        let (local, exchange) = (LocalMillis::new(5_000), ExchangeMillis::new(4_200));
        let offset = ClockOffset::between(local, exchange);
        assert_eq!((offset.to_exchange(local + 10), offset.to_local(exchange + 10)), (exchange + 10, local + 10));
        assert_eq!(ClockOffset::between(local, ExchangeMillis::MAX).to_exchange(LocalMillis::MAX), ExchangeMillis::MAX);
    }
}
