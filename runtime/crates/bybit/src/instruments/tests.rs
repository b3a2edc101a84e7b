//! Tests which lists end an instrument, with simulated times.

use klines_domain::decimal::Decimal;
use klines_domain::time::SECOND;

use super::*;

const T0: LocalMillis = LocalMillis::new(1_767_621_900_000);
/// The watched symbols; the exchange lists six.
const WATCHED: [&str; 2] = ["AUSDT", "BUSDT"];
const NONE: [&str; 0] = [];

fn watch() -> Watch {
    let mut table = SymbolTable::default();
    for name in WATCHED {
        table.intern(&Symbol::new(name).unwrap());
    }
    Watch::new(Category::Linear, &table, Pace::default())
}

/// Returns a list with one instrument for each letter; a lower-case letter is listed, but being settled.
fn list(names: &str) -> Vec<Instrument> {
    let instrument = |name: char| Instrument {
        symbol: Symbol::new(&format!("{}USDT", name.to_ascii_uppercase())).unwrap(),
        category: Category::Linear,
        tick: Decimal::new(1, 1),
        quote: "USDT".to_owned(),
        is_dated: false,
        trading: if name.is_ascii_uppercase() { Trading::Open } else { Trading::Delivering },
    };
    names.chars().map(instrument).collect()
}

/// Returns the events of lists at the given seconds in short form: `-A@0` is an end of the first symbol at `T0`, `+A`
/// means that it is listed again.
fn events_of(lists: &[(i64, &str)]) -> Vec<String> {
    let (mut watch, mut events_of) = (watch(), Vec::new());
    for (at, names) in lists {
        for event in watch.take(T0 + at * SECOND, &list(names)) {
            events_of.push(match event {
                FeedEvent::Ended { symbol, at } => format!("-{}@{}", &WATCHED[symbol.index()][..1], (at - T0) / SECOND),
                FeedEvent::Listed { symbol } => format!("+{}", &WATCHED[symbol.index()][..1]),
                other => panic!("{other:?}"),
            });
        }
    }
    events_of
}

#[test]
fn an_end_needs_two_lists_a_minute_apart() {
    assert_eq!(events_of(&[(0, "ABCDEF"), (300, "BCDEF")]), NONE, "one list");
    assert_eq!(events_of(&[(0, "ABCDEF"), (300, "BCDEF"), (359, "BCDEF")]), NONE, "too close to each other");
    assert_eq!(events_of(&[(0, "ABCDEF"), (300, "BCDEF"), (330, "BCDEF"), (360, "BCDEF")]), ["-A@300"]);
    assert_eq!(events_of(&[(0, "ABCDEF"), (300, "BCDEF"), (360, "ABCDEF"), (420, "BCDEF")]), NONE, "not in a row");
    assert_eq!(events_of(&[(0, "aBCDEF"), (60, "aBCDEF")]), ["-A@0"], "settled is not trading");
}

#[test]
fn lists_that_are_empty_or_less_than_half_end_nothing() {
    assert_eq!(events_of(&[(0, "ABCDEF"), (300, ""), (360, ""), (420, "")]), NONE);
    assert_eq!(events_of(&[(0, "ABCDEF"), (300, "BC"), (360, "BC"), (420, "BC")]), NONE, "a third");
    assert_eq!(events_of(&[(0, "ABCDEF"), (300, "BCD"), (360, "BCD")]), ["-A@300"], "half is enough");
    assert_eq!(events_of(&[(0, "ABCDEF"), (300, "BCDEF"), (360, "BC"), (420, "ABCDEF")]), NONE);
    assert_eq!(
        events_of(&[(0, "ABCDEF"), (300, "BCDEF"), (360, ""), (420, "BCDEF")]),
        ["-A@300"],
        "the empty list in between does not count"
    );
    assert_eq!(events_of(&[(0, ""), (60, ""), (120, "")]), NONE);
}

#[test]
fn any_list_with_the_instrument_revokes_its_end() {
    let ended = [(0, "ABCDEF"), (300, "BCDEF"), (360, "BCDEF")];
    assert_eq!(events_of(&[&ended[..], &[(660, "ABCDEF"), (960, "ABCDEF")]].concat()), ["-A@300", "+A"]);
    assert_eq!(events_of(&[&ended[..], &[(660, "A")]].concat()), ["-A@300", "+A"], "even an incomplete list");
}

#[test]
fn an_end_is_repeated_with_every_list_because_a_trade_may_have_revoked_it() {
    let ended = [(0, "ABCDEF"), (300, "BCDEF"), (360, "BCDEF"), (660, "BCDEF"), (960, "BCDEF")];
    assert_eq!(events_of(&ended), ["-A@300", "-A@360", "-A@660"]);
}

#[test]
fn lists_are_requested_more_often_while_an_end_is_unconfirmed() {
    let mut watch = watch();
    let mut certain = |at: i64, names: &str| {
        watch.take(T0 + at * SECOND, &list(names));
        watch.is_certain()
    };
    let steps = [(0, "ABCDEF"), (300, "BCDEF"), (360, "BCDEF"), (660, ""), (720, "BCDEF"), (1_020, "ABCDEF")];
    assert_eq!(steps.map(|(at, names)| certain(at, names)), [true, false, true, false, true, true]);
}

/// Returns the first letters of the symbols that are chosen after the last of some lists; `None` if it is not plausible.
fn chosen_of(lists: &[(i64, &str)], limit: Option<usize>) -> Option<String> {
    let (mut watch, all) = (watch(), AllSymbols { limit, ..AllSymbols::default() });
    let mut chosen = None;
    for (at, names) in lists {
        watch.take(T0 + at * SECOND, &list(names));
        chosen = watch.choose(&all, &list(names));
    }
    chosen.map(|chosen| chosen.iter().map(|symbol| &symbol.as_str()[..1]).collect())
}

#[test]
fn a_new_instrument_is_chosen_and_an_old_one_stays_until_it_has_ended() {
    assert_eq!(chosen_of(&[(0, "ABCDEF")], None).unwrap(), "ABCDEF");
    assert_eq!(chosen_of(&[(0, "ABCDEF"), (300, "ACDEFG")], None).unwrap(), "ACDEFGB", "one list is not enough");
    assert_eq!(chosen_of(&[(0, "ABCDEF"), (300, "ACDEFG"), (360, "ACDEFG")], None).unwrap(), "ACDEFG");
    assert_eq!(chosen_of(&[(0, "ABCDEF"), (300, "AbCDEF"), (360, "AbCDEF")], None).unwrap(), "ACDEF", "it is settled");
    assert_eq!(chosen_of(&[(0, "BCDEF")], Some(2)).unwrap(), "BCA");
}

#[test]
fn a_list_that_is_not_plausible_chooses_nothing() {
    assert_eq!(chosen_of(&[(0, "ABCDEF"), (300, "AB")], None), None);
    assert_eq!(chosen_of(&[(0, "")], None), None);
}
