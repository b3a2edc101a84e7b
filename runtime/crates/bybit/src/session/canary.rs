//! The canary: a busy topic on every connection (BTCUSDT, on inverse BTCUSD) whose silence reveals a dead feed behind a
//! gateway that still answers pings. Unless it is one of the connection's own topics, it is requested in a separate
//! frame, so that its refusal affects no other topic; if it is refused, there is no check for a silent feed. Knows no
//! socket; time is an argument.

use klines_domain::symbol::{Category, Symbol, SymbolId};
use klines_domain::time::{ExchangeMillis, LocalMillis, Millis};

use super::Timing;
use crate::{answer, decode, topic};

/// Maximum doublings of the timeout after reconnects that brought no data; a topic that stays silent then causes a
/// reconnect only every 48 minutes.
const MAX_DOUBLINGS: u32 = 6;

/// The state of the topic on the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
enum WatchState {
    /// Not requested, or refused.
    Unwatched,
    /// Requested in the frame with this id and not answered yet.
    Requested { id: String, sent: LocalMillis },
    /// Acknowledged.
    Watched,
}

/// Watches one topic over successive connections.
#[derive(Debug)]
pub struct Canary {
    timing: Timing,
    topic: String,
    /// Id of its symbol, if it is one of the connection's own topics.
    own: Option<SymbolId>,
    state: WatchState,
    /// When its data last arrived; before the first data, when it was acknowledged.
    last_data: LocalMillis,
    /// Number of frames that requested it.
    requests: u64,
    /// Whether the missing check was reported since the last acceptance.
    is_reported: bool,
    doublings: u32,
}

impl Canary {
    /// Creates the canary of a category; `own` are the symbols that the connection has anyway.
    pub fn new(category: Category, own: &[(SymbolId, Symbol)], timing: Timing) -> Self {
        let name = topic::busiest(category);
        let own = own.iter().find(|(_, symbol)| symbol.as_str() == name).map(|(id, _)| *id);
        Self {
            timing,
            topic: topic::trades(&name),
            own,
            state: WatchState::Unwatched,
            last_data: LocalMillis::default(),
            requests: 0,
            is_reported: false,
            doublings: 0,
        }
    }

    /// Handles an opened connection: requests the topic, unless it is one of the connection's own.
    pub fn open(&mut self, now: LocalMillis, frames: &mut Vec<String>) {
        self.state = WatchState::Unwatched;
        if self.own.is_none() {
            self.requests += 1;
            let id = format!("canary-{}", self.requests);
            frames.push(answer::subscribe_frame(&id, std::slice::from_ref(&self.topic)));
            self.state = WatchState::Requested { id, sent: now };
        }
    }

    /// Makes the topic a separate one if its symbol was one of the connection's own and `has_left`. Returns whether that is
    /// so; then it has to be requested.
    pub fn disown(&mut self, has_left: impl Fn(SymbolId) -> bool) -> bool {
        self.own.take_if(|own| has_left(*own)).is_some()
    }

    /// Returns whether the topic was requested in the frame with this id.
    pub fn is_requested_in(&self, frame: &str) -> bool {
        matches!(&self.state, WatchState::Requested { id, .. } if id == frame)
    }

    /// Handles the acceptance of its frame: from now on its silence counts.
    pub fn accepted(&mut self, now: LocalMillis) {
        self.is_reported = false;
        self.watch(now);
    }

    /// Handles the refusal of its frame: there is no check for a silent feed. Returns the topic if that has to be
    /// reported.
    pub fn refused(&mut self) -> Option<&str> {
        self.state = WatchState::Unwatched;
        self.report()
    }

    /// Returns the topic if its frame is unanswered for too long and that has to be reported. A later answer still
    /// counts.
    pub fn unanswered(&mut self, now: LocalMillis) -> Option<&str> {
        let is_late = matches!(self.state, WatchState::Requested { sent, .. } if now - sent > self.timing.answer);
        if is_late { self.report() } else { None }
    }

    fn report(&mut self) -> Option<&str> {
        (!std::mem::replace(&mut self.is_reported, true)).then_some(self.topic.as_str())
    }

    /// Handles the acknowledgement of some of the connection's own topics. That of a topic which was watched before is no data.
    pub fn covered(&mut self, symbols: &[SymbolId], now: LocalMillis) {
        if self.own.is_some_and(|own| symbols.contains(&own)) && self.state != WatchState::Watched {
            self.watch(now);
        }
    }

    fn watch(&mut self, now: LocalMillis) {
        self.state = WatchState::Watched;
        self.last_data = now;
    }

    /// Returns the timestamp of a frame of this topic, unless the topic is one of the connection's own; the rows of the
    /// frame are not read. Returns `None` for other frames and `Some(None)` for such a frame without a timestamp.
    pub fn stamp(&self, text: &str) -> Option<Option<ExchangeMillis>> {
        if self.own.is_some() {
            return None;
        }
        decode::stamp_of(text, &self.topic)
    }

    /// Handles data of this topic that arrived at `arrived`: resets the timeout.
    pub fn on_data(&mut self, arrived: LocalMillis) {
        self.last_data = self.last_data.max(arrived);
        self.doublings = 0;
    }

    /// Returns whether the topic is that of `symbol`, one of the connection's own symbols.
    pub fn carries(&self, symbol: SymbolId) -> bool {
        self.own == Some(symbol)
    }

    /// Returns the time of the last data or, before the first data, of the acknowledgement.
    pub const fn last_data(&self) -> LocalMillis {
        self.last_data
    }

