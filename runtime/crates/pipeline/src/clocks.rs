//! The exchange clocks of a recording: one for each connection that it names, as in a live run. Pure.

use klines_domain::clock::{ExchangeClock, Observation};
use klines_domain::time::Millis;

/// A connection of a recording, by the number of its file and its own there; `None` where it names none.
pub type Source = Option<(u32, u32)>;

/// All of them. Time goes by the slowest that is up.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    all: Vec<Clock>,
    /// The exchange's time minus local time when it was last known.
    lead: Option<Millis>,
}

#[derive(Debug)]
struct Clock {
    source: Source,
    clock: ExchangeClock,
    is_up: bool,
    /// Local time of the last stamp that was believed.
    stamped: Millis,
}

impl Clocks {
    /// Takes note of a stamp. Where the clock leapt, also returns until when every match had been shown before.
    pub(super) fn observe(&mut self, source: Source, received: Millis, stamp: Millis) -> (Observation, Option<Millis>) {
        let at = self.all.iter().position(|clock| clock.source == source).unwrap_or_else(|| {
            let clock = self.lead.map_or_else(ExchangeClock::default, ExchangeClock::expecting);
            self.all.push(Clock { source, clock, is_up: true, stamped: received });
            self.all.len() - 1
        });
        let Some(known) = self.all.get_mut(at) else { return (Observation::Doubted, None) };
        let shown = known.clock.told_until(known.stamped);
        let observation = known.clock.observe(received, stamp);
        if observation != Observation::Doubted {
            (known.stamped, known.is_up) = (received, true);
        }
        (observation, shown.filter(|_| observation == Observation::Leapt))
    }

    /// A connection was lost, or is there again.
    pub(super) fn set_up(&mut self, source: Source, is_up: bool) {
        self.all.iter_mut().filter(|clock| clock.source == source).for_each(|clock| clock.is_up = is_up);
    }

    /// Until when every match was shown by what a connection had brought at `local`, and the latest that the exchange
    /// can have stamped it.
    pub(super) fn span(&self, source: Source, local: Millis) -> Option<(Millis, Millis)> {
        let known = self.all.iter().find(|clock| clock.source == source)?;
        known.clock.told_until(local).zip(known.clock.latest(local))
    }

    /// The exchange's time at local time `local`; `None` before the first stamp.
    pub(super) fn now(&mut self, local: Millis) -> Option<Millis> {
        let up = self.all.iter_mut().filter(|clock| clock.is_up);
        let slowest = up.filter_map(|clock| clock.clock.now(local)).min();
        self.lead = slowest.map(|now| now - local).or(self.lead);
        self.lead.map(|lead| local + lead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_connection_that_is_up_sets_the_time() {
        let mut clocks = Clocks::default();
        let (fast, slow) = (Some((0, 0)), Some((0, 1)));
        assert_eq!(clocks.now(0), None);
        clocks.observe(fast, 1_000, 990);
        clocks.observe(slow, 1_000, 700);
        assert_eq!(clocks.now(1_000), Some(700));
        assert_eq!(clocks.span(fast, 1_000), Some((980, 990)));
        clocks.set_up(slow, false);
        assert_eq!(clocks.now(2_000), Some(1_990));
        clocks.set_up(fast, false);
        assert_eq!(clocks.now(3_000), Some(2_990), "time goes on as it did");
        assert_eq!(clocks.span(None, 0), None);
    }
}
