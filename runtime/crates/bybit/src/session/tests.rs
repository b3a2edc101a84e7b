//! The session against scripted frames, and against a model of the exchange that refuses, falls silent and dies.

mod life;
mod model;
mod random;

use klines_domain::time::{ExchangeMillis, HOUR};

use super::*;

const NAMES: [&str; 12] = ["A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L"];
const NOW: LocalMillis = LocalMillis::new(1_700_000_000_000);

/// The first `count` of the test symbols, in a table.
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

/// A frame of one trade, as linear sends it.
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

#[test]
fn a_leap_of_the_clock_is_a_gap_even_if_frames_wait_behind_it() {
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
fn an_acknowledged_frame_covers_its_topics_and_no_other() {
    let (mut session, mut out) = (session(Category::Spot, 12), Vec::new());
    session.on_open(NOW, &mut out);
    assert_eq!(sent(&out).len(), 3, "spot takes ten topics a frame, and the canary has its own");
    assert!(sent(&out)[1].contains(r#""req_id":"2""#) && sent(&out)[1].contains("publicTrade.KUSDT"));
    out.clear();

    session.on_frame(NOW + 5, &accepted(2), &mut out);
    assert_eq!(events(&out), [&FeedEvent::Covered { symbols: vec![SymbolId(10), SymbolId(11)], from: NOW + 5 }]);
    assert!(notices(&out).is_empty());
    session.on_frame(NOW + 6, &accepted(1), &mut out);
    assert_eq!(notices(&out), [&Notice::Subscribed { covered: 12, refused: 0 }]);
}

#[test]
fn an_answer_to_nothing_covers_nothing() {
    let (mut session, mut out) = (session(Category::Linear, 2), Vec::new());
    session.on_open(NOW, &mut out);
    out.clear();
    session.on_frame(NOW, &accepted(9), &mut out);
    session.on_frame(NOW, r#"{"success":true,"ret_msg":"subscribe","op":"subscribe"}"#, &mut out);
    assert!(events(&out).is_empty());
    assert_eq!(notices(&out).len(), 1, "told once");
}

#[test]
fn a_named_refusal_costs_only_the_named_topic() {
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
fn a_refusal_without_a_name_is_found_one_by_one() {
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
fn a_refused_symbol_is_told_once_and_tried_again_rarely() {
    let (mut session, mut out) = (session(Category::Linear, 1), Vec::new());
    session.on_open(NOW, &mut out);
    let (mut asked, mut told, mut id, mut now) = (0, 0, 1, NOW);
    while now < NOW + 35 * MINUTE {
        for action in std::mem::take(&mut out) {
            match action {
                Action::Send(text) if text.contains("AUSDT") => {
                    asked += 1;
                    session.on_frame(now, &refused(id, "Invalid symbol :[publicTrade.AUSDT]"), &mut out);
                    id += 1;
                }
                Action::Send(_) => session.on_frame(now, r#"{"success":true,"ret_msg":"pong","op":"ping"}"#, &mut out),
                Action::Notice(Notice::Refused { .. }) => told += 1,
                _ => {}
            }
        }
        now += SECOND;
        session.on_tick(now, &mut out);
    }
    assert_eq!((asked, told), (4, 1));
}

#[test]
fn a_subscription_that_is_not_answered_ends_the_connection() {
    let (mut session, mut out) = (session(Category::Linear, 1), Vec::new());
    session.on_open(NOW, &mut out);
    session.on_tick(NOW + 10 * SECOND, &mut out);
    assert!(!out.iter().any(|action| matches!(action, Action::Close(_))));
    session.on_tick(NOW + 10 * SECOND + 1, &mut out);
    assert_eq!(out.last(), Some(&Action::Close(CloseReason::Unanswered { waited: 10 * SECOND + 1 })));
    assert!(events(&out).is_empty(), "what was never covered has no gap");
}

#[test]
fn pings_go_out_every_twenty_seconds_and_silence_of_all_kinds_is_a_gap_since_the_last_frame() {
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
    assert!(out.is_empty(), "told once");
}

#[test]
fn a_silent_canary_behind_pongs_is_a_gap_since_its_last_frame() {
    let (mut session, mut out) = (session(Category::Linear, 1), Vec::new());
    session.on_open(NOW, &mut out);
    assert_eq!(sent(&out)[1], r#"{"req_id":"canary-1","op":"subscribe","args":["publicTrade.BTCUSDT"]}"#);
    session.on_frame(NOW, &accepted(1), &mut out);
    session.on_frame(NOW, &accepted("canary-1"), &mut out);
    assert_eq!(session.totals(), (1, 0, 1), "it is none of the topics");
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
fn a_later_acknowledgement_neither_hides_the_silence_of_the_canary_nor_is_covered_by_it() {
    let (mut session, mut out) = (session(Category::Linear, 2), Vec::new());
    session.on_open(NOW, &mut out);
    session.on_frame(NOW, &accepted("canary-1"), &mut out);
    session.on_frame(NOW, &refused(1, "error:handler not found,topic:publicTrade.AUSDT"), &mut out);
    session.on_frame(NOW, &accepted(2), &mut out);
    let mut now = NOW;
    out.clear();
    // The refused topic is accepted at the second attempt, ten minutes later, and the canary falls silent before that.
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
fn what_is_read_after_a_stall_shows_nothing_of_the_time_of_the_stall() {
    let (mut session, mut out) = (session(Category::Linear, 1), Vec::new());
    let pong = r#"{"success":true,"ret_msg":"pong","op":"ping"}"#;
    session.on_open(NOW, &mut out);
    session.on_frame(NOW + 10, &accepted(1), &mut out);
    out.clear();
    // Stopped from its first second to its 25th; a pong had come before.
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
fn that_the_canary_is_not_to_be_had_is_said_once() {
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
fn a_quiet_market_is_left_in_peace_while_pongs_come() {
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
fn of_the_canary_only_the_stamp_is_of_use() {
    let (mut session, mut out) = (session(Category::Linear, 1), Vec::new());
    session.on_open(NOW, &mut out);
    session.on_frame(NOW, &accepted("canary-1"), &mut out);
    out.clear();
    session.on_frame(NOW + 9, &trade("BTCUSDT"), &mut out);
    // Rows that nobody could read are no matter, and neither is a stamp.
    let unstamped = r#"{"topic":"publicTrade.BTCUSDT","ts":"x","data":[{"p":1}]}"#;
    session.on_frame(NOW + 10, unstamped, &mut out);
    let message = |received, stamped| {
        let bare = FeedMessage::of_category(Category::Linear, received, Vec::new());
        Action::Emit(FeedMessage { connection: Some(0), stamped, ..bare })
    };
    assert_eq!(out, [message(NOW + 9, Some(ExchangeMillis::new(NOW.get()))), message(NOW + 10, None)]);
    let counters = session.counters();
    assert_eq!((counters.frames, counters.canary_frames, counters.received), (3, 2, 0), "outside the law");
}

#[test]
fn a_watched_busiest_symbol_is_its_own_canary() {
    let mut table = SymbolTable::default();
    let ids = [table.intern(&Symbol::new("BTCUSDT").unwrap())];
    let mut session = Session::new(Category::Spot, 0, Arc::new(table), &ids, Timing::default());
    let mut out = Vec::new();
    session.on_open(NOW, &mut out);
    assert_eq!(sent(&out).len(), 1);
    session.on_frame(NOW, &accepted(1), &mut out);
    session.on_frame(NOW + 20 * SECOND, r#"{"success":true,"ret_msg":"pong","op":"ping"}"#, &mut out);
    session.on_frame(NOW + 30 * SECOND, &trade("BTCUSDT"), &mut out);
    // A row that cannot be read shows as well that data flows.
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
fn frames_that_cannot_be_understood_are_counted_and_told_once_a_kind() {
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
fn a_damaged_trade_frame_marks_its_symbol_and_no_other() {
    let (mut session, mut out) = (session(Category::Linear, 2), Vec::new());
    session.on_open(NOW, &mut out);
    let damaged = trade("AUSDT").replace("\"Buy\"", "\"None\"");
    session.on_frame(NOW + 5, &damaged, &mut out);
    assert!(events(&out).is_empty(), "not covered yet: nothing to take back");
    session.on_frame(NOW + 10, &accepted(1), &mut out);
    out.clear();
    session.on_frame(NOW + 20, &damaged, &mut out);
    let symbols = vec![SymbolId(0)];
    let hole = FeedEvent::Hole { symbols, last_seen: NOW + 19, until: Some(NOW + 21) };
    let matched = ExchangeMillis::new(NOW.get());
    let row = FeedEvent::Missed { symbol: SymbolId(0), from: matched, to: matched };
    assert_eq!(events(&out), [&hole, &row], "its own moment, and what its row says");
    out.clear();
    session.on_frame(NOW + 20, &trade("AUSDT").replace(r#""p":""#, r#""p":"x"#), &mut out);
    assert_eq!(events(&out), [&row], "a row that is no trade has a time");
    out.clear();
    session.on_frame(NOW + 20, &trade("AUSDT").replace(r#"{"T":17"#, r#"{"T":18"#), &mut out);
    assert_eq!(events(&out), [&hole], "one without a time that can be is as bad as a frame");
    assert_eq!(out.len(), 1, "in the message that brings the others, before them");
    assert_eq!(session.counters().rejected, 2);
}
