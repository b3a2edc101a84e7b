//! The commands as a user types them: their output and their exit code.

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]

mod keys;
#[cfg(feature = "parquet")]
mod parquet;
mod replaying;
mod values;

use bybit_sim::{Market, Sim, SimConfig};
use serde_json::Value;

use crate::check::eight_mistakes;
use crate::live::assert_accounted;
use crate::support::program::{folder, klines};
use crate::support::received::{assert_sound, received};

/// Trades and kline pushes recorded on the real exchange; see the fixtures' README.
pub const RECORDING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/bybit-20260809.wrapped.jsonl");

/// The example configuration of Bybit Klines Streamer, except for the consumers.
const STREAMER: &str = "\
# Consumer selection (comma-separated list)
ENABLED_CONSUMERS=console,jsonl

# Redis settings (required only if Redis consumer is enabled)
REDIS_URL=redis://localhost:6379/0
REDIS_CHANNEL=klines

# WebSocket settings (required only if WebSocket consumer is enabled)
WEBSOCKET_HOST=localhost
WEBSOCKET_PORT=9500
WEBSOCKET_URL=wss://localhost:9500
WSS_AUTH_KEY=your_secret_key
WSS_AUTH_USER=your_username

# Symbol configuration
BYBIT_LOAD_ALL_SYMBOLS=false
BYBIT_SYMBOLS=BTCUSDT,ETHUSDT
BYBIT_SYMBOLS_LIMIT=

# Kline intervals
KLINE_INTERVALS=1m,5m,1h

# Logging
LOG_LEVEL=INFO
";

#[test]
fn check_says_where_the_exchanges_minutes_cannot_be_used() {
    let said = |toml: &str| klines(folder(&[("klines.toml", toml)]).path(), "check").run().success().err;
    let repair = |toml: &str, horizon: &str| said(&format!("{toml}repair = \"{horizon}\"\n"));
    let warning = "gaps that the recent trades do not reach stay gapped: minutes from REST open at the previous close and \
                   include block trades";
    for toml in ["[klines]\nopen = \"first-trade\"\n", "[klines]\nblock_trades = false\n"] {
        let err = repair(toml, "24h");
        let plain = err.replace("\n  │ ", " ");
        assert!(plain.contains(warning) && err.contains("klines.toml:2:"), "{err}");
        assert_eq!(repair(toml, "0s"), "");
    }
    assert_eq!(repair("[klines]\n", "24h"), "");
}

/// Every command that takes `--config`, in the form that goes furthest without a run and without a store.
const CONFIGURED: [&str; 25] = [
    "check",
    "config show",
    "replay recording",
    "verify recording",
    "verify --store",
    "verify --against rest",
    "history BTCUSDT",
    "fetch BTCUSDT 2024-01-01",
    "backfill BTCUSDT --from 2024-01-01",
    "store info",
    "store backup copy",
    "store verify",
    "consumer check a.wasm",
    "consumer inspect a.wasm",
    "consumer inspect console",
    "consumer list",
    "consumer logs console",
    "consumer pause console",
    "consumer resume console",
    "consumer reload console",
    "reload",
    "tail",
    "top",
    "run --demo",
    "run --for 1s",
];

#[test]
fn a_configuration_file_that_is_missing_is_refused_by_every_command() {
    let home = folder(&[("recording", "{}"), ("a.wasm", "(component)")]);
    let refusal = |line: &str| {
        let ended = klines(home.path(), line).run();
        assert_eq!(ended.code(), Some(78), "{line}: {}", ended.said.err);
        assert_eq!(ended.said.out, "", "{line}");
        ended.said.err
    };
    let expected = refusal("run --config nosuch.toml");
    assert!(expected.contains("cannot read nosuch.toml: No such file or directory"), "{expected}");
    for command in CONFIGURED {
        assert_eq!(refusal(&format!("{command} --config nosuch.toml")), expected, "{command}");
    }
    let doctor = klines(home.path(), "doctor --config nosuch.toml").run();
    assert!(doctor.code() == Some(1) && doctor.said.out.contains("problem  configuration"), "{}", doctor.said.out);
}

#[test]
fn errors_of_other_keys_keep_no_command_from_the_data_folder() {
    let home = folder(&[("klines.toml", "data_dir = \"elsewhere\"\n[klines]\ngraze = \"1s\"\n")]);
    let ended = klines(home.path(), "history BTCUSDT").run();
    assert!(
        ended.code() == Some(1) && ended.said.err.contains("elsewhere/klines.db does not exist"),
        "{}",
        ended.said.err
    );
    let home = folder(&[("klines.toml", "data_dir = 5\n")]);
    let ended = klines(home.path(), "history BTCUSDT").run();
    assert!(ended.code() == Some(78) && ended.said.err.contains("klines.toml:1:"), "{}", ended.said.err);
}

