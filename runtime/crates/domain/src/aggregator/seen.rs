//! Which trades were counted already, remembered for as long as a repeat could still be taken for a new trade.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::hash_table::Entry;
use hashbrown::{HashMap, HashTable};

use crate::symbol::SymbolId;
use crate::time::Millis;
use crate::trade::TradeId;

/// How far ahead of the watermark a trade can be: the decoder refuses more.
const AHEAD: Millis = 10_000;

/// An id in 24 bytes: symbol and kind, and the packed digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Packed {
    owner: u64,
    high: u64,
    low: u64,
}

/// What an id is remembered by.
enum Key<'a> {
    Packed(Packed),
    Text(&'a str),
    /// Not at all.
    None,
}

impl<'a> Key<'a> {
    #[inline]
    fn of(symbol: SymbolId, id: &'a TradeId) -> Self {
        let owner = u64::from(symbol.0);
        match id {
            TradeId::Uuid { high, low } => Self::Packed(Packed { owner, high: *high, low: *low }),
            TradeId::Number(number) => Self::Packed(Packed { owner: owner | 1 << 32, high: 0, low: *number }),
            TradeId::Archived { file, high, low } => {
                Self::Packed(Packed { owner: owner | (u64::from(*file) + 2) << 32, high: *high, low: *low })
            }
            TradeId::Text(text) => Self::Text(text),
            TradeId::None => Self::None,
        }
    }
}

/// The ids of the last `lateness` and a little more. Older trades are refused as late before they are looked up here.
///
/// The ids stand in the order of their arrival, and the table holds only their places: an id costs 24 bytes and a
/// table's slot of 5, and is forgotten as soon as it may be.
pub(super) struct SeenIds {
    lateness: Millis,
    arrived: VecDeque<Packed>,
    /// Places in `arrived`, counted from the first id that ever arrived, modulo 2^32.
    places: HashTable<u32>,
    /// The place of the first in `arrived`.
    first: u32,
    /// How many of `arrived` came in before a watermark was reached, oldest first.
    marks: VecDeque<(Millis, usize)>,
    /// How many came in since the last of them.
    unmarked: usize,
    /// Ids that cannot be packed, each with its mark once there is one.
    texts: HashMap<(SymbolId, Box<str>), Option<Millis>, RandomState>,
    hasher: RandomState,
}

impl SeenIds {
    pub(super) fn new(lateness: Millis) -> Self {
        Self {
            lateness,
            arrived: VecDeque::new(),
            places: HashTable::new(),
            first: 0,
            marks: VecDeque::new(),
            unmarked: 0,
            texts: HashMap::default(),
            hasher: RandomState::default(),
        }
    }

    /// Forgets what can no longer repeat once the watermark is at `now`.
    pub(super) fn advance(&mut self, now: Millis) {
        if self.unmarked > 0 {
            self.marks.push_back((now, std::mem::take(&mut self.unmarked)));
        }
        // What came in before a watermark happened at most `AHEAD` after it.
        let until = now.saturating_sub(self.lateness + AHEAD);
        while let Some((_, count)) = self.marks.pop_front_if(|(mark, _)| *mark < until) {
            for _ in 0..count {
                self.forget_first();
            }
        }
        if !self.texts.is_empty() {
            self.texts.retain(|_, mark| *mark.get_or_insert(now) >= until);
        }
    }

    /// Takes note of an id and returns whether it is new. A trade without an id always is.
    #[inline]
    pub(super) fn insert(&mut self, symbol: SymbolId, id: &TradeId) -> bool {
        let packed = match Key::of(symbol, id) {
            Key::Packed(packed) => packed,
            Key::Text(text) => return self.insert_text(symbol, text),
            Key::None => return true,
        };
        let Self { arrived, places, first, hasher, .. } = self;
        let is_same = |place: &u32| arrived.get(index(*place, *first)) == Some(&packed);
        let hash_of = |place: &u32| arrived.get(index(*place, *first)).map_or(0, |other| hasher.hash_one(other));
        let Entry::Vacant(slot) = places.entry(hasher.hash_one(packed), is_same, hash_of) else { return false };
        #[expect(clippy::cast_possible_truncation, reason = "places are counted modulo 2^32")]
        slot.insert(first.wrapping_add(arrived.len() as u32));
        if arrived.len() == arrived.capacity() {
            // A busy market's are megabytes, which doubling would waste.
            arrived.reserve_exact(1_024 + arrived.len() / 8);
        }
        arrived.push_back(packed);
        self.unmarked += 1;
        true
    }

    /// Whether an id is remembered.
    #[cold]
    pub(super) fn knows(&self, symbol: SymbolId, id: &TradeId) -> bool {
        match Key::of(symbol, id) {
            Key::Packed(packed) => {
                let is_same = |place: &u32| self.arrived.get(index(*place, self.first)) == Some(&packed);
                self.places.find(self.hasher.hash_one(packed), is_same).is_some()
            }
            Key::Text(text) => self.texts.contains_key(&(symbol, Box::from(text))),
            Key::None => false,
        }
    }

    fn forget_first(&mut self) {
        let Some(packed) = self.arrived.pop_front() else { return };
        let place = self.first;
        self.first = place.wrapping_add(1);
        if let Ok(slot) = self.places.find_entry(self.hasher.hash_one(packed), |other| *other == place) {
            slot.remove();
        }
    }

    #[cold]
    fn insert_text(&mut self, symbol: SymbolId, text: &str) -> bool {
        match self.texts.entry((symbol, Box::from(text))) {
            hashbrown::hash_map::Entry::Occupied(_) => false,
            hashbrown::hash_map::Entry::Vacant(slot) => {
                slot.insert(None);
                true
            }
        }
    }
}

/// Where in the queue a place is, of which `first` is the front's.
#[inline]
const fn index(place: u32, first: u32) -> usize {
    place.wrapping_sub(first) as usize
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
