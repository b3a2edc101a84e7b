//! Faults: what can go wrong, where, and for how long. `exchange` carries them out.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use crate::category::Category;

/// An invalid frame that a client must not accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Garbage {
    /// Text that is not JSON.
    NotJson,
    /// The first half of a trade frame.
    Truncated,
    /// A well-formed trade frame whose price is not a number.
    BadPrice,
}

/// How the REST calls go wrong. A fault in one category concerns the calls that name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestFault {
    /// 403 `access too frequent`, as above the limit of an IP address.
    TooFrequent,
    /// 403 without that text, as for a country or network that Bybit does not serve.
    Blocked,
    /// `retCode` 10006, too many visits, without a header that says when to come back.
    Limited,
    /// `retCode` 10006 with the headers of a rate limit that is reset after this duration.
    LimitedFor(Duration),
    /// `retCode` 10000, a timeout inside the exchange.
    TimedOut,
    /// `retCode` 10016, a server error, under HTTP status 200.
    Failing,
    /// HTTP status 503.
    Unavailable,
    /// This HTTP status with an empty body; 500 if it is not a valid one.
    Status(u16),
    /// The connection is reset instead of an answer.
    Reset,
    /// Only the first half of the answer's body is sent.
    Truncated,
    /// The answer's body is not JSON.
    Garbage,
    /// No answer while the fault lasts.
    Silent,
    /// Answers are delayed by this duration.
    Late(Duration),
    /// Lists of instruments are empty.
    EmptyList,
    /// Lists of instruments end after half of their rows, as if they were complete.
    HalfList,
    /// Klines that are not settled (see [`SimConfig::settle`](crate::SimConfig::settle)) lack the last third of their
    /// trades, if the tape holds all of them.
    MissingTrades,
    /// Klines that are not settled have a high below their low.
    HighBelowLow,
    /// The newest two klines of an answer change places while the newest is not settled.
    OutOfOrder,
}

impl RestFault {
    pub(crate) fn distorts_klines(self) -> bool {
        matches!(self, Self::MissingTrades | Self::HighBelowLow | Self::OutOfOrder)
    }
}

/// A fault of the exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Cuts every connection with a TCP reset and no close frame. Happens once.
    Drop,
    /// Cuts the oldest connection of each category like [`Fault::Drop`]. Happens once.
    DropOldest,
    /// The trades of this symbol are sent on no connection that has subscribed to them before, although it is still answered.
    /// Happens once.
    DeadTopic(String),
    /// The feed is cut: stream connections are reset and new ones too, as long as it lasts. REST works and the market
    /// continues to trade. Lasts.
    Cut,
    /// Connections stay open, but nothing is read, sent or answered, pings included. Frames that became due meanwhile
    /// are sent in one burst afterwards. Lasts.
    Stall,
    /// Pings and requests are answered, but no data is sent; it is lost. Lasts.
    Mute,
    /// Data frames are delayed by random times up to this duration, and so overtake each other. Lasts.
    Reorder(Duration),
    /// Every data frame is sent twice. Lasts.
    Duplicate,
    /// Every subscriber of a trade topic receives one such frame. Happens once.
    Garbage(Garbage),
    /// Frames are sent with at least this duration between them; a connection whose queue fills up is cut. Lasts.
    Slow(Duration),
    /// Subscriptions that name this symbol are refused; existing ones go on. Lasts.
    Refuse(String),
    /// A seeded market has this number of further matches within a second, in turn of its symbols. Happens once.
    Burst(u32),
    /// A seeded market stops to trade, for good; connections and REST go on. Happens once.
    Halt,
    /// The symbol does not trade any more: nothing is sent on its topics, new subscriptions and the REST calls refuse it,
    /// and the instrument list has it only under the status `Closed`. Happens once.
    Delist(String),
    /// A delisted or not yet listed symbol begins to trade, without any history. A symbol that a seeded market does not
    /// know is added to the category of the fault, by default linear, at a price of 1; [`Sim::list`](crate::Sim::list)
    /// lists any instrument. Happens once.
    List(String),
    /// The whole exchange is down: connections are reset and new ones refused, those of REST too. The market continues
    /// to trade. In one category, only its streams and the REST calls that name it are down: the port stays open, and
    /// their connections are reset. Lasts; when the fault ends, the exchange is back on the same port.
    Down,
    /// The REST calls go wrong in this way. Lasts.
    Rest(RestFault),
}

impl Fault {
    /// Returns whether the fault lasts until it is ended, rather than happens once.
    pub fn lasts(&self) -> bool {
        match self {
            Self::Drop
            | Self::DropOldest
            | Self::DeadTopic(_)
            | Self::Garbage(_)
            | Self::Burst(_)
            | Self::Halt
            | Self::Delist(_)
            | Self::List(_) => false,
            Self::Stall
            | Self::Mute
            | Self::Reorder(_)
            | Self::Duplicate
            | Self::Slow(_)
            | Self::Refuse(_)
            | Self::Cut
            | Self::Down
            | Self::Rest(_) => true,
        }
    }

    /// Returns the fault limited to one category.
    pub fn on(self, category: Category) -> Injection {
        Injection::from(self).on(category)
    }

