//! Frames inside a recorder's records, in order of receipt.
//!
//! ```json
//! {"t":"connect","conn":"A","ts":1786310818.2235148,"addr":"wss://stream.bybit.com/v5/public/linear"}
//! {"t":"recv","conn":"A","ts":1786310819.52652,"data":"{\"topic\":…}"}
//! ```
//! A second `connect` of a connection means that the frames since its last `recv` are missing.
//!
//! A recorder writes the buffers of its connections one after the other, so the whole file is read before it is sorted;
//! this needs about as much memory as the file's size.

use std::borrow::Cow;

use hashbrown::HashMap;
use klines_domain::symbol::Category;
use klines_domain::time::{LocalMillis, Millis};
use serde::Deserialize;

use super::file::Lines;
use super::{Body, Connection, Record, SourceError};

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

/// Returns whether a line is a recorder's record.
pub(super) fn is_record(line: &str) -> bool {
    serde_json::from_str::<WireRecord<'_>>(line).is_ok()
}

/// Reads a whole file; `first` is the line that was already read, and `number` distinguishes its connections from those
/// of other files. Records of connections to paths other than Bybit's public streams are skipped.
pub(super) fn read(first: &str, lines: &mut Lines, number: u32) -> Result<Vec<(Millis, Record)>, SourceError> {
    let mut reader = Reader { file: number, ..Reader::default() };
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
    file: u32,
    connections: HashMap<String, RecordedConnection, foldhash::fast::RandomState>,
    /// Records with the time of receipt in microseconds, which is finer than the clock of the pipeline.
    records: Vec<(i64, Record)>,
}

/// A connection and its reconnects.
struct RecordedConnection {
    id: Connection,
    /// `None` if the address is not a public stream of Bybit.
    category: Option<Category>,
    /// When a frame was last received or the connection was opened, in microseconds.
    last: i64,
    /// Whether the connection was lost and has not sent market data since.
    is_lost: bool,
    /// Subscriptions that were requested since it was opened and are not answered yet.
    unanswered: u32,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let record: WireRecord<'_> =
            serde_json::from_str(line).map_err(|error| format!("is not a recorder's record: {error}"))?;
        match (&*record.kind, record.addr, record.data) {
            ("connect", Some(address), _) => self.connect(&record.conn, &address, micros(record.ts)?),
            ("send", _, Some(data)) => {
                if let Some(connection) = self.connections.get_mut(&*record.conn) {
                    connection.unanswered += u32::from(is_subscription(&data));
                }
            }
            ("recv", _, Some(data)) => {
                let connection = self.connections.get_mut(&*record.conn);
                let connection = connection.ok_or_else(|| format!("connection {:?} was never opened", record.conn))?;
                if connection.category.is_some() {
                    connection.last = micros(record.ts)?;
                    // The connection carries all its topics again when every subscription is answered.
                    connection.unanswered = connection.unanswered.saturating_sub(u32::from(is_subscription(&data)));
                    if connection.is_lost && connection.unanswered == 0 && is_push(&data) {
                        connection.is_lost = false;
                        self.records.extend(connection.record(Body::Regained));
                    }
                    self.records.extend(connection.record(Body::Frame(data)));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn connect(&mut self, name: &str, address: &str, at: i64) {
        let category = category_of(address);
        if let Some(connection) = self.connections.get_mut(name) {
            if !connection.is_lost {
                self.records.extend(connection.record(Body::Lost));
            }
            (connection.category, connection.last, connection.is_lost, connection.unanswered) = (category, at, true, 0);
            return;
        }
        let id = Connection(self.file, u32::try_from(self.connections.len()).unwrap_or(u32::MAX));
        self.connections
            .insert(name.to_owned(), RecordedConnection { id, category, last: at, is_lost: false, unanswered: 0 });
    }
}

impl RecordedConnection {
    /// Returns a record with the time of the last receipt, or `None` without a category.
    fn record(&self, body: Body) -> Option<(i64, Record)> {
        let received = Some(LocalMillis::new(self.last.div_euclid(1_000)));
        Some((self.last, Record { received, category: self.category?, connection: Some(self.id), body }))
    }
}

/// Returns whether a frame is a subscribe request or the answer to one.
fn is_subscription(frame: &str) -> bool {
    frame.contains(r#""op":"subscribe""#)
}

fn is_push(frame: &str) -> bool {
    frame.contains(r#""topic":"#)
}

/// Returns the category in the address of a public stream.
fn category_of(address: &str) -> Option<Category> {
    let path = address.split_once("/v5/public/")?.1;
    path.split(['?', '/']).next()?.parse().ok()
}

/// Converts seconds since the epoch to whole microseconds; a double is exact enough until the year 2255.
fn micros(seconds: f64) -> Result<i64, String> {
    if !(0.0..4_102_444_800.0).contains(&seconds) {
        return Err(format!("receive time {seconds} is not in seconds since 1970"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked just above")]
    Ok((seconds * 1e6).round() as i64)
}
