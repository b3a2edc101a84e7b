//! What a session reports in addition to events: counters, and changes of state for the log.

use std::fmt;

use klines_domain::symbol::Symbol;
use klines_domain::time::Millis;

/// Counters of one connection, or of several together, since the start. Every received frame is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Text frames. Invariant: the sum of the six kinds below.
    pub frames: u64,
    /// Frames of trades.
    pub trade_frames: u64,
    /// Frames of the canary topic, which only shows that data arrives; their rows are not read.
    pub canary_frames: u64,
    /// Answers to commands, pongs included.
    pub answers: u64,
    /// Frames of topics that were not subscribed to.
    pub unknown_topics: u64,
    /// Frames that could not be decoded.
    pub unreadable: u64,
    /// Frames that arrived after the connection was given up.
    pub ignored: u64,
    /// Trades in frames, rejected ones included.
    pub received: u64,
    /// Trades rejected because of an implausible price, size or time.
    pub rejected: u64,
    /// Connections opened.
    pub opened: u64,
    /// Number of times that covered topics lost their coverage.
    pub gaps: u64,
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.frames += other.frames;
        self.trade_frames += other.trade_frames;
        self.canary_frames += other.canary_frames;
        self.answers += other.answers;
        self.unknown_topics += other.unknown_topics;
        self.unreadable += other.unreadable;
        self.ignored += other.ignored;
        self.received += other.received;
        self.rejected += other.rejected;
        self.opened += other.opened;
        self.gaps += other.gaps;
    }
}

/// Why a session gives up its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// A subscription was not answered in time.
    Unanswered {
        /// Milliseconds since it was sent.
        waited: Millis,
    },
    /// Nothing arrived, not even a pong.
    Dead {
        /// Milliseconds since the last frame.
        silent: Millis,
    },
    /// Pongs arrived, but no trades of the busiest symbol.
    Silent {
        /// Milliseconds since its last frame.
        silent: Millis,
    },
}

impl fmt::Display for CloseReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered { waited } => write!(out, "subscription not answered for {waited} ms"),
            Self::Dead { silent } => write!(out, "no frame or pong for {silent} ms"),
            Self::Silent { silent } => {
                write!(out, "no trades of the busiest symbol for {silent} ms although pongs arrive")
            }
        }
    }
}

/// A change of state, reported once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Every subscription of a new connection was answered.
    Subscribed {
        /// Topics acknowledged.
        covered: usize,
        /// Topics refused.
        refused: usize,
    },
    /// Bybit refuses a symbol; it is requested again from time to time.
    Refused {
        /// The symbol.
        symbol: Symbol,
        /// Bybit's text, sanitised.
        message: String,
    },
    /// Bybit accepted a symbol that it had refused.
    Recovered {
        /// The symbol.
        symbol: Symbol,
    },
    /// Topics brought nothing although their symbols traded; they are subscribed to again.
    Renewed {
        /// Their number.
        topics: usize,
    },
    /// The canary topic is refused or not answered, so there is no check for a silent feed.
    Unwatched {
        /// The topic.
        topic: String,
        /// Bybit's text, sanitised, or that there was no answer.
        message: String,
    },
    /// The first frame of a kind that could not be decoded. Later ones are only counted.
    Unreadable {
        /// The kind.
        kind: &'static str,
        /// The frame's beginning, sanitised.
        head: String,
    },
}
