//! The whole program with a simulated exchange of 1,440 symbols: console, files, Redis and two components all get every
//! kline. `KLINES_SCALE_SECONDS=n` sets the length, with the intervals of a real run (`make soak-scale`).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bybit_sim::{Activity, Category, Instrument, Limits, Market, Sim, SimConfig};
use klines_delivery::queue::DEFAULT_CAPACITY;
use klines_domain::interval::Interval;
use serde::Deserialize;
use tempfile::TempDir;

use super::market::SYMBOLS;
use crate::redis::server::{Server, eventually};
use crate::support::program::{component, folder};

/// The default length in seconds: twice the least common multiple of all intervals, and some more.
const SECONDS: u64 = 28;
/// Up to 8,640 klines close every 12 s, of the symbols that have traded by then: more than two default queues hold.
const INTERVALS: &str = "1s,2s,3s,4s,6s,12s";
/// The intervals of a long run.
const LONG_INTERVALS: &str = "1s,5s,15s,30s,1m,3m,5m,15m,30m,1h,2h,4h,12h,1D";
/// The mean pause between two matches of a symbol, in ms.
const EVERY_MS: u32 = 2_000;
/// How often the memory of the process is read.
const LOOK: Duration = Duration::from_millis(200);

/// A kline as console and files write it. On Redis it has neither revision nor sequence.
#[derive(Deserialize)]
struct ConsoleLine {
    category: String,
    symbol: String,
    interval: String,
    start: i64,
    revision: u32,
    sequence: u64,
}

/// A kline as it is published on Redis.
#[derive(Deserialize)]
struct Published {
    category: String,
    symbol: String,
    interval: i64,
    timestamp: i64,
}

/// The number of received revisions, by category, symbol, interval in ms and start.
type Klines = BTreeMap<(String, String, i64, i64), u32>;

fn toml() -> String {
    let (average, example) = (component("average"), component("example"));
    format!(
        "enabled_consumers = [\"console\", \"jsonl\", \"redis\", \"average\", \"example\"]\n\
         [redis]\npartial = true\nrevisions = true\n\
         [consumers.console.settings]\nshow = \"closed\"\nformat = \"json\"\n\
         [consumers.average]\ncomponent = {average:?}\n\
         [consumers.example]\ncomponent = {example:?}\n"
    )
}

async fn exchange() -> Sim {
    let instrument = |at| Instrument::new(Category::Linear, &format!("S{at}USDT"), "1922.50", "0.01", "0.01").unwrap();
    let busy = |at| instrument(at).with_activity(Activity::Matches { every_ms: EVERY_MS });
    let mut config = SimConfig::new(Market::seeded(81, (0..SYMBOLS).map(busy).collect()));
    config.limits = Limits { tape: 100, ..Limits::default() };
    Sim::start(config).await.unwrap()
}

fn start(home: &TempDir, sim: &Sim, redis: &str, seconds: u64, intervals: &str) -> Child {
    let file = |name| Stdio::from(File::create(home.path().join(name)).unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_klines"));
    command.args(["run", "--load-all", "--intervals", intervals, "--for", &format!("{seconds}s")]);
    command.current_dir(home.path()).env_clear().env("LOG_FORMAT", "json").env("REDIS_URL", redis);
    command.env("BYBIT_WS_URL", sim.ws_url()).env("BYBIT_REST_URL", sim.rest_url());
    command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err")).spawn().unwrap()
}

/// Waits for the end. Returns the peak resident memory in KiB.
fn peak(child: &mut Child) -> u64 {
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(peak);
        thread::park_timeout(LOOK);
    }
    assert!(child.wait().unwrap().success());
    peak
}

/// Reads lines of console or files, and asserts that each series has every number once and in order.
fn read(lines: impl Iterator<Item = String>) -> Klines {
    let (mut klines, mut last) = (Klines::new(), BTreeMap::<(String, String, String), u64>::new());
    for text in lines {
        let line: ConsoleLine = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let last = last.entry((line.category.clone(), line.symbol.clone(), line.interval.clone())).or_default();
        assert_eq!(line.sequence, *last + 1, "a hole before {text}");
        *last = line.sequence;
        let length = line.interval.parse::<Interval>().unwrap().nominal_millis();
        let revisions = klines.entry((line.category, line.symbol, length, line.start)).or_default();
        assert_eq!(line.revision, *revisions, "each once and in order: {text}");
        *revisions += 1;
    }
    klines
}

