//! Limits on the size, time and number of requests.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use klines_delivery::{CrashKind, Failure};
use klines_system::limits::Limits;
use klines_wasm::grants::Grants;
use serde_json::json;

use super::patient;
use crate::sandbox::fixtures::{blueprint, live};
use crate::sandbox::guest_log::lines;
use crate::sandbox::peer::{Peer, eventually, response};

/// Runs the hostile component in an HTTP mode. Returns its failure, if any, and its log.
fn run(
    name: &str,
    mode: &str,
    peer: &Peer,
    http: &serde_json::Value,
    limits: Limits,
) -> (Option<Failure>, Vec<String>) {
    let settings = json!({ "mode": mode, "http": http }).to_string();
    let egress = peer.egress(http["method"].as_str().unwrap_or("GET"));
    let grants = Grants { http: egress, ..Grants::default() };
    let ended = live(&mut blueprint("hostile", name, &settings, limits, grants), 1).err();
    (ended, lines(name))
}

#[test]
fn a_request_that_is_too_large_is_cut() {
    let peer = Peer::answering(200, "taken");
    let limits = Limits { http_body: 100_000, ..patient() };
    let at = |name: &str, body: usize, headers: serde_json::Value| {
        let http = json!({ "url": peer.url("/"), "method": "POST", "body": body, "headers": headers });
        let (ended, found) = run(name, "http", &peer, &http, limits.clone());
        assert!(ended.is_none(), "{ended:?}");
        found.last().unwrap().clone()
    };
    assert_eq!(at("large-fits", 100_000, json!({})), "status 200, 5 bytes: taken");
    assert!(at("large", 1_000_000, json!({})).contains("error HttpRequestBodySize"));
    assert!(at("large-said", 1_000_000, json!({ "content-length": "1000000" })).contains("error HttpRequestBodySize"));
    assert_eq!(peer.seen().len(), 1);
}

#[test]
fn a_response_that_is_too_large_is_cut() {
    let peer = Peer::start(|seen, stream| match seen.line.as_str() {
        "GET /said HTTP/1.1" => stream.write_all(&response(200, "", &[b'x'; 200_000])),
        "GET /headers HTTP/1.1" => stream.write_all(&response(200, &format!("x: {}\r\n", "x".repeat(100_000)), b"")),
        _ => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
            stream.write_all(&[b'x'; 200_000])
        }
    });
    let limits = Limits { http_body: 100_000, ..patient() };
    for (name, path, expected) in [
        ("wide-said", "/said", "error HttpResponseBodySize"),
        ("wide", "/unsaid", "then HTTP response body size exceeds limit: 100000 bytes"),
        ("wide-headers", "/headers", "error HttpResponseHeaderSectionSize"),
    ] {
        let (ended, found) = run(name, "http", &peer, &json!({ "url": peer.url(path) }), limits.clone());
        assert!(ended.is_none() && found.last().unwrap().contains(expected), "{name}: {ended:?} {found:?}");
    }
}

/// Answers one byte at a time, for ever.
fn drip(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
    loop {
        stream.write_all(b"x")?;
        thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn a_slow_answer_ends_at_the_limit_of_the_call() {
    let dripping = Peer::start(|_, stream| drip(stream));
    let silent = Peer::start(|_, stream| stream.read(&mut [0]).map(drop));
    let limits = Limits { call: Duration::from_millis(500), ..patient() };
    for (name, peer) in [("dripped", &dripping), ("stonewalled", &silent)] {
        match run(name, "http", peer, &json!({ "url": peer.url("/") }), limits.clone()) {
            (Some(Failure::Crashed { kind: CrashKind::Timeout, .. }), _) => {}
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_slow_answer_ends_at_the_limit_of_the_request() {
    let dripping = Peer::start(|_, stream| drip(stream));
    let silent = Peer::start(|_, stream| stream.read(&mut [0]).map(drop));
    let limits = Limits { http_time: Duration::from_millis(500), ..patient() };
    for (name, peer) in [("dripped-request", &dripping), ("stonewalled-request", &silent)] {
        let (ended, found) = run(name, "http", peer, &json!({ "url": peer.url("/") }), limits.clone());
        assert!(ended.is_none(), "{ended:?}");
        // Before the head of the answer the timeout is an error code, after it the end of the body stream.
        let last = found.last().unwrap();
        assert!(
            last.contains("error HttpResponseTimeout") || last.contains("then HTTP response timeout"),
            "{name}: {last}"
        );
    }
}

#[test]
fn requests_at_the_same_time_are_limited() {
    let (arrived, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(5)));
    let (count, waiting) = (arrived.clone(), gate.clone());
    let peer = Peer::start(move |_, stream| {
        count.fetch_add(1, Ordering::Relaxed);
        waiting.wait();
        stream.write_all(&response(200, "", b""))
    });
    let limits = Limits { http_requests: 4, ..patient() };
    let http = json!({ "url": peer.url("/"), "count": 10 });
    // This test is the fifth at the barrier: no answer is sent before all requests have been made.
    let opener = thread::spawn(move || {
        eventually("four requests", || arrived.load(Ordering::Relaxed) == 4);
        gate.wait();
    });
    let (ended, found) = run("crowd", "http-flood", &peer, &http, limits);
    opener.join().unwrap();
    assert!(ended.is_none(), "{ended:?}");
    let count = |line: &str| found.iter().filter(|found| *found == line).count();
    assert_eq!((count("status 200"), count("error ConnectionLimitReached")), (4, 6), "{found:?}");
}

#[test]
fn a_request_ends_with_its_instance() {
    let gone = Arc::new(AtomicUsize::new(0));
    let count = gone.clone();
    let peer = Peer::start(move |_, stream| {
        // No more bytes come: the read ends when the other side closes the connection.
        let end = stream.read(&mut [0]);
        count.fetch_add(1, Ordering::Relaxed);
        end.map(drop)
    });
    let settings = json!({ "mode": "http-abandon", "http": { "url": peer.url("/") } }).to_string();
    let grants = Grants { http: peer.egress("GET"), ..Grants::default() };
    let consumer = live(&mut blueprint("hostile", "abandoner", &settings, patient(), grants), 1).unwrap();
    eventually("the request", || peer.seen().len() == 1);
    assert_eq!(gone.load(Ordering::Relaxed), 0);
    drop(consumer);
    eventually("the end of the connection", || gone.load(Ordering::Relaxed) == 1);
}
