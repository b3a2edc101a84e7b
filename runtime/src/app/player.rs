//! Plays recorded trades through the pipeline on recorded time, into a sink: files, consumers, or a test of a consumer.

use std::path::PathBuf;

use anyhow::Context;
use klines_bybit::decode::{DecodeError, Frame, decode, symbol_of, times_of};
use klines_bybit::source::{Body, Options, Progress, Record, Recording};
use klines_domain::aggregator::{Settings, Tally};
use klines_domain::clock::PUBLISHING;
use klines_domain::feed::FeedEvent;
use klines_domain::kline::Batch;
use klines_domain::symbol::{Category, Symbol, SymbolTable};
use klines_domain::time::ExchangeMillis;
use klines_domain::trade::Trade;
use klines_pipeline::playback::{Outlet, Playback, Source};

mod connections;
mod sorted;

use self::connections::Connections;
pub use self::sorted::{Format, Sorted, Target};

/// Where replayed klines go.
pub trait Sink {
    /// The input can be read: opens what is written to.
    ///
    /// # Errors
    /// When it cannot be opened; nothing is played.
    fn open(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    /// Takes a batch.
    ///
    /// # Errors
    /// When the klines cannot be handed on; the replay ends.
    fn take(&mut self, batch: Batch) -> anyhow::Result<()>;

    /// Klines that end before `settled` cannot change any more.
    ///
    /// # Errors
    /// When they cannot be handed on; the replay ends.
    fn settle(&mut self, _settled: ExchangeMillis) -> anyhow::Result<()> {
        Ok(())
    }

    /// Ends the output.
    ///
    /// # Errors
    /// When what is left cannot be handed on.
    fn finish(&mut self) -> anyhow::Result<()>;
}

/// Hands klines on to a sink until that refuses.
pub struct Outflow<'a> {
    sink: &'a mut dyn Sink,
    refusal: Option<anyhow::Error>,
}

impl<'a> Outflow<'a> {
    /// Starts with a sink that is open.
    pub fn new(sink: &'a mut dyn Sink) -> Self {
        Self { sink, refusal: None }
    }

    /// Checks that the sink takes klines.
    ///
    /// # Errors
    /// The sink's, the first time.
    pub fn check(&mut self) -> anyhow::Result<()> {
        self.refusal.take().map_or(Ok(()), Err)
    }
}

impl Outlet for Outflow<'_> {
    fn take(&mut self, batch: Batch) {
        if self.refusal.is_none() {
            self.refusal = self.sink.take(batch).err();
        }
    }

    fn settle(&mut self, settled: ExchangeMillis) {
        if self.refusal.is_none() {
            self.refusal = self.sink.settle(settled).err();
        }
    }
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
        sink.open()?;
        let mut player = Player {
            playback: Playback::new(Settings { category, ..self.settings }, Outflow::new(&mut *sink)),
            category,
            symbols: SymbolTable::default(),
            wanted: self.symbols,
            connections: Connections::default(),
            events: Vec::new(),
            doubtful: Vec::new(),
            skipped: 0,
        };
        while let Some(record) = recording.read()? {
            player.play(&record);
            player.playback.outlet().check()?;
        }
        if let Some(missing) =
            player.wanted.iter().find(|symbol| player.playback.symbols().get(symbol.as_str()).is_none())
        {
            anyhow::bail!("the input holds no trades of {missing} on {category}");
        }
        player.playback.finish();
        player.playback.outlet().check()?;
        let summary = Summary { tally: player.playback.tally(), skipped: player.skipped };
        sink.finish().context("writing the last klines")?;
        Ok(summary)
    }
}

/// Turns records into trades of known symbols.
struct Player<'a> {
    playback: Playback<Outflow<'a>>,
    category: Category,
    /// All that the recording holds; the playback has those that are wanted.
    symbols: SymbolTable,
    wanted: Vec<Symbol>,
    connections: Connections,
    events: Vec<FeedEvent<ExchangeMillis>>,
    /// What could not be understood: it lies before what comes next and can be.
    doubtful: Vec<Doubt>,
    skipped: u64,
}

/// A row of an archive, or a frame, that could not be understood.
struct Doubt {
    symbol: Symbol,
    /// The first and the last moment at which it may have happened, where that is known.
    range: Option<(ExchangeMillis, ExchangeMillis)>,
}

