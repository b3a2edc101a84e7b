//! Tests of what happens to klines after each kind of response.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use klines_guest::{Kline, testing};
use serde_json::Value;

use super::*;

/// The headers and the body of a request.
type Received = (Vec<(String, String)>, String);

#[derive(Default)]
struct Server {
    answers: VecDeque<Result<u16, PostError>>,
    received: Vec<Received>,
}

struct FakePost(Rc<RefCell<Server>>);

impl Post for FakePost {
    fn post(&mut self, _: &Target, headers: &[(&str, &str)], body: &[u8], _: Duration) -> Result<Answer, PostError> {
        let mut server = self.0.borrow_mut();
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        server.received.push((headers, String::from_utf8(body.to_vec()).unwrap()));
        let answer = server.answers.pop_front().unwrap_or(Ok(200));
        answer.map(|status| Answer { status, location: Some("https://elsewhere.example/".into()) })
    }
}

fn settings(more: &str) -> Settings {
    serde_json::from_str(&format!(r#"{{"url":"https://hooks.example.com/k"{more}}}"#)).unwrap()
}

fn webhook(more: &str, answers: &[Result<u16, PostError>]) -> (Webhook, Rc<RefCell<Server>>) {
    let server = Rc::new(RefCell::new(Server { answers: answers.iter().cloned().collect(), received: Vec::new() }));
    (Webhook::new(settings(more), Box::new(FakePost(server.clone()))).unwrap(), server)
}

fn klines(from: u64, count: u64) -> Vec<Kline> {
    (from..from + count).map(|minute| testing::kline("BTCUSDT", "1m", minute * 60_000)).collect()
}

fn batch(from: u64, count: u64) -> Batch {
    Batch { klines: klines(from, count), lost: 0 }
}

fn starts(server: &Rc<RefCell<Server>>) -> Vec<Vec<u64>> {
    let server = server.borrow();
    let bodies = server.received.iter().map(|(_, body)| serde_json::from_str::<Value>(body).unwrap());
    bodies
        .map(|body| {
            body["klines"].as_array().unwrap().iter().map(|row| row["start"].as_u64().unwrap() / 60_000).collect()
        })
        .collect()
}

#[test]
fn the_body_and_its_key_are_stable() {
    let (mut webhook, server) = webhook("", &[]);
    webhook.consume(&Batch { klines: klines(1, 1), lost: 2 }).unwrap();
    let (headers, body) = server.borrow().received[0].clone();
    assert_eq!(
        body,
        concat!(
            r#"{"consumer":"webhook","klines":[{"category":"linear","symbol":"BTCUSDT","interval":"1m","start":60000,"#,
            r#""end":119999,"open":"1","high":"1","low":"1","close":"1","volume":"1","turnover":"1","buy_volume":"1","#,
            r#""buy_turnover":"1","price_decimals":2,"volume_decimals":3,"trades":1,"last_trade_time":60000,"#,
            r#""confirm":true,"revision":0,"quality":"complete","sequence":1,"emitted":120080}],"lost":2}"#
        )
    );
    let expected =
        [("content-type", "application/json"), ("idempotency-key", "linear:BTCUSDT:1m:60000:0"), ("klines-lost", "2")];
    assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn klines_that_the_server_cannot_take_now_are_sent_again_with_the_same_key() {
    let down = Err(PostError::Unreachable("refused".into()));
    let (mut webhook, server) = webhook("", &[down, Ok(503), Ok(408), Ok(429), Ok(404), Ok(401), Ok(302)]);
    for _ in 0..7 {
        assert!(matches!(webhook.consume(&batch(0, 3)), Err(Failure::Retry(_))));
    }
    webhook.consume(&batch(0, 3)).unwrap();
    let keys: Vec<String> = server.borrow().received.iter().map(|(headers, _)| headers[1].1.clone()).collect();
    assert_eq!(keys.len(), 8);
    assert!(keys[0].starts_with("3-") && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[test]
fn a_part_that_was_taken_is_not_sent_again() {
    let (mut webhook, server) = webhook(r#","batch":2"#, &[Ok(200), Ok(500)]);
    assert!(webhook.consume(&batch(0, 5)).is_err());
    webhook.consume(&batch(0, 5)).unwrap();
    assert_eq!(starts(&server), [vec![0, 1], vec![2, 3], vec![2, 3], vec![4]]);
}

#[test]
fn klines_that_the_server_rejects_are_logged_and_counted_as_lost() {
    let (mut webhook, server) = webhook("", &[Ok(422)]);
    webhook.consume(&batch(0, 3)).unwrap();
    assert!(testing::take_logs()[0].1.contains("3 klines from linear:BTCUSDT:1m:0:0 on are dropped"));
    webhook.consume(&batch(3, 1)).unwrap();
    webhook.consume(&batch(4, 1)).unwrap();
    let lost: Vec<String> = server.borrow().received.iter().map(|(headers, _)| headers[2].1.clone()).collect();
    assert_eq!(lost, ["0", "3", "0"]);
}

#[test]
fn a_request_with_too_many_klines_is_halved() {
    let (mut webhook, server) = webhook("", &[Ok(413), Ok(413)]);
    webhook.consume(&batch(0, 4)).unwrap();
    assert_eq!(starts(&server), [vec![0, 1, 2, 3], vec![0, 1], vec![0], vec![1], vec![2], vec![3]]);
}

#[test]
fn lost_klines_are_reported_until_a_request_is_accepted() {
    let (mut webhook, server) = webhook("", &[Ok(500)]);
    let gap = Batch { klines: klines(9, 1), lost: 5 };
    assert!(webhook.consume(&gap).is_err());
    webhook.consume(&gap).unwrap();
    let lost: Vec<String> = server.borrow().received.iter().map(|(headers, _)| headers[2].1.clone()).collect();
    assert_eq!(lost, ["5", "5"]);
}

#[test]
fn a_missing_grant_is_fatal_and_named() {
    let (mut webhook, _) = webhook("", &[Err(PostError::NotGranted)]);
    assert!(matches!(webhook.consume(&batch(0, 1)), Err(Failure::Fatal(text)) if text.contains("hooks.example.com")));
}

#[test]
fn lines_hold_one_kline_each() {
    let (mut webhook, server) = webhook(r#","format":"ndjson","headers":{"x-a":"b"}"#, &[]);
    webhook.consume(&batch(0, 2)).unwrap();
    let (headers, body) = server.borrow().received[0].clone();
    assert_eq!(
        (body.lines().count(), headers[0].clone(), headers[1].1.as_str()),
        (2, ("x-a".into(), "b".into()), "application/x-ndjson")
    );
}

#[test]
fn invalid_settings_are_problems() {
    assert_eq!(settings("").problems(), []);
    let wrong: Settings = serde_json::from_str(
        r#"{"url":"https://me:pw@host/","batch":0,"timeout_ms":1,"headers":{"Host":"x","a b":"c","x":"\n"}}"#,
    )
    .unwrap();
    let paths: Vec<String> = wrong.problems().into_iter().map(|problem| problem.path).collect();
    assert_eq!(paths, ["url", "batch", "timeout_ms", "headers.Host", "headers.a b", "headers.x"]);
    for (url, expected) in [
        ("http://[::1]:81?q", Some((true, "[::1]:81", "/?q"))),
        ("https://h.example", Some((false, "h.example", "/"))),
        ("ftp://h", None),
        ("https:///x", None),
        ("https://h/#a", None),
    ] {
        let target = Target::parse(url).ok();
        let target = target.as_ref().map(|target| (target.plain, target.authority.as_str(), target.path.as_str()));
        assert_eq!(target, expected, "{url}");
    }
}
