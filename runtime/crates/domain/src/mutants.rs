//! Deliberate mistakes, one at a time, with which the simulation is tested: it has to find each of them. Without the
//! feature `mutants` none of them exists.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A lost connection does not end coverage.
    LossIgnored,
    /// A loss is counted from its discovery, not from the last frame before it.
    LossDiscovered,
    /// Coverage begins before a topic is acknowledged.
    CoveredTooSoon,
    /// A damaged frame is no gap.
    DamageIgnored,
    /// A pong proves that trades arrive, too.
    PongBelieved,
    /// A regained connection does not cover anything.
    CoverageNotResumed,
    /// The end of a gap counts as covered once coverage resumes.
    GapShortened,
    /// Trades that came twice count twice.
    DuplicatesCounted,
    /// A late trade changes its window, but no revision is emitted.
    RevisionSkipped,
    /// A revision has the number of the kline that it corrects.
    RevisionNotCounted,
    /// A revision has the sequence number of the kline that it corrects.
    SequenceNotCounted,
    /// A changed close does not reach the open of the next window.
    OpenNotCorrected,
    /// A loss of one of several feeds is a gap.
    OtherFeedIgnored,
    /// A loss of one of several feeds is no gap, although the others do not cover it either.
    OtherFeedBelieved,
    /// Late trades are added behind those that happened after them.
    LateTradeLast,
    /// A candle of the exchange is added to the trades of its window.
    SeenAndCandle,
    /// Late trades of a minute whose candle was taken count, too.
    SupersededCounted,
    /// The ids of trades are forgotten although a gap near them may be filled later.
    IdsForgotten,
    /// A candle that cannot be true is taken.
    CandleBelieved,
    /// Candles are asked for before they are settled.
    CandleTooSoon,
    /// Recent trades are taken for all that there were, without a proof.
    RecentTradesUnproven,
    /// A jump of the exchange's clock is no gap.
    JumpIgnored,
    /// Windows of an instrument that has ended become flat klines.
    EndIgnored,
    /// A later list without an instrument moves its end.
    EndMoved,
    /// The first price of a symbol is not taken from a recovered trade.
    FirstPriceForgotten,
    /// Recent trades divide an hour of which only a candle knows the rest.
    HourDivided,
    /// A topic that brings nothing although its symbol trades counts as covered.
    DeadTopicBelieved,
    /// What ended while the process was not running is not repaired.
    OutageForgotten,
    /// A window that has a kline of an earlier process gets another one.
    EarlierKlineRepeated,
    /// A kline that may have been published before a crash does not count as a revision.
    LostKlineNotCounted,
    /// Sequences begin again with each process.
    SequenceRestarted,
    /// A consumer's position passes klines that it has not acknowledged.
    PositionAhead,
    /// A consumer does not get the first klines after its position.
    ReplayTooLate,
    /// A crash while the disk is full counts like any other.
    FullDiskForgotten,
    /// What a process has not repaired before its end is not repaired by the next one either.
    HoleForgotten,
    /// A kline that may have been published before each of two crashes counts once.
    CrashNotCounted,
    /// A worker counts its lease from the answer, not from the request.
    LeaseFromAnswer,
    /// An owner goes on after the end of its lease.
    LeaseOutlived,
    /// Redis accepts every token of a process, also one of an earlier grant.
    StaleTokenAccepted,
    /// An answer from before a release makes a worker the owner again.
    ReleaseRevived,
    /// A partition is given up before the new holder counts.
    HandOverTooSoon,
    /// A node counts before its first windows are right.
    CountsTooSoon,
    /// Partitions move between nodes that stay when another one ends.
    SharesReshuffled,
    /// The last minute is not sent again after a failover.
    ResendSkipped,
    /// New klines are taken after a failover although a holder has not sent its last minute again.
    OwingForgotten,
    /// No epoch begins when Redis is another one.
    EpochKept,
    /// Of the versions of a kline, the worst is published.
    WorseVersionWins,
    /// What a master that lost had published replaces what is better.
    LoserRestored,
    /// A worker begins behind an entry that nobody has acknowledged.
    BeginsTooLate,
    /// Redis lets the position of a group go back.
    PositionBack,
}

impl Mutant {
    /// The mistakes of one process.
    pub const PROCESS: [Self; 36] = [
        Self::LossIgnored,
        Self::LossDiscovered,
        Self::CoveredTooSoon,
        Self::DamageIgnored,
        Self::PongBelieved,
        Self::CoverageNotResumed,
        Self::GapShortened,
        Self::DuplicatesCounted,
        Self::RevisionSkipped,
        Self::RevisionNotCounted,
        Self::SequenceNotCounted,
        Self::OpenNotCorrected,
        Self::LateTradeLast,
        Self::OtherFeedIgnored,
        Self::OtherFeedBelieved,
        Self::SeenAndCandle,
        Self::SupersededCounted,
        Self::IdsForgotten,
        Self::CandleBelieved,
        Self::CandleTooSoon,
        Self::RecentTradesUnproven,
        Self::JumpIgnored,
        Self::EndIgnored,
        Self::EndMoved,
        Self::FirstPriceForgotten,
        Self::HourDivided,
        Self::DeadTopicBelieved,
        Self::OutageForgotten,
        Self::EarlierKlineRepeated,
        Self::LostKlineNotCounted,
        Self::SequenceRestarted,
        Self::PositionAhead,
        Self::ReplayTooLate,
        Self::FullDiskForgotten,
        Self::HoleForgotten,
        Self::CrashNotCounted,
    ];

    /// The mistakes of a cluster.
    pub const CLUSTER: [Self; 14] = [
        Self::LeaseFromAnswer,
        Self::LeaseOutlived,
        Self::StaleTokenAccepted,
        Self::ReleaseRevived,
        Self::HandOverTooSoon,
        Self::CountsTooSoon,
        Self::SharesReshuffled,
        Self::ResendSkipped,
        Self::OwingForgotten,
        Self::EpochKept,
        Self::WorseVersionWins,
        Self::LoserRestored,
        Self::BeginsTooLate,
        Self::PositionBack,
    ];

    /// Returns whether this mistake is made.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn is_made(self) -> bool {
        MADE.get() == Some(self)
    }

    /// Returns that no mistake is made.
    #[cfg(not(feature = "mutants"))]
    #[inline]
    #[must_use]
    pub const fn is_made(self) -> bool {
        false
    }
}

#[cfg(feature = "mutants")]
thread_local! {
    static MADE: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Makes a mistake on this thread, until another is chosen.
#[cfg(feature = "mutants")]
pub fn make(mutant: Option<Mutant>) {
    MADE.set(mutant);
}