fn lines(path: &Path) -> impl Iterator<Item = String> {
    BufReader::new(File::open(path).unwrap()).lines().map(Result::unwrap)
}

/// Counts the klines that are published on a channel.
fn listen(server: &Server) -> Arc<Mutex<Klines>> {
    let heard = Arc::<Mutex<Klines>>::default();
    let (mut connection, kept) = (server.connection(), heard.clone());
    thread::spawn(move || {
        let mut subscription = connection.as_pubsub();
        subscription.subscribe("klines").unwrap();
        while let Ok(message) = subscription.get_message() {
            let text: String = message.get_payload().unwrap();
            let mut kept = kept.lock().unwrap();
            for found in serde_json::from_str::<Vec<Published>>(&text).unwrap() {
                *kept.entry((found.category, found.symbol, found.interval, found.timestamp)).or_default() += 1;
            }
        }
    });
    eventually("subscribed", || format!("{:?}", server.execute("PUBSUB NUMSUB klines")).contains("int(1)"));
    heard
}

/// Returns the largest number of klines that ended at one moment.
fn largest_boundary(klines: &Klines) -> usize {
    let mut ends = BTreeMap::<i64, usize>::new();
    klines.keys().for_each(|(_, _, length, start)| *ends.entry(start + length).or_default() += 1);
    ends.into_values().max().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_between_a_whole_exchange_and_five_consumers() {
    let long = std::env::var("KLINES_SCALE_SECONDS").ok().map(|text| text.parse::<u64>().unwrap());
    let (seconds, intervals) = long.map_or((SECONDS, INTERVALS), |seconds| (seconds, LONG_INTERVALS));
    // A subscriber that reads is not disconnected because of the many messages of a boundary.
    let server = Server::with(&["--client-output-buffer-limit", "pubsub", "0", "0", "0"]);
    let heard = listen(&server);
    let (sim, home) = (exchange().await, folder(&[("klines.toml", &toml())]));
    let mut child = start(&home, &sim, &server.url(), seconds, intervals);
    let peak = tokio::task::spawn_blocking(move || peak(&mut child)).await.unwrap();
    let err: Vec<String> = lines(&home.path().join("err")).collect();
    let console = read(lines(&home.path().join("out")));
    let revisions: u32 = console.values().sum();
    let largest = largest_boundary(&console);
    let summaries: Vec<&String> = err.iter().filter(|line| line.contains("klines delivered")).collect();
    if long.is_some() {
        println!(
            "{seconds} s of {SYMBOLS} symbols at {intervals}: {revisions} klines, at most {largest} at one moment"
        );
        println!("peak resident memory: {} MiB", peak / 1_024);
        summaries.iter().for_each(|line| println!("{line}"));
    }
    assert!(largest > DEFAULT_CAPACITY, "the exchange was not large: {largest}");
    let sized = err.iter().filter(|line| line.contains("\"queue sized\"")).count();
    assert_eq!(sized, 5, "the size of each queue is logged at the start");
    // The summaries show only how many: no kline is lost, kept or set aside.
    for name in ["console", "jsonl", "redis", "average", "example"] {
        let wanted = format!("{name}: {revisions} klines delivered (stopped)");
        assert!(summaries.iter().any(|line| **line == wanted), "{wanted}: {summaries:?}");
    }
    let files = fs::read_dir(home.path().join("klines-out")).unwrap().map(|file| file.unwrap().path());
    // A full file is renamed with a number, the oldest first; the file without a number is the newest of its day.
    let in_order = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        let (day, number) = name.split_once(".jsonl").unwrap();
        (day.to_owned(), number.trim_start_matches('.').parse().unwrap_or(u32::MAX))
    };
    let mut files: Vec<PathBuf> = files.collect();
    files.sort_by_key(in_order);
    assert!(read(files.iter().flat_map(|path| lines(path))) == console, "files have the same klines as the console");
    eventually("all klines to be published", || heard.lock().unwrap().values().sum::<u32>() >= revisions);
    assert!(*heard.lock().unwrap() == console, "Redis got the same klines as the console");
}
