//! Resources that the real binary uses under attack: memory, descriptors, threads and CPU time have a budget each,
//! derived from the limits.

// Lets clippy treat the helpers here as test code too.
#![cfg(all(test, target_os = "linux"))]

use std::io::Write;
use std::thread;
use std::time::Duration;

use bybit_sim::Sim;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::hostile_suite::GUESTS;
use crate::live::{JSON, demo, pass, run_at};
use crate::support::meter::{Meter, Usage};
use crate::support::program::{Running, Said, component, folder, klines};
use crate::support::received::complete;
use crate::support::stream::Stream;
use crate::websocket::peer::Peer;

/// Clients from one address: fewer than the 100 that the configuration allows.
const CLIENTS: u64 = 80;
/// The memory that a client may use, in KiB: its socket's structures, its task, a reader of 4 KiB, and its outbox with
/// a few klines.
const CLIENT: u64 = 48;
/// The memory by which the program itself may grow in some seconds, in KiB: klines that it keeps, and rounding by the
/// allocator.
const GROWTH: u64 = 8 << 10;

/// The memory that a hostile guest may use, in KiB: its own memory of 16 MiB, 8 MiB that the host may copy for one of
/// its calls, and its state of 4 MiB, once while it changes and once while it is written to the disk.
const GUEST: u64 = (16 + 8 + 2 * 4) << 10;
/// How many programs run at once: all except the floods wait for the market most of the time.
const AT_ONCE: usize = 7;

