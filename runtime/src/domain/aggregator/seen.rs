//! Which trades were counted already, remembered for as long as a repeat could still be taken for a new trade.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use hashbrown::{HashSet, HashTable};

use crate::domain::symbol::SymbolId;
use crate::domain::time::Millis;
use crate::domain::trade::TradeId;

/// How far ahead of the watermark a trade can be: the decoder refuses more.
const AHEAD: Millis = 10_000;

/// Generations kept besides the present one: more of them hold fewer ids longer than needed, and cost a look each.
const BEFORE: usize = 2;

/// An id in 24 bytes: symbol and kind, and the packed digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Packed {
    owner: u64,
    high: u64,
    low: u64,
}

/// Ids that arrived within one span of time.
#[derive(Default)]
struct Generation {
    packed: HashTable<Packed>,
    texts: HashSet<(SymbolId, Box<str>), RandomState>,
}

/// The ids of the last one to one and a half `lateness`. Older trades are refused as late before they are looked up here.
pub(super) struct SeenIds {
    lateness: Millis,
    /// When the present generation becomes the one before.
    turn_at: Millis,
    present: Generation,
    before: [Generation; BEFORE],
    hasher: RandomState,
}

impl SeenIds {
    pub(super) fn new(lateness: Millis) -> Self {
        Self {
            lateness,
            turn_at: Millis::MIN,
            present: Generation::default(),
            before: Default::default(),
            hasher: RandomState::default(),
        }
    }

    /// Forgets what can no longer repeat once the watermark is at `now`.
    pub(super) fn advance(&mut self, now: Millis) {
        if now < self.turn_at {
            return;
        }
        // Whatever came in before this turn happened at most a little after `now`: it is late when its generation goes.
        self.before.rotate_right(1);
        if let Some(newest) = self.before.first_mut() {
            std::mem::swap(&mut self.present, newest);
        }
        self.present.packed.clear();
        self.present.texts.clear();
        self.turn_at = now + (self.lateness + AHEAD) / BEFORE as Millis + 1;
    }

    /// Takes note of an id and returns whether it is new. A trade without an id always is.
    #[inline]
    pub(super) fn insert(&mut self, symbol: SymbolId, id: &TradeId) -> bool {
        let packed = match id {
            TradeId::Uuid { high, low } => Packed { owner: u64::from(symbol.0), high: *high, low: *low },
            TradeId::Number(number) => Packed { owner: u64::from(symbol.0) | 1 << 32, high: 0, low: *number },
            TradeId::Archived { file, high, low } => {
                Packed { owner: u64::from(symbol.0) | (u64::from(*file) + 2) << 32, high: *high, low: *low }
            }
            TradeId::Text(text) => return self.insert_text(symbol, text),
            TradeId::None => return true,
        };
        let hasher = &self.hasher;
        let hash = hasher.hash_one(packed);
        if self.before.iter().any(|generation| generation.packed.find(hash, |other| *other == packed).is_some()) {
            return false;
        }
        match self.present.packed.entry(hash, |other| *other == packed, |other| hasher.hash_one(other)) {
            hashbrown::hash_table::Entry::Occupied(_) => false,
            hashbrown::hash_table::Entry::Vacant(place) => {
                place.insert(packed);
                true
            }
        }
    }

    #[cold]
    fn insert_text(&mut self, symbol: SymbolId, text: &str) -> bool {
        let key = (symbol, Box::from(text));
        !self.before.iter().any(|generation| generation.texts.contains(&key)) && self.present.texts.insert(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_new_once_per_symbol_and_kind() {
        let mut seen = SeenIds::new(60_000);
        let ids = [TradeId::Uuid { high: 0, low: 7 }, TradeId::Number(7), TradeId::Text("7x".into())];
        for symbol in [SymbolId(0), SymbolId(1)] {
            for id in &ids {
                assert!(seen.insert(symbol, id));
                assert!(!seen.insert(symbol, id));
            }
        }
        assert!(seen.insert(SymbolId(0), &TradeId::None));
        assert!(seen.insert(SymbolId(0), &TradeId::None));
    }

    #[test]
    fn an_id_is_remembered_until_its_trade_would_be_late() {
        let mut seen = SeenIds::new(60_000);
        seen.advance(0);
        assert!(seen.insert(SymbolId(0), &TradeId::Number(1)));
        for watermark in (0..=69_500).step_by(500) {
            seen.advance(watermark);
            assert!(!seen.insert(SymbolId(0), &TradeId::Number(1)), "at {watermark}");
        }
        for watermark in [110_000, 150_000, 190_000] {
            seen.advance(watermark);
        }
        assert!(seen.insert(SymbolId(0), &TradeId::Number(1)), "memory is bounded");
    }
}
