//! Frames inside a recorder's records, in order of receipt.
//!
//! ```json
//! {"t":"connect","conn":"A","ts":1786310818.2235148,"addr":"wss://stream.bybit.com/v5/public/linear"}
//! {"t":"recv","conn":"A","ts":1786310819.52652,"data":"{\"topic\":…}"}
//! ```
//! A second `connect` of a connection means that the frames since its last `recv` are missing. A connection that is
//! opened later than the first one covers what it carries from its first push on, and one that receives nothing any more
//! although others were opened since is lost: a recorder can give a reconnect a new name.
//!
//! A recorder writes the buffers of its connections one after the other, so its records are not quite in order. The file is
//! read twice: first, [`Survey::take`] finds out how far the records are out of order and when connections were lost; then
//! [`Wrapped`] reads it through a window of that length.

use std::borrow::Cow;
use std::collections::VecDeque;

use hashbrown::HashMap;
use klines_domain::symbol::Category;
use klines_domain::time::{LocalMillis, Millis};
use serde::Deserialize;

use super::error::SourceError;
use super::input::Lines;
use super::record::{Body, Connection, Record};
use super::reorder::Reorder;
use super::skipped::Skipped;

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

/// A record without its message.
#[derive(Deserialize)]
struct WireHead<'a> {
    #[serde(rename = "t", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    conn: Cow<'a, str>,
    ts: f64,
    #[serde(borrow)]
    addr: Option<Cow<'a, str>>,
}

/// Maximum bytes of records in the window.
const MAX_WAITING: usize = 24 << 20;

/// How much later than the first connection one can be opened and still belong to the start of the recording, in
/// microseconds.
const START: i64 = 10_000_000;
/// How a record begins.
const RECORD: &[u8] = br#"{"t":"#;

/// Returns whether a line is a recorder's record.
pub(super) fn is_record(line: &[u8]) -> bool {
    serde_json::from_slice::<WireHead<'_>>(line).is_ok()
}

/// What has to be known of a file before its records can be read in order.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// How much earlier than a record before it a record is at most, in microseconds.
    disorder: i64,
    /// When the newest record so far was received, in microseconds.
    newest: i64,
    /// When connections were lost, in microseconds, in order.
    losses: VecDeque<(i64, Record)>,
    /// When the first connection was opened, in microseconds.
    pub(super) began: i64,
    /// The connections that were not lost before the end of the file.
    ends: Vec<Record>,
    /// The categories of which there are messages.
    pub(super) categories: Vec<Category>,
}

impl Survey {
    /// Reads a whole file. `number` distinguishes its connections from those of other files.
    pub(super) fn take(lines: &mut Lines, number: u32) -> Result<Self, SourceError> {
        let mut survey = Self { newest: i64::MIN, began: i64::MAX, ..Self::default() };
        let mut connections = Connections::new(number, i64::MAX);
        while let Some(line) = lines.next()? {
            if let Err(reason) = survey.line(line, &mut connections) {
                return Err(lines.wrong(reason));
            }
        }
        survey.end(&connections);
        survey.losses.make_contiguous().sort_by_key(|(at, _)| *at);
        Ok(survey)
    }

    /// Finds out which connections were up at the end.
    fn end(&mut self, connections: &Connections) {
        let all = || connections.known.values();
        let mut up: Vec<&RecordedConnection> = all().filter(|connection| !connection.is_lost).collect();
        up.sort_by_key(|connection| connection.id.1);
        for connection in up {
            let is_later =
                |other: &RecordedConnection| other.category == connection.category && other.opened > connection.last;
            let lost = connection.record(Body::Lost);
            if all().any(is_later) {
                self.losses.extend(lost);
            } else {
                self.ends.extend(lost.map(|(_, record)| record));
            }
        }
    }

    fn line(&mut self, line: &[u8], connections: &mut Connections) -> Result<(), String> {
        let Ok(record) = serde_json::from_slice::<WireHead<'_>>(line) else {
            return split(line).map_or(Ok(()), |(_, record)| self.line(record, connections));
        };
        let at = micros(record.ts)?;
        match (&*record.kind, &record.addr) {
            ("connect", Some(address)) => {
                connections.refuse_return(&record.conn, at)?;
                self.began = self.began.min(at);
                self.losses.extend(connections.open(&record.conn, address, at));
            }
            ("recv", _) => {
                let connection = connections.get(&record.conn)?;
                let Some(category) = connection.category else { return Ok(()) };
                connection.last = at;
                self.disorder = self.disorder.max(self.newest.saturating_sub(at));
                self.newest = self.newest.max(at);
                if !self.categories.contains(&category) {
                    self.categories.push(category);
                }
                // Only of a lost connection do the messages matter: they show when it is regained.
                if connection.is_lost {
                    connections.line(line)?;
                }
            }
            ("send", _) => connections.line(line)?,
            _ => {}
        }
        Ok(())
    }
}

