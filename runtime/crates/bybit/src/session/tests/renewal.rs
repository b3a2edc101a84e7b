//! Topics that are dead, and are subscribed to again.

use super::*;

#[test]
fn a_dead_topic_is_not_covered_until_it_is_subscribed_to_again() {
    let (mut session, mut out) = covered(2);
    session.on_frame(NOW + 40, &trade("BUSDT"), &mut out);
    out.clear();
    session.on_renew(NOW + 50, &[SymbolId(0), SymbolId(7)], &mut out);
    let hole = FeedEvent::Hole { symbols: vec![SymbolId(0)], last_seen: NOW + 40, until: None };
    assert_eq!(events(&out), [&hole]);
    assert_eq!(sent(&out), [r#"{"req_id":"2","op":"unsubscribe","args":["publicTrade.AUSDT"]}"#]);
    assert_eq!(notices(&out), [&Notice::Renewed { topics: 1 }]);
    assert_eq!(session.totals(), (1, 0, 2));
    out.clear();
    session.on_renew(NOW + 55, &[SymbolId(0)], &mut out);
    assert!(out.is_empty(), "it is under way: {out:?}");
    session.on_frame(NOW + 60, &unsubscribed(2), &mut out);
    assert_eq!(sent(&out), [r#"{"req_id":"3","op":"subscribe","args":["publicTrade.AUSDT"]}"#]);
    assert!(events(&out).is_empty());
    out.clear();
    session.on_frame(NOW + 70, &accepted(3), &mut out);
    assert_eq!(events(&out), [&FeedEvent::Covered { symbols: vec![SymbolId(0)], from: NOW + 70 }]);
    assert_eq!(session.totals(), (2, 0, 2));
}

#[test]
fn a_subscription_that_the_exchange_does_not_know_is_requested_again_too() {
    let (mut session, mut out) = covered(1);
    session.on_renew(NOW + 50, &[SymbolId(0)], &mut out);
    out.clear();
    session.on_frame(NOW + 60, &refused(2, "error:handler not found,topic:publicTrade.AUSDT"), &mut out);
    assert_eq!(sent(&out), [r#"{"req_id":"3","op":"subscribe","args":["publicTrade.AUSDT"]}"#]);
}

#[test]
fn a_symbol_that_leaves_or_a_connection_that_is_lost_meanwhile_ends_the_renewal() {
    let (mut session, mut out) = covered(2);
    session.on_renew(NOW + 50, &[SymbolId(0)], &mut out);
    session.on_left(NOW + 55, &[SymbolId(0)], &mut out);
    out.clear();
    session.on_frame(NOW + 60, &unsubscribed(2), &mut out);
    assert!(out.is_empty(), "{out:?}");

    session.on_renew(NOW + 70, &[SymbolId(1)], &mut out);
    out.clear();
    session.on_close(NOW + 80, &mut out);
    assert!(events(&out).is_empty(), "nothing is covered any more: {out:?}");
    session.on_open(NOW + 90, &mut out);
    assert!(sent(&out)[0].contains(r#""op":"subscribe","args":["publicTrade.BUSDT"]"#), "{out:?}");
}

/// The busiest symbol is watched on: a gateway can acknowledge and bring nothing.
#[test]
fn a_renewal_of_the_busiest_topic_is_no_data() {
    let mut table = SymbolTable::default();
    let id = table.intern(&Symbol::new("BTCUSDT").unwrap());
    let (mut session, mut out) =
        (Session::new(Category::Linear, 0, Arc::new(table), &[id], Timing::default()), Vec::new());
    session.on_open(NOW, &mut out);
    session.on_frame(NOW + 10, &accepted(1), &mut out);
    session.on_renew(NOW + 20 * SECOND, &[id], &mut out);
    session.on_frame(NOW + 21 * SECOND, &unsubscribed(2), &mut out);
    session.on_frame(NOW + 22 * SECOND, &accepted(3), &mut out);
    session.on_frame(
        NOW + 40 * SECOND,
        r#"{"success":true,"ret_msg":"pong","conn_id":"c","req_id":"ping-1","op":"ping"}"#,
        &mut out,
    );
    out.clear();
    session.on_tick(NOW + 46 * SECOND, &mut out);
    assert!(out.iter().any(|action| matches!(action, Action::Close(CloseReason::Silent { .. }))), "{out:?}");
}