#[test]
fn the_demo_shows_closed_and_updating_klines_and_ends_by_itself() {
    let home = folder(&[]);
    let said = klines(home.path(), "run --demo --for 3s").run().success();
    for (mark, what) in [('✓', "closed"), ('…', "updating")] {
        assert!(said.out.lines().any(|line| line.contains(mark) && line.contains("USDT")), "{what}: {}", said.out);
    }
    assert!(!said.out.contains('\u{1b}') && !said.err.contains('\u{1b}'), "no colour where there is no terminal");
    let delivered = said.err.lines().find(|line| line.starts_with("console: ")).unwrap();
    assert_eq!(delivered, format!("console: {} klines delivered (stopped)", said.out.lines().count()));
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "the demo writes no file");
}

#[test]
fn the_demo_reads_a_configuration_and_replaces_the_exchange() {
    let env = "BYBIT_SYMBOLS=[\"DOGEUSDT\", \"XRPUSDT\"]\nKLINE_INTERVALS=[\"1s\", \"2s\"]\n";
    let home = folder(&[(".env", env), ("klines.toml", "[consumers.console]\nclosed_only = true\n")]);
    let said = klines(home.path(), "run --demo --for 4s").run().success();
    assert!(said.out.contains("BTCUSDT") && !said.out.contains('…'), "{}", said.out);
    assert!(said.out.lines().any(|line| line.contains("  2s  ")) && !said.out.contains("  1m  "), "{}", said.out);
    assert!(!said.out.contains("DOGEUSDT"), "{}", said.out);
    assert!(!said.err.contains("configuration read again"), "what the demo replaces is no change: {}", said.err);
    let home = folder(&[(".env", "LOG_LEVEL=LOUD\n")]);
    let ended = klines(home.path(), "run --demo --for 1s").run();
    assert_eq!(ended.code(), Some(78), "{}", ended.said.err);
    assert!(ended.said.err.contains(".env:1"), "{}", ended.said.err);
}

