//! Clients that misbehave, on purpose or not: each is handled as documented, and the others are not affected.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use klines_domain::kline::Kline;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::peer::{Peer, get, raw};
use super::{KEY, Served, closed, open};

const SUBSCRIBE: &str = r#"{"op":"subscribe","topics":["kline.1m.BTCUSDT"]}"#;

#[test]
fn nothing_is_sent_before_the_log_in_which_has_a_short_timeout() {
    let served = Served::start();
    for path in ["/v1/stream", "/v5/public/linear"] {
        let mut silent = served.connect(path);
        assert_eq!(silent.end(), (vec![], Some(3500)), "{path}");
        let mut eager = served.connect(path);
        eager.say(SUBSCRIBE);
        assert_eq!(eager.end(), (vec![], Some(3501)), "{path}");
    }
}

#[test]
fn a_client_that_does_not_read_is_cut_and_the_others_miss_nothing() {
    let served = Served::with(|settings| settings.queue = 64 << 10);
    let (mut slow, mut quick) = (served.enter("/v1/stream"), served.enter("/v1/stream"));
    for peer in [&mut slow, &mut quick] {
        peer.ask(SUBSCRIBE);
        peer.json();
    }
    // More than the queue and the kernel's buffers on both sides hold.
    const KLINES: u32 = 40_000;
    for window in 1..=KLINES {
        served.publish([closed("BTCUSDT", "1m", window)]);
        assert_eq!(quick.json()["seq"], window);
    }
    super::eventually("the cut", || served.parted("slow") == 1);
    let (texts, code) = slow.end();
    assert!(code.is_none() || code == Some(3001), "{code:?}");
    assert!(texts.len() < KLINES as usize, "{}", texts.len());
    for (text, seq) in texts.iter().zip(1..) {
        assert!(text.contains(&format!(r#""seq":{seq},"#)), "the received klines have no hole: {text}");
    }
}

#[test]
fn updates_for_a_slow_client_are_conflated() {
    const QUEUE: usize = 64 << 10;
    let served = Served::with(|settings| settings.queue = QUEUE);
    let (mut slow, mut quick) = (served.enter("/v1/stream"), served.enter("/v1/stream"));
    for peer in [&mut slow, &mut quick] {
        peer.ask(SUBSCRIBE);
        peer.json();
    }
    // About 600 bytes each: many times what the queue and the kernel's buffers on both sides hold.
    const UPDATES: u64 = 4_000;
    for trades in 1..=UPDATES {
        served.publish([Kline { trades, ..open("BTCUSDT", "1m", 1) }]);
        assert_eq!(quick.json()["data"]["trades"], trades, "a client that reads gets every update");
    }
    served.publish([closed("BTCUSDT", "1m", 1)]);
    let (mut updates, mut newest) = (0, 0);
    let mut last = slow.json();
    while last["data"]["confirm"] == false {
        (updates, newest) = (updates + 1, last["data"]["trades"].as_u64().unwrap());
        last = slow.json();
    }
    assert_eq!((last["seq"].as_u64(), newest, served.parted("slow")), (Some(1), UPDATES, 0));
    assert!(updates < UPDATES, "all {updates} updates were queued");
}

/// Sends without end and without reading, until the server closes the connection.
fn flood(mut stream: TcpStream, bytes: &[u8]) {
    stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    let burst = bytes.repeat(500);
    while stream.write_all(&burst).is_ok() {}
}

#[test]
fn a_flood_of_control_frames_blocks_no_other_client() {
    let served = Served::start();
    let mut follower = served.enter("/v1/stream");
    follower.ask(SUBSCRIBE);
    follower.json();
    let floods = [
        ("pings unread, before the log-in", "/", b"\x89\x80\0\0\0\0".as_slice()),
        ("pongs", "/v5/public/linear", b"\x8a\x80\0\0\0\0"),
        ("empty fragments", "/v1/stream", b"\x01\x80\0\0\0\0\x00\x80\0\0\0\0"),
    ];
    let flooders = floods.map(|(_, path, bytes)| {
        let mut stream = served.connect(path).socket.get_ref().try_clone().unwrap();
        stream.write_all(bytes).unwrap();
        std::thread::spawn(move || flood(stream, bytes))
    });
    for window in 1..=2_000 {
        served.publish([closed("BTCUSDT", "1m", window)]);
        assert_eq!(follower.json()["seq"], window);
    }
    for (flooder, (what, ..)) in flooders.into_iter().zip(floods) {
        flooder.join().unwrap_or_else(|_| panic!("{what}"));
    }
    served.enter("/v1/stream");
}

#[test]
fn a_client_that_disconnects_with_much_unread_is_removed() {
    let served = Served::with(|settings| settings.connections_per_address = 2);
    let mut half = served.enter("/v1/stream");
    half.ask(SUBSCRIBE);
    half.json();
    (1..=4_000).for_each(|window| served.publish([closed("BTCUSDT", "1m", window)]));
    half.socket.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    super::eventually("room for two connections", || {
        let second = Peer::connect(served.address, "/v1/stream", &[]);
        second.is_ok() && Peer::connect(served.address, "/v1/stream", &[]).is_ok()
    });
}

#[test]
fn an_answer_longer_than_the_queue_is_bounded_and_does_not_cut_the_client() {
    let served = Served::with(|settings| settings.queue = 64 << 10);
    let mut peer = served.enter("/v1/stream");
    peer.ask(SUBSCRIBE);
    let epoch = peer.json()["epoch"].as_str().unwrap().to_owned();
    for window in 1..=1_100 {
        served.publish([closed("BTCUSDT", "1m", window)]);
        peer.json();
    }
    let resume = |seq: u32| {
        let topics = vec![r#""kline.1m.BTCUSDT""#; 500].join(",");
        format!(
            r#"{{"op":"subscribe","topics":[{topics}],"since":{{"kline.1m.BTCUSDT":{{"epoch":"{epoch}","seq":{seq}}}}}}}"#
        )
    };
    let mut back = served.enter("/v1/stream");
    assert_eq!(back.ask(&resume(400))["topics"]["kline.1m.BTCUSDT"]["recovered"], true);
    for seq in 401..=1_100 {
        assert_eq!(back.json()["seq"], seq);
    }
    let mut late = served.enter("/v1/stream");
    assert_eq!(
        late.ask(&resume(100))["topics"]["kline.1m.BTCUSDT"]["recovered"],
        false,
        "1,000 klines are too many here"
    );
    assert_eq!(late.json()["type"], "snapshot");
}

#[test]
fn limits_apply_and_the_answers_name_them() {
    let served = Served::with(|settings| settings.topics = 1);
    let mut peer = served.enter("/v1/stream");
    let answer = peer.ask(r#"{"op":"subscribe","topics":["kline.1m.BTCUSDT","kline.1s.BTCUSDT"]}"#);
    assert_eq!(answer["error"], "too many topics: at most 1 a connection");
    peer.say(&format!("{{\"op\":\"ping\",\"id\":\"{}\"}}", "x".repeat(70_000)));
    assert_eq!(peer.end().1, Some(1009));
    let mut peer = served.enter("/v1/stream");
    (0..500).for_each(|_| peer.socket.write(Message::text(r#"{"op":"ping"}"#)).unwrap());
    let _ = peer.socket.flush();
    let (answers, code) = peer.end();
    assert!((200..500).contains(&answers.len()), "{}", answers.len());
    assert_eq!(code, Some(3502));
    let mut peer = served.enter("/v1/stream");
    peer.socket.send(Message::binary(vec![1, 2, 3])).unwrap();
    assert_eq!(peer.end().1, Some(3503));
}

#[test]
fn broken_frames_end_with_the_protocol_s_own_codes() {
    let served = Served::start();
    let text = || OpCode::Data(Data::Text);
    let frames: [(&str, Vec<u8>, u16); 5] = [
        ("unmasked", b"\x81\x02{}".to_vec(), 1002),
        ("reserved bit", b"\xf1\x80\x00\x00\x00\x00".to_vec(), 1002),
        ("fragmented ping", b"\x09\x80\x00\x00\x00\x00".to_vec(), 1002),
        ("not UTF-8", b"\x81\x81\x00\x00\x00\x00\xff".to_vec(), 1007),
        ("huge", b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00".to_vec(), 1009),
    ];
    for (what, bytes, expected) in frames {
        let mut peer = served.enter("/v1/stream");
        peer.socket.get_mut().write_all(&bytes).unwrap();
        assert_eq!(peer.end().1, Some(expected), "{what}");
    }
    let mut peer = served.enter("/v1/stream");
    for (part, is_final) in [(r#"{"op""#, false), (r#":"ping"}"#, true)] {
        let opcode = if is_final { OpCode::Data(Data::Continue) } else { text() };
        peer.socket.send(Message::Frame(Frame::message(part.as_bytes().to_vec(), opcode, is_final))).unwrap();
    }
    assert_eq!(peer.json()["op"], "pong", "fragments are one message");
    peer.socket.send(Message::Ping(b"hi".as_slice().into())).unwrap();
    assert_eq!(peer.socket.read().unwrap(), Message::Pong(b"hi".as_slice().into()));
}

#[test]
fn handshakes_must_follow_the_protocol() {
    let served = Served::start();
    let ask = |headers: &str| get(served.address, "/v1/stream", &format!("{headers}Authorization: Bearer {KEY}\r\n")).0;
    assert_eq!(ask(""), 426);
    assert_eq!(ask("Upgrade: websocket\r\n"), 426);
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "a".repeat(100_000));
    assert!(raw(served.address, long.as_bytes()).starts_with("HTTP/1.1 431"));
    let many: String = (0..200).map(|number| format!("X-{number}: 1\r\n")).collect();
    assert!(
        raw(served.address, format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n").as_bytes()).starts_with("HTTP/1.1 431")
    );
    assert!(raw(served.address, b"\x16\x03\x01nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
    let mut slow = TcpStream::connect(served.address).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    slow.write_all(b"GET / HT").unwrap();
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).unwrap();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn pages_of_other_origins_are_refused() {
    let served = Served::with(|settings| settings.origins = vec!["https://good.example".to_owned()]);
    let own = format!("http://{}", served.address);
    let bearer = format!("Bearer {KEY}");
    for (origin, expected) in [
        ("https://evil.example", Some(403)),
        ("null", Some(403)),
        ("https://good.example", None),
        (own.as_str(), None),
        (own.replace("http:", "https:").as_str(), Some(403)),
    ] {
        let headers = [("Origin", origin), ("Authorization", bearer.as_str())];
        assert_eq!(Peer::connect(served.address, "/v1/stream", &headers).err(), expected, "{origin}");
    }
}

#[test]
fn without_authentication_a_page_whose_name_resolves_to_this_address_is_refused() {
    let served = Served::with(|settings| {
        settings.auth = false;
        settings.origins = vec!["https://dash.example".to_owned()];
        settings.advertised = Some("wss://klines.example/v1/stream".to_owned());
    });
    let port = served.address.port();
    let (bearer, market) = (format!("Bearer {KEY}"), "/v5/market/kline?category=linear&symbol=BTCUSDT&interval=1");
    let page = |host: &str, more: &[(&str, &str)]| {
        let (host, origin) = (format!("{host}:{port}"), format!("http://{host}:{port}"));
        let headers = [&[("Host", host.as_str()), ("Origin", origin.as_str())], more].concat();
        ["/v1/stream", "/v5/public/linear"].map(|path| Peer::connect(served.address, path, &headers).err())
    };
    let get_as = |host: &str, target: &str, more: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n{more}\r\n");
        raw(served.address, request.as_bytes()).split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    for own in ["127.0.0.1", "[::1]", "192.0.2.7", "localhost", "LocalHost.", "klines.example", "dash.example"] {
        assert_eq!(page(own, &[]), [None; 2], "{own}");
        assert_eq!([get_as(own, market, ""), get_as(own, "/", "")], [200; 2], "{own}");
    }
    for foreign in ["evil.example", "localhost.evil.example", "evil-localhost", "127.0.0.1.evil.example"] {
        assert_eq!(page(foreign, &[]), [Some(403); 2], "{foreign}");
        let info = "/v5/market/instruments-info?category=linear";
        assert_eq!([market, info, "/"].map(|target| get_as(foreign, target, "")), [403; 3], "{foreign}");
        assert_eq!(page(foreign, &[("Authorization", &bearer)]), [None; 2], "a client with a key is accepted");
        assert_eq!(get_as(foreign, market, &format!("Authorization: {bearer}\r\n")), 200);
        let host = format!("{foreign}:{port}");
        assert_eq!(
            Peer::connect(served.address, "/v1/stream", &[("Host", &host)]).err(),
            None,
            "a client without an origin is no browser"
        );
    }
    let guarded = Served::start();
    let asked =
        Peer::connect(guarded.address, "/v1/stream", &[("Host", "evil.example"), ("Origin", "http://evil.example")]);
    assert_eq!(asked.map(|mut peer| peer.end()).ok(), Some((vec![], Some(3500))), "without a key it gets nothing");
}

#[test]
fn connections_over_the_limit_are_turned_away() {
    let served = Served::with(|settings| settings.connections_per_address = 3);
    let mut peers: Vec<Peer> = (0..3).map(|_| served.enter("/v1/stream")).collect();
    assert!(raw(served.address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 503"));
    assert_eq!(peers[0].ask(r#"{"op":"ping"}"#)["op"], "pong");
    drop(peers);
    super::eventually("room for a connection", || Peer::connect(served.address, "/v1/stream", &[]).is_ok());
}

#[test]
fn no_more_than_512_connections_wait_for_their_log_in() {
    const WAITING: usize = 512;
    // Both ends of each connection are in this process.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let served = Served::with(|settings| settings.connections_per_address = 2 * WAITING);
    let silent: Vec<TcpStream> = (0..WAITING).map(|_| TcpStream::connect(served.address).unwrap()).collect();
    assert!(raw(served.address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 503"));
    drop(silent);
    super::eventually("room for a connection", || Peer::connect(served.address, "/v1/stream", &[]).is_ok());
}

#[test]
fn guessing_locks_out_the_guesser() {
    let served = Served::start();
    let statuses: Vec<Option<u16>> = (0..50)
        .map(|guess| {
            Peer::connect(served.address, "/v1/stream", &[("Authorization", &format!("Bearer {guess}"))]).err()
        })
        .collect();
    assert!(statuses.iter().all(|status| *status == Some(401)));
    let right = format!("Bearer {KEY}");
    assert_eq!(Peer::connect(served.address, "/v1/stream", &[("Authorization", &right)]).err(), Some(401));
}
