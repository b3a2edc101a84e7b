//! What became of the trades of one category.

/// What became of the trades received. Invariant: `received = counted + duplicate + late + rejected + excluded`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Trades given to [`Aggregator::apply`](super::Aggregator::apply), and rows that the decoder rejected.
    pub received: u64,
    /// In a kline.
    pub counted: u64,
    /// Had been received before.
    pub duplicate: u64,
    /// Further behind the watermark than `lateness`, and not known to have been received before.
    pub late: u64,
    /// Price, size or time cannot be right or be held exactly.
    pub rejected: u64,
    /// Block trades, where those are left out.
    pub excluded: u64,
}
