//! What a process leaves on disk: the real store, filled as its thread would have filled it, and what the next process finds.
//!
//! Transactions take time and have a bounded number of klines, consumers acknowledge late, the disk can be full, and a crash
//! comes between any two transactions: the files are copied as they are at that moment.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fastrand::Rng;
use klines_domain::aggregator::Earlier;
use klines_domain::kline::Kline;
use klines_domain::series::SeriesKey;
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::{HOUR, LocalMillis, Millis, SECOND};
use klines_store::marks::Marks;
use klines_store::replay::Replay;
use klines_store::run::Left;
use klines_store::writer::{Limits, Writer};
use klines_store::{check, file};
use tempfile::TempDir;

use super::plan::Restart;

/// How long after a failure a transaction is tried again: as in the program.
const PAUSE: Millis = SECOND;
/// Where the klines are from.
const ORIGIN: &str = "simulated";
/// The most klines of one transaction, in plans in which batches are divided.
const FEW: usize = 3;
/// The longest time that each consumer takes to acknowledge a batch; the last one hangs at a random moment.
const LAGS: [(&str, Millis); 3] = [("prompt", 20), ("slow", 4 * SECOND), ("hanging", 300)];
/// How far back a consumer gets what it has not acknowledged, from the newest kline.
const REPLAYED: [Millis; 3] = [HOUR, HOUR, 20 * SECOND];

/// Klines that were published together.
#[derive(Clone, Debug)]
pub struct Published {
    pub at: Millis,
    pub klines: Vec<Arc<Kline>>,
}

/// The disk after the end of a process.
pub struct Disk {
    folder: TempDir,
    /// The klines of the processes before it.
    stored: Vec<Arc<Kline>>,
    /// The klines that it has committed, with the number of their batch.
    committed: Vec<(u64, Arc<Kline>)>,
    /// How many batches each consumer has acknowledged.
    acknowledged: Vec<u64>,
    /// Whether the process has stored everything and ended as it should.
    is_clean: bool,
}

/// What the next process knows.
#[derive(Default)]
pub struct Found {
    pub stored: Vec<Arc<Kline>>,
    pub earlier: BTreeMap<Symbol, Earlier>,
    pub faults: Vec<String>,
}

impl Disk {
    /// Stores what a process has published until its end, behind what those before it have left. The local clock was `ahead` of
    /// the exchange's.
    pub fn write(
        before: Option<Self>,
        restart: Restart,
        published: &[Published],
        (seed, ahead): (u64, Millis),
    ) -> anyhow::Result<Self> {
        let is_first = before.is_none();
        let stored = before.as_ref().map_or_else(Vec::new, Self::stored);
        let folder = before.map_or_else(TempDir::new, |before| Ok(before.folder))?;
        let mut rng = Rng::with_seed(seed ^ 0xd15c);
        let acknowledged = acknowledgements(published, restart.at, &mut rng);
        let path = folder.path().join(file::FILE);
        let mut writer = Writer::open(&path, ORIGIN, Limits::none())?;
        // Later ones have begun when they have read it.
        if is_first {
            writer.begin_run(seed, 0)?;
        }
        let marks = Marks::new(writer.entry());
        let mut thread = Thread { writer, marks, acknowledged: &acknowledged, ahead, committed: Vec::new() };
        let most = if rng.bool() { FEW } else { usize::MAX };
        let is_whole = thread.run(restart, published, (most, &mut rng))?;
        let Thread { mut writer, mut marks, committed, .. } = thread;
        let is_clean = is_whole && !restart.is_crash;
        if is_clean {
            writer.set_positions(marks.reached(named(&acknowledged, restart.at)));
            writer.end_run()?;
            writer.close()?;
        }
        // Closing a database cleans up, which a crash does not.
        let after = TempDir::new()?;
        copy(folder.path(), after.path())?;
        let acknowledged = acknowledged.iter().map(|times| passed(times, restart.at)).collect();
        Ok(Self { folder: after, stored, committed, acknowledged, is_clean })
    }