#[test]
fn an_interrupt_flushes_reports_what_was_delivered_and_exits_with_0() {
    let home = folder(&[]);
    let run = klines(home.path(), "run --demo").with("LOG_FORMAT", "json").start();
    run.until("closed klines", |said| said.out.matches('✓').count() > 3);
    let said = run.stop().success();
    let open = said.out.lines().filter(|line| line.contains("  1m  ") && line.contains('…'));
    assert!(open.count() > 0, "minutes are open at the end: {}", said.out);
    assert!(said.err.contains(&format!("console: {} klines delivered (stopped)", said.out.lines().count())));
    assert_accounted(&said, &["linear"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn open_klines_are_flushed_as_not_closed() {
    let sim = Sim::start(SimConfig::new(Market::demo(71))).await.unwrap();
    let config =
        "[klines]\nupdate_interval = \"1h\"\n[consumers.console.settings]\nshow = \"all\"\nformat = \"json\"\n";
    let home = folder(&[("klines.toml", config)]);
    let run = klines(home.path(), "run --symbols BTCUSDT --intervals 1s,1D").at(&sim).start();
    run.until("closed klines", |said| received(&said.out).iter().filter(|kline| kline.confirm).count() > 2);
    let said = run.stop().success();
    let last = received(&said.out).into_iter().rfind(|kline| kline.interval == "1D").unwrap();
    assert!(!last.confirm && last.trades > 0, "{last:?}");
    let closed: Vec<_> = received(&said.out).into_iter().filter(|kline| kline.confirm).collect();
    assert_sound(&closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_streamers_file_runs_unchanged() {
    let sim = Sim::start(SimConfig::new(Market::demo(72))).await.unwrap();
    let home = folder(&[(".env", STREAMER)]);
    let checked = klines(home.path(), "check").at(&sim).run().success();
    let first = checked.out.lines().next();
    assert_eq!(first, Some("configuration ok: BTCUSDT,ETHUSDT at 1m,5m,1h to console,jsonl"));
    let run = klines(home.path(), "run").at(&sim).start();
    let files = || std::fs::read_dir(home.path().join("klines-out")).map_or(0, Iterator::count);
    // Each minute closes within the next one.
    run.until("a closed minute on the console and in a file", |said| said.out.contains('✓') && files() > 0);
    let said = run.stop().success();
    for name in ["console: ", "jsonl: "] {
        assert!(said.err.lines().any(|line| line.starts_with(name) && line.contains("(stopped)")), "{}", said.err);
    }
}

#[test]
fn eight_mistakes_are_reported_at_once_and_nothing_starts() {
    let home = folder(&eight_mistakes());
    for command in ["check", "run --for 1s", "config show"] {
        let ended = klines(home.path(), command).run();
        assert_eq!(ended.code(), Some(78), "{command}: {}", ended.said.err);
        for place in ["toml:2:20", "toml:3:1", "toml:6:9", ".env:1:19", ".env:3:23", ".env:4:14", ".env:5:11"] {
            assert!(ended.said.err.contains(place), "{command} {place}: {}", ended.said.err);
        }
        assert!(ended.said.err.contains("`WSS_AUTH_KEY` is missing"), "{command}: {}", ended.said.err);
        assert_eq!(ended.said.out, "");
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 2, "nothing was created");
    }
}

#[test]
fn output_for_programs_is_json() {
    let wrong = folder(&eight_mistakes());
    let ended = klines(wrong.path(), "check --json").run();
    assert_eq!(ended.code(), Some(78));
    let report: Value = serde_json::from_str(&ended.said.out).unwrap();
    assert_eq!(report["ok"], false);
    assert!(ended.said.err.is_empty(), "{}", ended.said.err);
    let right = folder(&[]);
    let report: Value = serde_json::from_str(&klines(right.path(), "check --json").run().success().out).unwrap();
    assert_eq!(report["ok"], true);
    let shown: Value = serde_json::from_str(&klines(right.path(), "config show --json").run().success().out).unwrap();
    assert!(shown["settings"].as_array().unwrap().len() > 20);
    let verified = klines(right.path(), &format!("verify --json {RECORDING}")).run().success();
    let report: Value = serde_json::from_str(&verified.out).unwrap();
    assert_eq!((&report["equal"], &report["behind"], &report["wrong"]), (&29.into(), &1.into(), &0.into()));
}

#[test]
fn arguments_that_cannot_be_parsed_show_the_usage() {
    let home = folder(&[]);
    for arguments in ["run --colour", "frobnicate", "run --for soon", "replay", "run --demo --testnet", ""] {
        let ended = klines(home.path(), arguments).run();
        assert_eq!(ended.code(), Some(2), "{arguments}: {}", ended.said.err);
        assert!(ended.said.err.contains("--help"), "a pointer to --help after {arguments}: {}", ended.said.err);
    }
}

#[test]
fn verify_agrees_with_the_real_exchange() {
    let home = folder(&[]);
    let said = klines(home.path(), &format!("verify {RECORDING}")).run().success();
    assert_eq!(said.out.lines().last(), Some("29 of 30 pushes equal; 1 behind, 0 wrong, 6 skipped"), "{}", said.out);
    let ended = klines(home.path(), "verify absent.jsonl").run();
    assert_eq!(ended.code(), Some(1));
    assert!(ended.said.err.contains("absent.jsonl"), "{}", ended.said.err);
}

#[test]
fn config_show_masks_secrets() {
    let env = "REDIS_URL=redis://:canary-one@localhost/0\nWSS_AUTH_KEY=canary-two-0123456789\nLOG_LEVEL=DEBUG\n";
    let toml = "[consumers.console.settings]\napi_key = \"canary-three\"\n";
    let home = folder(&[(".env", env), ("klines.toml", toml)]);
    for command in ["config show", "config show --json"] {
        let said = klines(home.path(), command).run().success();
        assert!(!said.out.contains("canary") && !said.err.contains("canary"), "{}{}", said.out, said.err);
        assert!(said.out.contains("***"), "{}", said.out);
        assert!(said.out.contains(".env"), "the source of a value: {}", said.out);
    }
    let report = klines(home.path(), "check").run();
    assert_eq!(report.code(), Some(78), "console knows no api_key");
}

#[test]
fn completions_are_for_the_shell_that_was_asked_for() {
    let home = folder(&[]);
    for (shell, word) in [("bash", "complete -F"), ("zsh", "#compdef klines"), ("fish", "complete -c klines")] {
        let said = klines(home.path(), &format!("completions {shell}")).run().success();
        assert!(said.out.contains(word), "{shell}: {}", said.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn run_connects_with_the_line_that_simulate_prints() {
    let home = folder(&[]);
    let exchange = klines(home.path(), "simulate --listen 127.0.0.1:0 --seed 3").start();
    exchange.until("the line to type", |said| said.err.contains("klines run"));
    let line = exchange.said().err.lines().find(|line| line.ends_with("klines run")).unwrap().trim().to_owned();
    let mut run = klines(home.path(), "run --intervals 1s");
    for word in line.split(' ').filter(|word| word.contains('=')) {
        let (name, value) = word.split_once('=').unwrap();
        run = run.with(name, value);
    }
    let run = run.start();
    run.until("klines", |said| said.out.matches('✓').count() > 2);
    run.stop().success();
    exchange.stop().success();
}
