//! What a consumer has to acknowledge before its position passes an entry: the batches of the hub that the entry completes.
//! Kept in memory; the positions are stored.

use std::collections::VecDeque;

use klines_domain::mutants::Mutant;

/// The most entries that are known at a time: an hour of ten a second.
const MAX_MARKS: usize = 36_000;

/// The entries of a run, and the batches that belong to them.
#[derive(Debug)]
pub struct Marks {
    /// The last entry that every consumer has passed, or that of the last mark that was dropped.
    first: u64,
    /// How many batches have to be acknowledged with each entry, ascending.
    marks: VecDeque<(u64, u64)>,
    /// The same of the last mark that was dropped although not every consumer had passed it.
    dropped: u64,
}

impl Marks {
    /// Begins after an entry, the last one of earlier runs.
    #[must_use]
    pub const fn new(entry: u64) -> Self {
        Self { first: entry, marks: VecDeque::new(), dropped: 0 }
    }

    /// Notes that the entries up to this one have parts of the first `batches` batches, and of no others.
    pub fn add(&mut self, batches: u64, entry: u64) {
        self.marks.push_back((batches, entry));
        if self.marks.len() > MAX_MARKS
            && let Some((batches, entry)) = self.marks.pop_front()
        {
            (self.dropped, self.first) = (batches, entry);
        }
    }

    /// Returns the position of each consumer, the last entry of which it has acknowledged everything. `acknowledged` has the
    /// number of batches of each, `None` if it does not get any of them yet. One that is too far behind is left out: it keeps the
    /// position that is stored.
    pub fn reached(&mut self, acknowledged: Vec<(String, Option<u64>)>) -> Vec<(String, u64)> {
        let least = acknowledged.iter().filter_map(|(_, batches)| *batches).min().unwrap_or(u64::MAX);
        let is_near = |batches: &u64| *batches >= self.dropped;
        let near =
            acknowledged.into_iter().filter_map(|(consumer, batches)| Some((consumer, batches.filter(is_near)?)));
        let all = near.map(|(consumer, batches)| (consumer, self.position(batches))).collect();
        // Of the marks that every consumer has passed, the last one is enough.
        let passed = self.marks.partition_point(|(begun, _)| *begun <= least);
        self.first = passed.checked_sub(2).and_then(|at| self.marks.get(at)).map_or(self.first, |(_, entry)| *entry);
        self.marks.drain(..passed.saturating_sub(1));
        all
    }

    /// Returns the last entry of which everything is in the first `batches` batches.
    fn position(&self, batches: u64) -> u64 {
        let batches = batches + u64::from(Mutant::PositionAhead.is_made());
        let at = self.marks.partition_point(|(begun, _)| *begun <= batches);
        at.checked_sub(1).and_then(|at| self.marks.get(at)).map_or(self.first, |(_, entry)| *entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(marks: &mut Marks, batches: u64) -> u64 {
        marks.reached(vec![("it".to_owned(), Some(batches))])[0].1
    }

    #[test]
    fn an_entry_is_passed_when_all_batches_of_which_it_has_a_part_are_acknowledged() {
        let mut marks = Marks::new(7);
        // Batches 1 and 2, the first half of 3, the second half of it.
        [(2, 8), (3, 9), (3, 10)].into_iter().for_each(|(batches, entry)| marks.add(batches, entry));
        assert_eq!([0, 1, 2, 3].map(|batches| reached(&mut marks, batches)), [7, 7, 8, 10]);
    }

    #[test]
    fn one_that_is_too_far_behind_keeps_its_stored_position_and_others_go_on() {
        let mut marks = Marks::new(0);
        let entries = MAX_MARKS as u64 + 10;
        (1..=entries).for_each(|number| marks.add(number, number));
        let found = marks.reached(vec![
            ("slow".to_owned(), Some(3)),
            ("fast".to_owned(), Some(entries)),
            ("new".to_owned(), None),
        ]);
        assert_eq!(found, [("fast".to_owned(), entries)]);
    }
}
