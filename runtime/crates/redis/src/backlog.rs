//! The klines or values of one output that wait for Redis.
//!
//! There are three kinds: `Ordered` loses nothing while it has room on disk, `Newest` keeps the last kline of each
//! series, `Published` keeps what consumers publish in memory, within bounds. None of them knows the connection: the
//! writer reports to them what was acknowledged and when the connection was lost.

mod newest;
mod ordered;
mod published;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use klines_domain::kline::Kline;

pub(super) use self::newest::Newest;
pub(super) use self::ordered::Ordered;
pub(super) use self::published::Published;
use super::tally::{ORDER, Tally, Waiting, count};
use crate::spill::Mark;

/// Klines or values that are sent and acknowledged together.
#[derive(Clone, Debug)]
pub(super) struct Batch<T = Kline> {
    /// The klines or values.
    pub(super) items: Vec<Arc<T>>,
    /// Their record in the spill, if they were read from it.
    mark: Option<Mark>,
}

/// What waits for Redis in one output.
pub(super) trait Backlog {
    /// A kline or a value.
    type Item: Send + Sync + 'static;
    /// Adds the items of one delivery.
    fn admit(&mut self, items: Vec<Arc<Self::Item>>);
    /// Returns whether there is room for more. If not, items wait in the writer's inbox.
    fn has_room(&self) -> bool;
    /// Returns whether nothing waits to be sent.
    fn is_idle(&self) -> bool;
    /// Takes out the next batch to send.
    fn next(&mut self) -> Option<Batch<Self::Item>>;
    /// Notes that Redis has acknowledged a batch. Batches are acknowledged in the order in which they were sent.
    fn acknowledged(&mut self, batch: &Batch<Self::Item>);
    /// Takes back, after a disconnection, the batches that were sent, in this order, and not acknowledged.
    fn requeue(&mut self, sent: Vec<Batch<Self::Item>>);
    /// Notes that Redis takes no klines for longer than a moment.
    fn on_outage(&mut self);
    /// Notes that Redis takes klines again.
    fn on_connected(&mut self);
    /// Returns what waits.
    fn waiting(&self) -> Waiting {
        Waiting { is_full: !self.has_room(), ..Waiting::default() }
    }
    /// Keeps for the next run what it can, and counts the rest as lost: nothing more will be sent.
    fn finish(&mut self);
}