/// Waits until the process has no more than this number of descriptors.
fn wait_for_descriptors(run: &Running, meter: &Meter, descriptors: u64) {
    run.until("the descriptors to be closed", |_| meter.now().descriptors <= descriptors);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_client_uses_one_descriptor_which_is_closed_with_it() {
    // A request to the market endpoints has a connection of its own: repairs send some at any time.
    let toml = format!("[klines]\nrepair = \"0s\"\n[websocket]\nhost = \"127.0.0.1\"\nport = 0\nauth = false\n{JSON}");
    let (sim, home) = (demo(101).await, folder(&[("klines.toml", &toml)]));
    let run = run_at(&home, &sim, "BTCUSDT,ETHUSDT,SOLUSDT", "1s").with("ENABLED_CONSUMERS", "console,websocket");
    let run = run.with("WSS_AUTH_USER", "me").with("WSS_AUTH_KEY", "nOt4-kEy_tHat-aNyone.gu3sses-9f").start();
    run.until("the server", |said| !said.logged("serving klines").is_empty());
    run.until("klines", |said| complete(&said.out, "BTCUSDT", "1s") >= 2);
    let address = run.said().logged("serving klines")[0]["address"].as_str().unwrap().parse().unwrap();
    let meter = run.meter();
    let before = meter.now();
    let mut clients: Vec<Peer> = (0..CLIENTS).map(|_| Peer::connect(address, "/v1/stream", &[]).unwrap()).collect();
    for client in &mut clients {
        client.ask(r#"{"op":"subscribe","topics":["kline.1s.BTCUSDT","kline.1s.ETHUSDT"]}"#);
    }
    let (begun, busy) = (sim.now_ms(), meter.now());
    pass(&sim, 4_000).await;
    let with = meter.now();
    let elapsed = Duration::from_millis(u64::try_from(sim.now_ms() - begun).unwrap());
    assert_eq!(with.descriptors, before.descriptors + CLIENTS, "{before:?} {with:?}");
    assert_eq!(with.threads, before.threads, "no client has a thread");
    assert!(with.memory <= before.memory + CLIENTS * CLIENT + GROWTH, "{before:?} {with:?}");
    // About 25 frames and 500 pushes a second, in a binary that is not optimised.
    assert!(with.cpu - busy.cpu < elapsed / 2, "{:?} of {elapsed:?}", with.cpu - busy.cpu);
    drop(clients);
    wait_for_descriptors(&run, &meter, before.descriptors);
    run.stop().success();
}

/// Closed klines of three symbols at 100ms and 1s in about 2 s.
const KLINES: usize = 60;

/// Returns the peak usage of a run of some seconds with the console and a hostile consumer in this mode.
fn usage_with(sim: &Sim, mode: &str, more: &str) -> Usage {
    let path = component("hostile");
    let toml = format!(
        "enabled_consumers = [\"console\", \"hostile\"]\n{JSON}\n[consumers.hostile]\ncomponent = {path:?}\n\
         [consumers.hostile.limits]\nstart_up = \"300ms\"\ncall = \"300ms\"\nmemory = \"16MiB\"\nstate = \"4MiB\"\n\
         [consumers.hostile.settings]\nmode = \"{mode}\"\n{more}\n"
    );
    let home = folder(&[("klines.toml", &toml)]);
    let run = run_at(&home, sim, "BTCUSDT,ETHUSDT,SOLUSDT", "100ms,1s").start();
    let meter = run.meter();
    run.until("klines", |said| said.out.lines().count() >= KLINES);
    let said = run.stop().said;
    assert!(said.err.lines().any(|line| line.starts_with("hostile:")), "{mode}: {}", said.err);
    meter.peak()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hostile_guest_stays_within_its_budget() {
    let sim = demo(102).await;
    // A guest that does nothing harmful.
    let base = usage_with(&sim, "env-list", "");
    for guests in GUESTS.chunks(AT_ONCE) {
        let usages: Vec<Usage> = thread::scope(|scope| {
            let runs = guests.iter().map(|(mode, more, _)| scope.spawn(|| usage_with(&sim, mode, more)));
            runs.collect::<Vec<_>>().into_iter().map(|run| run.join().unwrap()).collect()
        });
        for ((mode, ..), usage) in guests.iter().zip(usages) {
            println!("{mode}: {usage:?}");
            assert!(usage.memory <= base.memory + GUEST + GROWTH, "{mode}: {base:?} {usage:?}");
            // A delivery that is set aside, the crash report and a connection need descriptors, and a thread or two
            // more.
            assert!(usage.descriptors <= base.descriptors + 8, "{mode}: {base:?} {usage:?}");
            assert!(usage.threads <= base.threads + 3, "{mode}: {base:?} {usage:?}");
        }
    }
}

/// Replays a file and returns the peak usage, the exit code and the output.
fn replayed(name: &str, content: impl FnOnce(&mut std::fs::File)) -> (Usage, Option<i32>, Said) {
    let home = folder(&[]);
    let mut file = std::fs::File::create(home.path().join(name)).unwrap();
    content(&mut file);
    drop(file);
    let run = klines(home.path(), &format!("replay {name} --intervals 1m,1h --format csv --output klines.csv")).start();
    let meter = run.meter();
    let ended = run.end();
    (meter.peak(), ended.code(), ended.said)
}

#[test]
fn a_long_recording_takes_no_more_memory_than_a_short_one() {
    let frames = |trades: u64| {
        move |file: &mut std::fs::File| {
            let (mut stream, mut out) = (Stream::new(20, trades), std::io::BufWriter::new(file));
            let mut frame = String::new();
            while stream.frame(&mut frame) > 0 {
                out.write_all(frame.as_bytes()).unwrap();
                frame.clear();
            }
        }
    };
    let (short, ..) = replayed("short.ndjson", frames(100_000));
    let (long, code, said) = replayed("long.ndjson", frames(600_000));
    assert_eq!(code, Some(0), "{}", said.err);
    // The long one has six times as many trades: ids are kept for the lateness of a minute, and windows until no late
    // trade can change them.
    assert!(long.memory <= short.memory + GROWTH, "{short:?} {long:?}");
    assert!(long.descriptors <= short.descriptors + 2 && long.threads <= short.threads + 2, "{short:?} {long:?}");
}

/// Writes a file with this number of rows of an archive, or of records around frames with one trade each.
fn recorded(name: &str, rows: i64) -> impl FnOnce(&mut std::fs::File) {
    const DAY: i64 = 1_704_067_200_000;
    let (is_packed, is_newest_first) = (name.ends_with("gz"), name.contains("2020"));
    let is_archive = name.contains("csv");
    let row = move |at: i64| {
        let (time, price) = (DAY + at * 100, 400_000 + at % 7);
        let id = format!("00000000-0000-4000-8000-{at:012x}");
        if is_archive {
            return format!(
                "{}.{:04},BTCUSDT,Buy,0.5,{price},PlusTick,{id},1e8,1,1\n",
                time / 1_000,
                time % 1_000 * 10
            );
        }
        let trade = format!(
            r#"{{"T":{time},"s":"AUSDT","S":"Buy","v":"1","p":"{price}","L":"PlusTick","i":"{id}","BT":false}}"#
        );
        let frame = format!(r#"{{"topic":"publicTrade.AUSDT","type":"snapshot","ts":{time},"data":[{trade}]}}"#);
        let connection = at / 1_000 % 2;
        format!(
            "{}\n",
            serde_json::json!({"t": "recv", "conn": connection.to_string(), "ts": time as f64 / 1e3, "data": frame})
        )
    };
    let head = match is_archive {
        true => "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional\n".to_owned(),
        false => [0, 1].map(|connection| format!(
            "{{\"t\":\"connect\",\"conn\":\"{connection}\",\"ts\":1.0,\"addr\":\"wss://stream.bybit.com/v5/public/linear\"}}\n"
        )).concat(),
    };
    move |file| {
        let plain = std::io::BufWriter::new(file);
        let mut out: Box<dyn Write> =
            if is_packed { Box::new(GzEncoder::new(plain, Compression::fast())) } else { Box::new(plain) };
        out.write_all(head.as_bytes()).unwrap();
        for at in 0..rows {
            out.write_all(row(if is_newest_first { rows - 1 - at } else { at }).as_bytes()).unwrap();
        }
    }
}

#[test]
fn archives_and_records_are_not_read_whole() {
    for name in [
        "BTCUSDT2024-01-01.csv",
        "BTCUSDT2024-01-01.csv.gz",
        "BTCUSDT2020-04-01.csv",
        "BTCUSDT2020-04-01.csv.gz",
        "session.jsonl",
    ] {
        let (usage, code, said) = replayed(name, recorded(name, 250_000));
        assert_eq!(code, Some(0), "{name}: {}", said.err);
        assert!(said.err.contains("250000 trades, 250000 counted"), "{name}: {}", said.err);
        // The program itself uses about 18 MiB. Read whole, these rows would be over 50 MiB more.
        assert!(usage.memory < 40 << 10, "{name}: {usage:?}");
    }
}

#[test]
fn a_file_without_a_line_feed_is_refused_before_it_fills_the_memory() {
    // A sparse file: it uses no space on the disk.
    let (usage, code, said) = replayed("endless.ndjson", |file| file.set_len(1 << 30).unwrap());
    assert_eq!(code, Some(1), "{}", said.err);
    assert!(said.err.contains("longer than 4 MiB"), "{}", said.err);
    // Twice the longest line, in a binary that itself uses 40 MiB.
    assert!(usage.memory < 64 << 10, "{usage:?}");
}
