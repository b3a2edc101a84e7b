//! Plays recorded trades through the pipeline on recorded time, into a sink: a file, consumers, or a consumer test.

use std::path::PathBuf;

use anyhow::Context;
use klines_bybit::decode::{DecodeError, Frame, decode, is_foreign, symbol_of, times_of};
use klines_bybit::source::{Body, Options, Progress, ReadAhead, Record, STANDARD_INPUT, Skipped};
use klines_domain::aggregator::{Settings, Tally};
use klines_domain::clock::MAX_PUBLISH_DELAY;
use klines_domain::feed::FeedEvent;
use klines_domain::kline::Batch;
use klines_domain::symbol::{Category, Symbol, SymbolId, SymbolTable};
use klines_domain::time::{ExchangeMillis, Millis};
use klines_domain::trade::Trade;
use klines_pipeline::playback::{Outlet, Playback, Source};

mod connections;
mod ordered;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(not(feature = "parquet"))]
#[path = "player/no_parquet.rs"]
mod parquet;
mod rows;
mod sorted;
mod target;

use self::connections::Connections;
pub use self::sorted::{CsvLayout, Format, Sorted};
pub use self::target::{Target, refuse_existing};

/// Returns the files that arguments name: `-` is standard input.
///
/// # Errors
/// When standard input is named twice.
pub fn inputs(files: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let input = |file: &PathBuf| if file.as_os_str() == "-" { PathBuf::from(STANDARD_INPUT) } else { file.clone() };
    let files: Vec<PathBuf> = files.iter().map(input).collect();
    if files.iter().filter(|file| file.as_os_str() == STANDARD_INPUT).count() > 1 {
        anyhow::bail!("standard input is named twice, but can be read only once");
    }
    Ok(files)
}

/// Receives replayed klines.
pub trait Sink {
    /// Opens the output. Called once the input could be opened.
    ///
    /// # Errors
    /// When the output cannot be opened; then nothing is played.
    fn open(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    /// Receives a batch.
    ///
    /// # Errors
    /// When the klines cannot be written; the replay ends.
    fn take(&mut self, batch: Batch) -> anyhow::Result<()>;

    /// Signals that klines that end before `settled` cannot change any more.
    ///
    /// # Errors
    /// When they cannot be written; the replay ends.
    fn settle(&mut self, _settled: ExchangeMillis) -> anyhow::Result<()> {
        Ok(())
    }

    /// Completes the output.
    ///
    /// # Errors
    /// When the remaining klines cannot be written.
    fn finish(&mut self) -> anyhow::Result<()>;
}

/// How much earlier than the trades before it a row or a frame without a time of receipt is usually, in ms.
const MAX_DISORDER: Millis = 1_000;

/// How long after its end and `grace` a window is closed and revised at the latest, in ms.
const CLOSED_AFTER: Millis = 5_000;

/// Passes klines to a sink until the sink returns an error.
pub struct SinkOutlet<'a> {
    sink: &'a mut dyn Sink,
    error: Option<anyhow::Error>,
}

impl<'a> SinkOutlet<'a> {
    /// Wraps an open sink.
    pub fn new(sink: &'a mut dyn Sink) -> Self {
        Self { sink, error: None }
    }

    /// Returns the error of the sink, if there was one.
    ///
    /// # Errors
    /// The error of the sink, only on the first call.
    pub fn check(&mut self) -> anyhow::Result<()> {
        self.error.take().map_or(Ok(()), Err)
    }
}

impl Outlet for SinkOutlet<'_> {
    fn take(&mut self, batch: Batch) {
        if self.error.is_none() {
            self.error = self.sink.take(batch).err();
        }
    }

    fn settle(&mut self, settled: ExchangeMillis) {
        if self.error.is_none() {
            self.error = self.sink.settle(settled).err();
        }
    }
}

/// The input and the settings of a replay.
#[derive(Debug)]
pub struct Replay {
    /// The recordings.
    pub files: Vec<PathBuf>,
    /// The category to read, if the files contain more than one.
    pub category: Option<Category>,
    /// The symbols to play; empty means all.
    pub symbols: Vec<Symbol>,
    /// How klines are made. Its category is replaced by the recording's.
    pub settings: Settings,
    /// Whether the windows that end with the last day of archives are closed.
    pub closes_days: bool,
}

