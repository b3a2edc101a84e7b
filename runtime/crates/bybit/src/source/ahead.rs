//! Reads a recording on a thread of its own, so that reading, unpacking and decoding overlap with what is done with the
//! records. Their order does not change.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use klines_domain::symbol::{Category, SymbolTable};

use super::error::SourceError;
use super::input::Progress;
use super::merge::Recording;
use super::record::{Options, Record};
use super::skipped::Skipped;

/// Records of one message.
const RECORDS: usize = 1_024;
/// Bytes of frames after which a message is sent.
const BYTES: usize = 256 << 10;
/// Messages that wait.
const WAITING: usize = 4;

/// A recording that is read ahead.
pub struct ReadAhead {
    category: Category,
    symbols: SymbolTable,
    receiver: Receiver<Message>,
    records: std::vec::IntoIter<Record>,
    skipped: Option<Skipped>,
}

enum Message {
    Records(Vec<Record>),
    /// The recording has ended.
    End(Result<Skipped, SourceError>),
}

impl ReadAhead {
    /// Opens files, as [`Recording::open`] does, and starts the thread, which ends with this.
    ///
    /// # Errors
    /// [`SourceError`] if a file cannot be read or parsed, or if the category has to be chosen.
    pub fn open(paths: &[PathBuf], options: &Options, progress: &Progress) -> Result<Self, SourceError> {
        let recording = Recording::open(paths, options, progress)?;
        let (category, symbols) = (recording.category(), recording.symbols().clone());
        let (sender, receiver) = sync_channel(WAITING);
        let read = move || {
            let end = read(recording, &sender);
            // Nobody waits for it if the replay has ended.
            let _ = sender.send(Message::End(end));
        };
        thread::Builder::new().name("source".to_owned()).spawn(read).map_err(|_| SourceError::Reader)?;
        Ok(Self { category, symbols, receiver, records: Vec::new().into_iter(), skipped: None })
    }

    /// Returns the category that is read.
    #[must_use]
    pub const fn category(&self) -> Category {
        self.category
    }

    /// Returns the symbols of the archives.
    #[must_use]
    pub const fn symbols(&self) -> &SymbolTable {
        &self.symbols
    }

    /// Returns the lines that were of no known kind, at the end.
    #[must_use]
    pub fn skipped(&self) -> Skipped {
        self.skipped.unwrap_or_default()
    }

    /// Returns the next entry.
    ///
    /// # Errors
    /// [`SourceError`] if a line does not have the format of its file.
    pub fn read(&mut self) -> Result<Option<Record>, SourceError> {
        loop {
            if let Some(record) = self.records.next() {
                return Ok(Some(record));
            }
            if self.skipped.is_some() {
                return Ok(None);
            }
            match self.receiver.recv() {
                Ok(Message::Records(records)) => self.records = records.into_iter(),
                Ok(Message::End(skipped)) => self.skipped = Some(skipped?),
                Err(_) => return Err(SourceError::Reader),
            }
        }
    }
}

/// Sends all records. Ends early if nobody receives them.
fn read(mut recording: Recording, sender: &SyncSender<Message>) -> Result<Skipped, SourceError> {
    loop {
        let (mut records, mut bytes) = (Vec::with_capacity(RECORDS), 0);
        let mut end = None;
        while records.len() < RECORDS && bytes < BYTES && end.is_none() {
            match recording.read() {
                Ok(Some(record)) => {
                    bytes += record.body.frame().map_or(0, str::len);
                    records.push(record);
                }
                Ok(None) => end = Some(Ok(recording.skipped())),
                Err(error) => end = Some(Err(error)),
            }
        }
        let is_received = sender.send(Message::Records(records)).is_ok();
        match end {
            Some(end) => return end,
            None if is_received => {}
            None => return Ok(recording.skipped()),
        }
    }
}
