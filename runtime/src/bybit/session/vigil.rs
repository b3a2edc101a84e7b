//! Whether a connection is alive, and whether its data still flows: two questions, because pongs prove only the
//! gateway. Knows no socket; time is an argument.

use super::Timing;
use crate::domain::time::Millis;

/// Weight of one gap in the moving average: 1/16.
const SMOOTHING: Millis = 16;
/// A silence this many times the average gap is no pause of the market.
const UNLIKELY: Millis = 30;
/// Gaps to have seen before the average is trusted.
const EVIDENCE: u32 = 8;
/// While the average is not known, the silence allowed is this many times the least one.
const UNKNOWN: Millis = 7;
/// Doublings after reconnects that brought nothing, so that a market without trades is soon left in peace.
const MOST_DOUBLINGS: u32 = 6;

/// Watches one connection after another of the same topics.
#[derive(Debug)]
pub struct Vigil {
    timing: Timing,
    last_frame: Millis,
    last_ping: Millis,
    /// When data last arrived, or could first have.
    last_data: Millis,
    /// The previous data frame of any connection: a silence that the market made shows between two of them.
    previous_data: Option<Millis>,
    /// [`SMOOTHING`] times the moving average of the gap between data frames.
    average: Millis,
    gaps: u32,
    doublings: u32,
}

impl Vigil {
    /// Builds one that knows nothing.
    pub const fn new(timing: Timing) -> Self {
        Self {
            timing,
            last_frame: 0,
            last_ping: 0,
            last_data: 0,
            previous_data: None,
            average: 0,
            gaps: 0,
            doublings: 0,
        }
    }

    /// A connection is open.
    pub const fn open(&mut self, now: Millis) {
        self.last_frame = now;
        self.last_ping = now;
        self.last_data = now;
    }

    /// Something arrived, a pong included.
    pub fn frame(&mut self, now: Millis) {
        self.last_frame = self.last_frame.max(now);
    }

    /// Topics were acknowledged: their data may start now.
    pub fn covered(&mut self, now: Millis) {
        self.last_data = self.last_data.max(now);
    }

    /// Trades arrived.
    pub fn data(&mut self, now: Millis) {
        if let Some(previous) = self.previous_data {
            let gap = (now - previous).max(0);
            self.average = if self.gaps == 0 { gap * SMOOTHING } else { self.average + gap - self.average / SMOOTHING };
            self.gaps = self.gaps.saturating_add(1);
            if self.gaps >= EVIDENCE {
                self.doublings = 0;
            }
        }
        self.previous_data = Some(now);
        self.last_data = self.last_data.max(now);
    }

    /// Returns whether it is time for a ping, and takes it as sent.
    pub const fn ping_due(&mut self, now: Millis) -> bool {
        let is_due = now - self.last_ping >= self.timing.ping;
        if is_due {
            self.last_ping = now;
        }
        is_due
    }

    /// The last moment at which the peer was known to be there.
    pub const fn last_frame(&self) -> Millis {
        self.last_frame
    }

    /// The last moment at which data is known to have flowed, or to have been free to.
    pub const fn last_data(&self) -> Millis {
        self.last_data
    }

    /// Returns for how long nothing came at all, if that is too long.
    pub fn dead(&self, now: Millis) -> Option<Millis> {
        let silent = now - self.last_frame;
        (silent > self.timing.dead).then_some(silent)
    }

    /// Returns for how long no data came, if that is too long for these topics.
    pub fn silent(&self, now: Millis) -> Option<Millis> {
        let silent = now - self.last_data;
        (silent > self.allowed_silence()).then_some(silent)
    }

    /// The connection was given up because of silence: the next one gets twice the time, until data flows again.
    pub fn gave_up(&mut self) {
        self.doublings = (self.doublings + 1).min(MOST_DOUBLINGS);
    }

    fn allowed_silence(&self) -> Millis {
        let usual = if self.gaps < EVIDENCE {
            self.timing.silence * UNKNOWN
        } else {
            self.timing.silence.max(self.average / SMOOTHING * UNLIKELY)
        };
        usual << self.doublings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::{HOUR, MINUTE, SECOND};

    fn fed(every: Millis, times: Millis) -> Vigil {
        let mut vigil = Vigil::new(Timing::default());
        vigil.open(0);
        (1..=times).for_each(|n| vigil.data(n * every));
        vigil
    }

    #[test]
    fn a_busy_feed_may_be_silent_for_less_than_a_minute() {
        let vigil = fed(10, 1_000);
        assert_eq!(vigil.silent(10_000 + 45 * SECOND), None);
        assert_eq!(vigil.silent(10_001 + 45 * SECOND), Some(45 * SECOND + 1));
    }

    #[test]
    fn a_quiet_market_is_given_thirty_of_its_usual_gaps() {
        let vigil = fed(15 * MINUTE, 20);
        let last = 20 * 15 * MINUTE;
        assert_eq!(vigil.silent(last + 7 * HOUR), None);
        assert!(vigil.silent(last + 8 * HOUR).is_some());
    }

    #[test]
    fn a_market_that_never_trades_is_left_in_peace() {
        let mut vigil = Vigil::new(Timing::default());
        let (mut now, mut reconnects) = (0, 0);
        vigil.open(now);
        while now < 24 * HOUR {
            now += SECOND;
            if vigil.silent(now).is_some() {
                reconnects += 1;
                vigil.gave_up();
                vigil.open(now);
            }
        }
        assert!(reconnects <= 10, "{reconnects}");
    }

    #[test]
    fn a_feed_that_died_while_the_average_was_known_comes_back_to_a_short_patience() {
        let mut vigil = fed(10, 1_000);
        vigil.gave_up();
        vigil.open(2 * MINUTE);
        vigil.data(2 * MINUTE + 10);
        for n in 0..1_000 {
            vigil.data(2 * MINUTE + 20 + n * 10);
        }
        assert!(vigil.silent(2 * MINUTE + 10_020 + 61 * SECOND).is_some());
    }

    #[test]
    fn a_second_without_any_frame_more_than_allowed_is_death() {
        let mut vigil = fed(10, 100);
        vigil.frame(20_000);
        assert_eq!(vigil.dead(50_000), None);
        assert_eq!(vigil.dead(50_001), Some(30_001));
    }
}
