//! The exchange clocks of a recording: one for each connection in it, as in a live run. Pure.

use klines_domain::clock::{ClockOffset, ExchangeClock, Observation};
use klines_domain::time::{ExchangeMillis, LocalMillis};

/// A connection of a recording: the number of the file, and the number of the connection in it. `None` if the recording
/// names no connections.
pub type Source = Option<(u32, u32)>;

/// All clocks. The slowest connection that is up determines the time.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    all: Vec<Clock>,
    /// The last known clock offset.
    offset: Option<ClockOffset>,
}

#[derive(Debug)]
struct Clock {
    source: Source,
    clock: ExchangeClock,
    is_up: bool,
    /// Local time of the last accepted stamp.
    stamped: LocalMillis,
}

impl Clocks {
    /// Records a stamp. If the clock jumped, also returns the exchange time until which every match had been received
    /// before the jump.
    pub(super) fn observe(
        &mut self,
        source: Source,
        received: LocalMillis,
        stamp: ExchangeMillis,
    ) -> (Observation, Option<ExchangeMillis>) {
        let at = self.all.iter().position(|clock| clock.source == source).unwrap_or_else(|| {
            let clock = self.offset.map_or_else(ExchangeClock::default, ExchangeClock::expecting);
            self.all.push(Clock { source, clock, is_up: true, stamped: received });
            self.all.len() - 1
        });
        let Some(known) = self.all.get_mut(at) else { return (Observation::Rejected, None) };
        let shown = known.clock.seen_until(known.stamped);
        let observation = known.clock.observe(received, stamp);
        if observation != Observation::Rejected {
            (known.stamped, known.is_up) = (received, true);
        }
        (observation, shown.filter(|_| observation == Observation::Jumped))
    }

    /// Records that a connection was lost or is up again.
    pub(super) fn set_connected(&mut self, source: Source, is_up: bool) {
        self.all.iter_mut().filter(|clock| clock.source == source).for_each(|clock| clock.is_up = is_up);
    }

    /// Returns the exchange time until which every match had been received over a connection at `local`, and the latest
    /// possible stamp of what was received then.
    pub(super) fn span(&self, source: Source, local: LocalMillis) -> Option<(ExchangeMillis, ExchangeMillis)> {
        let known = self.all.iter().find(|clock| clock.source == source)?;
        known.clock.seen_until(local).zip(known.clock.latest(local))
    }

    /// Returns the exchange time at local time `local`; `None` before the first stamp.
    pub(super) fn now(&mut self, local: LocalMillis) -> Option<ExchangeMillis> {
        let up = self.all.iter_mut().filter(|clock| clock.is_up);
        let slowest = up.filter_map(|clock| clock.clock.now(local)).min();
        self.offset = slowest.map(|now| ClockOffset::between(local, now)).or(self.offset);
        self.offset.map(|offset| offset.to_exchange(local))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn local(millis: i64) -> LocalMillis {
        LocalMillis::new(millis)
    }

    const fn exchange(millis: i64) -> ExchangeMillis {
        ExchangeMillis::new(millis)
    }

    #[test]
    fn the_slowest_connection_that_is_up_sets_the_time() {
        let mut clocks = Clocks::default();
        let (fast, slow) = (Some((0, 0)), Some((0, 1)));
        assert_eq!(clocks.now(local(0)), None);
        clocks.observe(fast, local(1_000), exchange(990));
        clocks.observe(slow, local(1_000), exchange(700));
        assert_eq!(clocks.now(local(1_000)), Some(exchange(700)));
        assert_eq!(clocks.span(fast, local(1_000)), Some((exchange(980), exchange(990))));
        clocks.set_connected(slow, false);
        assert_eq!(clocks.now(local(2_000)), Some(exchange(1_990)));
        clocks.set_connected(fast, false);
        assert_eq!(clocks.now(local(3_000)), Some(exchange(2_990)), "time goes on as it did");
        assert_eq!(clocks.span(None, local(0)), None);
    }
}
