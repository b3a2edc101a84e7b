//! Sequences over runs, holes and epochs.

mod moves;

use klines_delivery::fixture;

use super::*;

fn kline(sequence: u64) -> Arc<Kline> {
    let minute = i64::try_from(sequence).unwrap();
    Arc::new(Kline { sequence, ..fixture::kline("BTCUSDT", "1m", minute, true) })
}

fn resumed(last: u64, earlier: &[u64]) -> Recent<Kline> {
    let mut recent = Recent::resuming(last, Base::Own);
    recent.keep_earlier(earlier.iter().map(|sequence| kline(*sequence)).collect());
    recent
}

fn since(recent: &Recent<Kline>, sequence: u64) -> Option<Vec<u64>> {
    Some(recent.since(sequence)?.iter().map(|kline| kline.sequence).collect())
}

#[test]
fn klines_of_earlier_runs_and_of_this_one_are_one_sequence() {
    let mut recent = resumed(5, &[2, 3, 4, 5]);
    assert_eq!((since(&recent, 3), since(&recent, 5), since(&recent, 6)), (Some(vec![4, 5]), Some(vec![]), None));
    assert!(recent.keep(&mut kline(6), Base::Own) && recent.breaks() == 0);
    assert_eq!((since(&recent, 4), since(&recent, 1)), (Some(vec![5, 6]), Some(vec![2, 3, 4, 5, 6])));
    assert_eq!((since(&recent, 0), recent.earlier()), (None, 5));
}

#[test]
fn nothing_before_a_hole_is_believed() {
    assert_eq!(since(&resumed(5, &[1, 2, 4, 5]), 3), Some(vec![4, 5]));
    assert_eq!(since(&resumed(5, &[1, 2, 4, 5]), 2), None);
    let without_last = resumed(5, &[1, 2, 3]);
    assert_eq!((since(&without_last, 2), since(&without_last, 5)), (None, Some(vec![])));
}

const ONE: Base = Base::Shared(1);
const TWO: Base = Base::Shared(2);

/// Returns a topic of shared epochs after these records.
fn shared(records: &[(Base, u64)]) -> Recent<Kline> {
    let mut recent = Recent::resuming(0, records[0].0);
    for (base, sequence) in records {
        recent.keep(&mut kline(*sequence), *base);
    }
    recent
}

#[test]
fn what_a_server_has_not_seen_of_a_shared_epoch_is_not_a_break_and_what_it_loses_is() {
    let mut recent = Recent::resuming(0, ONE);
    assert!(!recent.keep(&mut kline(57), ONE) && recent.breaks() == 0, "clients that wait for the first one miss 56");
    assert!(recent.keep(&mut kline(58), ONE) && recent.breaks() == 0);
    assert_eq!((since(&recent, 56), since(&recent, 55)), (Some(vec![57, 58]), None));
    assert!(!recent.keep(&mut kline(60), ONE) && recent.breaks() == 1);
    assert_eq!((since(&recent, 59), since(&recent, 58)), (Some(vec![60]), None));
    let mut resumed = Recent::resuming(50, ONE);
    assert!(!resumed.keep(&mut kline(57), ONE) && resumed.breaks() == 0, "it was away for six");
    let mut whole = Recent::resuming(0, ONE);
    assert!(whole.keep(&mut kline(1), ONE) && since(&whole, 0) == Some(vec![1]));
    let mut own = Recent::resuming(0, Base::Own);
    assert!(!own.keep(&mut kline(57), Base::Own) && own.breaks() == 1, "it numbers from 1, so that 56 were lost");
}

#[test]
fn a_shared_epoch_begins_without_breaks_and_without_what_was_before() {
    let mut recent = shared(&[(ONE, 1), (ONE, 3)]);
    assert_eq!(recent.breaks(), 1);
    assert!(!recent.keep(&mut kline(4), TWO));
    assert_eq!((recent.base(), recent.breaks()), (TWO, 0));
    assert_eq!((since(&recent, 3), since(&recent, 2)), (Some(vec![4]), None));
    assert!(recent.keep(&mut kline(5), TWO));
}

#[test]
fn numbers_that_come_again_are_those_of_the_new_epoch() {
    let mut recent = shared(&[(ONE, 1), (ONE, 2), (ONE, 3), (ONE, 4)]);
    let again = |sequence| Arc::new(Kline { revision: 1_000, ..Kline::clone(&kline(sequence)) });
    for sequence in [3, 4] {
        assert_eq!(recent.keep(&mut again(sequence), TWO), sequence == 4);
    }
    assert_eq!((recent.last(), recent.breaks()), (4, 0));
    let missed = recent.since(2).unwrap();
    assert_eq!(missed.iter().map(|kline| kline.revision).collect::<Vec<_>>(), [1_000, 1_000]);
    assert_eq!(since(&recent, 1), None);
    assert!(!recent.keep(&mut again(4), TWO) && recent.breaks() == 0, "nothing is missing");
}

#[test]
fn an_update_that_has_overtaken_confirmed_klines_has_the_next_number_here() {
    let update = |sequence| Arc::new(Kline { confirm: false, ..Kline::clone(&kline(sequence)) });
    for (base, expected) in [(ONE, 3), (Base::Unknown, 3), (Base::Own, 7)] {
        let mut recent = shared(&[(base, 1), (base, 2)]);
        let mut early = update(7);
        recent.keep(&mut early, base);
        assert_eq!((early.sequence, recent.open().unwrap().sequence), (expected, expected), "{base:?}");
    }
}
