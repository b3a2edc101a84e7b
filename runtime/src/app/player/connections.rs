//! Tracks the symbols and the interruptions of each connection of a recording.

use hashbrown::{HashMap, HashSet};
use klines_bybit::source::Connection;
use klines_domain::symbol::{Symbol, SymbolId};
use klines_domain::time::{ExchangeMillis, LocalMillis};
use klines_pipeline::playback::{Outlet, Playback};

type Hasher = foldhash::fast::RandomState;

/// The connections of a recording.
#[derive(Default)]
pub(super) struct Connections(HashMap<Connection, ConnectionState, Hasher>);

#[derive(Default)]
struct ConnectionState {
    symbols: HashSet<SymbolId, Hasher>,
    /// Interruptions in exchange time: the time up to which every trade was seen, and the time from which on every
    /// trade is seen again.
    holes: Vec<(ExchangeMillis, Option<ExchangeMillis>)>,
}

impl Connections {
    /// Returns the id of a symbol whose trades arrive on a connection. Earlier interruptions of the connection may also
    /// have lost trades of the symbol.
    pub(super) fn symbol(
        &mut self,
        connection: Option<Connection>,
        name: &Symbol,
        playback: &mut Playback<impl Outlet>,
    ) -> SymbolId {
        let known = playback.symbols().get(name.as_str());
        let symbol = known.unwrap_or_else(|| playback.symbol(name));
        let Some(connection) = connection else { return symbol };
        let seen = self.0.entry(connection).or_default();
        if seen.symbols.insert(symbol) && known.is_none() {
            for (last_seen, until) in &seen.holes {
                playback.add_hole(vec![symbol], *last_seen, *until);
            }
        }
        symbol
    }

    /// Records that a connection was interrupted at `received`, in recorded local time.
    pub(super) fn lose(&mut self, connection: Connection, received: LocalMillis, playback: &mut Playback<impl Outlet>) {
        // Before the first stamp there is no coverage that could be lost.
        let source = Some((connection.0, connection.1));
        let Some((seen_until, _)) = playback.stamped(source, received) else { return };
        playback.set_connected(source, false);
        let seen = self.0.entry(connection).or_default();
        seen.holes.push((seen_until, None));
        playback.add_hole(seen.symbols.iter().copied().collect(), seen_until, None);
    }

    /// Records that a connection receives every trade again from `received` on, in recorded local time.
    pub(super) fn regain(
        &mut self,
        connection: Connection,
        received: LocalMillis,
        playback: &mut Playback<impl Outlet>,
    ) {
        let source = Some((connection.0, connection.1));
        let Some((_, latest)) = playback.stamped(source, received) else { return };
        playback.set_connected(source, true);
        let Some(seen) = self.0.get_mut(&connection) else { return };
        if let Some((_, until @ None)) = seen.holes.last_mut() {
            *until = Some(latest);
            playback.regained(seen.symbols.iter().copied().collect(), latest);
        }
    }
}
