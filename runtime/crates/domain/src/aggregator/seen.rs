//! Remembers which trades were counted, for as long as a repeated trade would not be refused as late.

use std::collections::{BTreeSet, VecDeque};
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::hash_table::Entry;
use hashbrown::{HashMap, HashSet, HashTable};

use crate::mutants::Mutant;
use crate::symbol::SymbolId;
use crate::time::Millis;
use crate::trade::TradeId;

/// How far ahead of the watermark a trade is at most, unless the connection that sets the watermark is behind: the decoder
/// refuses more.
const MAX_AHEAD: Millis = 10_000;

/// An id in 24 bytes: symbol and kind, and the packed digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct PackedId {
    owner: u64,
    high: u64,
    low: u64,
}

impl PackedId {
    /// Returns the symbol of the trade.
    #[expect(clippy::cast_possible_truncation, reason = "the symbol is in the lower half")]
    const fn symbol(self) -> SymbolId {
        SymbolId(self.owner as u32)
    }
}

/// How many older ids are kept of a symbol with a gap: more than recent trades have, so that none of those is unknown.
const MAX_KEPT: usize = 1_100;

/// Ids of a symbol that are kept longer.
struct KeptIds {
    /// No id of a trade that was counted and happened at this time or later is missing.
    since: Millis,
    order: VecDeque<PackedId>,
    ids: HashSet<PackedId, RandomState>,
}

impl KeptIds {
    fn add(&mut self, id: PackedId) {
        if self.order.len() == MAX_KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        self.order.push_back(id);
        self.ids.insert(id);
    }
}

/// The form in which an id is stored.
enum IdKey<'a> {
    PackedId(PackedId),
    Text(&'a str),
    /// The id is not stored.
    None,
}

impl<'a> IdKey<'a> {
    #[inline]
    fn of(symbol: SymbolId, id: &'a TradeId) -> Self {
        let owner = u64::from(symbol.0);
        match id {
            TradeId::Uuid { high, low } => Self::PackedId(PackedId { owner, high: *high, low: *low }),
            TradeId::Number(number) => Self::PackedId(PackedId { owner: owner | 1 << 32, high: 0, low: *number }),
            TradeId::Archived { file, high, low } => {
                Self::PackedId(PackedId { owner: owner | (u64::from(*file) + 2) << 32, high: *high, low: *low })
            }
            TradeId::Text(text) => Self::Text(text),
            TradeId::None => Self::None,
        }
    }
}

/// The ids of trades within `lateness` and a little longer. Older trades are refused as late before they are looked up.
///
/// The ids are stored in the order of their arrival, and the table stores only their positions: an id costs 24 bytes
/// and a slot of 5 bytes, and is removed as early as possible.
pub(super) struct SeenIds {
    lateness: Millis,
    arrived: VecDeque<PackedId>,
    /// Positions in `arrived`, counted from the first id that ever arrived, modulo 2^32.
    positions: HashTable<u32>,
    /// The position of the first id in `arrived`.
    first: u32,
    /// How many ids of `arrived` arrived before each watermark, oldest first.
    marks: VecDeque<(Millis, usize)>,
    /// How many ids arrived since the last mark.
    unmarked: usize,
    /// The watermark at the last call of [`advance`](Self::advance).
    watermark: Millis,
    /// Ids of trades that were further ahead of the watermark, with their times: their marks would be too early. When the
    /// exchange's clock is put forward, a connection can deliver such trades before another one.
    ahead: BTreeSet<(Millis, PackedId)>,
    /// Ids that cannot be packed, each with its time or a later watermark.
    texts: HashMap<(SymbolId, Box<str>), Millis, RandomState>,
    /// Older ids of the symbols with gaps, in which trades may be recovered later.
    kept: HashMap<SymbolId, KeptIds, RandomState>,
    hasher: RandomState,
}

