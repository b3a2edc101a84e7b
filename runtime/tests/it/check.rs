//! Diagnostics: all mistakes are reported at once, each with its place, the expected value, and the probable intention.

use klines_config::{Report, Severity, Sources, load};

use crate::config::folder;

fn report(sources: Sources) -> Report {
    match load(sources) {
        Ok((_, warnings)) => warnings,
        Err(report) => report,
    }
}

fn rendered(files: &[(&str, &str)]) -> String {
    let (_folder, sources) = folder(files);
    report(sources).render(false, 100)
}

/// Eight mistakes in two files: unknown consumer, unknown key, bad interval, bad number, bad URL, missing required
/// variable, bad symbol name, bad level.
pub(crate) fn eight_mistakes() -> [(&'static str, &'static str); 2] {
    let env = "ENABLED_CONSUMERS=consle,websocket\n\
        WSS_AUTH_USER=me\n\
        BYBIT_SYMBOLS=BTCUSDT,eth-usdt\n\
        BYBIT_WS_URL=https://stream.bybit.com\n\
        LOG_LEVEL=WARNIGN\n";
    let toml = "[klines]\nintervals = [\"1m\", \"7m\"]\ngraec = \"80ms\"\n\n\
        [consumers.console.limits]\nqueue = \"many\"\n";
    [(".env", env), ("klines.toml", toml)]
}

#[test]
fn eight_mistakes_are_reported_at_once_with_place_and_fix() {
    insta::assert_snapshot!(rendered(&eight_mistakes()));
}

#[test]
fn the_same_as_json() {
    let (_folder, sources) = folder(&eight_mistakes());
    insta::assert_snapshot!(serde_json::to_string_pretty(&report(sources).json()).unwrap());
}