/// The frames of one file, in order of receipt.
pub(super) struct Wrapped {
    lines: Lines,
    connections: Connections,
    /// Records with the time of receipt in microseconds, which is finer than the clock of the pipeline.
    window: Reorder<Record>,
    /// Bytes of the records in the window.
    waiting: usize,
    losses: VecDeque<(i64, Record)>,
    ends: Vec<Record>,
    categories: Vec<Category>,
    skipped: Skipped,
    has_ended: bool,
}

impl Wrapped {
    /// Creates the reader of lines that were surveyed. `began` is when the first connection of all files was opened, in
    /// microseconds.
    pub(super) fn new(lines: Lines, survey: Survey, number: u32, began: i64) -> Self {
        Self {
            lines,
            connections: Connections::new(number, began),
            window: Reorder::new(survey.disorder),
            waiting: 0,
            losses: survey.losses,
            ends: survey.ends,
            categories: survey.categories,
            skipped: Skipped::default(),
            has_ended: false,
        }
    }

    pub(super) const fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// Returns the categories of which there are messages.
    pub(super) fn categories(&self) -> &[Category] {
        &self.categories
    }

    /// Returns that the connections that were up at the end are lost, because the recording goes on in other files.
    pub(super) fn ends(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.ends)
    }

    /// Returns the next record and its time of receipt.
    pub(super) fn next(&mut self) -> Result<Option<(Millis, Record)>, SourceError> {
        loop {
            // A connection was lost after what was received until then.
            let next = self.window.next_time();
            if self.losses.front().is_some_and(|(at, _)| next.is_none_or(|next| *at < next)) && self.is_ready() {
                return Ok(self.losses.pop_front().map(|(at, record)| (at.div_euclid(1_000), record)));
            }
            if let Some((at, record)) = self.window.pop() {
                self.waiting -= length(&record);
                return Ok(Some((at.div_euclid(1_000), record)));
            }
            if self.has_ended {
                return Ok(None);
            }
            self.read()?;
        }
    }

    /// Returns whether no record can come any more that was received before the next one of the window.
    fn is_ready(&self) -> bool {
        self.has_ended || self.window.is_ready()
    }

    fn read(&mut self) -> Result<(), SourceError> {
        let Some(line) = self.lines.next()? else {
            self.has_ended = true;
            self.window.drain(true);
            return Ok(());
        };
        let found = self.connections.read(line, &mut self.skipped);
        for (at, record) in found.map_err(|reason| self.lines.wrong(reason))?.into_iter().flatten() {
            self.waiting += length(&record);
            self.window.push(at, record);
        }
        if self.waiting > MAX_WAITING {
            return Err(self.lines.wrong(format!(
                "more than {} MiB of messages would have to be kept to put them in order of receipt: the recorder wrote \
                 its connections too far apart; sort the records by `ts`",
                MAX_WAITING >> 20
            )));
        }
        Ok(())
    }
}

fn length(record: &Record) -> usize {
    size_of::<Record>() + record.body.frame().map_or(0, str::len)
}

/// Returns a line that contains two records as what is before the second one, and the second one: a recorder that was
/// killed leaves an incomplete line, and its successor may write on behind it.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memmem::rfind(line, RECORD).filter(|at| *at > 0)?;
    line.split_at_checked(at)
}

/// A record and its time of receipt in microseconds.
type Timed = (i64, Record);
/// What is in a line: a damaged frame, the end of a loss, and a frame.
type Found = [Option<Timed>; 3];

/// The connections of a file.
struct Connections {
    file: u32,
    /// When the first connection of all files was opened, in microseconds.
    began: i64,
    known: HashMap<String, RecordedConnection, foldhash::fast::RandomState>,
}

/// A connection and its reconnects.
struct RecordedConnection {
    id: Connection,
    /// `None` if the address is not a public stream of Bybit.
    category: Option<Category>,
    /// When it was opened, in microseconds.
    opened: i64,
    /// When a frame was last received or the connection was opened, in microseconds.
    last: i64,
    /// Whether the connection was lost, or opened after the start of the recording, and has not sent market data since.
    is_lost: bool,
    /// Subscriptions that were requested since it was opened and are not answered yet.
    unanswered: u32,
}

impl Connections {
    fn new(file: u32, began: i64) -> Self {
        Self { file, began, known: HashMap::default() }
    }

