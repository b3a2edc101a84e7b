//! What waits for Redis in one lane, and what its klines came to.
//!
//! Three kinds: `Ordered` loses nothing while it has room on disk, `Newest` keeps the last of each series, `Published`
//! keeps what consumers publish within bounds in memory. None knows the connection; the lane tells them what was sent, acknowledged and lost.

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

/// What is sent and acknowledged together.
#[derive(Clone, Debug)]
pub(super) struct Parcel<T = Kline> {
    /// The klines or values.
    pub(super) items: Vec<Arc<T>>,
    /// Where they stand in the spill, if they do.
    mark: Option<Mark>,
}

/// What waits.
pub(super) trait Backlog {
    /// Klines or values.
    type Item: Send + Sync + 'static;
    /// Takes what came together.
    fn admit(&mut self, items: Vec<Arc<Self::Item>>);
    /// Whether it takes more. If not, they wait before it.
    fn has_room(&self) -> bool;
    /// Whether nothing waits to be sent.
    fn is_idle(&self) -> bool;
    /// Hands out what is to be sent next.
    fn next(&mut self) -> Option<Parcel<Self::Item>>;
    /// Redis has acknowledged a parcel. Parcels are acknowledged in the order of sending.
    fn acknowledged(&mut self, parcel: &Parcel<Self::Item>);
    /// Redis was lost: these were sent, in this order, and not acknowledged.
    fn recall(&mut self, sent: Vec<Parcel<Self::Item>>);
    /// Redis has been away for some time.
    fn away(&mut self);
    /// Redis takes klines again.
    fn back(&mut self);
    /// Returns what waits.
    fn waiting(&self) -> Waiting {
        Waiting { is_full: !self.has_room(), ..Waiting::default() }
    }
    /// Nothing more will be sent: keeps what can be kept.
    fn conclude(&mut self);
}
