//! A hostile consumer next to the console: the console misses no kline, whatever the hostile one does.

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]

use crate::live::{DEMO, UNREPAIRED, assert_demo_run, demo, each_complete};
use crate::support::oracle::Oracle;
use crate::support::program::{Said, component, folder, klines};

/// Runs the console and the hostile component in one of its modes until `happened`, and then for some further klines.
async fn run_with_hostile(seed: u64, mode: &str, happened: impl Fn(&Said) -> bool) {
    let sim = demo(seed).await;
    let path = component("hostile");
    let config = format!(
        "enabled_consumers = [\"console\", \"hostile\"]\n{UNREPAIRED}\n[consumers.hostile]\ncomponent = {path:?}\n\
         [consumers.hostile.limits]\ncall = \"300ms\"\nmemory = \"16MiB\"\n\
         [consumers.hostile.settings]\nmode = \"{mode}\"\nafter = 3\n"
    );
    let home = folder(&[("klines.toml", &config)]);
    let run = klines(home.path(), "run --symbols BTCUSDT,ETHUSDT,SOLUSDT --intervals 100ms,1s").at(&sim);
    let run = run.with("LOG_FORMAT", "json").start();
    let meter = run.meter();
    run.until("klines", |said| each_complete(said, "1s", 1));
    let begun = meter.now();
    run.until("what the hostile one does", |said| happened(said));
    let before = DEMO.map(|symbol| crate::support::received::complete(&run.said().out, symbol, "1s"));
    run.until("klines go on", |said| each_complete(said, "1s", before.iter().max().unwrap() + 3));
    let peak = meter.peak();
    // The guest's memory of 16 MiB, 8 MiB that the host may copy for one of its calls, and 8 MiB for klines of some
    // more seconds.
    assert!(peak.memory <= begun.memory + (32 << 10), "{mode}: {begun:?} {peak:?}");
    // A delivery that is set aside and the crash report need descriptors, and a thread that writes them.
    assert!(
        peak.descriptors <= begun.descriptors + 8 && peak.threads <= begun.threads + 2,
        "{mode}: {begun:?} {peak:?}"
    );
    let said = run.stop().success_except(|name| name == "hostile");
    let received = assert_demo_run(&said, &Oracle::new(&sim, "100ms,1s"));
    let summary = said.err.lines().find(|line| line.starts_with("console:")).unwrap();
    assert_eq!(summary, format!("console: {} klines delivered (stopped)", received.len()));
    assert!(said.err.lines().any(|line| line.starts_with("hostile:")), "{}", said.err);
}

/// Counts the crashes of the hostile consumer of this kind.
fn crashes(said: &Said, kind: &str) -> usize {
    let crashed = said.logged("consumer crashed and gets a new instance");
    crashed.iter().filter(|line| line["consumer"] == "hostile" && line["kind"].as_str().unwrap().contains(kind)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_costs_the_console_nothing() {
    run_with_hostile(51, "loop", |said| crashes(said, "time") >= 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_takes_all_its_memory_costs_the_console_nothing() {
    let refused = |said: &Said| said.err.lines().any(|line| line.contains("hostile") && line.contains("memory"));
    run_with_hostile(52, "memory", refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_on_the_third_batch_costs_the_console_nothing() {
    run_with_hostile(53, "trap", |said| crashes(said, "trap") >= 2).await;
}

#[test]
fn a_file_that_is_no_component_is_refused_by_check_and_at_start() {
    let random: Vec<u8> = (0u32..4_096).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let whole = std::fs::read(component("average")).unwrap();
    let core = wat::parse_str("(module)").unwrap();
    let files = [("random", random.as_slice()), ("half", &whole[..whole.len() / 2]), ("core", &core), ("empty", &[])];
    for (name, bytes) in files {
        let config =
            format!("enabled_consumers = [\"console\", \"{name}\"]\n[consumers.{name}]\ncomponent = \"{name}.wasm\"\n");
        let home = folder(&[("klines.toml", &config)]);
        std::fs::write(home.path().join(format!("{name}.wasm")), bytes).unwrap();
        for command in ["check", "run --for 1s"] {
            let ended = klines(home.path(), command).run();
            assert_eq!(ended.code(), Some(78), "{command} {name}: {}", ended.said.err);
            assert!(ended.said.err.contains("klines:consumer@1.2.0"), "the expected contract: {}", ended.said.err);
            assert!(ended.said.err.contains("klines.toml:3"), "the place that names it: {}", ended.said.err);
            assert_eq!(ended.said.out, "");
        }
    }
}