    fn get(&mut self, name: &str) -> Result<&mut RecordedConnection, String> {
        self.known.get_mut(name).ok_or_else(|| {
            format!("connection {name:?} was never opened: its record `connect`, which has the address, is missing")
        })
    }

    /// Reads a line.
    fn read(&mut self, line: &[u8], skipped: &mut Skipped) -> Result<Found, String> {
        let (damaged, record) = match serde_json::from_slice::<WireRecord<'_>>(line) {
            Ok(record) => (None, Some(record)),
            Err(_) => {
                let (damaged, record) = split(line).unwrap_or((line, &[]));
                (self.damaged(damaged, skipped), serde_json::from_slice(record).ok())
            }
        };
        let [regained, frame] = record.map_or(Ok([None, None]), |record| self.record(record, skipped))?;
        Ok([damaged, regained, frame])
    }

    /// Reads the record of a line for its effect on its connection.
    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        let Ok(record) = serde_json::from_slice(line) else { return Ok(()) };
        self.record(record, &mut Skipped::default()).map(|_| ())
    }

    /// Reads a record. Returns its frame, after the end of a loss.
    fn record(&mut self, record: WireRecord<'_>, skipped: &mut Skipped) -> Result<[Option<Timed>; 2], String> {
        match (&*record.kind, record.addr, record.data) {
            ("connect", Some(address), _) => {
                self.open(&record.conn, &address, micros(record.ts)?);
            }
            ("send", _, Some(data)) => {
                if let Some(connection) = self.known.get_mut(&*record.conn) {
                    connection.unanswered += u32::from(is_subscription(&data));
                }
            }
            ("recv", _, Some(data)) => {
                let connection = self.get(&record.conn)?;
                if connection.category.is_none() {
                    skipped.messages += 1;
                    return Ok([None, None]);
                }
                connection.last = micros(record.ts)?;
                // The connection carries all its topics again when every subscription is answered.
                connection.unanswered = connection.unanswered.saturating_sub(u32::from(is_subscription(&data)));
                let is_regained = connection.is_lost && connection.unanswered == 0 && is_push(&data);
                connection.is_lost &= !is_regained;
                let regained = is_regained.then(|| connection.record(Body::Regained)).flatten();
                return Ok([regained, connection.record(Body::Frame(data))]);
            }
            _ => skipped.records += 1,
        }
        Ok([None, None])
    }

    /// Returns an error if a connection is opened again before its last message: another recording was put in front.
    fn refuse_return(&self, name: &str, at: i64) -> Result<(), String> {
        let last = self.known.get(name).map_or(i64::MIN, |connection| connection.last);
        let earlier = last.saturating_sub(at);
        if earlier <= START {
            return Ok(());
        }
        let seconds = earlier.div_euclid(1_000_000);
        Err(format!(
            "connection {name:?} is opened {seconds} s before its message above: if several recordings were put together, \
             put the older one first, or name them as files of their own"
        ))
    }

    /// Opens a connection, or opens it again. Returns when it was lost, if that is new.
    fn open(&mut self, name: &str, address: &str, at: i64) -> Option<(i64, Record)> {
        let category = category_of(address);
        if let Some(connection) = self.known.get_mut(name) {
            let lost = (!connection.is_lost).then(|| connection.record(Body::Lost)).flatten();
            (connection.category, connection.last, connection.is_lost, connection.unanswered) = (category, at, true, 0);
            connection.opened = at;
            return lost;
        }
        let id = Connection(self.file, u32::try_from(self.known.len()).unwrap_or(u32::MAX));
        let is_lost = at > self.began.saturating_add(START);
        let connection = RecordedConnection { id, category, opened: at, last: at, is_lost, unanswered: 0 };
        self.known.insert(name.to_owned(), connection);
        None
    }

    /// Reads a line that is no record. If it looks like a damaged one of a connection, its text is returned as a frame,
    /// which cannot be decoded and marks what it may have contained.
    fn damaged(&self, line: &[u8], skipped: &mut Skipped) -> Option<(i64, Record)> {
        let text = String::from_utf8_lossy(line);
        let is_of = |name: &String| {
            text.contains(&format!("\"conn\":\"{name}\"")) || text.contains(&format!("\"conn\": \"{name}\""))
        };
        let connection = self.known.iter().find(|(name, _)| is_of(name)).map(|(_, connection)| connection);
        let Some(connection) = connection.filter(|_| text.contains("publicTrade.")) else {
            skipped.count(line);
            return None;
        };
        connection.record(Body::Frame(text.replace("\\\"", "\"")))
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
    frame.contains(r#""op":"subscribe""#) || frame.contains(r#""op": "subscribe""#)
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
