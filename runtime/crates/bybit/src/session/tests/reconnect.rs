//! Which state survives a reconnect, and what a session reports about the connection itself.

use super::*;

const PONG: &str = r#"{"success":true,"ret_msg":"pong","op":"ping"}"#;

fn links(out: &[Action]) -> Vec<Link> {
    out.iter().filter_map(|action| if let Action::Emit(message) = action { message.link } else { None }).collect()
}

/// Returns a session whose symbol is covered at [`NOW`] and that has no canary.
fn covered() -> (Session, Vec<Action>) {
    let (mut session, mut out) = (session(Category::Linear, 1), Vec::new());
    session.on_open(NOW, &mut out);
    session.on_frame(NOW, &refused("canary-1", "x"), &mut out);
    session.on_frame(NOW, &accepted(1), &mut out);
    assert_eq!(links(&out), [Link::Up]);
    out.clear();
    (session, out)
}

#[test]
fn a_connection_that_was_given_up_emits_nothing_more() {
    let (mut session, mut out) = covered();
    session.on_tick(NOW + 30_001, &mut out);
    assert_eq!((links(&out), session.counters().gaps), (vec![Link::Down], 1));
    assert!(matches!(out.last(), Some(Action::Close(CloseReason::Dead { .. }))));
    out.clear();
    session.on_frame(NOW + 30_002, &trade("AUSDT"), &mut out);
    session.on_frame(NOW + 30_003, &accepted(1), &mut out);
    session.on_drained(NOW + 30_004, &mut out);
    session.on_tick(NOW + 90_000, &mut out);
    assert!(out.is_empty(), "{out:?}");
    let counters = session.counters();
    assert_eq!((counters.ignored, counters.trade_frames, counters.frames), (2, 0, 4));
}

#[test]
fn an_empty_socket_is_not_reported_when_the_peer_may_be_gone() {
    let (session, mut out) = covered();
    session.on_drained(NOW + 30_000, &mut out);
    session.on_drained(NOW + 30_001, &mut out);
    assert_eq!(links(&out), [Link::Drained]);
}

#[test]
fn a_new_connection_starts_fresh_and_reports_when_all_answers_have_arrived() {
    let (mut session, mut out) = covered();
    session.on_stall(NOW + 1_000);
    session.on_close(NOW + 2_000, &mut out);
    session.on_drained(NOW + 2_001, &mut out);
    assert_eq!(links(&out), [Link::Down]);
    session.on_open(NOW + 3_000, &mut out);
    assert!(!session.is_stalled());
    out.clear();
    session.on_frame(NOW + 3_010, &accepted(2), &mut out);
    assert_eq!(notices(&out), [&Notice::Subscribed { covered: 1, refused: 0 }]);
    session.on_tick(NOW + 33_010, &mut out);
    session.on_close(NOW + 33_011, &mut out);
    assert_eq!(events(&out)[1], &FeedEvent::Hole { symbols: vec![SymbolId(0)], last_seen: NOW + 3_010, until: None });
}

#[test]
fn frames_count_as_old_as_the_first_stall_until_the_socket_is_empty() {
    let (mut session, mut out) = covered();
    session.on_stall(NOW + 1_000);
    session.on_stall(NOW + 5_000);
    session.on_frame(NOW + 9_000, PONG, &mut out);
    session.on_close(NOW + 9_001, &mut out);
    assert_eq!(events(&out), [&FeedEvent::Hole { symbols: vec![SymbolId(0)], last_seen: NOW + 1_000, until: None }]);
    let (mut session, mut out) = covered();
    session.on_stall(NOW + 1_000);
    session.on_idle();
    session.on_frame(NOW + 9_000, PONG, &mut out);
    session.on_close(NOW + 9_001, &mut out);
    assert_eq!(events(&out), [&FeedEvent::Hole { symbols: vec![SymbolId(0)], last_seen: NOW + 9_000, until: None }]);
}

#[test]
fn trades_that_are_read_after_a_stall_cover_what_was_sent_before_them() {
    let (mut session, mut out) = covered();
    session.on_stall(NOW + 1_000);
    session.on_frame(NOW + 9_000, &trade("AUSDT"), &mut out);
    session.on_frame(NOW + 9_001, PONG, &mut out);
    out.clear();
    session.on_close(NOW + 9_002, &mut out);
    assert_eq!(events(&out), [&FeedEvent::Hole { symbols: vec![SymbolId(0)], last_seen: NOW + 9_000, until: None }]);
}

