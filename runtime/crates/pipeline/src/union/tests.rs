//! The union of what connections cover, compared with a set of moments.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const SYMBOL: SymbolId = SymbolId(0);

const fn at(millis: Millis) -> ExchangeMillis {
    ExchangeMillis::new(millis)
}

fn taken(union: &mut Union, connection: usize, event: Event) -> Vec<Event> {
    let mut out = Vec::new();
    union.take(connection, event, &mut out);
    out
}

fn covered(from: Millis) -> Event {
    FeedEvent::Covered { symbols: vec![SYMBOL], from: at(from) }
}

fn hole(last_seen: Millis, until: Option<Millis>) -> Event {
    FeedEvent::Hole { symbols: vec![SYMBOL], last_seen: at(last_seen), until: until.map(at) }
}

fn delayed(from: Millis, to: Millis) -> Event {
    FeedEvent::Delayed { symbols: vec![SYMBOL], from: at(from), at: at(to) }
}

const fn missed(from: Millis, to: Millis) -> Event {
    FeedEvent::Missed { symbol: SYMBOL, from: at(from), to: at(to) }
}

#[test]
fn the_events_of_a_single_connection_stay_as_they_are() {
    let mut union = Union::default();
    for event in [covered(10), delayed(10, 12), missed(20, 20), hole(30, Some(40)), hole(50, None), covered(60)] {
        assert_eq!(taken(&mut union, 0, event.clone()), [event]);
    }
}

#[test]
fn what_another_connection_covers_is_no_gap() {
    let mut union = Union::default();
    assert_eq!(taken(&mut union, 0, covered(0)), [covered(0)]);
    assert_eq!(taken(&mut union, 1, covered(10)), []);
    assert_eq!(taken(&mut union, 0, hole(20, None)), []);
    assert_eq!(taken(&mut union, 0, covered(30)), []);
    assert_eq!(taken(&mut union, 0, missed(35, 36)), []);
    assert_eq!(taken(&mut union, 1, missed(36, 37)), [missed(36, 36)], "nobody could read it");
    assert_eq!(taken(&mut union, 1, hole(40, None)), []);
    assert_eq!(taken(&mut union, 0, hole(50, None)), [hole(50, None)]);
    assert_eq!(taken(&mut union, 1, covered(60)), [covered(60)]);
    assert_eq!(taken(&mut union, 0, covered(70)), []);
}

#[test]
fn a_loss_that_is_noticed_late_is_a_gap_where_the_other_was_down() {
    let mut union = Union::default();
    taken(&mut union, 0, covered(0));
    taken(&mut union, 1, covered(0));
    assert_eq!(taken(&mut union, 1, hole(100, None)), []);
    assert_eq!(taken(&mut union, 1, covered(120)), []);
    // The first connection had been silent since 50.
    assert_eq!(taken(&mut union, 0, hole(50, None)), [missed(101, 119)]);
}

#[test]
fn a_start_that_is_corrected_after_the_loss_of_all_connections_is_a_later_start_too() {
    let mut union = Union::default();
    taken(&mut union, 0, covered(10));
    taken(&mut union, 1, covered(14));
    taken(&mut union, 0, hole(50, None));
    taken(&mut union, 1, hole(60, None));
    taken(&mut union, 0, covered(80));
    assert_eq!(taken(&mut union, 0, delayed(10, 20)), [delayed(10, 14)]);
    assert_eq!(taken(&mut union, 1, delayed(14, 16)), [delayed(14, 16)]);
    assert_eq!(taken(&mut union, 0, delayed(80, 81)), [delayed(80, 81)], "the newer start");
}

#[test]
fn a_corrected_start_of_all_connections_is_a_later_start_and_no_gap() {
    let mut union = Union::default();
    taken(&mut union, 0, covered(10));
    taken(&mut union, 1, covered(14));
    assert_eq!(taken(&mut union, 0, delayed(10, 20)), [delayed(10, 14)], "the second one covers the rest");
    assert_eq!(taken(&mut union, 1, delayed(14, 16)), [delayed(14, 16)], "again at the start");
    assert_eq!(taken(&mut union, 1, delayed(16, 30)), [delayed(16, 20)]);
    assert_eq!(taken(&mut union, 1, delayed(30, 40)), [], "the first one covers it");
    assert_eq!(taken(&mut union, 0, missed(25, 26)), [missed(25, 26)]);
}

#[test]
fn a_corrected_start_of_a_connection_that_came_later_is_a_gap_where_the_first_one_was_down() {
    let mut union = Union::default();
    taken(&mut union, 0, covered(10));
    taken(&mut union, 1, covered(50));
    assert_eq!(taken(&mut union, 0, hole(60, None)), []);
    assert_eq!(taken(&mut union, 0, covered(80)), []);
    assert_eq!(taken(&mut union, 1, hole(55, Some(62))), [missed(61, 61)]);
    assert_eq!(taken(&mut union, 1, delayed(62, 70)), [missed(62, 69)], "coverage had begun long before");
    // The clocks of connections differ: the second one's coverage begins earlier than was reported for the first.
    let mut union = Union::default();
    taken(&mut union, 0, covered(10));
    taken(&mut union, 1, covered(7));
    taken(&mut union, 0, delayed(10, 30));
    assert_eq!(taken(&mut union, 1, delayed(7, 12)), [missed(7, 9), delayed(10, 12)]);
}

/// A step: the connection, what happens, and how far the clock advances or the event reaches back.
type Step = (usize, u8, Millis);

proptest! {
    /// What is reported as covered is covered by a connection, at any time of a random history of events.
    #[test]
    fn nothing_is_covered_that_no_connection_covers(steps in prop::collection::vec((0usize..3, 0u8..4, 1i64..12), 1..60)) {
        let mut union = Union::default();
        let mut sets: [BTreeSet<Millis>; 3] = Default::default();
        let mut open = [false; 3];
        let (mut now, mut joined, mut is_joined_open) = (0, BTreeSet::new(), false);
        for (connection, kind, step) in steps as Vec<Step> {
            for moment in now..now + step {
                sets.iter_mut().zip(open).filter(|(_, open)| *open).for_each(|(set, _)| { set.insert(moment); });
                if is_joined_open { joined.insert(moment); }
            }
            now += step;
            let back = (now - step).max(0);
            let event = match kind {
                0 | 1 if !open[connection] => { open[connection] = true; covered(now) }
                0 if open[connection] => {
                    open[connection] = false;
                    sets[connection].retain(|moment| *moment <= back);
                    hole(back, None)
                }
                2 => {
                    sets[connection].retain(|moment| !(back..=now - 1).contains(moment));
                    missed(back, now - 1)
                }
                _ => continue,
            };
            for event in taken(&mut union, connection, event) {
                match event {
                    FeedEvent::Covered { .. } => is_joined_open = true,
                    FeedEvent::Hole { last_seen, .. } => {
                        is_joined_open = false;
                        joined.retain(|moment| *moment <= last_seen.get());
                    }
                    FeedEvent::Missed { from, to, .. } => joined.retain(|moment| *moment < from.get() || to.get() < *moment),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            let all: BTreeSet<Millis> = sets.iter().flatten().copied().collect();
            let wrong: Vec<_> = joined.difference(&all).collect();
            prop_assert!(wrong.is_empty(), "{wrong:?} at {now}");
            prop_assert_eq!(is_joined_open, open.contains(&true), "at {}", now);
        }
    }
}
