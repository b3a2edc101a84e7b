//! A busy topic on every connection, by whose silence a dead feed behind a living gateway shows: BTCUSDT, on inverse
//! BTCUSD. It is asked for in a frame of its own, unless the connection has it anyway, so that its refusal costs no
//! other topic; refused, there is no such check. Knows no socket; time is an argument.

use klines_domain::symbol::{Category, Symbol, SymbolId};
use klines_domain::time::{ExchangeMillis, LocalMillis, Millis};

use super::Timing;
use crate::{answer, decode, topic};

/// Doublings of the patience after reconnects that brought nothing: a busy topic that stays silent is left in peace.
const MOST_DOUBLINGS: u32 = 6;

/// How the topic stands on the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// Not asked for, or refused.
    Unwatched,
    /// In the frame of this id.
    Asked { id: String, sent: LocalMillis },
    /// Acknowledged.
    Watched,
}

/// Watches one topic over one connection after another.
#[derive(Debug)]
pub struct Canary {
    timing: Timing,
    topic: String,
    /// Its number, where it is one of the connection's own topics.
    own: Option<SymbolId>,
    standing: Standing,
    /// When its data last arrived, or could first have.
    last_data: LocalMillis,
    /// Frames that asked for it.
    asked: u64,
    /// That there is no such check has been reported, and no acceptance since.
    is_reported: bool,
    doublings: u32,
}

impl Canary {
    /// Chooses a category's topic, `own` being the symbols that the connection carries anyway.
    pub fn new(category: Category, own: &[(SymbolId, Symbol)], timing: Timing) -> Self {
        let name = topic::busiest(category);
        let own = own.iter().find(|(_, symbol)| symbol.as_str() == name).map(|(id, _)| *id);
        Self {
            timing,
            topic: topic::trades(&name),
            own,
            standing: Standing::Unwatched,
            last_data: LocalMillis::default(),
            asked: 0,
            is_reported: false,
            doublings: 0,
        }
    }

    /// A connection is open: asks for the topic, unless it is one of its own.
    pub fn open(&mut self, now: LocalMillis, frames: &mut Vec<String>) {
        self.standing = Standing::Unwatched;
        if self.own.is_none() {
            self.asked += 1;
            let id = format!("canary-{}", self.asked);
            frames.push(answer::subscribe_frame(&id, std::slice::from_ref(&self.topic)));
            self.standing = Standing::Asked { id, sent: now };
        }
    }

    /// Whether the answer to this frame is about this topic.
    pub fn asked(&self, frame: &str) -> bool {
        matches!(&self.standing, Standing::Asked { id, .. } if id == frame)
    }

    /// Its frame was accepted: from now on its silence means something.
    pub fn accepted(&mut self, now: LocalMillis) {
        self.is_reported = false;
        self.watch(now);
    }

    /// Its frame was refused: there is no such check. Returns its name where that has to be reported.
    pub fn refused(&mut self) -> Option<&str> {
        self.standing = Standing::Unwatched;
        self.report()
    }

    /// Returns its name when its frame has been waiting for too long and that has to be reported. An answer still counts.
    pub fn unanswered(&mut self, now: LocalMillis) -> Option<&str> {
        let is_late = matches!(self.standing, Standing::Asked { sent, .. } if now - sent > self.timing.answer);
        if is_late { self.report() } else { None }
    }

    fn report(&mut self) -> Option<&str> {
        (!std::mem::replace(&mut self.is_reported, true)).then_some(self.topic.as_str())
    }

    /// Some of the connection's own topics were acknowledged.
    pub fn covered(&mut self, symbols: &[SymbolId], now: LocalMillis) {
        if self.own.is_some_and(|own| symbols.contains(&own)) {
            self.watch(now);
        }
    }

    fn watch(&mut self, now: LocalMillis) {
        self.standing = Standing::Watched;
        self.last_data = now;
    }

    /// Returns the stamp of a frame of this topic where it is not one of the connection's own: of its rows nothing
    /// else is of use. `Some(None)` is such a frame without a stamp.
    pub fn stamp(&self, text: &str) -> Option<Option<ExchangeMillis>> {
        if self.own.is_some() {
            return None;
        }
        decode::stamp_of(text, &self.topic)
    }

    /// Data of this topic arrived.
    pub fn heard(&mut self, arrived: LocalMillis) {
        self.last_data = self.last_data.max(arrived);
        self.doublings = 0;
    }

    /// Whether trades of this symbol are its data.
    pub fn is(&self, symbol: SymbolId) -> bool {
        self.own == Some(symbol)
    }

    /// Returns the last moment at which data is known to have flowed, or to have been free to.
    pub const fn last_data(&self) -> LocalMillis {
        self.last_data
    }

