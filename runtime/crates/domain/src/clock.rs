//! The exchange's clock, as far as its stamps show it: local monotonic time plus the least transit seen lately.

use std::collections::VecDeque;

use super::time::{ExchangeMillis, LocalMillis, Millis, SECOND};

/// How long an observation counts.
const MEMORY: Millis = 60 * SECOND;
/// A stamp that moves the clock by more than this is believed only when others agree.
const LEAP: Millis = 30 * SECOND;
/// How many stamps in a row have to agree on a leap.
const AGREEING: u32 = 5;
/// A trade is stamped at most so long after its match: 0 to 3 ms in recordings of Bybit, and room for a busy engine.
pub const PUBLISHING: Millis = 10;

/// How far the exchange's clock is ahead of the local one: the only way from an instant of one to an instant of the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lead(Millis);

impl Lead {
    /// Returns the lead by which both name the same moment.
    #[must_use]
    pub const fn between(local: LocalMillis, exchange: ExchangeMillis) -> Self {
        Self(exchange.get().saturating_sub(local.get()))
    }

    /// Returns the exchange's time at a local time.
    #[must_use]
    pub const fn to_exchange(self, local: LocalMillis) -> ExchangeMillis {
        ExchangeMillis::new(local.get().saturating_add(self.0))
    }

    /// Returns the local time at a time of the exchange.
    #[must_use]
    pub const fn to_local(self, exchange: ExchangeMillis) -> LocalMillis {
        LocalMillis::new(exchange.get().saturating_sub(self.0))
    }

    const fn is_far(self, other: Self) -> bool {
        self.0.saturating_sub(other.0).saturating_abs() > LEAP
    }
}

/// What a clock made of a stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// It agrees with what is known.
    Believed,
    /// It is further from the others than any transit: what carries it is not to be used.
    Doubted,
    /// The last few agree on another time: the clock stands there now.
    Leapt,
}

/// Exchange time = local time + the greatest (stamp − receipt) of the last 60 s, never backwards.
///
/// Transit is part of it: at the moment a frame without queueing delay is received, the clock shows its stamp.
#[derive(Clone, Debug, Default)]
pub struct ExchangeClock {
    /// Receipt and lead of the observations that can still be the greatest, leads falling.
    greatest: VecDeque<(LocalMillis, Lead)>,
    /// The same for the least, leads rising.
    least: VecDeque<(LocalMillis, Lead)>,
    shown: Option<ExchangeMillis>,
    /// The lead to compare the first stamp with.
    expected: Lead,
    /// A lead that contradicts the others, and how many stamps in a row have agreed on it.
    doubt: Option<(Lead, u32)>,
}

impl ExchangeClock {
    /// Builds a clock whose first stamp is compared with a lead that is known from elsewhere.
    #[must_use]
    pub fn expecting(lead: Lead) -> Self {
        Self { expected: lead, ..Self::default() }
    }

    /// Takes note that something stamped `stamp` by the exchange was received at local time `received`.
    pub fn observe(&mut self, received: LocalMillis, stamp: ExchangeMillis) -> Observation {
        let lead = Lead::between(received, stamp);
        // A first stamp far from the expected time is believed no more readily than a leap.
        let known = self.greatest.front().map(|(_, best)| *best);
        let mut observation = Observation::Believed;
        if lead.is_far(known.unwrap_or(self.expected)) {
            let agreed = match self.doubt {
                Some((other, agreed)) if !lead.is_far(other) => agreed + 1,
                _ => 1,
            };
            self.doubt = Some((lead, agreed));
            if agreed < AGREEING {
                return Observation::Doubted;
            }
            self.greatest.clear();
            self.least.clear();
            observation = Observation::Leapt;
        }
        self.doubt = None;
        while self.greatest.back().is_some_and(|(_, other)| *other <= lead) {
            self.greatest.pop_back();
        }
        self.greatest.push_back((received, lead));
        while self.least.back().is_some_and(|(_, other)| *other >= lead) {
            self.least.pop_back();
        }
        self.least.push_back((received, lead));
        self.forget(received);
        observation
    }

    /// Forgets observations of more than a minute ago, but for the newest one.
    fn forget(&mut self, local: LocalMillis) {
        for leads in [&mut self.greatest, &mut self.least] {
            while leads.len() > 1 && leads.front().is_some_and(|(at, _)| *at < local - MEMORY) {
                leads.pop_front();
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

    /// The greatest lead of the exchange's stamps over local time, or `None` before the first observation.
    #[must_use]
    pub fn lead(&self) -> Option<Lead> {
        self.greatest.front().map(|(_, lead)| *lead)
    }

    /// The latest that the exchange's stamp of something received at `local` can have been.
    #[must_use]
    pub fn latest(&self, local: LocalMillis) -> Option<ExchangeMillis> {
        self.lead().map(|lead| lead.to_exchange(local))
    }

    /// Every match until then had been received by `local`, if frames take no longer than the slowest of the last 60 s.
    #[must_use]
    pub fn seen_until(&self, local: LocalMillis) -> Option<ExchangeMillis> {
        self.least.front().map(|(_, lead)| lead.to_exchange(local) - PUBLISHING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that is looked at in plain numbers.
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
    fn one_stamp_from_the_future_is_not_believed() {
        let mut clock = Plain::default();
        assert_eq!(clock.observe(0, 0), Observation::Believed);
        assert_eq!(clock.observe(1, 1_000_000), Observation::Doubted);
        assert_eq!(clock.now(10), Some(10));
        for at in 2..5 {
            assert_eq!(clock.observe(at, 1_000_000 + at), Observation::Doubted);
        }
        assert_eq!(clock.observe(5, 1_000_005), Observation::Leapt);
        assert_eq!(clock.observe(6, 1_000_006), Observation::Believed);
        assert_eq!(clock.now(10), Some(1_000_010), "but several that agree are");
    }

    #[test]
    fn a_first_stamp_that_lies_does_not_set_the_clock() {
        let mut clock = Plain::default();
        clock.observe(0, 4_000_000);
        clock.observe(1, i64::MIN);
        clock.observe(2, i64::MAX);
        assert_eq!(clock.now(3), None);
        clock.observe(4, 4);
        assert_eq!(clock.now(5), Some(5));
    }

    #[test]
    fn a_first_stamp_may_be_far_from_a_local_clock_that_others_have_shown_to_be_wrong() {
        let mut clock = Plain(ExchangeClock::expecting(Lead(3_600_000)));
        assert_eq!(clock.observe(0, 3_600_050), Observation::Believed);
        assert_eq!(clock.0.lead(), Some(Lead(3_600_050)));
    }

    #[test]
    fn stamps_that_agree_on_nothing_move_nothing() {
        let mut clock = Plain::default();
        clock.observe(0, 0);
        for (at, stamp) in [(1, 100_000), (2, 200_000), (3, -900_000), (4, 500_000), (5, 90_000_000), (6, 700_000)] {
            clock.observe(at, stamp);
        }
        assert_eq!(clock.now(10), Some(10));
    }

    #[test]
    fn a_lead_leads_there_and_back() {
        let (local, exchange) = (LocalMillis::new(5_000), ExchangeMillis::new(4_200));
        let lead = Lead::between(local, exchange);
        assert_eq!((lead.to_exchange(local + 10), lead.to_local(exchange + 10)), (exchange + 10, local + 10));
        assert_eq!(Lead::between(local, ExchangeMillis::MAX).to_exchange(LocalMillis::MAX), ExchangeMillis::MAX);
    }
}