#[test]
fn answers_that_may_wait_in_the_socket_after_a_stall_do_not_count_as_missing() {
    let (mut session, mut out) = (session(Category::Linear, 1), Vec::new());
    session.on_open(NOW, &mut out);
    session.on_frame(NOW, PONG, &mut out);
    session.on_stall(NOW);
    out.clear();
    session.on_tick(NOW + 11_000, &mut out);
    assert!(out.is_empty(), "both answers may be there: {out:?}");
    session.on_frame(NOW + 11_001, &accepted(1), &mut out);
    // The trade of an unreadable frame may be from the time of the stall or from now.
    session.on_frame(NOW + 11_002, &trade("AUSDT").replace("\"Buy\"", "\"None\""), &mut out);
    assert!(
        events(&out).contains(&&FeedEvent::Hole {
            symbols: vec![SymbolId(0)],
            last_seen: NOW - 1,
            until: Some(NOW + 11_003)
        }),
        "{out:?}"
    );
    session.on_idle();
    session.on_tick(NOW + 11_250, &mut out);
    assert!(
        matches!(notices(&out)[..], [Notice::Subscribed { .. }, Notice::Unreadable { .. }, Notice::Unwatched { .. }]),
        "{out:?}"
    );
}

/// Sends pongs and ticks four times a second until the session gives up. Returns how long that took.
fn silence(session: &mut Session, from: LocalMillis, out: &mut Vec<Action>) -> Millis {
    let mut now = from;
    while !matches!(out.last(), Some(Action::Close(CloseReason::Silent { .. }))) {
        now += 250;
        session.on_frame(now, PONG, out);
        session.on_tick(now, out);
        assert!(now < from + HOUR, "the session never gave up");
    }
    now - from
}

#[test]
fn a_silent_canary_doubles_the_timeout_and_a_frame_without_a_timestamp_is_not_data() {
    let (mut session, mut out) = (session(Category::Linear, 1), Vec::new());
    session.on_open(NOW, &mut out);
    session.on_frame(NOW, &accepted("canary-1"), &mut out);
    session.on_frame(NOW, &accepted(1), &mut out);
    session.on_frame(NOW + 10 * SECOND, r#"{"topic":"publicTrade.BTCUSDT","ts":"x","data":[]}"#, &mut out);
    assert_eq!(silence(&mut session, NOW, &mut out), 45_250);
    out.clear();
    session.on_open(NOW + MINUTE, &mut out);
    session.on_frame(NOW + MINUTE, &accepted("canary-2"), &mut out);
    session.on_frame(NOW + MINUTE, &accepted(2), &mut out);
    assert_eq!(silence(&mut session, NOW + MINUTE, &mut out), 90_250);
}

#[test]
fn a_canary_is_not_silent_before_its_topic_is_acknowledged_again() {
    let mut table = SymbolTable::default();
    let ids = [table.intern(&Symbol::new("BTCUSDT").unwrap())];
    let mut session = Session::new(Category::Spot, 0, Arc::new(table), &ids, Timing::default());
    let mut out = Vec::new();
    session.on_open(NOW, &mut out);
    session.on_frame(NOW, &accepted(1), &mut out);
    session.on_close(NOW + SECOND, &mut out);
    session.on_open(NOW + MINUTE, &mut out);
    out.clear();
    session.on_tick(NOW + MINUTE + SECOND, &mut out);
    assert!(out.is_empty() && !session.is_silent(NOW + MINUTE + SECOND), "{out:?}");
}

#[test]
fn the_oldest_unanswered_frame_causes_the_timeout() {
    let (mut session, mut out) = (session(Category::Spot, 12), Vec::new());
    session.on_open(NOW, &mut out);
    // The second frame is refused because of one of its two topics; the other is requested again nine seconds later.
    session.on_frame(NOW + 9_000, &refused(2, "Invalid symbol :[publicTrade.KUSDT]"), &mut out);
    session.on_tick(NOW + 10_001, &mut out);
    assert_eq!(out.last(), Some(&Action::Close(CloseReason::Unanswered { waited: 10_001 })));
}

#[test]
fn a_refused_symbol_is_requested_again_after_ten_minutes_and_its_acceptance_is_reported() {
    let (mut session, mut out) = (session(Category::Linear, 1), Vec::new());
    session.on_open(NOW, &mut out);
    session.on_frame(NOW, &refused("canary-1", "x"), &mut out);
    session.on_frame(NOW, &refused(1, "error:handler not found,topic:publicTrade.AUSDT"), &mut out);
    for quarter in 1..=2_400 {
        out.clear();
        session.on_frame(NOW + quarter * 250, PONG, &mut out);
        session.on_tick(NOW + quarter * 250, &mut out);
    }
    let asked = r#"{"req_id":"2","op":"subscribe","args":["publicTrade.AUSDT"]}"#;
    assert!(sent(&out).contains(&asked), "ten minutes after the refusal, to the millisecond: {out:?}");
    out.clear();
    session.on_frame(NOW + 600_010, &accepted(2), &mut out);
    assert!(notices(&out).contains(&&Notice::Recovered { symbol: Symbol::new("AUSDT").unwrap() }), "{out:?}");
}
