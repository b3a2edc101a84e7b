//! Writes klines to files: one JSON object per line, one file per day. This module decides what is written and when old
//! files are maintained; `journal` keeps a file whole, `archive` compresses and deletes finished files.

mod archive;
mod folder;
mod journal;
mod settings;

use std::collections::BTreeMap;

use klines_guest::{Batch, Consumer, Date, Failure, JsonKline, Problem, Subscription, warn};

use self::archive::Archive;
use self::folder::Folder;
use self::journal::Journal;
use self::settings::{Settings, Show};

struct Jsonl {
    show: Show,
    folder: Folder,
    journal: Journal,
    archive: Archive,
}

impl Consumer for Jsonl {
    type Settings = Settings;

    fn validate(settings: &Settings) -> Vec<Problem> {
        settings.problems()
    }

    fn setup(settings: Settings) -> Result<Self, Failure> {
        Ok(Self {
            show: settings.show,
            journal: Journal::new(settings.rotate_bytes()),
            archive: Archive::new(settings.gzip, settings.keep_days),
            folder: Folder::new(settings.dir, settings.prefix),
        })
    }

    fn subscription(&self) -> Subscription {
        match self.show {
            Show::Closed => Subscription::closed(),
            Show::All => Subscription::all(),
        }
    }

    fn start(&mut self) -> Result<(), Failure> {
        self.folder.prepare().map_err(|e| self.folder.failure("use", &e))?;
        self.archive.recover(&self.folder).map_err(|e| self.folder.failure("read", &e))
    }

    fn consume(&mut self, batch: &Batch) -> Result<(), Failure> {
        if batch.lost > 0 {
            let are = if batch.lost == 1 { "kline is" } else { "klines are" };
            warn!("{} closed {are} missing from the files: fell behind", batch.lost);
        }
        let lines = lines_by_date(batch)?;
        // Done before writing, because deleting old files may make the room that the lines need.
        if let Some(now) = batch.klines.iter().map(|kline| kline.emitted).max() {
            self.archive.maintain(&self.folder, &mut self.journal, now);
        }
        // A file that receives lines is not finished, even if its day is over.
        self.archive.release(&self.folder, lines.keys());
        self.journal.write(&self.folder, &lines).map_err(|e| self.folder.failure("write", &e))
    }

    fn stop(&mut self) {
        self.archive.abandon(&self.folder);
    }
}

/// Returns the lines of the batch by file: by the UTC date of each kline's end.
fn lines_by_date(batch: &Batch) -> Result<BTreeMap<Date, Vec<u8>>, Failure> {
    let mut lines: BTreeMap<Date, Vec<u8>> = BTreeMap::new();
    for (kline, digits) in batch.exact_rows() {
        JsonKline::new(kline, &digits).append_line(lines.entry(Date::of(kline.end)).or_default())?;
    }
    Ok(lines)
}

klines_guest::export!(Jsonl);

#[cfg(test)]
mod tests;