impl Player<'_> {
    fn play(&mut self, record: &Record) {
        match &record.body {
            Body::Frame(text) => self.frame(record, text),
            Body::Rejected(symbol, time) => {
                self.playback.reject(1);
                if self.wants(symbol) {
                    self.doubtful.push(Doubt { symbol: symbol.clone(), range: Some((*time, *time)) });
                }
            }
            Body::Trade(symbol, trade) => self.trade(symbol, trade),
            Body::Lost | Body::Regained => self.interruption(record),
            Body::Missing(symbol, last) => {
                if let Some(id) = self.playback.symbols().get(symbol.as_str()) {
                    self.playback.lost(vec![id], *last, None);
                }
            }
            Body::Present(symbol, from) if self.wants(symbol) => self.playback.present(symbol, *from),
            Body::Present(..) => {}
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

    fn trade(&mut self, symbol: &Symbol, trade: &Trade) {
        if !self.doubtful.is_empty() {
            self.clear_doubts(trade.time);
        }
        if self.wants(symbol) {
            let symbol = self.playback.symbol(symbol);
            self.playback.trade(&Trade { symbol, ..trade.clone() });
        } else {
            self.playback.overhear(trade.time);
        }
    }

    /// A frame, or a row of it, could not be understood: when it may have been stamped must not pass for complete.
    fn missed(&mut self, record: &Record, text: &str, stamped: Option<ExchangeMillis>) {
        let Some(symbol) = symbol_of(text).filter(|symbol| self.wants(symbol)) else { return };
        let Some(received) = record.received else {
            let range = stamped.map(|stamped| (stamped - PUBLISHING, stamped));
            return self.doubtful.push(Doubt { symbol, range });
        };
        let symbol = self.connections.symbol(record.connection, &symbol, &mut self.playback);
        if let Some((seen_until, stamped)) = self.playback.stamped(source(record), received) {
            self.playback.missed(symbol, seen_until, stamped);
        }
    }

    /// A trade of this time is in no row that could be understood.
    fn missed_row(&mut self, record: &Record, symbol: &Symbol, (from, to): (ExchangeMillis, ExchangeMillis)) {
        if !self.wants(symbol) {
            return;
        }
        if record.received.is_none() {
            return self.doubtful.push(Doubt { symbol: symbol.clone(), range: Some((from, to)) });
        }
        let symbol = self.connections.symbol(record.connection, symbol, &mut self.playback);
        self.playback.missed(symbol, from, to);
    }

    /// What happened at `time` is understood: what was not before it happened by then.
    fn clear_doubts(&mut self, time: ExchangeMillis) {
        // Before the first trade nothing is covered.
        let Some(now) = self.playback.now() else { return self.doubtful.clear() };
        for Doubt { symbol, range } in std::mem::take(&mut self.doubtful) {
            let symbol = self.playback.symbol(&symbol);
            let latest = now.max(time + PUBLISHING);
            // Its own word counts only as far as it can be.
            let (first, last) = range.filter(|(_, last)| *last <= latest).unwrap_or((now - PUBLISHING, latest));
            self.playback.missed(symbol, first, last);
        }
    }

    fn frame(&mut self, record: &Record, text: &str) {
        let received = record.received;
        self.events.clear();
        let mut outcome = decode(self.category, text, &self.symbols, &mut self.events);
        while let Err(DecodeError::UnknownSymbol(name)) = &outcome {
            // A recording tells its symbols as it goes on.
            let Ok(symbol) = Symbol::new(name) else { break };
            self.symbols.intern(&symbol);
            outcome = decode(self.category, text, &self.symbols, &mut self.events);
        }
        match outcome {
            Ok(Frame::Trades { stamped, rejected, undated, received: rows }) => {
                let is_believed =
                    received.is_none_or(|received| self.playback.stamp(source(record), received, stamped));
                if undated > 0 || !is_believed {
                    self.missed(record, text, Some(stamped));
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
            Err(_) => {
                self.skipped += 1;
                self.missed(record, text, None);
                if let Some(symbol) = symbol_of(text) {
                    times_of(text).into_iter().for_each(|range| self.missed_row(record, &symbol, range));
                }
            }
        }
    }

    /// Plays the trades of the frame at hand.
    fn trades(&mut self, record: &Record, rejected: u64) {
        let received = record.received;
        self.playback.reject(rejected);
        let events = std::mem::take(&mut self.events);
        for event in &events {
            let trade = match event {
                FeedEvent::Trade(trade) => trade,
                FeedEvent::Missed { symbol, from, to } => {
                    if let Some(symbol) = self.symbols.name(*symbol).cloned() {
                        self.missed_row(record, &symbol, (*from, *to));
                    }
                    continue;
                }
                _ => continue,
            };
            if received.is_none() && !self.doubtful.is_empty() {
                self.clear_doubts(trade.time);
            }
            let Some(symbol) = self.symbols.name(trade.symbol).cloned() else { continue };
            match (received, self.wants(&symbol)) {
                (None, _) => self.trade(&symbol, trade),
                (Some(_), true) => {
                    let symbol = self.connections.symbol(record.connection, &symbol, &mut self.playback);
                    self.playback.received(&Trade { symbol, ..trade.clone() });
                }
                (Some(_), false) => self.playback.begin(trade.time),
            }
        }
        if let Some(received) = received {
            self.playback.pass(received);
        }
        self.events = events;
    }

    fn wants(&self, symbol: &Symbol) -> bool {
        self.wanted.is_empty() || self.wanted.contains(symbol)
    }
}

/// The connection of a record, as the playback knows it.
fn source(record: &Record) -> Source {
    record.connection.map(|connection| (connection.0, connection.1))
}