impl SeenIds {
    pub(super) fn new(lateness: Millis) -> Self {
        Self {
            lateness,
            arrived: VecDeque::new(),
            positions: HashTable::new(),
            first: 0,
            marks: VecDeque::new(),
            unmarked: 0,
            watermark: Millis::MIN,
            ahead: BTreeSet::new(),
            texts: HashMap::default(),
            kept: HashMap::default(),
            hasher: RandomState::default(),
        }
    }

    /// Removes the ids that can no longer be repeated when the watermark is at `now`.
    pub(super) fn advance(&mut self, now: Millis) {
        self.watermark = now;
        if self.unmarked > 0 {
            self.marks.push_back((now, std::mem::take(&mut self.unmarked)));
        }
        // A trade with a mark happened at most `MAX_AHEAD` after it.
        let until = now.saturating_sub(self.lateness + MAX_AHEAD);
        while let Some((_, count)) = self.marks.pop_front_if(|(mark, _)| *mark < until) {
            for _ in 0..count {
                self.forget_first();
            }
        }
        while self.ahead.first().is_some_and(|(time, _)| *time < until) {
            if let Some((_, packed)) = self.ahead.pop_first() {
                self.keep_older(packed);
            }
        }
        if !self.texts.is_empty() {
            let kept = &self.kept;
            self.texts.retain(|(symbol, _), mark| *mark >= until || kept.contains_key(symbol));
        }
    }

    /// Keeps the ids of a symbol from the watermark `now` on, or no longer keeps older ones than usual. `last` is the time of
    /// the last trade of the symbol that was counted: after it, there is no id that could be missing.
    pub(super) fn keep(&mut self, symbol: SymbolId, is_kept: bool, now: Millis, last: Option<Millis>) {
        if is_kept && !Mutant::IdsForgotten.is_made() {
            let since = now.saturating_sub(self.lateness).min(last.map_or(Millis::MIN, |last| last + 1));
            let begin = || KeptIds { since, order: VecDeque::new(), ids: HashSet::default() };
            self.kept.entry(symbol).or_insert_with(begin);
        } else if !self.kept.is_empty() {
            self.kept.remove(&symbol);
        }
    }

    /// Returns since when the ids of all trades of a symbol with a gap are known that were counted.
    pub(super) fn known_since(&self, symbol: SymbolId) -> Millis {
        self.kept.get(&symbol).map_or(Millis::MIN, |kept| kept.since)
    }

    /// Stores the id of a trade at `time`. Returns whether it is new; a trade without an id always is.
    #[inline]
    pub(super) fn insert(&mut self, symbol: SymbolId, id: &TradeId, time: Millis) -> bool {
        let packed = match IdKey::of(symbol, id) {
            IdKey::PackedId(packed) => packed,
            IdKey::Text(text) => return self.insert_text(symbol, text, time),
            IdKey::None => return true,
        };
        if !self.kept.is_empty() && self.is_kept(packed) {
            return false;
        }
        if !self.ahead.is_empty() && self.is_ahead(packed, time) {
            return Mutant::DuplicatesCounted.is_made();
        }
        let Self { arrived, positions, first, hasher, .. } = self;
        let is_same = |position: &u32| arrived.get(index(*position, *first)) == Some(&packed);
        let hash_of = |position: &u32| arrived.get(index(*position, *first)).map_or(0, |other| hasher.hash_one(other));
        let Entry::Vacant(slot) = positions.entry(hasher.hash_one(packed), is_same, hash_of) else {
            return Mutant::DuplicatesCounted.is_made();
        };
        if time > self.watermark.saturating_add(MAX_AHEAD) && self.watermark > Millis::MIN {
            return self.ahead.insert((time, packed));
        }
        #[expect(clippy::cast_possible_truncation, reason = "positions are counted modulo 2^32")]
        slot.insert(first.wrapping_add(arrived.len() as u32));
        if arrived.len() == arrived.capacity() {
            // In a busy market this takes megabytes, and doubling the capacity would waste memory.
            arrived.reserve_exact(1_024 + arrived.len() / 8);
        }
        arrived.push_back(packed);
        self.unmarked += 1;
        true
    }

