//! Scripted trouble: what can go wrong, where, and for how long. Carrying it out is the floor's job.

use std::time::Duration;

use tokio::time::Instant;

use crate::category::Category;

/// A frame that no client should trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Garbage {
    /// Text that is not JSON.
    NotJson,
    /// The first half of a trade frame.
    Truncated,
    /// A well-formed trade frame whose price is not a number.
    BadPrice,
}

/// How the REST calls go wrong. In one category: the calls that name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestFault {
    /// 403 `access too frequent`, as beyond the limit for an address.
    TooFrequent,
    /// 403 without that text: a country or a network that is not served.
    Blocked,
    /// `retCode` 10006, too many visits.
    Limited,
    /// `retCode` 10016, a failure of the server's, under HTTP status 200.
    Failing,
    /// HTTP status 503.
    Unavailable,
    /// No answer while it lasts.
    Silent,
    /// Answers come this much later.
    Late(Duration),
    /// Lists of instruments are empty.
    EmptyList,
    /// Lists of instruments break off after half of their rows, as if they were whole.
    HalfList,
}

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Cuts every connection with a TCP reset and no close frame. Happens once.
    Drop,
    /// Connections stay open, but nothing is read, sent or answered, pings neither. What was due meanwhile comes in
    /// one burst afterwards. Lasts.
    Stall,
    /// Pings, acks and refusals are answered, but no data is sent; it is lost. Lasts.
    Mute,
    /// Data frames are delayed at random by up to this much, and so overtake each other. Lasts.
    Reorder(Duration),
    /// Every data frame is sent twice. Lasts.
    Duplicate,
    /// Every subscriber of a trade topic gets one such frame. Happens once.
    Garbage(Garbage),
    /// Frames leave a connection with at least this much time between them; a queue that fills up cuts it. Lasts.
    Slow(Duration),
    /// Subscriptions that name this symbol are refused; existing ones go on. Lasts.
    Refuse(String),
    /// The symbol leaves the instrument list and its topics fall silent. Happens once.
    Delist(String),
    /// A delisted or so far unlisted symbol begins to trade. Happens once.
    List(String),
    /// The whole exchange is gone: connections are reset and new ones refused, REST too. The market trades on. In one
    /// category, its streams and the REST calls that name it: the port stays, and connections to it are reset. Lasts:
    /// it is back, on the same port, when the fault ends.
    Down,
    /// The REST calls go wrong in some way. Lasts.
    Rest(RestFault),
}

impl Fault {
    /// Whether the fault is a state, which ends, and not an event.
    pub fn lasts(&self) -> bool {
        match self {
            Self::Drop | Self::Garbage(_) | Self::Delist(_) | Self::List(_) => false,
            Self::Stall
            | Self::Mute
            | Self::Reorder(_)
            | Self::Duplicate
            | Self::Slow(_)
            | Self::Refuse(_)
            | Self::Down
            | Self::Rest(_) => true,
        }
    }

    /// The fault in one category only.
    pub fn on(self, category: Category) -> Injection {
        Injection::from(self).on(category)
    }

    /// The fault for this long (real time). Without, a lasting fault lasts until it is healed.
    pub fn lasting(self, duration: Duration) -> Injection {
        Injection::from(self).lasting(duration)
    }
}

/// A fault with its place and duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    pub(crate) fault: Fault,
    pub(crate) category: Option<Category>,
    pub(crate) lasting: Option<Duration>,
}

impl Injection {
    /// The same in one category only.
    #[must_use]
    pub fn on(mut self, category: Category) -> Self {
        self.category = Some(category);
        self
    }

    /// The same for this long (real time).
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
        Self { fault, category: None, lasting: None }
    }
}

/// The lasting faults of this moment.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    active: Vec<(Injection, Option<Instant>)>,
}

/// Bound on lasting faults at a time: more is a mistake of the test, and the oldest goes.
const MAX_ACTIVE: usize = 1_024;

impl Faults {
    pub fn add(&mut self, injection: Injection, now: Instant) {
        if self.active.len() >= MAX_ACTIVE {
            self.active.remove(0);
        }
        let until = injection.lasting.map(|duration| now + duration);
        self.active.push((injection, until));
    }

    /// Ends what is over. Returns whether anything changed.
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

    /// Whether the whole exchange is gone.
    pub fn down(&self) -> bool {
        self.active.iter().any(|(injection, _)| injection.fault == Fault::Down && injection.category.is_none())
    }

    /// Whether a category is gone.
    pub fn down_on(&self, category: Category) -> bool {
        self.on(category).any(|fault| *fault == Fault::Down)
    }

    /// What goes wrong with a call, by the category that it names; without one, only what goes wrong everywhere.
    pub fn rest(&self, category: Option<Category>) -> Vec<RestFault> {
        let covering = self.active.iter().filter(|(injection, _)| match category {
            Some(category) => injection.covers(category),
            None => injection.category.is_none(),
        });
        covering.filter_map(|(it, _)| if let Fault::Rest(fault) = it.fault { Some(fault) } else { None }).collect()
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
