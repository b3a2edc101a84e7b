//! Tests the session with scripted frames, and with a model of the exchange that refuses, is silent and disconnects.

mod leaving;
mod model;
mod random;
mod reconnect;
mod renewal;

use klines_domain::time::{ExchangeMillis, HOUR};

use super::*;

const NAMES: [&str; 12] = ["A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L"];
const NOW: LocalMillis = LocalMillis::new(1_700_000_000_000);

/// Returns the first `count` test symbols, in a table.
pub fn table(count: usize) -> (Arc<SymbolTable>, Vec<SymbolId>) {
    let mut table = SymbolTable::default();
    let ids = NAMES.iter().take(count).map(|name| table.intern(&Symbol::new(&format!("{name}USDT")).unwrap()));
    let ids = ids.collect();
    (Arc::new(table), ids)
}

fn session(category: Category, count: usize) -> Session {
    let (table, ids) = table(count);
    Session::new(category, 0, table, &ids, Timing::default())
}

fn sent(out: &[Action]) -> Vec<&str> {
    out.iter().filter_map(|action| if let Action::Send(text) = action { Some(text.as_str()) } else { None }).collect()
}

fn events(out: &[Action]) -> Vec<&FeedEvent<LocalMillis>> {
    out.iter()
        .filter_map(|action| if let Action::Emit(message) = action { Some(&message.events) } else { None })
        .flatten()
        .collect()
}

fn notices(out: &[Action]) -> Vec<&Notice> {
    out.iter().filter_map(|action| if let Action::Notice(notice) = action { Some(notice) } else { None }).collect()
}

/// Returns a linear frame of one trade.
pub fn trade(symbol: &str) -> String {
    format!(
        r#"{{"topic":"publicTrade.{symbol}","type":"snapshot","ts":{NOW},"data":[{{"T":{NOW},"s":"{symbol}","S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick","i":"20f43950-d8dd-5b31-9112-a178eb6023af","BT":false}}]}}"#
    )
}

