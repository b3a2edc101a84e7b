//! Components that read klines of the past in the whole program: each answer has exactly what was delivered, and they start
//! when the first windows are known.

use std::collections::BTreeMap;
use std::thread;

use bybit_sim::{Fault, RestFault};
use serde_json::Value;

use super::{UNREPAIRED, demo, run_at, times};
use crate::cli::RECORDING;
use crate::support::program::{Said, component, folder, klines};
use crate::websocket::peer::Peer;

const SYMBOLS: &str = "BTCUSDT,ETHUSDT,SOLUSDT";

/// Returns a configuration with a component that reads the past beside the console.
fn with_reader(sections: &str, settings: &str) -> String {
    let component = component("past");
    format!(
        "enabled_consumers = [\"console\", \"mine\"]\n{sections}\n[consumers.mine]\ncomponent = {component:?}\n{settings}\n"
    )
}

/// Returns the lines of the log that contain a text, of the component or about it.
fn mentions(said: &Said, text: &str) -> usize {
    said.err.lines().filter(|line| line.contains(text)).count()
}

/// Returns how many answers the component has compared; asserts that none was wrong.
#[track_caller]
fn compared(said: &Said) -> u64 {
    assert_eq!(mentions(said, "wrong: "), 0, "{}", said.err);
    let last = said.err.lines().rev().find(|line| line.contains("checked ")).unwrap_or_else(|| panic!("{}", said.err));
    let (_, rest) = last.split_once("checked ").unwrap();
    let (checked, wrong) = rest.split_once(" wrong ").unwrap();
    assert!(wrong.starts_with('0'), "{last}");
    checked.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_has_what_was_delivered_and_no_more() {
    let toml = with_reader(UNREPAIRED, "settings = { quiet = true }");
    let (sim, home) = (demo(64).await, folder(&[("klines.toml", &toml)]));
    for _ in 0..2 {
        let run = run_at(&home, &sim, SYMBOLS, "100ms,1s").start();
        run.until("klines", |said| said.out.lines().count() >= 300);
        let said = run.stop().success();
        assert!(compared(&said) > 50, "{}", said.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_instance_reads_what_the_former_ones_received() {
    let toml = with_reader(UNREPAIRED, "settings = { quiet = true }\nlimits.recycle_calls = 3");
    let (sim, home) = (demo(65).await, folder(&[("klines.toml", &toml)]));
    let run = run_at(&home, &sim, SYMBOLS, "100ms,1s").start();
    run.until("some instances", |said| times(said, "consumer is recycled and gets a fresh instance") >= 5);
    let said = run.stop().success();
    compared(&said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_reads_the_past_starts_when_the_first_windows_are_known() {
    let json = "[consumers.console.settings]\nshow = \"closed\"\nformat = \"json\"\n";
    let toml = with_reader(json, "settings = { quiet = true }");
    let (sim, home) = (demo(66).await, folder(&[("klines.toml", &toml)]));
    let run = run_at(&home, &sim, SYMBOLS, "1s").start();
    let is_started = |said: &Said| said.logged("consumer started").iter().any(|line| line["consumer"] == "mine");
    run.until("the component", is_started);
    let said = run.stop().success();
    let log = said.log();
    let at = |message: &str, consumer: Option<&str>| {
        let is_it =
            |line: &Value| line["message"] == message && consumer.is_none_or(|consumer| line["consumer"] == consumer);
        log.iter().position(is_it).unwrap_or_else(|| panic!("{message}: {}", said.err))
    };
    assert!(at("consumer started", Some("console")) < at("first windows known", None), "others do not wait");
    assert!(at("first windows known", None) < at("consumer started", Some("mine")), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_waits_for_the_first_windows_takes_its_klines_when_the_run_ends() {
    let toml = with_reader("", "");
    let (sim, home) = (demo(67).await, folder(&[("klines.toml", &toml)]));
    let run = run_at(&home, &sim, SYMBOLS, "1s");
    sim.inject(Fault::Rest(RestFault::Silent));
    let run = run.start();
    let waits = |said: &Said| times(said, "consumer starts when the first windows are known") == 1;
    run.until("it waits", waits);
    let said = run.stop().success();
    assert!(said.logged("consumer started").iter().any(|line| line["consumer"] == "mine"), "{}", said.err);
}

#[test]
fn the_demo_and_replays_say_that_there_is_no_past() {
    let toml = with_reader("", "");
    let home = folder(&[("klines.toml", &toml)]);
    let run = klines(home.path(), "run --demo").start();
    let why = "klines of the past cannot be read: this run stores no klines";
    run.until("the component", |said| mentions(said, &format!("start: error: {why}")) == 1);
    run.stop().success();
    let ended =
        klines(home.path(), &format!("replay {RECORDING} --category linear --intervals 1s --consumers mine")).run();
    let said = ended.success();
    let why = "klines of the past cannot be read: a replay reads no stored klines";
    assert_eq!(mentions(&said, &format!("start: error: {why}")), 1, "{}", said.err);
}

/// Returns the confirmed values of a topic, by the start and the revision of their kline.
fn values(pushes: &[Value], topic: &str) -> BTreeMap<(i64, u64), f64> {
    let of_topic = pushes.iter().filter(|push| push["topic"] == topic && push["data"]["confirm"] == true);
    let data = of_topic.map(|push| &push["data"]);
    data.map(|data| {
        let key = (data["start"].as_i64().unwrap(), data["revision"].as_u64().unwrap());
        (key, data["value"].as_f64().unwrap())
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_has_the_values_of_one_that_ran_all_day_from_its_first_batch_on() {
    let rsi = component("rsi");
    let settings = "settings = { symbols = [\"BTCUSDT\", \"ETHUSDT\"], intervals = [\"100ms\"], period = 14 }";
    let toml = format!(
        "enabled_consumers = [\"websocket\", \"day\", \"fresh\"]\n[klines]\nrepair = \"0s\"\n\
         [websocket]\nhost = \"127.0.0.1\"\nport = 0\nauth = false\n\
         [consumers.day]\ncomponent = {rsi:?}\n{settings}\n\
         [consumers.fresh]\ncomponent = {rsi:?}\n{settings}\nlimits.recycle_calls = 2\n"
    );
    let (sim, home) = (demo(68).await, folder(&[("klines.toml", &toml)]));
    let run = run_at(&home, &sim, SYMBOLS, "100ms")
        .with("WSS_AUTH_USER", "it")
        .with("WSS_AUTH_KEY", "canary-0815-0123456789");
    let run = run.start();
    run.until("the server", |said| !said.logged("serving klines").is_empty());
    let address = run.said().logged("serving klines")[0]["address"].as_str().unwrap().parse().unwrap();
    let mut peer = Peer::connect(address, "/v1/stream", &[]).unwrap();
    let topic = |name: &str, symbol: &str| format!("ext.{name}.rsi.100ms.{symbol}");
    let topics =
        ["BTCUSDT", "ETHUSDT"].map(|symbol| format!("\"{}\",\"{}\"", topic("day", symbol), topic("fresh", symbol)));
    let answer = peer.ask(&format!(r#"{{"op":"subscribe","topics":[{}]}}"#, topics.join(",")));
    assert_eq!(answer["ok"], true, "{answer}");
    let reader = thread::spawn(move || peer.end().0);
    run.until("some instances", |said| times(said, "consumer is recycled and gets a fresh instance") >= 40);
    let said = run.stop().success();
    let pushes: Vec<Value> = reader.join().unwrap().iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    for symbol in ["BTCUSDT", "ETHUSDT"] {
        let (day, fresh) = (values(&pushes, &topic("day", symbol)), values(&pushes, &topic("fresh", symbol)));
        assert!(day.len() > 20, "{symbol}: {}", day.len());
        let differs = fresh.iter().find(|(kline, value)| day.get(*kline) != Some(*value));
        assert_eq!(differs, None, "{symbol}: {}", said.err);
        let first = fresh.keys().next().unwrap();
        let missing = day.range(first..).find(|(kline, _)| !fresh.contains_key(*kline));
        assert_eq!(missing, None, "{symbol}: {}", said.err);
    }
}