    /// Returns the same if the topic is acknowledged, so that a silence would show.
    pub fn watched_data(&self) -> Option<LocalMillis> {
        (self.state == WatchState::Watched).then_some(self.last_data)
    }

    /// Returns how long no data arrived, if that is too long.
    pub fn silent(&self, now: LocalMillis) -> Option<Millis> {
        let silent = now - self.last_data;
        (self.state == WatchState::Watched && silent > self.timing.silence << self.doublings).then_some(silent)
    }

    /// Returns whether it was silent for too long, on this or the previous connection, and has sent no data since.
    pub fn is_suspect(&self, now: LocalMillis) -> bool {
        self.state == WatchState::Watched && (self.doublings > 0 || self.silent(now).is_some())
    }

    /// Doubles the timeout, after the connection was given up because of the silence, until data arrives again.
    pub fn on_given_up(&mut self) {
        self.doublings = (self.doublings + 1).min(MAX_DOUBLINGS);
    }
}

#[cfg(test)]
mod tests {
    use klines_domain::time::{HOUR, SECOND};

    use super::*;

    const fn at(millis: Millis) -> LocalMillis {
        LocalMillis::new(millis)
    }

    fn watched() -> Canary {
        let mut canary = Canary::new(Category::Linear, &[], Timing::default());
        let mut frames = Vec::new();
        canary.open(at(0), &mut frames);
        assert_eq!(frames.len(), 1);
        assert!(canary.is_requested_in("canary-1"));
        canary.accepted(at(0));
        canary
    }

    #[test]
    fn it_is_silent_after_forty_five_seconds_without_data() {
        let mut canary = watched();
        canary.on_data(at(10_000));
        assert_eq!(canary.silent(at(10_000 + 45 * SECOND)), None);
        assert!(!canary.is_suspect(at(10_000 + 45 * SECOND)));
        assert_eq!(canary.silent(at(10_001 + 45 * SECOND)), Some(45 * SECOND + 1));
        assert!(canary.is_suspect(at(10_001 + 45 * SECOND)));
        canary.on_given_up();
        canary.open(at(0), &mut Vec::new());
        assert!(canary.is_requested_in("canary-2"));
        canary.accepted(at(60_000));
        assert!(canary.is_suspect(at(60_001)), "an acknowledgement is not data");
        canary.on_data(at(60_002));
        assert!(!canary.is_suspect(at(60_003)));
    }

    #[test]
    fn each_reconnect_without_data_doubles_the_timeout_and_data_resets_it() {
        let mut canary = watched();
        let (mut now, mut reconnects) = (0, 0);
        while now < 24 * HOUR {
            now += SECOND;
            if canary.silent(at(now)).is_some() {
                reconnects += 1;
                canary.on_given_up();
                canary.open(at(0), &mut Vec::new());
                assert!(canary.is_requested_in(&format!("canary-{}", reconnects + 1)));
                canary.accepted(at(now));
            }
        }
        // 45 s, 90 s … 48 min take 95 min; then one every 48 min.
        assert!((30..=40).contains(&reconnects), "{reconnects}");
        canary.on_data(at(now));
        assert!(canary.silent(at(now + 46 * SECOND)).is_some());
    }

    #[test]
    fn a_refused_or_unanswered_canary_is_never_silent() {
        let mut canary = watched();
        canary.open(at(0), &mut Vec::new());
        assert_eq!(canary.silent(at(HOUR)), None);
        assert!(!canary.is_requested_in("canary-1"), "an answer on the previous connection");
        assert!(canary.is_requested_in("canary-2"));
        assert_eq!(canary.refused(), Some("publicTrade.BTCUSDT"));
        assert!(!canary.is_requested_in("canary-2"), "it was already answered");
        assert_eq!(canary.silent(at(HOUR)), None);
    }

    #[test]
    fn a_missing_check_is_reported_once_until_the_next_acceptance() {
        let mut canary = watched();
        canary.open(at(0), &mut Vec::new());
        assert_eq!(canary.unanswered(at(10 * SECOND)), None);
        assert_eq!(canary.unanswered(at(10 * SECOND + 1)), Some("publicTrade.BTCUSDT"));
        assert_eq!(canary.unanswered(at(11 * SECOND)), None);
        assert!(canary.is_requested_in("canary-2"), "an answer still counts");
        assert_eq!(canary.refused(), None);
        canary.open(at(0), &mut Vec::new());
        canary.accepted(at(0));
        canary.open(at(0), &mut Vec::new());
        assert_eq!(canary.refused(), Some("publicTrade.BTCUSDT"));
    }

    #[test]
    fn the_acknowledgement_of_another_topic_is_not_data() {
        let mut canary = watched();
        canary.covered(&[SymbolId(5)], at(40 * SECOND));
        assert_eq!((canary.last_data(), canary.silent(at(46 * SECOND))), (at(0), Some(46 * SECOND)));
    }

    #[test]
    fn a_topic_that_the_connection_has_anyway_is_not_requested_twice() {
        let own = [(SymbolId(3), Symbol::new("BTCUSD").unwrap())];
        let mut canary = Canary::new(Category::Inverse, &own, Timing::default());
        let mut frames = Vec::new();
        canary.open(at(0), &mut frames);
        assert!(frames.is_empty());
        canary.covered(&[SymbolId(2)], at(0));
        assert_eq!(canary.silent(at(HOUR)), None);
        canary.covered(&[SymbolId(3)], at(0));
        // A subscription that is renewed.
        canary.covered(&[SymbolId(3)], at(40 * SECOND));
        assert!(canary.silent(at(46 * SECOND)).is_some());
        assert!(canary.carries(SymbolId(3)) && !canary.carries(SymbolId(2)));
    }
}
