//! The series that consumers publish: their newest values and their followers.
//!
//! The stored values are bounded in bytes for each consumer, so that one cannot push out those of another. A series may
//! be followed before it has a value; it is removed when its last follower leaves before that.

use std::sync::Arc;

use hashbrown::HashMap;
use klines_delivery::emit::{Point, ValueSeries};

use super::client::{Client, ClientId};
use super::outbox::TopicId;
use super::recent::{Base, Recent};

/// The first number of a series of values; series of klines have smaller ones.
const FIRST_VALUE_ID: u32 = 1 << 31;
/// The maximum number of values of one series.
const MAX_VALUES: usize = 1_000;
/// The maximum number of series that are followed and have no value yet: clients can subscribe to any name.
pub const MAX_AWAITED: usize = 10_000;

/// All series of values.
#[derive(Debug)]
pub struct Values {
    ids: HashMap<Arc<ValueSeries>, u32, foldhash::fast::RandomState>,
    followed: Vec<Option<Followed>>,
    /// Indices in `followed` that are free.
    free: Vec<u32>,
    /// The number of series without a value.
    awaited: usize,
    /// One for each consumer; there are only a few.
    shares: Vec<Share>,
    /// The maximum size of one share, bytes.
    most: usize,
}

/// A series of values and its followers.
#[derive(Debug)]
pub struct Followed {
    /// The series.
    pub series: Arc<ValueSeries>,
    /// The newest values.
    pub recent: Recent<Point>,
    /// The clients that receive its pushes.
    pub followers: Vec<Arc<Client>>,
    /// Whether it has had a value.
    is_known: bool,
}

/// The stored values of one consumer.
#[derive(Debug)]
struct Share {
    consumer: Arc<str>,
    ids: Vec<u32>,
    bytes: usize,
    /// The maximum number of values of one series; falls when the bound is reached.
    longest: usize,
}

/// Returns whether a number is that of a series of values.
#[must_use]
pub const fn is_value(id: TopicId) -> bool {
    id.0 >= FIRST_VALUE_ID
}

impl Values {
    /// Creates an empty memory of about `most` bytes for each consumer.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let (ids, followed, free) = (HashMap::default(), Vec::new(), Vec::new());
        Self { ids, followed, free, awaited: 0, shares: Vec::new(), most }
    }

    /// Returns the number of a series, if it has values or followers.
    #[must_use]
    pub fn id(&self, series: &ValueSeries) -> Option<TopicId> {
        self.ids.get(series).map(|at| TopicId(FIRST_VALUE_ID + at))
    }

    /// Returns the number of a series; adds it if it is new.
    pub fn get_or_add(&mut self, series: &ValueSeries) -> TopicId {
        self.id(series).unwrap_or_else(|| self.add(series.clone()))
    }

    /// Returns the number of series without a value.
    #[must_use]
    pub const fn awaited(&self) -> usize {
        self.awaited
    }

    /// Returns a series with its values and followers.
    #[must_use]
    pub fn get(&self, id: TopicId) -> Option<&Followed> {
        self.followed.get(id.0.checked_sub(FIRST_VALUE_ID)? as usize)?.as_ref()
    }

    fn get_mut(&mut self, id: TopicId) -> Option<&mut Followed> {
        self.followed.get_mut(id.0.checked_sub(FIRST_VALUE_ID)? as usize)?.as_mut()
    }

    /// Adds a follower to a series; the caller makes sure that the client does not follow it yet.
    pub fn follow(&mut self, id: TopicId, client: &Arc<Client>) {
        if let Some(followed) = self.get_mut(id) {
            followed.followers.push(client.clone());
        }
    }

    /// Removes a follower from a series.
    pub fn unfollow(&mut self, id: TopicId, client: ClientId) {
        if let Some(followed) = self.get_mut(id) {
            followed.followers.retain(|follower| follower.id != client);
        }
        self.remove_if_unused(id);
    }

    /// Removes a series that has no followers and never had a value.
    pub fn remove_if_unused(&mut self, id: TopicId) {
        let is_idle = |followed: &&Followed| !followed.is_known && followed.followers.is_empty();
        let Some(series) = self.get(id).filter(is_idle).map(|followed| followed.series.clone()) else { return };
        self.ids.remove(&series);
        if let Some(slot) = self.followed.get_mut((id.0 - FIRST_VALUE_ID) as usize) {
            *slot = None;
            self.free.push(id.0 - FIRST_VALUE_ID);
            self.awaited -= 1;
        }
    }

    /// Returns at most `most` series that have had values.
    #[must_use]
    pub fn known(&self, most: usize) -> Vec<Arc<ValueSeries>> {
        let known = self.followed.iter().flatten().filter(|followed| followed.is_known);
        known.take(most).map(|followed| followed.series.clone()).collect()
    }

    /// Stores a value. Returns its series, and whether its sequence follows the last one, as [`Recent::keep`] does.
    pub fn keep(&mut self, point: &mut Arc<Point>) -> Option<(TopicId, bool)> {
        let id = self.get_or_add(&point.value_series());
        let at = id.0 - FIRST_VALUE_ID;
        let followed = self.followed.get_mut(at as usize)?.as_mut()?;
        let is_new = !std::mem::replace(&mut followed.is_known, true);
        self.awaited -= usize::from(is_new);
        let before = followed.recent.open().map_or(0, |open| open.weight());
        let is_next = followed.recent.keep(point, Base::Own);
        let open = followed.recent.open().map_or(0, |open| open.weight());
        let confirmed = if point.confirm { point.weight() } else { 0 };
        if !self.shares.iter().any(|share| share.consumer == point.consumer) {
            let consumer = point.consumer.clone();
            self.shares.push(Share { consumer, ids: Vec::new(), bytes: 0, longest: MAX_VALUES });
        }
        let share = self.shares.iter_mut().find(|share| share.consumer == point.consumer)?;
        if is_new {
            share.ids.push(at);
        }
        share.bytes = share.bytes + open + confirmed - before;
        share.bytes -= shorten(&mut followed.recent, share.longest);
        while share.bytes > self.most && share.longest > 0 {
            share.shorten(&mut self.followed);
        }
        if share.bytes > self.most
            && let Some(Some(followed)) = self.followed.get_mut(at as usize)
        {
            share.bytes -= followed.recent.open().map_or(0, |open| open.weight());
            followed.recent.forget_open();
        }
        Some((id, is_next))
    }

    fn add(&mut self, series: ValueSeries) -> TopicId {
        let series = Arc::new(series);
        let followed =
            Followed { series: series.clone(), recent: Recent::default(), followers: Vec::new(), is_known: false };
        let at = self.free.pop().unwrap_or_else(|| {
            self.followed.push(None);
            u32::try_from(self.followed.len() - 1).unwrap_or(u32::MAX - FIRST_VALUE_ID)
        });
        if let Some(slot) = self.followed.get_mut(at as usize) {
            *slot = Some(followed);
        }
        self.ids.insert(series, at);
        self.awaited += 1;
        TopicId(FIRST_VALUE_ID + at)
    }
}

