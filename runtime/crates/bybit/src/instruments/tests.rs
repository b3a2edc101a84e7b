//! What lists end and what they do not, on times made up.

use klines_domain::decimal::Decimal;
use klines_domain::time::SECOND;

use super::*;

const T0: LocalMillis = LocalMillis::new(1_767_621_900_000);
/// Watched; the exchange lists six.
const WATCHED: [&str; 2] = ["AUSDT", "BUSDT"];
const NOTHING: [&str; 0] = [];

fn watch() -> Watch {
    let mut table = SymbolTable::default();
    for name in WATCHED {
        table.intern(&Symbol::new(name).unwrap());
    }
    Watch::new(Category::Linear, &table, Pace::default())
}

/// A letter an instrument; a small one is listed, but settled.
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

/// What lists at such seconds say, in short: `-A@0` is an end of the first at `T0`, `+A` takes it back.
fn said(lists: &[(i64, &str)]) -> Vec<String> {
    let (mut watch, mut said) = (watch(), Vec::new());
    for (at, names) in lists {
        for event in watch.take(T0 + at * SECOND, &list(names)) {
            said.push(match event {
                FeedEvent::Ended { symbol, at } => format!("-{}@{}", &WATCHED[symbol.index()][..1], (at - T0) / SECOND),
                FeedEvent::Listed { symbol } => format!("+{}", &WATCHED[symbol.index()][..1]),
                other => panic!("{other:?}"),
            });
        }
    }
    said
}

#[test]
fn an_end_takes_two_lists_a_minute_apart() {
    assert_eq!(said(&[(0, "ABCDEF"), (300, "BCDEF")]), NOTHING, "one list");
    assert_eq!(said(&[(0, "ABCDEF"), (300, "BCDEF"), (359, "BCDEF")]), NOTHING, "too close to each other");
    assert_eq!(said(&[(0, "ABCDEF"), (300, "BCDEF"), (330, "BCDEF"), (360, "BCDEF")]), ["-A@300"]);
    assert_eq!(said(&[(0, "ABCDEF"), (300, "BCDEF"), (360, "ABCDEF"), (420, "BCDEF")]), NOTHING, "not in a row");
    assert_eq!(said(&[(0, "aBCDEF"), (60, "aBCDEF")]), ["-A@0"], "settled is not trading");
}

#[test]
fn lists_that_are_empty_or_less_than_half_end_nothing() {
    assert_eq!(said(&[(0, "ABCDEF"), (300, ""), (360, ""), (420, "")]), NOTHING);
    assert_eq!(said(&[(0, "ABCDEF"), (300, "BC"), (360, "BC"), (420, "BC")]), NOTHING, "a third");
    assert_eq!(said(&[(0, "ABCDEF"), (300, "BCD"), (360, "BCD")]), ["-A@300"], "half is enough");
    assert_eq!(said(&[(0, "ABCDEF"), (300, "BCDEF"), (360, "BC"), (420, "ABCDEF")]), NOTHING);
    assert_eq!(said(&[(0, "ABCDEF"), (300, "BCDEF"), (360, ""), (420, "BCDEF")]), ["-A@300"], "no list in between");
    assert_eq!(said(&[(0, ""), (60, ""), (120, "")]), NOTHING);
}

#[test]
fn any_list_that_has_the_instrument_takes_its_end_back() {
    let ended = [(0, "ABCDEF"), (300, "BCDEF"), (360, "BCDEF")];
    assert_eq!(said(&[&ended[..], &[(660, "ABCDEF"), (960, "ABCDEF")]].concat()), ["-A@300", "+A"]);
    assert_eq!(said(&[&ended[..], &[(660, "A")]].concat()), ["-A@300", "+A"], "even a list that is no whole one");
}

#[test]
fn an_end_is_said_again_with_every_list_for_a_trade_may_have_taken_it_back() {
    let ended = [(0, "ABCDEF"), (300, "BCDEF"), (360, "BCDEF"), (660, "BCDEF"), (960, "BCDEF")];
    assert_eq!(said(&ended), ["-A@300", "-A@360", "-A@660"]);
}

#[test]
fn the_exchange_is_asked_sooner_while_an_end_is_doubtful() {
    let mut watch = watch();
    let mut certain = |at: i64, names: &str| {
        watch.take(T0 + at * SECOND, &list(names));
        watch.is_certain()
    };
    let steps = [(0, "ABCDEF"), (300, "BCDEF"), (360, "BCDEF"), (660, ""), (720, "BCDEF"), (1_020, "ABCDEF")];
    assert_eq!(steps.map(|(at, names)| certain(at, names)), [true, false, true, false, true, true]);
}
