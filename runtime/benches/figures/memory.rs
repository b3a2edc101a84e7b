//! Measures the resident memory of the whole program under a typical daily load of one exchange: 900 symbols, 14
//! intervals, 5 minutes.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bybit_sim::{Activity, Category, Instrument, Limits, Market, Sim, SimConfig};

const MINUTES: u64 = 5;
const SYMBOLS: usize = 900;
/// With about three fills per match, this gives about 5,000 trades per second in total.
const EVERY_MS: u32 = 600;
const INTERVALS: &str = "1s,5s,15s,30s,1m,3m,5m,15m,30m,1h,2h,4h,12h,1D";

/// Runs `klines run` for [`MINUTES`] against a simulated exchange in this process and prints its resident memory.
pub(crate) fn resident() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let instruments = (0..SYMBOLS).map(|k| {
        let instrument = Instrument::new(Category::Linear, &format!("S{k:03}USDT"), "1922.50", "0.01", "0.01").unwrap();
        instrument.with_activity(Activity::Matches { every_ms: EVERY_MS })
    });
    let mut config = SimConfig::new(Market::seeded(1, instruments.collect()));
    config.limits = Limits { tape: 1_000, ..Limits::default() };
    let sim = runtime.block_on(Sim::start(config)).unwrap();
    let folder = std::env::temp_dir();
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_klines"))
        .args(["run", "--load-all", "--intervals", INTERVALS, "--consumers", "console", "--log-level", "info"])
        .env("BYBIT_WS_URL", sim.ws_url())
        .env("BYBIT_REST_URL", sim.rest_url())
        // Each trade arrives once; `feeds.py` measures what a second feed costs.
        .env("BYBIT_FEEDS", "1")
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::park_timeout(Duration::from_secs(MINUTES * 60));
    let (resident, peak) = (status(child.id(), "VmRSS"), status(child.id(), "VmHWM"));
    let spent = started.elapsed();
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    child.wait().unwrap();
    let received: u64 = log
        .lines()
        .filter(|line| line.contains("trades accounted for"))
        .filter_map(|line| line.split("received=").nth(1)?.split(' ').next()?.parse::<u64>().ok())
        .sum();
    let (seconds, rate) = (spent.as_secs_f64(), received as f64 / spent.as_secs_f64());
    crate::measured(
        "resident memory, 900 symbols x (1s ... 1D), console only",
        &format!("{resident} MB"),
        "-",
        &format!("100 / 50 MB (peak {peak} MB, {rate:.0} trades/s for {seconds:.0} s)"),
    );
    runtime.block_on(sim.stop());
}

/// Returns a field of the process status in MB.
fn status(pid: u32, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_000
}