    /// Returns whether the id of a trade at `time` is stored.
    #[cold]
    pub(super) fn knows(&self, symbol: SymbolId, id: &TradeId, time: Millis) -> bool {
        match IdKey::of(symbol, id) {
            IdKey::PackedId(packed) => {
                let is_same = |position: &u32| self.arrived.get(index(*position, self.first)) == Some(&packed);
                self.positions.find(self.hasher.hash_one(packed), is_same).is_some()
                    || self.is_kept(packed)
                    || self.is_ahead(packed, time)
            }
            IdKey::Text(text) => self.texts.contains_key(&(symbol, Box::from(text))),
            IdKey::None => false,
        }
    }

    #[cold]
    fn is_kept(&self, id: PackedId) -> bool {
        self.kept.get(&id.symbol()).is_some_and(|kept| kept.ids.contains(&id))
    }

    #[cold]
    fn is_ahead(&self, id: PackedId, time: Millis) -> bool {
        self.ahead.contains(&(time, id))
    }

    /// Keeps an id that is no longer stored otherwise, if its symbol has a gap.
    fn keep_older(&mut self, packed: PackedId) {
        if !self.kept.is_empty()
            && let Some(kept) = self.kept.get_mut(&packed.symbol())
        {
            kept.add(packed);
        }
    }

    fn forget_first(&mut self) {
        let Some(packed) = self.arrived.pop_front() else { return };
        self.keep_older(packed);
        let position = self.first;
        self.first = position.wrapping_add(1);
        if let Ok(slot) = self.positions.find_entry(self.hasher.hash_one(packed), |other| *other == position) {
            slot.remove();
        }
    }

    #[cold]
    fn insert_text(&mut self, symbol: SymbolId, text: &str, time: Millis) -> bool {
        match self.texts.entry((symbol, Box::from(text))) {
            hashbrown::hash_map::Entry::Occupied(_) => false,
            hashbrown::hash_map::Entry::Vacant(slot) => {
                slot.insert(time.max(self.watermark));
                true
            }
        }
    }
}

/// Returns the index in the queue of a position, when `first` is the position of its front.
#[inline]
const fn index(position: u32, first: u32) -> usize {
    position.wrapping_sub(first) as usize
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
                assert!(seen.insert(symbol, id, 0));
                assert!(!seen.insert(symbol, id, 0));
            }
        }
        assert!(seen.insert(SymbolId(0), &TradeId::None, 0));
        assert!(seen.insert(SymbolId(0), &TradeId::None, 0));
    }

    #[test]
    fn an_id_is_remembered_until_its_trade_would_be_late() {
        let mut seen = SeenIds::new(60_000);
        seen.advance(0);
        assert!(seen.insert(SymbolId(0), &TradeId::Number(1), 0));
        for watermark in (0..=69_500).step_by(500) {
            seen.advance(watermark);
            assert!(!seen.insert(SymbolId(0), &TradeId::Number(1), 0), "at {watermark}");
        }
        for watermark in [110_000, 150_000, 190_000] {
            seen.advance(watermark);
        }
        assert!(seen.insert(SymbolId(0), &TradeId::Number(1), 0), "memory is bounded");
    }

    #[test]
    fn an_id_from_ahead_of_the_watermark_is_remembered_until_its_trade_would_be_late() {
        let mut seen = SeenIds::new(60_000);
        seen.advance(0);
        let ids = [TradeId::Number(1), TradeId::Text("1x".into())];
        assert!(ids.iter().all(|id| seen.insert(SymbolId(0), id, 600_000)));
        for watermark in [1_000, 600_000, 659_999] {
            seen.advance(watermark);
            for id in &ids {
                assert!(seen.knows(SymbolId(0), id, 600_000), "{id:?} at {watermark}");
                assert!(!seen.insert(SymbolId(0), id, 600_000), "{id:?} at {watermark}");
            }
        }
        seen.advance(670_001);
        assert!(!ids.iter().any(|id| seen.knows(SymbolId(0), id, 600_000)), "memory is bounded");
    }
}
