//! Clients that send requests and never read: their queues are bounded in every dialect, and they are cut. Clients that
//! read, however slowly, are not.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::peer::{Peer, get};
use super::{KEY, Served, USER, closed, eventually, symbol};

const EVERYTHING: &str = r#"{"op":"subscribe","history":1000,"topics":["kline.1s.BTCUSDT","kline.1m.BTCUSDT","kline.1h.BTCUSDT","kline.1s.ETHUSDT","kline.1m.ETHUSDT","kline.1h.ETHUSDT"]}"#;
/// The least number of klines, of about 500 bytes each, in the answer to [`EVERYTHING`].
const KLINES: u32 = 6_000;

/// Returns the socket of a client that does not read any more.
fn unread(peer: &Peer) -> TcpStream {
    peer.socket.get_ref().try_clone().unwrap()
}

/// Builds a frame with `first` as its first byte, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u8::try_from(payload.len()).ok().filter(|length| *length < 126) {
        Some(length) => frame.push(0x80 | length),
        None => frame.extend([&[0x80 | 126], u16::try_from(payload.len()).unwrap().to_be_bytes().as_slice()].concat()),
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// Fills every series that [`EVERYTHING`] asks for.
fn fill(served: &Served) {
    for window in 1..=KLINES / 6 {
        let of = |symbol: &'static str| ["1s", "1m", "1h"].map(|interval| closed(symbol, interval, window));
        served.publish([of("BTCUSDT"), of("ETHUSDT")].concat());
    }
    for symbol in ["BTCUSDT", "ETHUSDT"] {
        served.until_it_has(symbol, KLINES as usize / 6);
    }
}

