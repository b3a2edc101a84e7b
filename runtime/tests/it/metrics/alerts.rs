//! The documented alerts, evaluated by Prometheus's own tool on metrics of the real program: the alerts for losses fire
//! when klines are lost, and none fires on a healthy run.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use bybit_sim::{Activity, Category, Instrument, Market, Side, Sim, SimConfig};

use super::exposition::Page;
use super::{ANYWHERE, LINEAR, demo, health, page, served};
use crate::live::{JSON, each_complete, run_at};
use crate::support::program::folder;

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/prometheus/klines.rules.yml");
const FETCHED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/promtool");

/// Runs `promtool` on a test of the rules. Returns whether it passed, and the output.
fn promtool(test: &Path) -> (bool, String) {
    let tool = if Path::new(FETCHED).exists() { FETCHED } else { "promtool" };
    let output = Command::new(tool).args(["test", "rules"]).arg(test).output();
    let output = output.expect("promtool is missing: type `make promtool`, or install prometheus");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

/// An alert that must fire, with its labels and its summary; without labels it must not fire.
pub(super) struct Expected<'a>(pub(super) &'a str, pub(super) &'a [(&'a str, &'a str)], pub(super) &'a str);

/// Feeds Prometheus the first page for a minute and then the second one, and compares the alerts of the fourth minute.
#[track_caller]
pub(super) fn assert_alerts(before: &Page, after: &Page, expected: &[Expected<'_>]) {
    let mut test =
        format!("rule_files: [{RULES}]\nevaluation_interval: 15s\ntests:\n  - interval: 1m\n    input_series:\n");
    for ((name, labels), value) in &after.samples {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let first = before.samples.get(&(name.clone(), after_labels(labels.as_slice(), before, name))).copied();
        let first = first.map_or_else(|| "_".to_owned(), |value| value.to_string());
        let labels = labels.join(",");
        writeln!(test, "      - series: '{name}{{{labels}}}'\n        values: '{first} {value}x9'").unwrap();
    }
    test.push_str("    alert_rule_test:\n");
    for Expected(alert, labels, summary) in expected {
        writeln!(test, "      - eval_time: 4m\n        alertname: {alert}").unwrap();
        if labels.is_empty() {
            test.push_str("        exp_alerts: []\n");
            continue;
        }
        test.push_str("        exp_alerts:\n          - exp_labels:\n");
        for (name, value) in *labels {
            writeln!(test, "              {name}: {value}").unwrap();
        }
        writeln!(test, "            exp_annotations: {{ summary: \"{summary}\" }}").unwrap();
    }
    let folder = folder(&[("test.yml", &test)]);
    let (is_right, said) = promtool(&folder.path().join("test.yml"));
    assert!(is_right, "{said}\n{test}");
}

/// Returns the labels of a sample as the page before has them.
fn after_labels(labels: &[String], before: &Page, name: &str) -> super::exposition::Labels {
    let found = before.samples.keys().find(|(own, known)| {
        let known: Vec<String> = known.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        own == name && known == labels
    });
    found.map(|(_, labels)| labels.clone()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_alert_fires_on_a_healthy_run() {
    let (sim, home) = (demo(77).await, folder(&[("klines.toml", JSON)]));
    let run = run_at(&home, &sim, "BTCUSDT,ETHUSDT,SOLUSDT", "100ms,1s").with("METRICS_LISTEN", ANYWHERE).start();
    let address = served(&run, "serving metrics");
    run.until("klines", |said| each_complete(said, "1s", 1));
    run.until("both connections", |_| page(address).get("klines_feed_redundancy", &[LINEAR]) == Some(2.0));
    let before = page(address);
    run.until("klines go on", |said| each_complete(said, "1s", 3));
    let none = |alert| Expected(alert, &[], "");
    let all =
        ["KlinesFeedSilent", "KlinesFeedNotRedundant", "KlinesLost", "KlinesConsumerGone", "KlinesConsumerBehind"];
    assert_alerts(&before, &page(address), &all.map(none));
    run.stop().success();
}

/// Asserts that Redis has acknowledged nothing, and that a spill of 1 MiB holds nearly as much as it can.
#[track_caller]
fn assert_spill_is_full(after: &Page) {
    let (redis, output) = (("consumer", "redis"), ("output", "publish"));
    assert_eq!(after.value("klines_redis_connected", &[redis, output]), 0.0);
    assert_eq!(after.value("klines_consumer_klines_total", &[redis]), 0.0, "Redis has acknowledged nothing");
    let (memory, disk) = (("place", "memory"), ("place", "disk"));
    assert!(after.value("klines_redis_backlog_klines", &[redis, output, disk]) > 5_000.0);
    assert!(after.value("klines_redis_backlog_klines", &[redis, output, memory]) < 5_000.0);
    let bytes = after.value("klines_redis_spill_bytes", &[redis, output]);
    assert!((500_000.0..=1_048_576.0).contains(&bytes), "{bytes}");
    assert!(after.value("klines_redis_oldest_unacknowledged_age_seconds", &[redis, output]) > 0.0);
}

/// Many symbols have a flat kline every 100 ms: a spill of 1 MiB is soon full.
#[tokio::test(flavor = "multi_thread")]
async fn a_spill_that_overflows_is_counted_shown_and_alerted() {
    let names: Vec<String> = (0..200).map(|number| format!("S{number:03}USDT")).collect();
    let still = |name: &String| Instrument::new(Category::Linear, name, "100", "0.10", "0.001").unwrap();
    let instruments = names.iter().map(|name| still(name).with_activity(Activity::Still)).collect();
    let sim = Sim::start(SimConfig::new(Market::seeded(78, instruments))).await.unwrap();
    let toml = "enabled_consumers = [\"redis\"]\n[klines]\nfill = \"all\"\n[redis]\nspill = \"1MiB\"\npartial = true\n";
    let home = folder(&[("klines.toml", toml)]);
    let run = run_at(&home, &sim, &names.join(","), "100ms").with("METRICS_LISTEN", ANYWHERE);
    let run = run.with("REDIS_URL", "redis://127.0.0.1:1/0").start();
    let address = served(&run, "serving metrics");
    let redis = ("consumer", "redis");
    run.until("Redis to be reported as disconnected", |_| health(address, "/readyz").1["status"] == "degraded");
    let (status, body) = health(address, "/readyz");
    assert_eq!((status, &body["reasons"][0]), (200, &"redis is disconnected".into()), "{body}");
    run.until("the subscription", |said| !said.logged("subscribed").is_empty());
    let before = page(address);
    assert_eq!(before.sum("klines_consumer_lost_klines_total", redis), 0.0);
    assert_eq!(before.value("klines_consumer_state", &[redis, ("state", "disconnected")]), 1.0);
    for name in &names {
        sim.trade(Category::Linear, name, Side::Buy, "100.10", "0.010").unwrap();
    }
    let reason = ("reason", "spill_full");
    run.until("klines are lost", |_| page(address).value("klines_consumer_lost_klines_total", &[redis, reason]) > 0.0);
    let after = page(address);
    assert_spill_is_full(&after);
    run.until("/readyz to fail", |_| health(address, "/readyz").0 == 503);
    let (_, body) = health(address, "/readyz");
    assert_eq!(body["reasons"][0], "redis is disconnected and can hold no more klines", "{body}");
    assert_alerts(
        &before,
        &after,
        &[
            Expected(
                "KlinesLost",
                &[("consumer", "redis"), ("reason", "spill_full"), ("severity", "page")],
                "redis lost closed klines in the last 5 minutes: spill_full",
            ),
            Expected(
                "KlinesRedisDisconnected",
                &[("consumer", "redis"), ("output", "publish"), ("severity", "warn")],
                "redis: Redis accepts no commands of output publish; klines wait",
            ),
            Expected("KlinesConsumerGone", &[], ""),
        ],
    );
    let ended = run.stop();
    let account = ended.said.account("redis");
    assert!(account.lost > 0 && account.kept > 0, "{account:?}");
    assert_eq!(
        (account.lost_at_the_end, account.state.as_str()),
        (0, "stopped"),
        "the newest klines are on disk: {account:?}"
    );
    ended.success();
}
