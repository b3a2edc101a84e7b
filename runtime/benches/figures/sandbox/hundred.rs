//! Measures a hundred guests in one process for three minutes, ten of them failing all the time; compared with the same
//! program with only the console. Measured from outside: from /proc and the summary that the program prints at its end.

use std::fmt::Write as _;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use bybit_sim::{Activity, Category, Instrument, Limits, Market, Sim, SimConfig};

use crate::measured;

const SYMBOLS: usize = 100;
/// The duration of a run without failing guests, and of the full run. The full run is longer, to show that memory does
/// not grow, and so that the second in which a hundred consumers start has no weight.
const MINUTE: u64 = 60;
const LONG: u64 = 180;
const GUESTS: usize = 100;
const FAILING: usize = 10;

struct Measurements {
    trades: f64,
    cpu: f64,
    early: u64,
    late: u64,
    lost: u64,
    restarts: u64,
}

/// Prints the cost of the guests.
pub(crate) fn hundred() {
    let alone = run(0, 0, MINUTE);
    let healthy = run(GUESTS - FAILING, 0, MINUTE);
    let all = run(GUESTS - FAILING, FAILING, LONG);
    let line = |what: &str, ours: String, base: String, note: &str| measured(what, &ours, &base, note);
    let rate = |measured: &Measurements, seconds: u64| format!("{:.0}", measured.trades / seconds as f64);
    let (ours, base) = (rate(&all, LONG), rate(&alone, MINUTE));
    line("100 guests, 10 failing: trades a second taken in", ours, base, "(baseline: console alone)");
    line(
        "the same: resident after 3 min, after 1 min",
        format!("{} MB", all.late),
        format!("{} MB", all.early),
        "flat (baseline: after 1 min)",
    );
    line("the same: klines lost by other consumers", all.lost.to_string(), alone.lost.to_string(), "0");
    let share = |measured: &Measurements, seconds: u64| measured.cpu / seconds as f64 * 100.0;
    let each = (share(&all, LONG) - share(&healthy, MINUTE)) / FAILING as f64;
    let note = format!("of a core each, {} restarts in all (baseline: a healthy guest)", all.restarts);
    let base = (share(&healthy, MINUTE) - share(&alone, MINUTE)) / (GUESTS - FAILING) as f64;
    line("the same: CPU of a failing guest", format!("{each:.2} %"), format!("{base:.2} %"), &note);
}

fn run(healthy: usize, failing: usize, seconds: u64) -> Measurements {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let instruments = (0..SYMBOLS).map(|number| {
        let symbol = format!("S{number:03}USDT");
        let instrument = Instrument::new(Category::Linear, &symbol, "1922.50", "0.01", "0.01").unwrap();
        instrument.with_activity(Activity::Matches { every_ms: 600 })
    });
    let mut config = SimConfig::new(Market::seeded(1, instruments.collect()));
    config.limits = Limits { tape: 1_000, ..Limits::default() };
    let sim = runtime.block_on(Sim::start(config)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("klines.toml"), toml(healthy, failing)).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_klines"))
        .args(["run", "--load-all", "--intervals", "1s,1m", "--log-level", "info"])
        .env("BYBIT_WS_URL", sim.ws_url())
        .env("BYBIT_REST_URL", sim.rest_url())
        // Each trade arrives once; `feeds.py` measures what a second feed costs.
        .env("BYBIT_FEEDS", "1")
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = child.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        log.read_to_string(&mut text).unwrap();
        text
    });
    std::thread::park_timeout(Duration::from_secs(seconds / 3));
    let early = resident(child.id());
    std::thread::park_timeout(Duration::from_secs(seconds - seconds / 3));
    let (late, cpu) = (resident(child.id()), cpu(child.id()));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    child.wait().unwrap();
    let log = reader.join().unwrap();
    runtime.block_on(sim.stop());
    let trades = log
        .lines()
        .filter(|line| line.contains("trades accounted for"))
        .filter_map(|line| line.split("received=").nth(1)?.split(' ').next()?.parse::<f64>().ok())
        .sum();
    let summary = |line: &&str| line.contains(" klines delivered");
    let number = |line: &str, what: &str| -> u64 {
        let before = line.split(what).next().unwrap_or_default();
        let number = before.rsplit(", ").next().and_then(|text| text.trim().parse().ok());
        if line.contains(what) { number.unwrap_or(0) } else { 0 }
    };
    let behaves = |line: &&str| !line.starts_with("bad");
    Measurements {
        trades,
        cpu,
        early,
        late,
        lost: log.lines().filter(summary).filter(behaves).map(|line| number(line, " lost")).sum(),
        restarts: log.lines().filter(summary).map(|line| number(line, " restarts")).sum(),
    }
}

/// Returns a configuration with the console, guests of one template, and guests that trap in every batch and are never
/// quarantined.
fn toml(healthy: usize, failing: usize) -> String {
    let names: Vec<String> = (0..healthy)
        .map(|number| format!("good{number}"))
        .chain((0..failing).map(|number| format!("bad{number}")))
        .collect();
    let mut text = format!(
        "enabled_consumers = [\"console\"{}]\n",
        names.iter().fold(String::new(), |text, name| text + ", \"" + name + "\"")
    );
    let components = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/components");
    for name in names {
        let (file, rest) = match name.starts_with("bad") {
            true => ("hostile", "on_error = \"skip\"\nsettings.mode = \"trap\"\n"),
            false => ("average", ""),
        };
        writeln!(text, "[consumers.{name}]\ncomponent = \"{components}/{file}.wasm\"\n{rest}").unwrap();
    }
    text
}

/// Returns the resident memory of a process in MB.
fn resident(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_000
}

/// Returns the CPU time of a process so far in seconds.
fn cpu(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    // Linux always reports hundredths of a second here, independent of the kernel's tick rate.
    ticks / 100.0
}