#[test]
fn mistakes_in_variables_and_flags_show_the_variable_and_the_flag() {
    let (_folder, mut sources) = folder(&[]);
    sources.environment = vec![
        ("KLINE_INTERVALS".into(), "1m,1d".into()),
        ("WSS_AUTH_USER".into(), "me".into()),
        ("REDIS_URL".into(), "redis//:canary@localhost".into()),
        ("BYBIT_SYMBOL".into(), "BTCUSDT".into()),
        ("BYBIT_CATEGORY".into(), "option".into()),
    ];
    sources.flags = vec![("--fill", "yep".to_owned()), ("--intervals", "1m,60s".to_owned())];
    let text = report(sources).render(false, 100);
    assert!(!text.contains("canary"), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn structure_mistakes_show_what_was_expected() {
    let toml = r#"
intervals = ["1m"]
exchange = 5
enabled_consumers = ["console", "redis", "mine", "other"]

[klines]
open = "first"
lateness = "2h"
grace = 80
update_interval = 1.5

[consumers.console]
component = "console.wasm"
intervals = ["4h"]

[consumers.mine]
component = "absent.wasm"
allow.stdout = true
allow.dirs = [{ host = "x" }, { host = "a", guest = "out", rights = "rw" }, 3]
limits.memory = "64"
limits.calls = "1s"
settings = []

[consumers.other]
component = "jsonl"
"#;
    insta::assert_snapshot!(rendered(&[("klines.toml", toml)]));
}

#[test]
fn gaps_are_repaired_for_a_minute_to_a_week_or_not_at_all() {
    let result = |repair: &str| {
        let (_folder, sources) = folder(&[("klines.toml", &format!("[klines]\nrepair = \"{repair}\"\n"))]);
        let text = |problem: &serde_json::Value| [&problem["message"], &problem["expected"]].map(ToString::to_string);
        match load(sources) {
            Ok((config, _)) => Ok(config.klines.repair),
            Err(report) => Err(report.json()["problems"].as_array().unwrap().iter().map(text).collect::<Vec<_>>()),
        }
    };
    for (repair, millis) in [("0s", 0), ("0ms", 0), ("1m", 60_000), ("24h", 86_400_000), ("7d", 604_800_000)] {
        assert_eq!(result(repair), Ok(millis), "{repair}");
    }
    let wrong = |what: &str| Err(vec![[format!("\"{what}\""), "\"1m to 7d, or 0s for no repair\"".to_owned()]]);
    assert_eq!(result("59s999ms"), wrong("`59s999ms` is too short"));
    assert_eq!(result("1ms"), wrong("`1ms` is too short"));
    assert_eq!(result("169h"), wrong("`7d1h` is too long"));
}

#[test]
fn a_duration_without_a_unit_suggests_the_unit() {
    let near = |toml: &str, variables: &[(&str, &str)], flags: &[(&'static str, &str)]| {
        let (_folder, mut sources) = folder(&[("klines.toml", toml)]);
        sources.environment = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        sources.flags = flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let json = report(sources).json();
        let problem = &json["problems"][0];
        let text = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        (text("message"), text("nearest"))
    };
    let missing = |number: &str, near: &str| (format!("`{number}`: the unit is missing"), near.to_owned());
    assert_eq!(near("[klines]\nlateness = 1\n", &[], &[]), missing("1", "1s"));
    assert_eq!(near("[klines]\nlateness = \"60\"\n", &[], &[]), missing("60", "60s"));
    assert_eq!(near("[klines]\ngrace = 80\n", &[], &[]), missing("80", "80ms"));
    assert_eq!(near("[consumers.console]\nlimits.call = 2\n", &[], &[]), missing("2", "2s"));
    assert_eq!(near("", &[], &[("--update-interval", "1")]), missing("1", "1s"));
}

#[test]
fn an_advertised_address_with_tls_on_a_server_without_a_certificate_is_a_warning() {
    let login = "ENABLED_CONSUMERS=websocket\nWSS_AUTH_USER=me\nWSS_AUTH_KEY=b3c1Tq0Zk4mVxw9RfJh2\n";
    let warnings = |url: &str, toml: &str| {
        let env = format!("{login}WEBSOCKET_URL={url}\n");
        let (_folder, sources) = folder(&[(".env", &env), ("klines.toml", toml)]);
        report(sources).json()
    };
    let json = warnings("wss://localhost:9500", "");
    assert_eq!((&json["errors"], &json["warnings"]), (&0.into(), &1.into()), "{json}");
    let problem = &json["problems"][0];
    assert_eq!(
        problem["message"],
        "`wss://localhost:9500/` is advertised to clients, but the server has no certificate and speaks plain `ws`"
    );
    assert_eq!(problem["nearest"], "ws://localhost:9500/");
    assert_eq!(problem["place"]["variable"], "WEBSOCKET_URL");
    let fixes = problem["expected"].as_str().unwrap();
    for fix in ["`certificate`", "klines tls self-signed", "`insecure = true`", "`ws`"] {
        assert!(fixes.contains(fix), "{fixes}");
    }
    for (url, toml) in [
        ("ws://localhost:9500", ""),
        ("wss://localhost:9500", "[websocket]\ninsecure = true\n"),
        ("wss://localhost:9500", "[websocket]\ncertificate = \"c.pem\"\ncertificate_key = \"k.pem\"\n"),
    ] {
        assert_eq!(warnings(url, toml)["warnings"], 0, "{url} {toml}");
    }
    let disabled = "[websocket]\nurl = \"wss://localhost:9500\"\n";
    assert!(rendered(&[("klines.toml", disabled)]).starts_with("0 errors"));
}

#[test]
fn a_server_that_other_machines_can_reach_needs_tls_and_a_key_that_cannot_be_guessed() {
    const STRONG: &str = "b3c1Tq0Zk4mVxw9RfJh2";
    let found = |host: &str, key: &str, more: &str| {
        let toml = format!("[websocket]\nhost = \"{host}\"\nuser = \"me\"\nkey = \"{key}\"\n{more}");
        let (_folder, mut sources) = folder(&[("klines.toml", &toml)]);
        sources.flags = vec![("--consumers", "websocket".to_owned())];
        let report = report(sources);
        let text = report.render(false, 200);
        (report.count(Severity::Error), report.count(Severity::Warning), text)
    };
    for host in ["0.0.0.0", "::", "192.0.2.7", "klines.example", "localhost.example"] {
        let (errors, _, text) = found(host, STRONG, "");
        assert!(errors == 1 && text.contains("can be reached from other machines"), "{host}: {text}");
        let (errors, _, text) = found(host, "secret", "insecure = true\n");
        assert!(errors == 1 && text.contains("can be guessed") && !text.contains("secret"), "{host}: {text}");
        let (errors, warnings, text) = found(host, STRONG, "insecure = true\nauth = false\n");
        assert!((errors, warnings) == (0, 1) && text.contains("gets klines without a key"), "{host}: {text}");
        assert_eq!(found(host, STRONG, "certificate = \"c.pem\"\ncertificate_key = \"k.pem\"\n").0, 0, "{host}");
    }
    for host in ["localhost", "127.0.0.1", "::1", "127.8.9.10"] {
        let (errors, warnings, text) = found(host, STRONG, "");
        assert_eq!((errors, warnings), (0, 0), "{host}: {text}");
    }
}

#[test]
fn syntax_mistakes_have_a_place() {
    insta::assert_snapshot!(rendered(&[("klines.toml", "[klines]\nintervals = [\"1m\",\ngrace = \n")]));
}

#[test]
fn misspelt_variables_in_the_env_file_are_refused_and_unknown_ones_are_not() {
    let env = "BYBIT_SYMBOL=BTCUSDT\nLOG_LEVL=INFO\nREDIS_PORT=6379\nDATABASE_URL=postgres://x\nHOME=/root\n";
    insta::assert_snapshot!(rendered(&[(".env", env)]));
}

#[test]
fn repetitions_are_warnings() {
    let (_folder, sources) = folder(&[("klines.toml", "[klines]\nintervals = [\"60m\", \"1h\", \"1m\"]\n")]);
    let (config, warnings) = load(sources).unwrap();
    assert_eq!(config.klines.intervals.len(), 2);
    assert_eq!((warnings.count(Severity::Error), warnings.count(Severity::Warning)), (0, 1));
}

#[test]
fn show_prints_value_and_source_of_every_key() {
    let (_folder, mut sources) = folder(&[
        (".env", "BYBIT_SYMBOLS=BTCUSDT,spot:ETHUSDT\nREDIS_URL=redis://:canary@localhost/0\n"),
        ("klines.toml", "[klines]\nfill = \"all\"\n[consumers.console.settings]\nshow = \"all\"\n"),
    ]);
    sources.flags = vec![("--intervals", "1s,1m".to_owned())];
    let (config, _) = load(sources).unwrap();
    insta::assert_snapshot!(config.show());
}
