//! What the driver of a group knows of one lease: how far its streams are read, and how far they are acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use klines_delivery::shared_state::{Change, Value};
use klines_domain::kline::Kline;

use super::book::{At, Holding};
use crate::model::groups::Changes;
use crate::partition::Partition;
use crate::reader::seen::Seen;
use crate::stream_id::StreamId;

/// The first byte of a field with a position, and of one with a value of the consumer.
const POSITION: u8 = b'@';
const VALUE: u8 = b'=';

/// One stream.
#[derive(Debug)]
pub(super) struct Stream {
    /// Its key in Redis.
    pub(super) key: String,
    /// The last entry that was read.
    pub(super) read: StreamId,
    /// The last entry that the consumer has accepted.
    pub(super) acknowledged: StreamId,
    /// The last one that Redis knows of.
    pub(super) noted: StreamId,
    pub(super) seen: Seen,
}

impl Stream {
    pub(super) fn at(key: String, position: StreamId) -> Self {
        Self { key, read: position, acknowledged: position, noted: StreamId::default(), seen: Seen::default() }
    }
}

/// One lease.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) holding: Holding,
    pub(super) streams: BTreeMap<Partition, Stream>,
    /// When a lease that is to be given back is so at the latest.
    pub(super) finishing: Option<Duration>,
}

/// What was asked of a stream. An answer counts only if it goes on where the stream is: its lease may have begun again
/// meanwhile, further back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) partition: Partition,
    pub(super) holding: Holding,
    pub(super) read: StreamId,
}

/// An entry that was read and is not published yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) holding: Holding,
    pub(super) at: At,
    pub(super) klines: Vec<Arc<Kline>>,
}

impl Slot {
    /// Returns the position in the stream in whose partition the lease is.
    pub(super) fn position(&self) -> StreamId {
        self.streams.get(&self.holding.partition).map(|stream| stream.acknowledged).unwrap_or_default()
    }

    /// Notes that the consumer has accepted an entry.
    pub(super) fn accepted(&mut self, at: At) {
        if let Some(stream) = self.streams.get_mut(&at.partition) {
            stream.acknowledged = stream.acknowledged.max(at.id);
        }
    }

    /// Returns the other streams whose position Redis does not know.
    pub(super) fn unnoted(&self) -> Vec<At> {
        let others = self.streams.iter().filter(|(partition, _)| **partition != self.holding.partition);
        let unnoted = others.filter(|(_, stream)| stream.acknowledged > stream.noted);
        unnoted.map(|(partition, stream)| At { partition: *partition, id: stream.acknowledged }).collect()
    }

    pub(super) fn noted(&mut self, notes: &[At]) {
        for at in notes {
            if let Some(stream) = self.streams.get_mut(&at.partition) {
                stream.noted = at.id;
            }
        }
    }
}

/// Returns the fields of a state and of the positions in other streams as they are changed in Redis.
pub(super) fn changes(values: &[Change], positions: &[At]) -> Changes {
    let mut changes = Changes::default();
    for (key, value) in values {
        let field = [&[VALUE], key.as_bytes()].concat();
        match value {
            Some(value) => changes.set.push((field, value.to_vec())),
            None => changes.deleted.push(field),
        }
    }
    for At { partition, id } in positions {
        let field = [&[POSITION][..], partition.to_string().as_bytes()].concat();
        changes.set.push((field, id.to_string().into_bytes()));
    }
    changes
}

/// The fields of a hash in Redis and their values.
pub(super) type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// What such a hash has: the values of a state, and the positions in other streams by partition.
pub(super) type Stored = (BTreeMap<Arc<str>, Value>, BTreeMap<u16, StreamId>);

/// Reads the fields of a hash in Redis. What has another form is left out.
pub(super) fn stored(fields: Fields) -> Stored {
    let (mut values, mut positions) = Stored::default();
    for (field, value) in fields {
        match field.split_first() {
            Some((&VALUE, key)) => {
                if let Ok(key) = std::str::from_utf8(key) {
                    values.insert(Arc::from(key), Arc::from(value));
                }
            }
            Some((&POSITION, number)) => {
                let number = std::str::from_utf8(number).ok().and_then(|text| text.parse::<u16>().ok());
                let id = String::from_utf8(value).ok().and_then(|text| text.parse::<StreamId>().ok());
                positions.extend(number.zip(id));
            }
            _ => {}
        }
    }
    (values, positions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::Partitions;

    fn at(number: u16, millis: u64) -> At {
        At { partition: Partitions::default().get(number).unwrap(), id: StreamId { millis, number: 0 } }
    }

    #[test]
    fn a_state_and_positions_are_read_as_they_were_written() {
        let value: Value = [0, 255, 7].as_slice().into();
        let changes = changes(&[("@3".into(), Some(value.clone())), ("old".into(), None)], &[at(3, 9)]);
        assert_eq!(changes.deleted, [b"=old".to_vec()]);
        let (values, positions) = stored(changes.set);
        assert_eq!(values, BTreeMap::from([("@3".into(), value)]));
        assert_eq!(positions, BTreeMap::from([(3, at(3, 9).id)]));
        assert_eq!(stored(vec![(b"".to_vec(), b"x".to_vec()), (b"@x".to_vec(), b"1-1".to_vec())]), Stored::default());
    }

    #[test]
    fn a_position_is_noted_once() {
        let holding = Holding { partition: at(0, 0).partition, number: 1 };
        let streams = [0, 1]
            .map(|number| (at(number, 0).partition, Stream::at(number.to_string(), StreamId { millis: 5, number: 0 })));
        let mut slot = Slot { holding, streams: streams.into(), finishing: None };
        assert_eq!(slot.unnoted(), [at(1, 5)], "also where it begins");
        slot.noted(&[at(1, 5)]);
        slot.accepted(at(0, 8));
        assert_eq!((slot.unnoted(), slot.position()), (vec![], at(0, 8).id));
        slot.accepted(at(1, 6));
        slot.accepted(at(1, 4));
        assert_eq!(slot.unnoted(), [at(1, 6)]);
    }
}