/// The result of a replay.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Counts of trades by outcome.
    pub tally: Tally,
    /// Frames that could not be decoded.
    pub undecoded: u64,
    /// Lines that are of no known kind.
    pub skipped: Skipped,
}

impl Replay {
    /// Plays every record and passes the klines to `sink`.
    ///
    /// # Errors
    /// When a file cannot be read, or the sink returns an error.
    pub fn run(self, progress: &Progress, sink: &mut dyn Sink) -> anyhow::Result<Summary> {
        let [symbol] = self.symbols.as_slice() else { return self.play(None, progress, sink) };
        let only = symbol.clone();
        self.play(Some(only), progress, sink)
    }

    fn play(self, only: Option<Symbol>, progress: &Progress, sink: &mut dyn Sink) -> anyhow::Result<Summary> {
        let options = Options { category: self.category, symbol: only, keeps_ends: self.closes_days };
        let mut recording = ReadAhead::open(&self.files, &options, progress)?;
        let category = recording.category();
        sink.open()?;
        let grace = self.settings.grace;
        let mut player = Player {
            playback: Playback::new(Settings { category, ..self.settings }, SinkOutlet::new(&mut *sink)),
            category,
            symbols: recording.symbols().clone(),
            played: Vec::new(),
            wanted: self.symbols,
            connections: Connections::default(),
            pauses: Vec::new(),
            events: Vec::new(),
            unreadable: Vec::new(),
            undecoded: 0,
            skipped: Skipped::default(),
            known_until: None,
        };
        while let Some(record) = recording.read()? {
            player.play(record);
            player.playback.outlet().check()?;
        }
        if let Some(missing) =
            player.wanted.iter().find(|symbol| player.playback.symbols().get(symbol.as_str()).is_none())
        {
            anyhow::bail!("the input contains no trades of {missing} on {category}");
        }
        if let Some(now) = player.playback.now() {
            player.report_unreadable(now);
        }
        if let Some(end) = player.known_until.filter(|_| self.closes_days) {
            player.playback.advance_to(end + grace + CLOSED_AFTER);
            player.playback.outlet().check()?;
        }
        player.playback.finish();
        player.playback.outlet().check()?;
        let mut skipped = recording.skipped();
        skipped.add(&player.skipped);
        let summary = Summary { tally: player.playback.tally(), undecoded: player.undecoded, skipped };
        sink.finish().context("writing the last klines")?;
        Ok(summary)
    }
}

/// Decodes records and plays their trades.
struct Player<'a> {
    playback: Playback<SinkOutlet<'a>>,
    category: Category,
    /// All symbols of the recording; the playback has only the wanted ones.
    symbols: SymbolTable,
    /// What is known of each of them.
    played: Vec<Played>,
    wanted: Vec<Symbol>,
    connections: Connections,
    /// Between which times no file has frames.
    pauses: Vec<(ExchangeMillis, ExchangeMillis)>,
    events: Vec<FeedEvent<ExchangeMillis>>,
    /// Unreadable rows and frames since the last readable trade; their trades happened before the next readable one.
    unreadable: Vec<Unreadable>,
    undecoded: u64,
    skipped: Skipped,
    /// Until when the archives have trades.
    known_until: Option<ExchangeMillis>,
}

/// Whether a symbol of the recording is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Played {
    /// Nothing was read of it yet.
    Unknown,
    /// It is not wanted.
    Not,
    /// With its number in the playback.
    As(SymbolId),
}

/// A row of an archive, or a frame, that could not be decoded.
struct Unreadable {
    symbol: Symbol,
    /// The earliest and the latest time of its trades, if known.
    range: Option<(ExchangeMillis, ExchangeMillis)>,
}

