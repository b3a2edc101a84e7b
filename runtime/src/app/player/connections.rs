//! Tracks the symbols and the interruptions of each connection of a recording. A symbol is covered while one of the
//! connections that carry it is up.

use hashbrown::{HashMap, HashSet};
use klines_bybit::source::{Connection, Record};
use klines_domain::symbol::{Symbol, SymbolId};
use klines_domain::time::{ExchangeMillis, LocalMillis};
use klines_pipeline::playback::{Outlet, Playback, Source};

type Hasher = foldhash::fast::RandomState;

/// The connections of a recording.
#[derive(Default)]
pub(super) struct Connections {
    all: HashMap<Connection, ConnectionState, Hasher>,
    /// The symbols that no connection carries any more.
    lost: HashSet<SymbolId, Hasher>,
}

#[derive(Default)]
struct ConnectionState {
    /// Its symbols, each with the time since when it has carried it.
    symbols: HashMap<SymbolId, ExchangeMillis, Hasher>,
    is_down: bool,
    /// Whether it was opened after the start of the recording, so that it covers nothing before its first stamp.
    is_late: bool,
    /// Interruptions in exchange time: the time up to which every trade was seen, and the time from which on every
    /// trade is seen again.
    holes: Vec<(ExchangeMillis, Option<ExchangeMillis>)>,
}

impl Connections {
    /// Returns the id of a symbol whose trades are in a record. Earlier interruptions of its connection may also have lost
    /// trades of the symbol.
    pub(super) fn symbol(&mut self, record: &Record, name: &Symbol, playback: &mut Playback<impl Outlet>) -> SymbolId {
        let known = playback.symbols().get(name.as_str());
        let Some((connection, received)) = record.connection.zip(record.received) else {
            return known.unwrap_or_else(|| playback.symbol(name));
        };
        let state = self.all.entry(connection).or_default();
        if let Some(symbol) = known.filter(|symbol| state.symbols.contains_key(symbol)) {
            return symbol;
        }
        let latest = playback.stamped(source(connection), received).map(|(_, latest)| latest);
        let symbol = match known {
            Some(symbol) => symbol,
            None if state.is_late => {
                let symbol = playback.symbol(name);
                playback.add_hole(vec![symbol], playback.now().unwrap_or_default(), None);
                self.lost.insert(symbol);
                symbol
            }
            None => add(name, state, playback),
        };
        // What was received before the first stamp of the connection says nothing of its coverage.
        let Some(latest) = latest else { return symbol };
        let since = if known.is_some() || state.is_late { latest } else { ExchangeMillis::MIN };
        state.symbols.insert(symbol, since);
        if !state.is_down && self.lost.remove(&symbol) {
            // Another connection carries it on. When that began is not known, but it does by now.
            playback.regained(vec![symbol], latest);
        }
        symbol
    }

    /// Records that a connection was interrupted at `received`, in recorded local time.
    pub(super) fn lose(&mut self, connection: Connection, received: LocalMillis, playback: &mut Playback<impl Outlet>) {
        // Before the first stamp there is no coverage that could be lost.
        let Some((seen_until, _)) = playback.stamped(source(connection), received) else { return };
        playback.set_connected(source(connection), false);
        let state = self.all.entry(connection).or_default();
        state.is_down = true;
        state.holes.push((seen_until, None));
        let carried: Vec<SymbolId> = state.symbols.keys().copied().collect();
        for symbol in carried {
            let up = self.all.values().filter(|other| !other.is_down);
            // Another connection may have begun after the last trades of this one.
            match up.filter_map(|other| other.symbols.get(&symbol)).min() {
                Some(since) if *since <= seen_until + 1 => {}
                Some(since) => playback.add_hole(vec![symbol], seen_until, Some(*since)),
                None => {
                    self.lost.insert(symbol);
                    playback.add_hole(vec![symbol], seen_until, None);
                }
            }
        }
    }

    /// Records that a connection receives every trade again from `received` on, in recorded local time.
    pub(super) fn regain(
        &mut self,
        connection: Connection,
        received: LocalMillis,
        playback: &mut Playback<impl Outlet>,
    ) {
        let Some((_, latest)) = playback.stamped(source(connection), received) else {
            self.all.entry(connection).or_default().is_late = true;
            return;
        };
        playback.set_connected(source(connection), true);
        let Some(state) = self.all.get_mut(&connection) else { return };
        state.is_down = false;
        if let Some((_, until @ None)) = state.holes.last_mut() {
            *until = Some(latest);
        }
        state.symbols.values_mut().for_each(|since| *since = latest);
        let regained: Vec<SymbolId> = state.symbols.keys().copied().filter(|symbol| self.lost.remove(symbol)).collect();
        playback.regained(regained, latest);
    }
}

/// Adds a symbol that no other connection has carried.
fn add(name: &Symbol, state: &ConnectionState, playback: &mut Playback<impl Outlet>) -> SymbolId {
    let symbol = playback.symbol(name);
    for (last_seen, until) in &state.holes {
        playback.add_hole(vec![symbol], *last_seen, *until);
    }
    symbol
}

/// Returns a connection in the form that the playback uses.
const fn source(connection: Connection) -> Source {
    Some((connection.0, connection.1))
}