    /// Returns everything that is stored.
    fn stored(&self) -> Vec<Arc<Kline>> {
        self.stored.iter().chain(self.committed.iter().map(|(_, kline)| kline)).cloned().collect()
    }

    /// Opens what is left, as the next process does, and checks it.
    pub fn begin(&self, horizon: Millis) -> anyhow::Result<Found> {
        let path = self.folder.path().join(file::FILE);
        let mut faults = check::verify(&path)?.faults;
        let left = Writer::open(&path, ORIGIN, Limits::none())?.begin_run(1, horizon)?;
        let mut earlier = left.symbols(horizon);
        let all = replay(&path, &left, (0, Millis::MIN))?;
        let stored = self.stored();
        let (found, expected) = (keyed(&all), keyed(&stored));
        if found != expected || all.len() != expected.len() {
            let other = expected.iter().find(|(key, kline)| found.get(key) != Some(kline));
            let instead = other.and_then(|(key, _)| found.get(key));
            faults.push(format!("the store has {} klines, and of {other:?} {instead:?}", all.len()));
        }
        if left.crashed.is_none() != self.is_clean {
            faults.push(format!("clean: {}, but crashed: {:?}", self.is_clean, left.crashed));
        }
        for (consumer, acknowledged) in self.acknowledged.iter().enumerate() {
            faults.extend(self.compare(consumer, *acknowledged, (&path, &left))?);
        }
        Ok(Found { stored, earlier: earlier.remove(&Category::Linear).unwrap_or_default(), faults })
    }

    /// Checks what a consumer is given of what it had not acknowledged.
    fn compare(&self, consumer: usize, acknowledged: u64, (path, left): (&Path, &Left)) -> anyhow::Result<Vec<String>> {
        let Some(((name, _), horizon)) = LAGS.get(consumer).zip(REPLAYED.get(consumer)) else { return Ok(Vec::new()) };
        let Some((newest, position)) = left.newest().zip(left.positions.get(*name)) else {
            let fault = format!("{name} has no position, although klines are stored");
            return Ok(if self.committed.is_empty() { Vec::new() } else { vec![fault] });
        };
        let since = newest - horizon;
        let given = replay(path, left, (*position, since))?;
        let mut faults = Vec::new();
        let mut sequences = BTreeMap::new();
        for kline in &given {
            let last = sequences.insert(SeriesKey::clone(&kline.series), kline.sequence).unwrap_or(0);
            if kline.sequence <= last {
                faults.push(format!("{name} is given {:?} {} after {last}", kline.series, kline.sequence));
            }
        }
        let given = keyed(&given);
        let is_missing = |(batch, kline): &&(u64, Arc<Kline>)| {
            *batch > acknowledged && kline.end >= since && !given.contains_key(&key(kline))
        };
        let missing = self.committed.iter().filter(is_missing);
        faults.extend(missing.map(|(batch, kline)| format!("{name} is not given {kline:?} of batch {batch}")));
        let last = self.committed.last().map_or(0, |(batch, _)| *batch);
        if self.is_clean && acknowledged >= last && !given.is_empty() {
            faults.push(format!("{name} had acknowledged everything, and is given {} klines again", given.len()));
        }
        Ok(faults)
    }
}

/// The thread that stores klines.
struct Thread<'a> {
    writer: Writer,
    marks: Marks,
    acknowledged: &'a [Vec<Millis>],
    ahead: Millis,
    committed: Vec<(u64, Arc<Kline>)>,
}

