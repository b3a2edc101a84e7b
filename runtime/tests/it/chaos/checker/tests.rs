//! Proves that the checker can fail: it finds each broken promise that is planted by hand.

use super::super::client::{Entry, Positions};
use super::check;

const TOPIC: &str = "kline.1s.BTCUSDT";

fn data(seq: u64, confirm: bool) -> String {
    let start = seq * 1_000;
    format!(
        r#"{{"symbol":"BTCUSDT","interval":"1s","start":{start},"close":"{seq}.5","confirm":{confirm},"sequence":{seq}}}"#
    )
}

fn push(seq: u64, confirm: bool) -> Entry {
    let data = data(seq, confirm);
    Entry::Heard(format!(r#"{{"v":1,"type":"kline","topic":"{TOPIC}","epoch":"e1","seq":{seq},"data":{data}}}"#))
}

fn ask(id: u64, since: Option<u64>) -> Entry {
    let since = since.map(|seq| (TOPIC.to_owned(), ("e1".to_owned(), seq)));
    Entry::Asked { id, topics: vec![TOPIC.to_owned()], since: Positions::from_iter(since), history: 1 }
}

fn answer(id: u64, epoch: &str, seq: u64, recovered: &str) -> Entry {
    let topics = format!(r#"{{"{TOPIC}":{{"epoch":"{epoch}","seq":{seq}{recovered}}}}}"#);
    Entry::Heard(format!(r#"{{"v":1,"op":"subscribe","id":{id},"ok":true,"topics":{topics}}}"#))
}

fn snapshot(epoch: &str, seq: u64, recovered: &str) -> Entry {
    let (closed, open) = (data(seq, true), data(seq + 1, false));
    let head = format!(r#""type":"snapshot","topic":"{TOPIC}","epoch":"{epoch}","seq":{seq}{recovered}"#);
    Entry::Heard(format!(r#"{{"v":1,{head},"data":[{closed},{open}]}}"#))
}

/// A snapshot at 4, two klines, a reconnect with the missed klines, and then the next life of the server.
fn sound() -> Vec<Entry> {
    let (yes, no) = (r#","recovered":true"#, r#","recovered":false"#);
    vec![
        Entry::Opened { life: 1 },
        ask(1, None),
        answer(1, "e1", 4, ""),
        snapshot("e1", 4, ""),
        push(5, false),
        push(5, true),
        push(6, true),
        Entry::Opened { life: 1 },
        ask(2, Some(6)),
        answer(2, "e1", 8, yes),
        push(7, true),
        push(8, true),
        push(9, false),
        Entry::Opened { life: 2 },
        ask(3, Some(8)),
        answer(3, "e2", 2, no),
        snapshot("e2", 2, no),
    ]
}

/// Checks two clients, the second with this recording, and returns the problems.
fn problems(recording: Vec<Entry>) -> String {
    check(&[sound(), recording]).problems.join("\n")
}

#[test]
fn sound_recordings_have_no_problem() {
    let findings = check(&[sound(), sound()]);
    assert!(findings.problems.is_empty(), "{:?}", findings.problems);
    assert_eq!((findings.recovered, findings.confirmed, findings.updates, findings.snapshots), ([2, 2], 8, 4, 4));
}

#[test]
fn every_planted_fault_is_found() {
    let plant = |change: &dyn Fn(&mut Vec<Entry>)| {
        let mut recording = sound();
        change(&mut recording);
        problems(recording)
    };
    let replace = |at: usize, from: &'static str, to: &'static str| {
        plant(&move |recording| {
            let Entry::Heard(text) = &mut recording[at] else { panic!("no message at {at}") };
            assert!(text.contains(from), "{text}");
            *text = text.replace(from, to);
        })
    };
    let cases = [
        ("a hole: 6 after 4", plant(&|recording| drop(recording.remove(5)))),
        ("a hole: 8 after 6", plant(&|recording| drop(recording.remove(10)))),
        ("sent twice, or out of order: 6 after 6", plant(&|recording| recording.insert(7, push(6, true)))),
        ("sent twice, or out of order: 6 after 6", plant(&|recording| recording.insert(10, push(6, true)))),
        ("sent twice, or out of order: 7 after 8", plant(&|recording| recording.swap(10, 11))),
        ("an update with a wrong number: 5 after 5", plant(&|recording| recording.swap(4, 5))),
        ("an update with a wrong number: 9 after 6", plant(&|recording| recording.swap(10, 12))),
        ("6 differs", replace(6, "6.5", "6.50")),
        ("4 differs", replace(3, "4.5", "4.6")),
        ("a snapshot at 4 that nothing announced", plant(&|recording| recording.insert(6, snapshot("e1", 4, "")))),
        ("goes back to 4", plant(&|recording| recording.insert(7, snapshot("e1", 4, "")))),
        ("before its subscription and snapshot", plant(&|recording| drop(recording.remove(3)))),
        ("before its subscription and snapshot", plant(&|recording| recording.insert(8, push(7, true)))),
        ("recovered None for Some", replace(9, r#","recovered":true"#, "")),
        ("not recovered from (\"e1\", 6), though at 8", replace(9, "true}}", "false}}")),
        ("recovered e3 8 from", replace(9, "e1", "e3")),
        ("a snapshot at 2 that nothing announced", replace(16, "false,\"data\"", "true,\"data\"")),
        ("epoch e1 outlived the server", replace(15, "e2", "e1")),
        ("7 holds 9", replace(10, "\"sequence\":7", "\"sequence\":9")),
        ("not its kline", replace(5, "\"interval\":\"1s\"", "\"interval\":\"5s\"")),
        ("an answer without a request", replace(2, "\"id\":1", "\"id\":7")),
        ("unexpected", replace(2, "\"ok\":true", "\"ok\":false")),
    ];
    for (expected, found) in cases {
        assert!(found.contains(expected), "`{expected}` was not found, but:\n{found}");
    }
}
