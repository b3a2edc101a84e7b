//! Entries of streams, as Redis returns them. Everything in them is untrusted.

use ::redis::Value;
use klines_domain::kline::Kline;
use klines_domain::sanitize::sanitize;
use klines_domain::series::{SeriesId, SeriesKey};
use klines_domain::time::Millis;

use crate::encoding::{self, DecodeError};
use crate::stream_id::StreamId;
use crate::version::MAX_KLINES;

/// The maximum length of a message of Redis, in characters.
const MAX_MESSAGE: usize = 200;

/// One entry of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: StreamId,
    /// The epoch under which it was published; `None` if no node has written it.
    pub epoch: Option<u64>,
    /// Its further fields and their values.
    fields: Vec<(String, String)>,
    /// The number of fields that are no text.
    unreadable: u64,
}

impl Entry {
    /// Reads an entry; `None` if it has no id.
    fn read(value: &Value) -> Option<Self> {
        let [id, fields] = value.as_sequence()? else { return None };
        let id = text(id)?.parse().ok()?;
        let mut pairs = fields.as_sequence().unwrap_or_default().chunks_exact(2).map(|pair| match pair {
            [field, value] => Some((text(field)?, text(value)?)),
            _ => None,
        });
        let first = pairs.next().flatten();
        let epoch = first.filter(|(name, _)| name == "epoch").and_then(|(_, epoch)| epoch.parse().ok());
        if epoch.is_none() {
            return Some(Self { id, epoch, fields: Vec::new(), unreadable: 1 });
        }
        let pairs: Vec<_> = pairs.take(MAX_KLINES).collect();
        let all = pairs.len();
        let fields: Vec<_> = pairs.into_iter().flatten().collect();
        let unreadable = (all - fields.len()) as u64;
        Some(Self { id, epoch, fields, unreadable })
    }

    /// Returns the klines of the series that `find` knows, and the number of fields that are no klines.
    pub fn klines(&self, mut find: impl FnMut(&SeriesKey) -> Option<SeriesId>) -> (Vec<Kline>, u64) {
        let (mut klines, mut unreadable) = (Vec::with_capacity(self.fields.len()), self.unreadable);
        for (field, value) in &self.fields {
            match encoding::decode(field, value, &mut find) {
                Ok(kline) => klines.push(kline),
                // Nobody here wants the series.
                Err(DecodeError::Series) => {}
                Err(_) => unreadable += 1,
            }
        }
        (klines, unreadable)
    }

    /// Returns the series and the starts of the windows of its klines. What is none is left out.
    pub fn windows(&self) -> impl Iterator<Item = (SeriesKey, Millis)> {
        self.fields.iter().filter_map(|(field, _)| encoding::window(field).ok())
    }
}

/// Reads the answer to `XREVRANGE`. What has another form is left out.
pub(crate) fn entries(answer: &Value) -> Vec<Entry> {
    answer.as_sequence().unwrap_or_default().iter().filter_map(Entry::read).collect()
}

/// Reads the answer to `XREAD`: the entries of each stream. What has another form is left out.
pub(crate) fn streams(answer: &Value) -> Vec<(String, Vec<Entry>)> {
    let pair = |value: &Value| {
        let [key, entries] = value.as_sequence()? else { return None };
        Some((text(key)?, entries.as_sequence()?.iter().filter_map(Entry::read).collect()))
    };
    match answer {
        Value::Map(streams) => {
            let of = |(key, entries): &(Value, Value)| {
                Some((text(key)?, entries.as_sequence()?.iter().filter_map(Entry::read).collect()))
            };
            streams.iter().filter_map(of).collect()
        }
        other => other.as_sequence().unwrap_or_default().iter().filter_map(pair).collect(),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

/// Returns what Redis says as one line of plain characters.
pub(crate) fn words(message: &str) -> String {
    sanitize(message, MAX_MESSAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn entry(id: &str, fields: &[&str]) -> Value {
        Value::Array(vec![bulk(id), Value::Array(fields.iter().map(|field| bulk(field)).collect())])
    }

    const VALUE: &str = "1 7 0 311 64258.2 64259.5 64258 64259 0.02 1285.18 0 0 1786310879000 2 3 1786310880080";

    #[test]
    fn klines_are_read_and_what_is_none_is_counted() {
        let fields = ["epoch", "9", "linear BTCUSDT 1m 1786310820000", VALUE, "linear BTCUSDT 1m 1", VALUE, "x", "y"];
        let answer = Value::Array(vec![Value::Array(vec![
            bulk("{klines:main:3}:stream"),
            Value::Array(vec![entry("5-1", &fields), entry("x", &fields), entry("6-0", &["z", "9"])]),
        ])]);
        let read = streams(&answer);
        assert_eq!((read.len(), read[0].1.len()), (1, 2), "without an id there is no entry");
        let (klines, unreadable) = read[0].1[0].klines(|key| Some(SeriesId::of(key.clone())));
        assert_eq!((klines.len(), unreadable, read[0].1[0].epoch), (1, 2, Some(9)));
        let foreign = &read[0].1[1];
        assert_eq!((foreign.id.millis, foreign.epoch), (6, None), "one without an epoch is passed over");
        assert_eq!(foreign.klines(|key| Some(SeriesId::of(key.clone()))), (Vec::new(), 1));
        assert_eq!(read[0].1[0].klines(|_| None), (Vec::new(), 2), "unwanted series are not counted");
    }

    #[test]
    fn other_answers_have_no_entries() {
        for value in [Value::Nil, Value::Int(1), bulk("x"), Value::Array(vec![Value::Nil]), entry("1-1", &[])] {
            assert!(streams(&value).iter().all(|(_, entries)| entries.is_empty()));
        }
    }
}
