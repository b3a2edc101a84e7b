//! What a session reports besides events: counters, and changes of state that deserve a line in the log.

use std::fmt;

use klines_domain::symbol::Symbol;
use klines_domain::time::Millis;

/// Everything that one connection, or a sum of them, has seen since the start. Nothing received is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Text frames: the sum of the six kinds below.
    pub frames: u64,
    /// Frames of trades.
    pub trade_frames: u64,
    /// Frames of the topic that only shows that data flows; their rows are not read.
    pub canary_frames: u64,
    /// Answers to commands, pongs included.
    pub answers: u64,
    /// Frames of topics that were not asked for.
    pub unknown_topics: u64,
    /// Frames that could not be understood.
    pub unreadable: u64,
    /// Frames that came after the connection was given up.
    pub ignored: u64,
    /// Trades in frames, rejected ones included.
    pub received: u64,
    /// Trades left out because price, size or time cannot be right.
    pub rejected: u64,
    /// Connections opened.
    pub opened: u64,
    /// Times that covered topics lost their cover.
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

/// Why a session gives its connection up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// A subscription was not answered in time.
    Unanswered {
        /// Milliseconds since it was sent.
        waited: Millis,
    },
    /// Nothing came, not even a pong.
    Dead {
        /// Milliseconds since the last frame.
        silent: Millis,
    },
    /// Pongs came, but no trades of the busiest symbol.
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
    /// Every subscription of a new connection has been answered.
    Subscribed {
        /// Topics acknowledged.
        covered: usize,
        /// Topics refused.
        refused: usize,
    },
    /// Bybit refuses a symbol; it is asked for again from time to time.
    Refused {
        /// The symbol.
        symbol: Symbol,
        /// Bybit's words, sanitised.
        message: String,
    },
    /// A refused symbol was accepted after all.
    Recovered {
        /// The symbol.
        symbol: Symbol,
    },
    /// The topic by whose silence a dead feed would show is not to be had: there is no such check.
    Unwatched {
        /// The topic.
        topic: String,
        /// Bybit's words, sanitised, or that there were none.
        message: String,
    },
    /// First frame of its kind that could not be understood. Later ones are counted only.
    Unreadable {
        /// The kind.
        kind: &'static str,
        /// The frame's beginning, sanitised.
        head: String,
    },
}
