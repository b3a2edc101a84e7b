//! What counts as covered, and what follows from it.

use super::*;

fn watched(spans: &[(Millis, Millis)]) -> Coverage {
    let mut coverage = Coverage::default();
    for (from, to) in spans {
        coverage.resume(*from);
        if *to != OPEN_END {
            assert!(coverage.interrupt(*to));
        }
    }
    coverage
}

#[test]
fn quality_distinguishes_a_late_start_from_an_interruption() {
    let coverage = watched(&[(1_500, 4_200), (4_700, OPEN_END)]);
    assert_eq!(coverage.quality(1_000, 1_999), Quality::Partial);
    assert_eq!(coverage.quality(2_000, 2_999), Quality::Complete);
    assert_eq!(coverage.quality(4_000, 4_999), Quality::Gapped);
    assert_eq!(coverage.quality(5_000, 5_999), Quality::Complete);
    assert_eq!(coverage.quality(0, 9_999), Quality::Gapped);
}

#[test]
fn a_later_interruption_does_not_prove_uncertain_time() {
    let mut coverage = watched(&[(0, 99), (101, OPEN_END)]);
    assert!(coverage.interrupt(98));
    coverage.resume(100);
    assert!(!coverage.covers(90, 200), "neither 99 nor 100 was seen");
    assert!(coverage.covers(0, 98) && coverage.covers(101, 200) && !coverage.covers(100, 100));
    let mut coverage = watched(&[(0, 1_009), (1_060, OPEN_END)]);
    coverage.interrupt(559);
    coverage.resume(1_100);
    assert_eq!(coverage.quality(0, 999), Quality::Gapped, "a slower frame than the first was lost");
    assert!(!coverage.covers(1_050, 1_090));
}

#[test]
fn an_interruption_of_zero_length_is_ignored() {
    let joined = watched(&[(0, 100), (101, OPEN_END)]);
    assert!(joined.covers(0, 200), "101 follows 100");
    let parted = watched(&[(0, 100), (102, OPEN_END)]);
    assert!(!parted.covers(100, 102) && parted.covers(0, 100) && parted.covers(102, 200));
}

#[test]
fn every_miss_while_the_feed_is_down_counts() {
    let mut coverage = watched(&[(0, 100)]);
    assert!(!coverage.miss(120, 130) && !coverage.miss(110, 115));
    coverage.resume(105);
    assert!(!coverage.covers(130, 130) && coverage.covers(131, 140));
}

#[test]
fn a_price_is_proven_only_without_an_interruption_between() {
    let coverage = watched(&[(1_500, 4_200), (4_700, OPEN_END)]);
    assert!(coverage.proves(1_600, 4_000));
    assert!(!coverage.proves(4_100, 5_000));
    assert!(coverage.proves(4_800, 5_000));
    assert!(!coverage.proves(1_400, 2_000), "the time before the start is not covered");
}

#[test]
fn an_earlier_start_extends_the_span() {
    let mut coverage = watched(&[(1_500, OPEN_END)]);
    coverage.resume(900);
    assert_eq!(coverage.quality(1_000, 1_999), Quality::Complete);
    coverage.resume(5_000);
    assert!(coverage.covers(900, 9_000), "a second acknowledgement does not reduce coverage");
}

#[test]
fn a_miss_is_a_hole_and_the_rest_stays_covered() {
    let mut coverage = watched(&[(0, 99), (200, OPEN_END)]);
    assert!(
        coverage.miss(50, 50) && coverage.miss(99, 210) && !coverage.miss(99, 210),
        "a repeated miss changes nothing"
    );
    let seen = [(0, 49), (51, 98), (211, 5_000)];
    assert!(seen.iter().all(|(from, to)| coverage.covers(*from, *to)), "{coverage:?}");
    assert!([(49, 50), (98, 99), (210, 211)].iter().all(|(from, to)| !coverage.covers(*from, *to)));
    assert!(!coverage.miss(150, 140) && coverage.is_open());
    coverage.resume(100);
    assert!(!coverage.covers(205, 205), "a resumption at an earlier time does not cover it");
}

#[test]
fn a_miss_while_the_feed_is_down_is_not_covered_by_its_return() {
    let mut coverage = watched(&[(0, 100)]);
    assert!(coverage.miss(100, 100) && !coverage.miss(120, 130));
    coverage.resume(90);
    assert!(coverage.covers(0, 99) && coverage.covers(131, 140) && !coverage.covers(99, 131));
    let mut unwatched = Coverage::default();
    assert!(!unwatched.miss(10, 10));
    unwatched.resume(5);
    assert!(!unwatched.covers(5, 10) && unwatched.covers(11, 20));
    let mut earlier = Coverage::default();
    assert!(!earlier.miss(10, 10));
    earlier.resume(20);
    earlier.resume(5);
    assert!(!earlier.covers(10, 10) && earlier.covers(11, 30), "an earlier start does not cover it either");
}

#[test]
fn many_holes_are_merged_into_larger_ones() {
    let mut coverage = watched(&[(0, OPEN_END)]);
    for at in 0..1_000 {
        coverage.miss(1_000 + at * 10, 1_000 + at * 10);
    }
    assert!(coverage.spans.len() <= MAX_SPANS);
    assert!((0..1_000).all(|at| !coverage.covers(1_000 + at * 10, 1_000 + at * 10)));
    assert!(coverage.covers(0, 999) && coverage.covers(11_000, 20_000));
    assert!(!coverage.proves(10_989, 10_991) && coverage.proves(10_991, 20_000));
}

#[test]
fn an_ended_instrument_has_no_idle_windows() {
    let mut coverage = watched(&[(0, OPEN_END)]);
    coverage.end(6_000);
    assert!(coverage.is_idle(5_000, 5_999) && !coverage.is_idle(6_000, 6_999));
    coverage.end(7_000);
    assert!(!coverage.is_idle(6_000, 6_999), "a later list that omits it as well does not move its end");
    assert_eq!((coverage.revive(6_000), coverage.revive(6_001)), (None, Some(6_000)));
    assert_eq!(coverage.quality(5_000, 5_999), Quality::Complete);
    coverage.end(5_999);
    assert!(!coverage.is_idle(5_000, 5_999), "it ended before the end of its window");
    coverage.end(5_500);
    assert!(coverage.is_idle(4_000, 4_999));
}

#[test]
fn a_corrected_start_is_no_gap_and_every_gap_is_settled_or_wanted() {
    let mut coverage = Coverage::new(true);
    coverage.resume(1_000);
    assert!(coverage.delay(1_000, 1_010), "coverage began 10 ms later");
    coverage.fill(900, 1_009);
    assert_eq!((coverage.take_tally(), coverage.is_settled()), (GapTally::default(), true));
    assert!(coverage.miss(2_000, 2_004) && coverage.interrupt(2_999));
    coverage.resume(4_000);
    coverage.fill(2_000, 2_004);
    coverage.give_up(3_000, 3_999);
    assert_eq!(
        (coverage.take_tally(), coverage.is_settled()),
        (GapTally { gap: 1_005, repaired: 5, unknown: 1_000 }, true)
    );
}
