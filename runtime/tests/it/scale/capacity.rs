//! The sizes of queues that `check` shows, before and after the exchange has named the symbols.

use bybit_sim::{Market, Sim, SimConfig};
use klines_delivery::queue::KLINE_BYTES;
use serde_json::Value;

use crate::support::program::{folder, klines};

const INTERVALS: &str = "1s,5s,15s,30s,1m,3m,5m,15m,30m,1h,2h,4h,12h,1D";
/// One consumer gets all klines, the other one only a few.
const TOML: &str = r#"
enabled_consumers = ["console", "jsonl"]
[consumers.console.limits]
queue = 100
[consumers.jsonl]
symbols = ["BTCUSDT"]
intervals = ["1m", "5m"]
"#;

/// Formats the size of `klines` klines in MiB as `check` prints it.
fn size(klines: usize) -> String {
    let tenths = klines * KLINE_BYTES / 1_024 * 10 / 1_024;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

#[tokio::test(flavor = "multi_thread")]
async fn check_shows_the_size_of_each_queue() {
    let sim = Sim::start(SimConfig::new(Market::demo(82))).await.unwrap();
    let home = folder(&[("klines.toml", TOML)]);
    let check =
        |more: &str| klines(home.path(), &format!("check --intervals {INTERVALS} {more}")).at(&sim).run().success();
    let lines = |more: &str| check(more).out.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let jsonl = format!("  jsonl: queue of 4096 klines ({}), at most 2 close at one moment", size(4_096));
    for (more, console) in [
        (
            "--symbols BTCUSDT,ETHUSDT,spot:ETHUSDT",
            format!("100 klines ({}), at most 42 close at one moment", size(100)),
        ),
        ("--load-all", format!("100 klines ({}), or 28 for each symbol where that is more", size(100))),
        (
            "--load-all --symbols-limit 1440",
            format!("40320 klines ({}), at most 20160 close at one moment", size(40_320)),
        ),
        // The demo market has three symbols.
        ("--load-all --online", format!("100 klines ({}), at most 42 close at one moment", size(100))),
    ] {
        assert_eq!(lines(more), [format!("  console: queue of {console}"), jsonl.clone()], "{more}");
    }
    let json: Value = serde_json::from_str(&check("--load-all --symbols-limit 1440 --json").out).unwrap();
    assert_eq!(json["queues"][0]["klines"], 40_320);
    assert_eq!(json["queues"][0]["bytes"], 40_320 * KLINE_BYTES);
    assert_eq!(json["queues"][0]["boundary"], 20_160);
    assert_eq!(json["queues"][1]["boundary"], 2);
}

#[test]
fn a_boundary_that_no_queue_can_hold_twice_is_a_warning() {
    // A kline takes a few hundred bytes, and a queue may have 256 MiB.
    let home = folder(&[("klines.toml", "")]);
    let said = klines(home.path(), "check --load-all --symbols-limit 2000000 --intervals 1s").run().success();
    assert!(said.err.contains("two boundaries are 4000000 klines"), "{}", said.err);
    let said = klines(home.path(), "check --load-all --symbols-limit 2000 --intervals 1s").run().success();
    assert_eq!(said.err, "");
}