    /// Returns the fault limited to this duration (real time). Without it, a lasting fault lasts until it is healed.
    pub fn lasting(self, duration: Duration) -> Injection {
        Injection::from(self).lasting(duration)
    }

    /// Returns the fault limited to this share of the calls, in percent; only for [`Fault::Rest`].
    pub fn with_chance(self, percent: u8) -> Injection {
        Injection::from(self).with_chance(percent)
    }
}

/// A fault with its category and duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    pub(crate) fault: Fault,
    pub(crate) category: Option<Category>,
    pub(crate) lasting: Option<Duration>,
    /// Share of the calls that a fault of REST concerns, in percent.
    pub(crate) chance: u8,
}

impl Injection {
    /// Limits a fault of REST to this share of the calls, in percent: each call is drawn with the seed of the market.
    /// Does not change other faults.
    #[must_use]
    pub fn with_chance(mut self, percent: u8) -> Self {
        self.chance = percent.min(100);
        self
    }

    /// Limits the fault to one category.
    #[must_use]
    pub fn on(mut self, category: Category) -> Self {
        self.category = Some(category);
        self
    }

    /// Limits the fault to this duration (real time).
    #[must_use]
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.lasting = Some(duration);
        self
    }

    pub(crate) fn covers(&self, category: Category) -> bool {
        self.category.is_none_or(|only| only == category)
    }
}

impl From<Fault> for Injection {
    fn from(fault: Fault) -> Self {
        Self { fault, category: None, lasting: None, chance: 100 }
    }
}

/// The lasting faults that are active now.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    active: Vec<(Injection, Option<Instant>)>,
}

/// Maximum number of lasting faults at a time. More is a mistake in the test; the oldest is dropped.
const MAX_ACTIVE: usize = 1_024;

impl Faults {
    pub fn add(&mut self, injection: Injection, now: Instant) {
        if self.active.len() >= MAX_ACTIVE {
            self.active.remove(0);
        }
        let until = injection.lasting.map(|duration| now + duration);
        self.active.push((injection, until));
    }

    /// Removes the faults whose time is over. Returns whether anything changed.
    pub fn expire(&mut self, now: Instant) -> bool {
        let before = self.active.len();
        self.active.retain(|(_, until)| until.is_none_or(|until| until > now));
        self.active.len() != before
    }

    pub fn clear(&mut self) {
        self.active.clear();
    }

    fn on(&self, category: Category) -> impl Iterator<Item = &Fault> {
        let covering = self.active.iter().filter(move |(injection, _)| injection.covers(category));
        covering.map(|(injection, _)| &injection.fault)
    }

    /// Returns whether the whole exchange is down.
    pub fn down(&self) -> bool {
        self.active.iter().any(|(injection, _)| injection.fault == Fault::Down && injection.category.is_none())
    }

    /// Returns whether a category is down.
    pub fn down_on(&self, category: Category) -> bool {
        self.on(category).any(|fault| *fault == Fault::Down)
    }

    /// Returns whether the streams of a category are cut or down.
    pub fn cut_on(&self, category: Category) -> bool {
        self.on(category).any(|fault| matches!(fault, Fault::Cut | Fault::Down))
    }

    /// Draws the faults of a call that names `category`; with `None`, only the faults of all categories.
    pub fn draw_rest(&self, category: Option<Category>, rng: &mut Rng) -> Vec<RestFault> {
        let drawn = self.rest(category).filter(|(_, chance)| *chance == 100 || rng.u8(0..100) < *chance);
        drawn.map(|(fault, _)| fault).collect()
    }

    /// Returns whether a fault of REST is active for calls that name `category`.
    pub fn has_rest(&self, category: Option<Category>, wanted: RestFault) -> bool {
        self.rest(category).any(|(fault, _)| fault == wanted)
    }

    fn rest(&self, category: Option<Category>) -> impl Iterator<Item = (RestFault, u8)> {
        let covering = self.active.iter().map(|(injection, _)| injection).filter(move |injection| match category {
            Some(category) => injection.covers(category),
            None => injection.category.is_none(),
        });
        covering.filter_map(|it| if let Fault::Rest(fault) = it.fault { Some((fault, it.chance)) } else { None })
    }

    pub fn stalled(&self, category: Category) -> bool {
        self.on(category).any(|fault| *fault == Fault::Stall)
    }

    pub fn muted(&self, category: Category) -> bool {
        self.on(category).any(|fault| *fault == Fault::Mute)
    }

    pub fn duplicates(&self, category: Category) -> bool {
        self.on(category).any(|fault| *fault == Fault::Duplicate)
    }

    pub fn refuses(&self, category: Category, symbol: &str) -> bool {
        self.on(category).any(|fault| matches!(fault, Fault::Refuse(refused) if refused == symbol))
    }

    pub fn reorder_within(&self, category: Category) -> Option<Duration> {
        self.on(category)
            .filter_map(|fault| if let Fault::Reorder(within) = fault { Some(*within) } else { None })
            .max()
    }

    pub fn slow_by(&self, category: Category) -> Option<Duration> {
        self.on(category).filter_map(|fault| if let Fault::Slow(by) = fault { Some(*by) } else { None }).max()
    }
}