#[test]
fn a_client_that_asks_without_end_and_never_reads_is_cut_in_every_dialect() {
    let served = Served::with(|settings| {
        settings.commands = u32::MAX;
        settings.queue = 64 << 10;
    });
    fill(&served);
    let login = format!(r#"{{"user":"{USER}","key":"{KEY}"}}"#);
    let asked: [(&str, &str, u8); 8] = [
        ("/", r#"{"type":"ping"}"#, 0x81),
        ("/", &login, 0x81),
        ("/v5/public/linear", r#"{"op":"ping"}"#, 0x81),
        ("/v5/public/linear", r#"{"op":"unsubscribe","args":["kline.1.BTCUSDT"]}"#, 0x81),
        ("/v1/stream", r#"{"op":"ping"}"#, 0x81),
        ("/v1/stream", r#"{"op":"topics"}"#, 0x81),
        ("/v1/stream", EVERYTHING, 0x81),
        (
            "/v1/stream",
            "a ping of the WebSocket protocol, to be sent back: almost as long as one may be, to fill the buffers of the kernel soon",
            0x89,
        ),
    ];
    let askers = asked.map(|(path, text, first)| {
        let (stream, frame) = (unread(&served.enter_narrow(path)), frame(first, text.as_bytes()));
        let asker = stream.try_clone().unwrap();
        (stream, thread::spawn(move || while (&asker).write_all(&frame).is_ok() {}))
    });
    // The server counts the cuts: a client that reads nothing may notice its end minutes later. A client whose socket
    // has taken all answers so far and that cannot send any more is cut because it answers no ping.
    eventually("the cuts", || served.parted("slow") + served.parted("no pong") == asked.len() as u64);
    assert!(served.parted("slow") > 0);
    for (stream, asker) in askers {
        // The socket may be closed already.
        let _ = stream.shutdown(Shutdown::Both);
        asker.join().unwrap();
    }
    served.enter("/v1/stream");
}

#[test]
fn a_client_whose_socket_is_full_is_cut_though_it_goes_on_asking() {
    let served = Served::start();
    fill(&served);
    let mut stream = unread(&served.enter("/v1/stream"));
    stream.write_all(&frame(0x81, EVERYTHING.as_bytes())).unwrap();
    // An answer of some 40 bytes a second would take the queue hours to fill.
    eventually("the cut", || {
        thread::park_timeout(Duration::from_millis(500));
        let _ = stream.write_all(&frame(0x81, br#"{"op":"ping"}"#));
        served.parted("slow") == 1
    });
}

#[test]
fn klines_that_a_client_loses_because_it_does_not_read_are_counted_with_the_reason() {
    for (path, request) in [
        ("/", None),
        ("/v5/public/linear", Some(r#"{"op":"subscribe","args":["kline.1.BTCUSDT"]}"#)),
        ("/v1/stream", Some(r#"{"op":"subscribe","topics":["kline.1m.BTCUSDT"]}"#)),
    ] {
        let served = Served::with(|settings| settings.queue = 8 << 10);
        let mut peer = served.enter_narrow(path);
        match request {
            Some(request) => drop(peer.ask(request)),
            None => assert_eq!(peer.text(), r#"{"status":"authenticated"}"#),
        }
        // The socket and a queue of 8 KiB cannot hold 20,000 klines.
        for window in 1..=20_000 {
            served.publish([closed("BTCUSDT", "1m", window)]);
        }
        eventually("the cut", || served.parted("slow") == 1);
        let lost = served.lost("slow");
        assert!((1..20_000).contains(&lost) && served.lost("gone") == 0, "{path}: {lost}");
    }
}

#[test]
fn a_boundary_of_many_topics_cuts_no_client_that_reads() {
    const SYMBOLS: usize = 2_000;
    let name = |number: usize| format!("S{number:04}USDT");
    let served = Served::watching(&(0..SYMBOLS).map(|number| symbol(&name(number))).collect::<Vec<_>>(), |settings| {
        settings.queue = 1 << 10;
        settings.topics = SYMBOLS;
    });
    let served = served.unwrap();
    let mut peer = served.enter("/v1/stream");
    for symbols in (0..SYMBOLS).collect::<Vec<_>>().chunks(500) {
        let topics = symbols.iter().map(|number| format!("\"kline.1m.{}\"", name(*number))).collect::<Vec<_>>();
        peer.say(&format!(r#"{{"op":"subscribe","topics":[{}]}}"#, topics.join(",")));
        // The answer comes after snapshots of earlier topics.
        while peer.json()["op"] != "subscribe" {}
    }
    let mut pushed = 0;
    let mut next = || {
        let push = peer.json();
        pushed += usize::from(push["data"]["confirm"] == true);
        pushed
    };
    for window in 1..=3 {
        served.publish((0..SYMBOLS).map(|number| closed(&name(number), "1m", window)));
        while next() < SYMBOLS * window as usize {}
    }
    assert_eq!(served.parted("slow"), 0);
}

#[test]
fn a_client_that_reads_slowly_is_not_cut_and_misses_no_kline() {
    let served = Served::start();
    fill(&served);
    let mut peer = served.enter("/v1/stream");
    let epoch =
        peer.ask(r#"{"op":"subscribe","topics":["kline.1m.BTCUSDT"]}"#)["topics"]["kline.1m.BTCUSDT"]["epoch"].clone();
    let mut peer = served.enter("/v1/stream");
    let mut request: Value = serde_json::from_str(EVERYTHING).unwrap();
    let topics = request["topics"].as_array().unwrap().clone();
    request["since"] =
        topics.iter().map(|topic| (topic.as_str().unwrap().to_owned(), json!({"epoch":epoch,"seq":0}))).collect();
    let answer = peer.ask(&request.to_string());
    assert!(topics.iter().all(|topic| answer["topics"][topic.as_str().unwrap()]["recovered"] == true), "{answer}");
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for number in 0..KLINES {
        if number < KLINES / 2 {
            // 15 s in all, one and a half times as long as a socket may accept no bytes.
            thread::park_timeout(Duration::from_millis(5));
        }
        let push = peer.json();
        let before = seen.insert(push["topic"].as_str().unwrap().to_owned(), push["seq"].as_u64().unwrap());
        assert_eq!(push["seq"], before.unwrap_or_default() + 1, "{push}");
    }
    assert_eq!((seen.len(), served.parted("slow")), (6, 0));
}

/// Returns the resident memory of this process in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}

/// Runs a test in its own process, so that only its memory is measured.
fn alone(name: &str, test: fn()) {
    const ALONE: &str = "KLINES_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return test();
    }
    let itself = std::env::current_exe().unwrap();
    let run = Command::new(itself).args(["--exact", name, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn a_hundred_clients_that_never_read_cost_only_their_queues() {
    alone("websocket::greedy::a_hundred_clients_that_never_read_cost_only_their_queues", || {
        const CLIENTS: usize = 100;
        let served = Served::start();
        fill(&served);
        let before = resident();
        let mut streams: Vec<TcpStream> = (0..CLIENTS).map(|_| unread(&served.enter("/v1/stream"))).collect();
        let mut most = 0;
        // Ten requests each, as many as are allowed at once; each answer has 3 MB.
        for _ in 0..10 {
            for stream in &mut streams {
                // A connection that has been cut cannot be written to.
                let _ = stream.write_all(&frame(0x81, EVERYTHING.as_bytes()));
            }
            thread::park_timeout(Duration::from_millis(200));
            most = most.max(resident());
        }
        eventually("all cuts", || {
            most = most.max(resident());
            served.parted("slow") == CLIENTS as u64
        });
        let each = (most - before) / CLIENTS as u64;
        println!("{each} bytes a client");
        // The queue, and one snapshot in flight to the socket: 1,000 klines of less than 640 bytes each.
        assert!(each < (1 << 20) + 640_000, "{each} bytes a client");
    });
}

#[test]
fn topics_without_subscribers_cost_no_memory() {
    alone("websocket::greedy::topics_without_subscribers_cost_no_memory", || {
        let served = Served::start();
        let mut peer = served.enter("/v5/public/linear");
        let mut unsubscribe = |round: usize| {
            let names: Vec<String> = (0..2_000).map(|number| format!("\"kline.1.X{round}Y{number}\"")).collect();
            let answer = peer.ask(&format!(r#"{{"op":"unsubscribe","args":[{}]}}"#, names.join(",")));
            assert_eq!(answer["success"], true);
        };
        (0..10).for_each(&mut unsubscribe);
        let before = resident();
        (10..110).for_each(&mut unsubscribe);
        // A series takes more than 100 bytes: the 200,000 named ones would take 20 MB.
        let grown = resident().saturating_sub(before);
        assert!(grown < 5_000_000, "{grown} bytes");
    });
}

#[test]
fn an_http_connection_that_asks_and_never_reads_ends() {
    let served = Served::with(|settings| settings.connections_per_address = 1);
    let request = format!(
        "GET /v5/market/kline?category=linear&symbol=BTCUSDT&interval=1&limit=1000 HTTP/1.1\r\nHost: {}\r\n\
         Authorization: Bearer {KEY}\r\n\r\n",
        served.address
    );
    for window in 1..=KLINES / 6 {
        served.publish([closed("BTCUSDT", "1m", window)]);
    }
    served.until_it_has("BTCUSDT", KLINES as usize / 6);
    eventually("room for a connection", || get(served.address, "/v5/market/time", "").0 == 200);
    let mut stream = TcpStream::connect(served.address).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    // Until the server stops reading, because its answers are not read.
    let refused = (0..100_000).find_map(|_| stream.write_all(request.as_bytes()).err()).unwrap();
    assert!(matches!(
        refused.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    ));
    eventually("room for a connection again", || get(served.address, "/v5/market/time", "").0 == 200);
}
