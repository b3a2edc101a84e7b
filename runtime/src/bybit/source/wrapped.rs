//! Frames inside a recorder's records, ordered by when they were received.
//!
//! ```json
//! {"t":"connect","conn":"A","ts":1786310818.2235148,"addr":"wss://stream.bybit.com/v5/public/linear"}
//! {"t":"recv","conn":"A","ts":1786310819.52652,"data":"{\"topic\":…}"}
//! ```
//! A recorder writes its connections' buffers one after the other, so that the whole file is read before it is
//! ordered: memory is about the size of the file.

use std::borrow::Cow;

use hashbrown::HashMap;
use serde::Deserialize;

use crate::domain::symbol::Category;
use crate::domain::time::Millis;

use super::file::Lines;
use super::{Body, Record, SourceError};

#[derive(Deserialize)]
struct WireRecord<'a> {
    #[serde(rename = "t", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    conn: Cow<'a, str>,
    /// Seconds.
    ts: f64,
    #[serde(borrow)]
    addr: Option<Cow<'a, str>>,
    data: Option<String>,
}

/// Whether a line is a recorder's record.
pub(super) fn is_record(line: &str) -> bool {
    serde_json::from_str::<WireRecord<'_>>(line).is_ok()
}

/// Reads a whole file, beginning with a line that was read already. Records of connections to other paths than
/// Bybit's public streams are left out.
pub(super) fn read(first: &str, lines: &mut Lines) -> Result<Vec<(Millis, Record)>, SourceError> {
    let mut reader = Reader::default();
    reader.line(first).map_err(|reason| lines.wrong(reason))?;
    while let Some(line) = lines.next()? {
        if let Err(reason) = reader.line(line)
            && !lines.is_at_end()
        {
            return Err(lines.wrong(reason));
        }
    }
    reader.records.sort_by_key(|(received, _)| *received);
    let records = reader.records.into_iter().map(|(micros, record)| (micros.div_euclid(1_000), record));
    Ok(records.collect())
}

#[derive(Default)]
struct Reader {
    categories: HashMap<String, Option<Category>, foldhash::fast::RandomState>,
    /// With the time of receipt in microseconds, which is finer than the clock of the pipeline.
    records: Vec<(i64, Record)>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let record: WireRecord<'_> =
            serde_json::from_str(line).map_err(|error| format!("is not a recorder's record: {error}"))?;
        match (&*record.kind, record.addr, record.data) {
            ("connect", Some(address), _) => {
                self.categories.insert(record.conn.into_owned(), category_of(&address));
            }
            ("recv", _, Some(data)) => {
                let known = self.categories.get(&*record.conn);
                let known = known.ok_or_else(|| format!("connection {:?} was never opened", record.conn))?;
                if let Some(category) = known {
                    let micros = micros(record.ts)?;
                    let received = Some(micros.div_euclid(1_000));
                    self.records.push((micros, Record { received, category: *category, body: Body::Frame(data) }));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The category in the path of a public stream's address.
fn category_of(address: &str) -> Option<Category> {
    let path = address.split_once("/v5/public/")?.1;
    path.split(['?', '/']).next()?.parse().ok()
}

/// Seconds of an epoch to whole microseconds; a float holds them exactly enough until the year 2255.
fn micros(seconds: f64) -> Result<i64, String> {
    if !(0.0..4_102_444_800.0).contains(&seconds) {
        return Err(format!("receive time {seconds} is not in seconds since 1970"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked just above")]
    Ok((seconds * 1e6).round() as i64)
}
