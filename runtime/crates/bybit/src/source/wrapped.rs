//! Frames inside a recorder's records, ordered by when they were received.
//!
//! ```json
//! {"t":"connect","conn":"A","ts":1786310818.2235148,"addr":"wss://stream.bybit.com/v5/public/linear"}
//! {"t":"recv","conn":"A","ts":1786310819.52652,"data":"{\"topic\":…}"}
//! ```
//! A second `connect` of a connection means that what was sent since its last `recv` is missing.
//!
//! A recorder writes its connections' buffers one after the other, so that the whole file is read before it is
//! ordered: memory is about the size of the file.

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

/// Whether a line is a recorder's record.
pub(super) fn is_record(line: &str) -> bool {
    serde_json::from_str::<WireRecord<'_>>(line).is_ok()
}

/// Reads a whole file, beginning with a line that was read already; `number` tells its connections from another
/// file's. Records of connections to other paths than Bybit's public streams are left out.
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
    lines: HashMap<String, Line, foldhash::fast::RandomState>,
    /// With the time of receipt in microseconds, which is finer than the clock of the pipeline.
    records: Vec<(i64, Record)>,
}

/// A connection, through its reconnections.
struct Line {
    id: Connection,
    /// None where the address is none of Bybit's public streams.
    category: Option<Category>,
    /// When something was last received, or the connection opened, in microseconds.
    last: i64,
    /// It was lost, and tells nothing of the market yet.
    is_lost: bool,
    /// Subscriptions asked for since it opened, and not yet answered.
    unanswered: u32,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let record: WireRecord<'_> =
            serde_json::from_str(line).map_err(|error| format!("is not a recorder's record: {error}"))?;
        match (&*record.kind, record.addr, record.data) {
            ("connect", Some(address), _) => self.connect(&record.conn, &address, micros(record.ts)?),
            ("send", _, Some(data)) => {
                if let Some(line) = self.lines.get_mut(&*record.conn) {
                    line.unanswered += u32::from(is_subscription(&data));
                }
            }
            ("recv", _, Some(data)) => {
                let line = self.lines.get_mut(&*record.conn);
                let line = line.ok_or_else(|| format!("connection {:?} was never opened", record.conn))?;
                if line.category.is_some() {
                    line.last = micros(record.ts)?;
                    // It tells all that it is asked for once every subscription has its answer.
                    line.unanswered = line.unanswered.saturating_sub(u32::from(is_subscription(&data)));
                    if line.is_lost && line.unanswered == 0 && is_push(&data) {
                        line.is_lost = false;
                        self.records.extend(line.record(Body::Regained));
                    }
                    self.records.extend(line.record(Body::Frame(data)));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn connect(&mut self, name: &str, address: &str, at: i64) {
        let category = category_of(address);
        if let Some(line) = self.lines.get_mut(name) {
            if !line.is_lost {
                self.records.extend(line.record(Body::Lost));
            }
            (line.category, line.last, line.is_lost, line.unanswered) = (category, at, true, 0);
            return;
        }
        let id = Connection(self.file, u32::try_from(self.lines.len()).unwrap_or(u32::MAX));
        self.lines.insert(name.to_owned(), Line { id, category, last: at, is_lost: false, unanswered: 0 });
    }
}

impl Line {
    /// A record of the last receipt.
    fn record(&self, body: Body) -> Option<(i64, Record)> {
        let received = Some(LocalMillis::new(self.last.div_euclid(1_000)));
        Some((self.last, Record { received, category: self.category?, connection: Some(self.id), body }))
    }
}

/// Whether a frame asks for topics, or answers that.
fn is_subscription(frame: &str) -> bool {
    frame.contains(r#""op":"subscribe""#)
}

fn is_push(frame: &str) -> bool {
    frame.contains(r#""topic":"#)
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