fn accepted(id: impl std::fmt::Display) -> String {
    format!(r#"{{"success":true,"ret_msg":"","conn_id":"c","req_id":"{id}","op":"subscribe"}}"#)
}

fn refused(id: impl std::fmt::Display, message: &str) -> String {
    format!(r#"{{"success":false,"ret_msg":"{message}","conn_id":"c","req_id":"{id}","op":"subscribe"}}"#)
}

fn unsubscribed(id: impl std::fmt::Display) -> String {
    accepted(id).replace("\"subscribe\"", "\"unsubscribe\"")
}

/// Returns an open session whose topics are all acknowledged at `NOW + 10`.
fn covered(count: usize) -> (Session, Vec<Action>) {
    let (mut session, mut out) = (session(Category::Linear, count), Vec::new());
    session.on_open(NOW, &mut out);
    session.on_frame(NOW + 10, &accepted(1), &mut out);
    out.clear();
    (session, out)
}

#[test]
fn a_jump_of_the_clock_is_a_gap_even_if_frames_wait() {
    let (mut session, mut out) = (session(Category::Linear, 1), Vec::new());
    session.on_open(NOW, &mut out);
    session.on_frame(NOW + 10, &accepted(1), &mut out);
    out.clear();
    session.on_frame(NOW + 10 + 8 * 3_600_000, &trade("AUSDT"), &mut out);
    let [FeedEvent::Hole { last_seen, until: None, .. }] = events(&out)[..] else { panic!("{out:?}") };
    assert_eq!(*last_seen, NOW + 10);
    assert!(out.iter().any(|action| matches!(action, Action::Close(CloseReason::Dead { .. }))));
}

#[test]
fn an_acknowledged_frame_covers_only_its_topics() {
    let (mut session, mut out) = (session(Category::Spot, 12), Vec::new());
    session.on_open(NOW, &mut out);
    assert_eq!(sent(&out).len(), 3, "spot accepts ten topics a frame, and the canary has a separate frame");
    assert!(sent(&out)[1].contains(r#""req_id":"2""#) && sent(&out)[1].contains("publicTrade.KUSDT"));
    out.clear();

    session.on_frame(NOW + 5, &accepted(2), &mut out);
    assert_eq!(events(&out), [&FeedEvent::Covered { symbols: vec![SymbolId(10), SymbolId(11)], from: NOW + 5 }]);
    assert!(notices(&out).is_empty());
    session.on_frame(NOW + 6, &accepted(1), &mut out);
    assert_eq!(notices(&out), [&Notice::Subscribed { covered: 12, refused: 0 }]);
}

#[test]
fn an_unmatched_answer_covers_nothing() {
    let (mut session, mut out) = (session(Category::Linear, 2), Vec::new());
    session.on_open(NOW, &mut out);
    out.clear();
    session.on_frame(NOW, &accepted(9), &mut out);
    session.on_frame(NOW, r#"{"success":true,"ret_msg":"subscribe","op":"subscribe"}"#, &mut out);
    assert!(events(&out).is_empty());
    assert_eq!(notices(&out).len(), 1, "reported once");
}

#[test]
fn a_refusal_that_names_a_topic_drops_only_that_topic() {
    let (mut session, mut out) = (session(Category::Linear, 3), Vec::new());
    session.on_open(NOW, &mut out);
    out.clear();
    session.on_frame(NOW, &refused(1, "error:handler not found,topic:publicTrade.BUSDT"), &mut out);
    assert_eq!(sent(&out), [r#"{"req_id":"2","op":"subscribe","args":["publicTrade.AUSDT","publicTrade.CUSDT"]}"#]);
    let [Notice::Refused { symbol, .. }] = notices(&out)[..] else { panic!("{out:?}") };
    assert_eq!(symbol.as_str(), "BUSDT");
    session.on_frame(NOW, &accepted(2), &mut out);
    assert_eq!(session.totals(), (2, 1, 3));
}

#[test]
fn a_refusal_without_a_name_is_resolved_topic_by_topic() {
    let (mut session, mut out) = (session(Category::Linear, 3), Vec::new());
    session.on_open(NOW, &mut out);
    out.clear();
    session.on_frame(NOW, &refused(1, "params error"), &mut out);
    assert_eq!(sent(&out).len(), 3);
    session.on_frame(NOW, &accepted(2), &mut out);
    session.on_frame(NOW, &refused(3, "params error"), &mut out);
    session.on_frame(NOW, &accepted(4), &mut out);
    assert_eq!(session.totals(), (2, 1, 3));
    assert!(notices(&out).contains(&&Notice::Subscribed { covered: 2, refused: 1 }));
}

#[test]
fn already_subscribed_is_subscribed() {
    let (mut session, mut out) = (session(Category::Linear, 2), Vec::new());
    session.on_open(NOW, &mut out);
    out.clear();
    session.on_frame(NOW, &refused(1, "error:already subscribed,topic:publicTrade.AUSDT"), &mut out);
    assert_eq!(events(&out), [&FeedEvent::Covered { symbols: vec![SymbolId(0)], from: NOW }]);
    session.on_frame(NOW, &accepted(2), &mut out);
    assert_eq!(session.totals(), (2, 0, 2));
}

#[test]
fn a_refused_symbol_is_reported_once_and_retried_rarely() {
    let (mut session, mut out) = (session(Category::Linear, 1), Vec::new());
    session.on_open(NOW, &mut out);
    let (mut asked, mut notices_seen, mut id, mut now) = (0, 0, 1, NOW);
    while now < NOW + 35 * MINUTE {
        for action in std::mem::take(&mut out) {
            match action {
                Action::Send(text) if text.contains("AUSDT") => {
                    asked += 1;
                    session.on_frame(now, &refused(id, "Invalid symbol :[publicTrade.AUSDT]"), &mut out);
                    id += 1;
                }
                Action::Send(_) => session.on_frame(now, r#"{"success":true,"ret_msg":"pong","op":"ping"}"#, &mut out),
                Action::Notice(Notice::Refused { .. }) => notices_seen += 1,
                _ => {}
            }
        }
        now += SECOND;
        session.on_tick(now, &mut out);
    }
    assert_eq!((asked, notices_seen), (4, 1));
}

#[test]
fn an_unanswered_subscription_closes_the_connection() {
    let (mut session, mut out) = (session(Category::Linear, 1), Vec::new());
    session.on_open(NOW, &mut out);
    session.on_tick(NOW + 10 * SECOND, &mut out);
    assert!(!out.iter().any(|action| matches!(action, Action::Close(_))));
    session.on_tick(NOW + 10 * SECOND + 1, &mut out);
    assert_eq!(out.last(), Some(&Action::Close(CloseReason::Unanswered { waited: 10 * SECOND + 1 })));
    assert!(events(&out).is_empty(), "a topic that was never covered has no gap");
}

#[test]
fn pings_are_sent_every_twenty_seconds_and_total_silence_is_a_gap_since_the_last_frame() {
    let (mut session, mut out) = (session(Category::Linear, 1), Vec::new());
    session.on_open(NOW, &mut out);
    session.on_frame(NOW + 10, &accepted(1), &mut out);
    session.on_frame(NOW + 10, &refused("canary-1", "x"), &mut out);
    out.clear();
    session.on_tick(NOW + 19_999, &mut out);
    assert!(out.is_empty());
    session.on_tick(NOW + 20_000, &mut out);
    assert_eq!(sent(&out), [r#"{"req_id":"ping-1","op":"ping"}"#]);
    session.on_frame(NOW + 20_050, r#"{"success":true,"ret_msg":"pong","req_id":"ping-1","op":"ping"}"#, &mut out);
    out.clear();
    session.on_tick(NOW + 50_051, &mut out);
    assert_eq!(events(&out), [&FeedEvent::Hole { symbols: vec![SymbolId(0)], last_seen: NOW + 20_050, until: None }]);
    assert_eq!(out.last(), Some(&Action::Close(CloseReason::Dead { silent: 30_001 })));
    out.clear();
    session.on_close(NOW + 50_060, &mut out);
    assert!(out.is_empty(), "reported once");
}

#[test]
fn a_silent_canary_behind_pongs_is_a_gap_since_its_last_frame() {
    let (mut session, mut out) = (session(Category::Linear, 1), Vec::new());
    session.on_open(NOW, &mut out);
    assert_eq!(sent(&out)[1], r#"{"req_id":"canary-1","op":"subscribe","args":["publicTrade.BTCUSDT"]}"#);
    session.on_frame(NOW, &accepted(1), &mut out);
    session.on_frame(NOW, &accepted("canary-1"), &mut out);
    assert_eq!(session.totals(), (1, 0, 1), "the canary is not one of the wanted topics");
    (1..=20).for_each(|n| session.on_frame(NOW + n * 100, &trade("BTCUSDT"), &mut out));
    out.clear();
    let mut now = NOW + 2_000;
    while !matches!(out.last(), Some(Action::Close(_))) {
        now += 250;
        session.on_frame(now, r#"{"success":true,"ret_msg":"pong","op":"ping"}"#, &mut out);
        session.on_tick(now, &mut out);
    }
    assert_eq!(out.last(), Some(&Action::Close(CloseReason::Silent { silent: 45_250 })));
    assert_eq!(events(&out), [&FeedEvent::Hole { symbols: vec![SymbolId(0)], last_seen: NOW + 2_000, until: None }]);
}

#[test]
fn a_connection_that_is_lost_after_a_silence_is_a_gap_since_its_last_trades() {
    let pong = r#"{"success":true,"ret_msg":"pong","op":"ping"}"#;
    let lost = |last_seen| FeedEvent::Hole { symbols: vec![SymbolId(0)], last_seen, until: None };
    // The trades stop 15 s before the connection: of the whole feed, or of the canary alone.
    for (last, seen) in [("BTCUSDT", 2_000), ("AUSDT", 9_000)] {
        let (mut session, mut out) = (session(Category::Linear, 1), Vec::new());
        session.on_open(NOW, &mut out);
        session.on_frame(NOW, &accepted(1), &mut out);
        session.on_frame(NOW, &accepted("canary-1"), &mut out);
        session.on_frame(NOW + 2_000, &trade("BTCUSDT"), &mut out);
        session.on_frame(NOW + seen, &trade(last), &mut out);
        session.on_frame(NOW + 17_000, pong, &mut out);
        out.clear();
        session.on_close(NOW + 17_010, &mut out);
        assert_eq!(events(&out), [&lost(NOW + seen)], "{last}");
    }
}

#[test]
fn a_later_acknowledgement_does_not_hide_the_silence_of_the_canary() {
    let (mut session, mut out) = (session(Category::Linear, 2), Vec::new());
    session.on_open(NOW, &mut out);
    session.on_frame(NOW, &accepted("canary-1"), &mut out);
    session.on_frame(NOW, &refused(1, "error:handler not found,topic:publicTrade.AUSDT"), &mut out);
    session.on_frame(NOW, &accepted(2), &mut out);
    let mut now = NOW;
    out.clear();
    // The refused topic is accepted at the second attempt, ten minutes later; the canary stops before that.
    while !matches!(out.last(), Some(Action::Close(_))) {
        now += SECOND;
        if now <= NOW + 570 * SECOND && (now - NOW) % (10 * SECOND) == 0 {
            session.on_frame(now, &trade("BTCUSDT"), &mut out);
        }
        session.on_frame(now, r#"{"success":true,"ret_msg":"pong","op":"ping"}"#, &mut out);
        session.on_tick(now, &mut out);
        if now == NOW + 605 * SECOND {
            session.on_frame(now, &accepted(3), &mut out);
        }
    }
    assert_eq!(out.last(), Some(&Action::Close(CloseReason::Silent { silent: 46 * SECOND })));
    let gap =
        |symbol, at| FeedEvent::Hole { symbols: vec![SymbolId(symbol)], last_seen: NOW + at * SECOND, until: None };
    let resumed = FeedEvent::Covered { symbols: vec![SymbolId(0)], from: NOW + 605 * SECOND };
    assert_eq!(events(&out), [&resumed, &gap(1, 570), &gap(0, 605)]);
}

#[test]
fn frames_read_after_a_stall_do_not_cover_the_time_of_the_stall() {
    let (mut session, mut out) = (session(Category::Linear, 1), Vec::new());
    let pong = r#"{"success":true,"ret_msg":"pong","op":"ping"}"#;
    session.on_open(NOW, &mut out);
    session.on_frame(NOW + 10, &accepted(1), &mut out);
    out.clear();
    // The process is stopped from second 1 to second 25; the pong arrived before that.
    session.on_stall(NOW + SECOND);
    session.on_frame(NOW + 25 * SECOND, pong, &mut out);
    assert!(session.is_stalled());
    session.on_idle();
    session.on_tick(NOW + 55 * SECOND, &mut out);
    assert!(events(&out).is_empty(), "the pong was read 30 s ago");
    session.on_close(NOW + 56 * SECOND, &mut out);
    assert_eq!(events(&out), [&FeedEvent::Hole { symbols: vec![SymbolId(0)], last_seen: NOW + SECOND, until: None }]);
}

#[test]
fn an_unavailable_canary_is_reported_once() {
    let (mut session, mut out) = (session(Category::Linear, 1), Vec::new());
    let unwatched = |message: &str| Notice::Unwatched { topic: "publicTrade.BTCUSDT".into(), message: message.into() };
    session.on_open(NOW, &mut out);
    session.on_frame(NOW, &accepted(1), &mut out);
    out.clear();
    for second in 1..=29 {
        session.on_tick(NOW + second * SECOND, &mut out);
    }
    assert_eq!(notices(&out), [&unwatched("not answered within 10 s")]);
    out.clear();
    session.on_frame(NOW + 29 * SECOND, &refused("canary-1", "busy"), &mut out);
    assert!(notices(&out).is_empty());
    session.on_open(NOW + 30 * SECOND, &mut out);
    session.on_frame(NOW + 30 * SECOND, &accepted("canary-2"), &mut out);
    session.on_open(NOW + 40 * SECOND, &mut out);
    out.clear();
    session.on_frame(NOW + 40 * SECOND, &refused("canary-3", "busy"), &mut out);
    assert_eq!(notices(&out), [&unwatched("busy")]);
}

#[test]
fn a_quiet_market_is_not_reconnected_while_pongs_arrive() {
    let (mut session, mut out) = (session(Category::Linear, 1), Vec::new());
    session.on_open(NOW, &mut out);
    session.on_frame(NOW, &accepted(1), &mut out);
    session.on_frame(NOW, &refused("canary-1", "error:handler not found,topic:publicTrade.BTCUSDT"), &mut out);
    let mut now = NOW;
    // Bursts of ten trades, and pauses of 70 s between them.
    for _ in 0..20 {
        (0..10).for_each(|n| session.on_frame(now + n, &trade("AUSDT"), &mut out));
        for _ in 0..7 {
            now += 10 * SECOND;
            session.on_tick(now, &mut out);
            session.on_frame(now, r#"{"success":true,"ret_msg":"pong","op":"ping"}"#, &mut out);
        }
    }
    assert!(!out.iter().any(|action| matches!(action, Action::Close(_))));
    assert_eq!(session.counters().gaps, 0);
}

#[test]
fn only_the_timestamp_of_canary_frames_is_used() {
    let (mut session, mut out) = (session(Category::Linear, 1), Vec::new());
    session.on_open(NOW, &mut out);
    session.on_frame(NOW, &accepted("canary-1"), &mut out);
    out.clear();
    session.on_frame(NOW + 9, &trade("BTCUSDT"), &mut out);
    // Neither unreadable rows nor an unreadable timestamp are an error.
    let unstamped = r#"{"topic":"publicTrade.BTCUSDT","ts":"x","data":[{"p":1}]}"#;
    session.on_frame(NOW + 10, unstamped, &mut out);
    let message = |received, stamped| {
        let bare = FeedMessage::of_category(Category::Linear, received, Vec::new());
        Action::Emit(FeedMessage { connection: Some(0), stamped, ..bare })
    };
    assert_eq!(out, [message(NOW + 9, Some(ExchangeMillis::new(NOW.get()))), message(NOW + 10, None)]);
    let counters = session.counters();
    assert_eq!(
        (counters.frames, counters.canary_frames, counters.received),
        (3, 2, 0),
        "canary frames do not count as received trades"
    );
}

#[test]
fn a_wanted_busiest_symbol_is_the_canary() {
    let mut table = SymbolTable::default();
    let ids = [table.intern(&Symbol::new("BTCUSDT").unwrap())];
    let mut session = Session::new(Category::Spot, 0, Arc::new(table), &ids, Timing::default());
    let mut out = Vec::new();
    session.on_open(NOW, &mut out);
    assert_eq!(sent(&out).len(), 1);
    session.on_frame(NOW, &accepted(1), &mut out);
    session.on_frame(NOW + 20 * SECOND, r#"{"success":true,"ret_msg":"pong","op":"ping"}"#, &mut out);
    session.on_frame(NOW + 30 * SECOND, &trade("BTCUSDT"), &mut out);
    // An unreadable row also shows that data arrives.
    session.on_frame(NOW + 35 * SECOND, &trade("BTCUSDT").replace(r#""p":""#, r#""p":"x"#), &mut out);
    session.on_frame(NOW + 40 * SECOND, &trade("BTCUSDT").replace(r#"{"T":17"#, r#"{"T":18"#), &mut out);
    assert_eq!((session.counters().trade_frames, session.counters().rejected), (3, 2));
    out.clear();
    for second in 41..=85 {
        session.on_frame(NOW + second * SECOND, r#"{"success":true,"ret_msg":"pong","op":"ping"}"#, &mut out);
        session.on_tick(NOW + second * SECOND, &mut out);
    }
    assert!(!out.iter().any(|action| matches!(action, Action::Close(_))), "45 s since its last row");
    session.on_tick(NOW + 85 * SECOND + 1, &mut out);
    assert_eq!(out.last(), Some(&Action::Close(CloseReason::Silent { silent: 45_001 })));
}

#[test]
fn unreadable_frames_are_counted_and_each_kind_is_reported_once() {
    let (mut session, mut out) = (session(Category::Linear, 1), Vec::new());
    session.on_open(NOW, &mut out);
    out.clear();
    let long = format!("<html>\u{1b}[2J{}", "x".repeat(500));
    for text in [long.as_str(), "", r#"{"a":1}"#, r#"{"topic":"tickers.A","data":[]}"#, "<b>"] {
        session.on_frame(NOW, text, &mut out);
    }
    let kinds: Vec<&str> = notices(&out)
        .iter()
        .map(|notice| if let Notice::Unreadable { kind, .. } = notice { *kind } else { panic!("{notice:?}") })
        .collect();
    assert_eq!(kinds, ["not-json", "unrecognised", "unknown-topic"]);
    let Notice::Unreadable { head, .. } = notices(&out)[0] else { panic!() };
    assert!(head.chars().count() == 120 && head.starts_with("<html>[2Jxx"), "{head}");
    let counters = session.counters();
    assert_eq!((counters.unreadable, counters.unknown_topics, counters.frames), (4, 1, 5));
}

#[test]
fn a_damaged_trade_frame_makes_a_hole_only_for_its_symbol() {
    let (mut session, mut out) = (session(Category::Linear, 2), Vec::new());
    session.on_open(NOW, &mut out);
    let damaged = trade("AUSDT").replace("\"Buy\"", "\"None\"");
    session.on_frame(NOW + 5, &damaged, &mut out);
    assert!(events(&out).is_empty(), "not covered yet, so there is no hole");
    session.on_frame(NOW + 10, &accepted(1), &mut out);
    out.clear();
    session.on_frame(NOW + 20, &damaged, &mut out);
    let symbols = vec![SymbolId(0)];
    let hole = FeedEvent::Hole { symbols, last_seen: NOW + 19, until: Some(NOW + 21) };
    let matched = ExchangeMillis::new(NOW.get());
    let row = FeedEvent::Missed { symbol: SymbolId(0), from: matched, to: matched };
    assert_eq!(events(&out), [&hole, &row], "the time of the frame, and the time in its row");
    out.clear();
    session.on_frame(NOW + 20, &trade("AUSDT").replace(r#""p":""#, r#""p":"x"#), &mut out);
    assert_eq!(events(&out), [&row], "an invalid row with a plausible time");
    out.clear();
    session.on_frame(NOW + 20, &trade("AUSDT").replace(r#"{"T":17"#, r#"{"T":18"#), &mut out);
    assert_eq!(events(&out), [&hole], "a row without a plausible time counts like an unreadable frame");
    assert_eq!(out.len(), 1, "in the same message as the other events, before them");
    assert_eq!(session.counters().rejected, 2);
}
