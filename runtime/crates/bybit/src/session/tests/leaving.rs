//! Symbols that are no longer watched.

use super::*;

fn last_link(out: &[Action]) -> Option<Link> {
    out.iter().rev().find_map(|action| if let Action::Emit(message) = action { message.link } else { None })
}

#[test]
fn a_symbol_that_leaves_is_covered_until_the_request_once_the_exchange_has_answered() {
    let (mut session, mut out) = covered(2);
    session.on_left(NOW + 50, &[SymbolId(0)], &mut out);
    assert_eq!(sent(&out), [r#"{"req_id":"2","op":"unsubscribe","args":["publicTrade.AUSDT"]}"#]);
    assert!(events(&out).is_empty(), "trades from before the request may still arrive");
    out.clear();
    session.on_frame(NOW + 60, &trade("AUSDT"), &mut out);
    assert!(matches!(events(&out)[..], [FeedEvent::Trade(_)]));
    out.clear();
    session.on_frame(NOW + 70, &unsubscribed(2), &mut out);
    let hole = FeedEvent::Hole { symbols: vec![SymbolId(0)], last_seen: NOW + 50, until: None };
    assert_eq!((events(&out), last_link(&out)), (vec![&hole], None), "the other symbol goes on");
    assert_eq!((session.totals(), session.is_over()), ((1, 0, 1), false));

    session.on_close(NOW + 100, &mut out);
    out.clear();
    session.on_open(NOW + 200, &mut out);
    assert!(!sent(&out).iter().any(|text| text.contains("AUSDT")), "it is not requested again: {out:?}");
    assert!(sent(&out).iter().any(|text| text.contains("BUSDT")));
}

#[test]
fn a_connection_whose_last_symbol_leaves_is_over_and_says_so() {
    let (mut session, mut out) = covered(1);
    session.on_left(NOW + 50, &[SymbolId(0), SymbolId(7)], &mut out);
    assert!(!session.is_over());
    session.on_frame(NOW + 70, &unsubscribed(2), &mut out);
    assert!(session.is_over());
    assert_eq!(last_link(&out), Some(Link::Down));
}

#[test]
fn a_symbol_that_leaves_before_it_is_acknowledged_is_left_afterwards() {
    let (mut session, mut out) = (session(Category::Linear, 2), Vec::new());
    session.on_open(NOW, &mut out);
    session.on_left(NOW + 5, &[SymbolId(1)], &mut out);
    out.clear();
    session.on_frame(NOW + 10, &accepted(1), &mut out);
    assert_eq!(sent(&out), [r#"{"req_id":"2","op":"unsubscribe","args":["publicTrade.BUSDT"]}"#]);
    out.clear();
    session.on_frame(NOW + 20, &unsubscribed(2), &mut out);
    let hole = FeedEvent::Hole { symbols: vec![SymbolId(1)], last_seen: NOW + 10, until: None };
    assert_eq!(events(&out), [&hole]);
}

#[test]
fn an_unanswered_request_to_leave_ends_the_connection() {
    let (mut session, mut out) = covered(2);
    session.on_left(NOW + 50, &[SymbolId(0)], &mut out);
    session.on_frame(NOW + 9_000, &trade("BUSDT"), &mut out);
    out.clear();
    session.on_tick(NOW + 10_051, &mut out);
    assert!(out.iter().any(|action| matches!(action, Action::Close(CloseReason::Unanswered { .. }))), "{out:?}");
    assert!(matches!(events(&out)[..], [FeedEvent::Hole { .. }]));
    assert!(!session.is_over());
}

#[test]
fn the_busiest_symbol_is_watched_for_silence_after_it_has_left() {
    let mut table = SymbolTable::default();
    let ids = ["BTCUSDT", "ETHUSDT"].map(|name| table.intern(&Symbol::new(name).unwrap()));
    let mut session = Session::new(Category::Linear, 0, Arc::new(table), &ids, Timing::default());
    let mut out = Vec::new();
    session.on_open(NOW, &mut out);
    session.on_frame(NOW + 10, &accepted(1), &mut out);
    session.on_left(NOW + 50, &ids[..1], &mut out);
    out.clear();
    session.on_frame(NOW + 70, &unsubscribed(2), &mut out);
    assert_eq!(sent(&out), [r#"{"req_id":"canary-1","op":"subscribe","args":["publicTrade.BTCUSDT"]}"#]);
    session.on_frame(NOW + 80, &accepted("canary-1"), &mut out);
    out.clear();
    session.on_frame(NOW + 90, &trade("BTCUSDT"), &mut out);
    assert!(events(&out).is_empty(), "its rows are not read");
    assert_eq!(session.counters().canary_frames, 1);
}