impl Share {
    /// Shortens the longest series by an eighth.
    fn shorten(&mut self, all: &mut [Option<Followed>]) {
        let length = |at: &u32| all.get(*at as usize).and_then(Option::as_ref).map_or(0, |one| one.recent.closed_len());
        let longest = self.ids.iter().map(length).max().unwrap_or_default().min(self.longest);
        self.longest = longest - longest.div_ceil(8);
        for at in &self.ids {
            if let Some(Some(followed)) = all.get_mut(*at as usize) {
                self.bytes -= shorten(&mut followed.recent, self.longest);
            }
        }
    }
}

/// Drops the oldest values until at most `most` are left; returns how many bytes were freed.
fn shorten(recent: &mut Recent<Point>, most: usize) -> usize {
    let mut freed = 0;
    while recent.closed_len() > most
        && let Some(point) = recent.pop()
    {
        freed += point.weight();
    }
    freed
}

#[cfg(test)]
mod tests {
    use klines_delivery::fixture::point;

    use super::*;

    fn keep(values: &mut Values, consumer: &str, name: &str, sequence: u64, confirm: bool, text: &str) -> TopicId {
        let window = i64::try_from(sequence).unwrap();
        let mut point = Arc::new(Point { sequence, ..point(consumer, name, window, confirm, text) });
        values.keep(&mut point).unwrap().0
    }

    #[test]
    fn a_flooding_consumer_pushes_out_no_values_of_another() {
        let mut values = Values::new(100_000);
        let quiet = keep(&mut values, "quiet", "x", 1, true, "1");
        let large = format!("\"{}\"", "t".repeat(4_000));
        for sequence in 1..2_000 {
            for name in ["a", "b"] {
                keep(&mut values, "flood", name, sequence, true, &large);
                keep(&mut values, "flood", name, sequence + 1, false, &large);
            }
        }
        for name in 0..100 {
            keep(&mut values, "flood", &format!("n{name}"), 1, false, &large);
        }
        assert_eq!(values.get(quiet).unwrap().recent.closed_len(), 1);
        let held: usize = values.shares.iter().map(|share| share.bytes).sum();
        assert!(held < 110_000, "{held}");
        let counted: usize = values
            .followed
            .iter()
            .flatten()
            .map(|one| {
                let closed: usize = one.recent.newest(9_999).iter().map(|point| point.weight()).sum();
                closed + one.recent.open().map_or(0, |open| open.weight())
            })
            .sum();
        assert_eq!(held, counted);
    }

    #[test]
    fn a_missing_sequence_starts_a_new_epoch() {
        let mut values = Values::new(100_000);
        let id = keep(&mut values, "a", "x", 1, true, "1");
        keep(&mut values, "a", "x", 3, true, "1");
        let recent = &values.get(id).unwrap().recent;
        assert_eq!(
            (recent.breaks(), recent.since(1).is_none(), recent.since(2).map(|all| all.len())),
            (1, true, Some(1))
        );
    }

    #[test]
    fn a_series_without_values_and_followers_is_removed() {
        let mut values = Values::new(100_000);
        let series = |name: &str| point("a", name, 1, true, "1").value_series();
        let known = keep(&mut values, "a", "x", 1, true, "1");
        let awaited = values.get_or_add(&series("y"));
        assert_eq!((values.awaited(), values.known(9).len()), (1, 1));
        values.unfollow(awaited, ClientId(1));
        values.unfollow(known, ClientId(1));
        assert_eq!((values.awaited(), values.id(&series("y")), values.id(&series("x"))), (0, None, Some(known)));
        assert_eq!(values.get_or_add(&series("z")), awaited, "its slot is used again");
    }
}
