//! What many runs come to.

use std::fmt;
use std::ops::AddAssign;

use klines_simulation::cluster::Figures;

/// The sum of runs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// The number of seeds that have failed.
    pub(super) failed: u64,
    compared: usize,
    /// The number of large clusters, and the sums of what was measured in them.
    large: u64,
    sums: Figures,
    /// The longest time until all partitions counted again, in milliseconds.
    slowest: u64,
}

impl Tally {
    pub(super) fn of(failed: u64, compared: usize, figures: Option<Figures>) -> Self {
        let sums = figures.unwrap_or_default();
        Self { failed, compared, large: u64::from(figures.is_some()), sums, slowest: sums.recovered }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.failed += other.failed;
        self.compared += other.compared;
        self.large += other.large;
        self.sums.members += other.sums.members;
        self.sums.holders += other.sums.holders;
        self.sums.workers += other.sums.workers;
        self.sums.recovered += other.sums.recovered;
        self.sums.moved += other.sums.moved;
        self.slowest = self.slowest.max(other.slowest);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { failed, compared, large, sums, slowest } = self;
        write!(out, "{failed} failed, {compared} klines compared")?;
        if *large == 0 {
            return Ok(());
        }
        let Figures { members, holders, workers, recovered, moved } = sums;
        let [members, holders, workers, recovered, moved] =
            [members, holders, workers, recovered, moved].map(|sum| sum / large);
        write!(
            out,
            "; {large} large clusters: {members} requests a second of members, {holders} of holders, {workers} of workers; \
             {moved} partitions move when an ingest node is killed, and count again after {recovered} ms, {slowest} ms at most"
        )
    }
}