    /// Returns for how long no data came, if that is too long.
    pub fn silent(&self, now: LocalMillis) -> Option<Millis> {
        let silent = now - self.last_data;
        (self.standing == Standing::Watched && silent > self.timing.silence << self.doublings).then_some(silent)
    }

    /// Whether it has been silent for too long, on this connection or on the one before, and not been heard since.
    pub fn is_suspect(&self, now: LocalMillis) -> bool {
        self.standing == Standing::Watched && (self.doublings > 0 || self.silent(now).is_some())
    }

    /// The connection was given up because of the silence: the next one gets twice the time, until data flows again.
    pub fn gave_up(&mut self) {
        self.doublings = (self.doublings + 1).min(MOST_DOUBLINGS);
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
        assert!(canary.asked("canary-1"));
        canary.accepted(at(0));
        canary
    }

    #[test]
    fn it_may_be_silent_for_forty_five_seconds() {
        let mut canary = watched();
        canary.heard(at(10_000));
        assert_eq!(canary.silent(at(10_000 + 45 * SECOND)), None);
        assert!(!canary.is_suspect(at(10_000 + 45 * SECOND)));
        assert_eq!(canary.silent(at(10_001 + 45 * SECOND)), Some(45 * SECOND + 1));
        assert!(canary.is_suspect(at(10_001 + 45 * SECOND)));
        canary.gave_up();
        canary.open(at(0), &mut Vec::new());
        assert!(canary.asked("canary-2"));
        canary.accepted(at(60_000));
        assert!(canary.is_suspect(at(60_001)), "an acknowledgement is no sign of life");
        canary.heard(at(60_002));
        assert!(!canary.is_suspect(at(60_003)));
    }

    #[test]
    fn each_fruitless_reconnect_doubles_the_patience_and_data_restores_it() {
        let mut canary = watched();
        let (mut now, mut reconnects) = (0, 0);
        while now < 24 * HOUR {
            now += SECOND;
            if canary.silent(at(now)).is_some() {
                reconnects += 1;
                canary.gave_up();
                canary.open(at(0), &mut Vec::new());
                assert!(canary.asked(&format!("canary-{}", reconnects + 1)));
                canary.accepted(at(now));
            }
        }
        // 45 s, 90 s … 48 min take 95 min; then one every 48 min.
        assert!((30..=40).contains(&reconnects), "{reconnects}");
        canary.heard(at(now));
        assert!(canary.silent(at(now + 46 * SECOND)).is_some());
    }

    #[test]
    fn refused_or_not_answered_it_says_nothing() {
        let mut canary = watched();
        canary.open(at(0), &mut Vec::new());
        assert_eq!(canary.silent(at(HOUR)), None);
        assert!(!canary.asked("canary-1"), "the answer to the connection before");
        assert!(canary.asked("canary-2"));
        assert_eq!(canary.refused(), Some("publicTrade.BTCUSDT"));
        assert!(!canary.asked("canary-2"), "it has been answered");
        assert_eq!(canary.silent(at(HOUR)), None);
    }

    #[test]
    fn that_there_is_no_check_is_reported_once_until_there_is_one() {
        let mut canary = watched();
        canary.open(at(0), &mut Vec::new());
        assert_eq!(canary.unanswered(at(10 * SECOND)), None);
        assert_eq!(canary.unanswered(at(10 * SECOND + 1)), Some("publicTrade.BTCUSDT"));
        assert_eq!(canary.unanswered(at(11 * SECOND)), None);
        assert!(canary.asked("canary-2"), "an answer still counts");
        assert_eq!(canary.refused(), None);
        canary.open(at(0), &mut Vec::new());
        canary.accepted(at(0));
        canary.open(at(0), &mut Vec::new());
        assert_eq!(canary.refused(), Some("publicTrade.BTCUSDT"));
    }

    #[test]
    fn another_topics_acknowledgement_is_no_sign_of_life() {
        let mut canary = watched();
        canary.covered(&[SymbolId(5)], at(40 * SECOND));
        assert_eq!((canary.last_data(), canary.silent(at(46 * SECOND))), (at(0), Some(46 * SECOND)));
    }

    #[test]
    fn a_topic_that_the_connection_has_anyway_is_not_asked_for_twice() {
        let own = [(SymbolId(3), Symbol::new("BTCUSD").unwrap())];
        let mut canary = Canary::new(Category::Inverse, &own, Timing::default());
        let mut frames = Vec::new();
        canary.open(at(0), &mut frames);
        assert!(frames.is_empty());
        canary.covered(&[SymbolId(2)], at(0));
        assert_eq!(canary.silent(at(HOUR)), None);
        canary.covered(&[SymbolId(3)], at(0));
        assert!(canary.silent(at(46 * SECOND)).is_some());
        assert!(canary.is(SymbolId(3)) && !canary.is(SymbolId(2)));
    }
}
