//! `klines replay`: recorded trades through the pipeline on recorded time, into a file, a pipe or consumers.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::bybit::decode::{DecodeError, Frame, decode};
use crate::bybit::source::{Body, Options, Progress, Record, Recording};
use crate::domain::aggregator::{Settings, Tally};
use crate::domain::feed::FeedEvent;
use crate::domain::kline::Batch;
use crate::domain::symbol::{Category, Symbol};
use crate::pipeline::playback::Playback;

mod sorted;

pub use sorted::{Format, Sorted};

/// Where replayed klines go.
pub trait Sink {
    /// Takes a batch. `settled`: klines that end before this cannot change any more.
    ///
    /// # Errors
    /// When the klines cannot be handed on; the replay ends.
    fn take(&mut self, batch: Batch, settled: Option<i64>) -> anyhow::Result<()>;

    /// Ends the output.
    ///
    /// # Errors
    /// When what is left cannot be handed on.
    fn finish(&mut self) -> anyhow::Result<()>;
}

/// What a replay reads and how.
#[derive(Debug)]
pub struct Replay {
    /// The recordings.
    pub files: Vec<PathBuf>,
    /// The one category to read, where there are several.
    pub category: Option<Category>,
    /// Only these symbols; empty means all.
    pub symbols: Vec<Symbol>,
    /// How klines are made. Its category is replaced by the recording's.
    pub settings: Settings,
}

/// What a replay did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// What became of the trades.
    pub tally: Tally,
    /// Frames that could not be understood.
    pub skipped: u64,
}

impl Replay {
    /// Plays every record and hands what comes of it to `sink`.
    ///
    /// # Errors
    /// When a file cannot be read or the sink refuses.
    pub fn run(self, progress: &Progress, sink: &mut dyn Sink) -> anyhow::Result<Summary> {
        let [symbol] = self.symbols.as_slice() else { return self.play(None, progress, sink) };
        let only = symbol.clone();
        self.play(Some(only), progress, sink)
    }

    fn play(self, only: Option<Symbol>, progress: &Progress, sink: &mut dyn Sink) -> anyhow::Result<Summary> {
        let options = Options { category: self.category, symbol: only };
        let mut recording = Recording::open(&self.files, &options, progress)?;
        let category = recording.category();
        let mut player = Player {
            playback: Playback::new(Settings { category, ..self.settings }),
            category,
            wanted: self.symbols,
            events: Vec::new(),
            skipped: 0,
        };
        while let Some(record) = recording.read()? {
            player.play(&record);
            let settled = player.playback.settled();
            for batch in player.playback.take() {
                sink.take(batch, settled)?;
            }
        }
        for batch in player.playback.finish() {
            sink.take(batch, None)?;
        }
        sink.finish().context("writing the last klines")?;
        Ok(Summary { tally: player.playback.tally(), skipped: player.skipped })
    }
}

/// Turns records into trades of known symbols.
struct Player {
    playback: Playback,
    category: Category,
    wanted: Vec<Symbol>,
    events: Vec<FeedEvent>,
    skipped: u64,
}

impl Player {
    fn play(&mut self, record: &Record) {
        match &record.body {
            Body::Frame(text) => self.frame(record.received, text),
            Body::Rejected => self.playback.reject(1),
            Body::Trade(symbol, trade) => {
                if self.wants(symbol) {
                    let symbol = self.playback.symbol(symbol);
                    self.playback.trade(&crate::domain::trade::Trade { symbol, ..trade.clone() });
                }
            }
        }
    }

    fn frame(&mut self, received: Option<i64>, text: &str) {
        self.events.clear();
        let mut outcome = decode(self.category, text, self.playback.symbols(), &mut self.events);
        while let Err(DecodeError::UnknownSymbol(name)) = &outcome {
            // A recording tells its symbols as it goes on. One that is not wanted is none of ours.
            match Symbol::new(name) {
                Ok(symbol) if self.wants(&symbol) => self.playback.symbol(&symbol),
                Ok(_) => return,
                Err(_) => break,
            };
            outcome = decode(self.category, text, self.playback.symbols(), &mut self.events);
        }
        match (outcome, received) {
            (Ok(Frame::Trades { stamped, rejected, .. }), Some(received)) => {
                self.playback.reject(rejected);
                self.playback.frame(received, stamped, &self.events);
            }
            (Ok(Frame::Trades { rejected, .. }), None) => {
                self.playback.reject(rejected);
                for event in &self.events {
                    if let FeedEvent::Trade(trade) = event {
                        self.playback.trade(trade);
                    }
                }
            }
            (Ok(_), Some(received)) => self.playback.pass(received),
            (Ok(_), None) => {}
            (Err(_), _) => self.skipped += 1,
        }
    }

    fn wants(&self, symbol: &Symbol) -> bool {
        self.wanted.is_empty() || self.wanted.contains(symbol)
    }
}

/// Opens the output of `--output`: a file, or standard output for `-` or nothing.
///
/// # Errors
/// When the file cannot be made.
pub fn open_output(path: Option<&Path>) -> anyhow::Result<Box<dyn Write + Send>> {
    match path.filter(|path| *path != Path::new("-")) {
        None => Ok(Box::new(std::io::stdout())),
        Some(path) => {
            let file = std::fs::File::create(path).with_context(|| format!("creating {}", path.display()))?;
            Ok(Box::new(file))
        }
    }
}