impl Player<'_> {
    fn play(&mut self, record: Record) {
        match record.body {
            Body::Trade(trade) => self.trade(trade),
            Body::Frame(ref text) => self.frame(&record, text),
            Body::Doubtful(ref text) => self.doubtful(text),
            Body::Rejected(symbol, time) => {
                self.playback.reject(1);
                if let Some(symbol) = self.symbols.name(symbol).filter(|symbol| self.wants(symbol)) {
                    self.unreadable.push(Unreadable { symbol: symbol.clone(), range: Some((time, time)) });
                }
            }
            Body::Lost | Body::Regained => self.interruption(&record),
            Body::Paused(last, from) => {
                self.report_unreadable(last);
                let symbols = self.playback.symbols().iter().map(|(id, _)| id).collect();
                self.playback.add_hole(symbols, last, Some(from));
                self.pauses.push((last, from));
            }
            Body::Missing(symbol, last) => {
                self.report_unreadable(last);
                self.known_until = self.known_until.max(Some(last));
                let known = self.symbols.name(symbol).and_then(|name| self.playback.symbols().get(name.as_str()));
                if let Some(id) = known {
                    self.playback.add_hole(vec![id], last, None);
                }
            }
            Body::Present(symbol, from) => {
                if let Some(symbol) = self.symbols.name(symbol).filter(|symbol| self.wants(symbol)) {
                    self.playback.present(symbol, from);
                }
            }
        }
    }

    fn interruption(&mut self, record: &Record) {
        let Some((connection, received)) = record.connection.zip(record.received) else { return };
        if record.body == Body::Lost {
            self.connections.lose(connection, received, &mut self.playback);
        } else {
            self.connections.regain(connection, received, &mut self.playback);
        }
    }

    /// Plays a trade whose symbol is one of the recording.
    #[inline]
    fn trade(&mut self, mut trade: Trade) {
        if !self.unreadable.is_empty() {
            self.report_unreadable(trade.time);
        }
        match self.played(trade.symbol) {
            Some(symbol) => {
                trade.symbol = symbol;
                self.playback.trade(&trade);
            }
            None => self.playback.advance_to(trade.time),
        }
    }

    /// Returns the number in the playback of a symbol of the recording, which is added if needed; `None` if it is not
    /// wanted.
    #[inline]
    fn played(&mut self, symbol: SymbolId) -> Option<SymbolId> {
        match self.played.get(symbol.index()) {
            Some(Played::As(id)) => Some(*id),
            Some(Played::Not) => None,
            Some(Played::Unknown) | None => self.begin(symbol),
        }
    }

    #[cold]
    fn begin(&mut self, symbol: SymbolId) -> Option<SymbolId> {
        let name = self.symbols.name(symbol)?.clone();
        let id = self.wants(&name).then(|| self.playback.symbol(&name));
        if let Some(id) = id {
            self.pauses.iter().for_each(|(last, from)| self.playback.add_hole(vec![id], *last, Some(*from)));
        }
        if self.played.len() <= symbol.index() {
            self.played.resize(symbol.index() + 1, Played::Unknown);
        }
        if let Some(played) = self.played.get_mut(symbol.index()) {
            *played = id.map_or(Played::Not, Played::As);
        }
        id
    }

    /// Reports that a frame, or a row of it, could not be decoded: windows of its possible times must not count as
    /// complete.
    fn missed(&mut self, record: &Record, text: &str, stamped: Option<ExchangeMillis>) {
        let Some(symbol) = symbol_of(text).filter(|symbol| self.wants(symbol)) else { return };
        let Some(received) = record.received else {
            let range = stamped.map(|stamped| (stamped - MAX_PUBLISH_DELAY, stamped));
            return self.unreadable.push(Unreadable { symbol, range });
        };
        let symbol = self.connections.symbol(record, &symbol, &mut self.playback);
        if let Some((seen_until, stamped)) = self.playback.stamped(source(record), received) {
            self.playback.add_miss(symbol, seen_until, stamped);
        }
    }

    /// Reports that a trade between two times could not be decoded.
    fn missed_row(&mut self, record: &Record, symbol: &Symbol, (from, to): (ExchangeMillis, ExchangeMillis)) {
        if !self.wants(symbol) {
            return;
        }
        if record.received.is_none() {
            return self.unreadable.push(Unreadable { symbol: symbol.clone(), range: Some((from, to)) });
        }
        let symbol = self.connections.symbol(record, symbol, &mut self.playback);
        self.playback.add_miss(symbol, from, to);
    }

    /// Reports the unreadable rows and frames before a readable trade of `time`, which limits their possible times.
    fn report_unreadable(&mut self, time: ExchangeMillis) {
        // Before the first trade there is no coverage that could have a hole.
        let Some(now) = self.playback.now() else { return self.unreadable.clear() };
        for Unreadable { symbol, range } in std::mem::take(&mut self.unreadable) {
            let symbol = self.playback.symbol(&symbol);
            let latest = now.max(time + MAX_PUBLISH_DELAY);
            // The recorded times count if they are possible, and alone if they are likely.
            let range = range.filter(|(_, last)| *last <= latest);
            if let Some((first, last)) = range {
                self.playback.add_miss(symbol, first, last);
            }
            if range.is_none_or(|(_, last)| last + MAX_DISORDER < now) {
                self.playback.add_miss(symbol, now - MAX_PUBLISH_DELAY, latest);
            }
        }
    }

    fn frame(&mut self, record: &Record, text: &str) {
        let received = record.received;
        self.events.clear();
        let mut outcome = decode(self.category, text, &self.symbols, &mut self.events);
        while let Err(DecodeError::UnknownSymbol(name)) = &outcome {
            // The symbols of a recording become known as it is read.
            let Ok(symbol) = Symbol::new(name) else { break };
            self.symbols.intern(&symbol);
            outcome = decode(self.category, text, &self.symbols, &mut self.events);
        }
        match outcome {
            Ok(Frame::Trades { stamped, rejected, undated, received: rows }) => {
                let is_believed =
                    received.is_none_or(|received| self.playback.stamp(source(record), received, stamped));
                if is_foreign(self.category, &self.events) {
                    self.skipped.messages += 1;
                    return;
                }
                if undated > 0 || !is_believed {
                    self.missed(record, text, Some(stamped));
                }
                if !is_believed {
                    // The time of receipt can be the wrong one of the two.
                    self.missed_times(record, text);
                }
                if is_believed {
                    self.trades(record, rejected);
                } else {
                    self.playback.reject(rows);
                }
            }
            Ok(_) => {
                if let Some(received) = received {
                    self.playback.pass(received);
                }
            }
            Err(_) if self.skipped.count_other(text) => {}
            Err(_) => {
                self.undecoded += 1;
                self.missed(record, text, None);
                self.missed_times(record, text);
            }
        }
    }

    /// Rejects the trades of a frame whose time is not believed.
    fn doubtful(&mut self, text: &str) {
        self.undecoded += 1;
        if let Some(symbol) = symbol_of(text).filter(|symbol| self.wants(symbol)) {
            self.unreadable.push(Unreadable { symbol, range: None });
        }
    }

    /// Reports that trades at every time that is in a frame may be missing.
    fn missed_times(&mut self, record: &Record, text: &str) {
        if let Some(symbol) = symbol_of(text) {
            times_of(text).into_iter().for_each(|range| self.missed_row(record, &symbol, range));
        }
    }

    /// Plays the trades of the current frame.
    fn trades(&mut self, record: &Record, rejected: u64) {
        let received = record.received;
        self.playback.reject(rejected);
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            match event {
                FeedEvent::Trade(trade) if received.is_none() => self.trade(trade),
                FeedEvent::Trade(trade) => self.received(record, trade),
                FeedEvent::Missed { symbol, from, to } => {
                    if let Some(symbol) = self.symbols.name(symbol).cloned() {
                        self.missed_row(record, &symbol, (from, to));
                    }
                }
                _ => {}
            }
        }
        if let Some(received) = received {
            self.playback.pass(received);
        }
        self.events = events;
    }

    /// Plays a trade of a frame with a recorded time of receipt.
    fn received(&mut self, record: &Record, mut trade: Trade) {
        let Some(name) = self.symbols.name(trade.symbol).filter(|name| self.wants(name)).cloned() else {
            return self.playback.begin(trade.time);
        };
        trade.symbol = self.connections.symbol(record, &name, &mut self.playback);
        self.playback.received(&trade);
    }

    fn wants(&self, symbol: &Symbol) -> bool {
        self.wanted.is_empty() || self.wanted.contains(symbol)
    }
}

/// Returns the connection of a record in the form that the playback uses.
fn source(record: &Record) -> Source {
    record.connection.map(|connection| (connection.0, connection.1))
}