impl Thread<'_> {
    /// Stores what is published, at most `most` klines at a time. Returns whether everything was stored when the process ended.
    fn run(
        &mut self,
        restart: Restart,
        published: &[Published],
        (most, rng): (usize, &mut Rng),
    ) -> anyhow::Result<bool> {
        let mut waiting = published
            .iter()
            .zip(1_u64..)
            .flat_map(|(batch, number)| batch.klines.iter().map(move |kline| (batch.at, number, kline)))
            .peekable();
        let mut now = Millis::MIN;
        while let Some((at, ..)) = waiting.peek() {
            now = now.max(*at);
            let mut taken = Vec::new();
            while taken.len() < most
                && let Some((_, number, kline)) = waiting.next_if(|(at, ..)| *at <= now)
            {
                taken.push((number, kline.clone()));
            }
            let begun = now;
            while restart.is_full(now) {
                let newest = taken.iter().map(|(_, kline)| kline.end).max().unwrap_or_default();
                self.writer.note_unstored(newest + now - begun + PAUSE);
                now += PAUSE;
                if now > restart.at {
                    return Ok(false);
                }
            }
            let committed = now + rng.i64(0..=restart.slowest);
            if restart.is_crash && committed > restart.at {
                return Ok(false);
            }
            self.commit(begun, taken)?;
            now = committed;
        }
        Ok(true)
    }

    fn commit(&mut self, begun: Millis, taken: Vec<(u64, Arc<Kline>)>) -> anyhow::Result<()> {
        self.writer.set_positions(self.marks.reached(named(self.acknowledged, begun)));
        let klines: Vec<_> = taken.iter().map(|(_, kline)| kline.clone()).collect();
        self.writer.append(&klines)?;
        let batches = taken.last().map_or(0, |(number, _)| *number);
        self.marks.add(batches, self.writer.entry());
        self.writer.maintain(LocalMillis::new(begun + self.ahead))?;
        self.committed.extend(taken);
        Ok(())
    }
}

/// Returns when each consumer has acknowledged each batch, in order.
fn acknowledgements(published: &[Published], end: Millis, rng: &mut Rng) -> Vec<Vec<Millis>> {
    let first = published.first().map_or(end, |batch| batch.at);
    let hangs = rng.i64(first..=end.max(first));
    let mut all = Vec::new();
    for (name, longest) in LAGS {
        let (mut times, mut last) = (Vec::new(), Millis::MIN);
        for batch in published {
            let is_stuck = name == "hanging" && batch.at >= hangs;
            last = if is_stuck { Millis::MAX } else { last.max(batch.at + rng.i64(0..=longest)) };
            times.push(last);
        }
        all.push(times);
    }
    all
}

/// Returns how many batches were acknowledged at a moment.
fn passed(times: &[Millis], now: Millis) -> u64 {
    times.partition_point(|time| *time <= now) as u64
}

fn named(acknowledged: &[Vec<Millis>], now: Millis) -> Vec<(String, Option<u64>)> {
    let names = LAGS.iter().map(|(name, _)| (*name).to_owned());
    names.zip(acknowledged.iter().map(|times| Some(passed(times, now)))).collect()
}

/// Copies the files of a store.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let files: Vec<PathBuf> = fs::read_dir(from)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    for path in files.iter().filter(|path| path.is_file()) {
        fs::copy(path, to.join(path.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

/// Returns what a consumer is given that has acknowledged everything up to an entry.
fn replay(path: &Path, left: &Left, (after, since): (u64, Millis)) -> anyhow::Result<Vec<Arc<Kline>>> {
    let mut replay = Replay::new(path, left, after, since);
    let mut all = Vec::new();
    loop {
        let klines = replay.read()?;
        if klines.is_empty() {
            return Ok(all);
        }
        all.extend(klines);
    }
}

type Key = (SeriesKey, Millis, u32);

fn key(kline: &Kline) -> Key {
    (SeriesKey::clone(&kline.series), kline.start, kline.revision)
}

/// Returns klines by their keys, without the one field that is not stored.
fn keyed<'a>(klines: impl IntoIterator<Item = &'a Arc<Kline>>) -> BTreeMap<Key, Kline> {
    klines.into_iter().map(|kline| (key(kline), Kline { emitted: 0, ..Kline::clone(kline) })).collect()
}
