//! Configuration: what each layer may set, which one wins, and that the documented files match the defaults.

use std::path::Path;

use klines_config::consumers::{Component, Directory, Shipped};
use klines_config::exchange::Symbols;
use klines_config::log::{Format, Level};
use klines_config::{Config, Finding, Reads, Report, Severity, Sources, load};
use klines_domain::aggregator::{Fill, Open};
use klines_system::limits::Limits;
use tempfile::TempDir;

use crate::support::program::klines;

/// Creates a folder with the given files, and sources that read only from there.
pub(crate) fn folder(files: &[(&str, &str)]) -> (TempDir, Sources) {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let sources = Sources { folder: folder.path().to_path_buf(), ..Sources::default() };
    (folder, sources)
}

fn with_files(files: &[(&str, &str)]) -> Result<(Config, Report), Report> {
    let (_folder, sources) = folder(files);
    load(sources)
}

fn with_environment(variables: &[(&str, &str)]) -> Result<(Config, Report), Report> {
    let (_folder, mut sources) = folder(&[]);
    sources.environment = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    load(sources)
}

#[track_caller]
fn accepted(result: Result<(Config, Report), Report>) -> Config {
    let (config, warnings) = result.unwrap_or_else(|report| panic!("{}", report.render(false, 100)));
    assert!(warnings.is_empty(), "{}", warnings.render(false, 100));
    config
}

fn listed(config: &Config) -> Vec<String> {
    match &config.exchange.symbols {
        Symbols::Listed(listings) => {
            listings.iter().map(|listing| format!("{}:{}", listing.category, listing.symbol)).collect()
        }
        Symbols::All(filter) => vec![format!("{filter:?}")],
    }
}

fn intervals(config: &Config) -> Vec<String> {
    config.klines.intervals.iter().map(ToString::to_string).collect()
}

fn names(config: &Config) -> Vec<&str> {
    config.consumers.iter().map(|consumer| consumer.name.as_str()).collect()
}

const STREAMER: &str = "
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
fn an_empty_configuration_is_valid() {
    let config = accepted(with_files(&[]));
    assert_eq!(listed(&config), ["linear:BTCUSDT", "linear:ETHUSDT"]);
    assert_eq!(intervals(&config), ["1m", "5m", "1h"]);
    assert_eq!(names(&config), ["console"]);
    assert_eq!((config.klines.open, config.klines.fill), (Open::PreviousClose, Fill::FromOneSecond));
    let millis = (config.klines.update_interval, config.klines.grace, config.klines.lateness);
    assert_eq!(millis, (1_000, 80, 60_000));
    assert_eq!((config.log.level, config.log.format), (Level::Info, Format::Text));
    assert_eq!(
        (config.plugins_dir.as_path(), config.data_dir.as_path()),
        (Path::new("plugins"), Path::new("klines-data"))
    );
    let console = &config.consumers[0];
    assert_eq!(console.component, Component::Shipped(Shipped::Console));
    assert!(console.allow.stdout && console.allow.dirs.is_empty());
    assert_eq!(console.limits, Limits::default());
    assert!(!config.is_set("klines.intervals"));
}

#[test]
fn a_data_folder_too_small_for_one_consumer_is_refused() {
    let accepted = accepted(with_files(&[("klines.toml", "data_dir_max = \"16MiB\"")]));
    assert_eq!(accepted.data_dir_max, 16 << 20);
    let report = with_files(&[("klines.toml", "data_dir_max = \"16383KiB\"")]).unwrap_err().render(false, 100);
    assert!(report.contains("16383KiB is too small to be of use") && report.contains("16MiB or more"), "{report}");
}

#[test]
fn the_streamers_env_file_is_valid_unchanged() {
    let config = accepted(with_files(&[(".env", STREAMER)]));
    assert_eq!(names(&config), ["console", "jsonl"]);
    assert_eq!(listed(&config), ["linear:BTCUSDT", "linear:ETHUSDT"]);
    assert_eq!(config.place("exchange.symbols").to_string(), ".env:18 BYBIT_SYMBOLS");
    let jsonl = &config.consumers[1];
    assert_eq!(
        jsonl.allow.dirs,
        [Directory {
            host: "./klines-out".into(),
            guest: "/out".to_owned(),
            write: true,
            sensitive: false,
            max: 64 << 30
        }]
    );
    assert!(!jsonl.allow.stdout);
}

#[test]
fn the_forms_of_values_that_the_streamer_accepts_are_accepted() {
    for (yes, expected) in [
        ("true", true),
        ("1", true),
        ("Yes", true),
        ("ON", true),
        ("false", false),
        ("0", false),
        ("no", false),
        ("off", false),
    ] {
        let config = accepted(with_environment(&[("BYBIT_LOAD_ALL_SYMBOLS", yes)]));
        assert_eq!(matches!(config.exchange.symbols, Symbols::All(_)), expected, "{yes}");
    }
    for (name, level) in
        [("WARNING", Level::Warn), ("CRITICAL", Level::Error), ("debug", Level::Debug), ("NOTSET", Level::Trace)]
    {
        assert_eq!(accepted(with_environment(&[("LOG_LEVEL", name)])).log.level, level);
    }
    for list in ["BTCUSDT,XRPUSDT", " BTCUSDT , XRPUSDT,", r#"["BTCUSDT", "XRPUSDT"]"#] {
        let config = accepted(with_environment(&[("BYBIT_SYMBOLS", list)]));
        assert_eq!(listed(&config), ["linear:BTCUSDT", "linear:XRPUSDT"]);
    }
    let config = accepted(with_environment(&[("BYBIT_LOAD_ALL_SYMBOLS", "true"), ("BYBIT_SYMBOLS_LIMIT", "7")]));
    let Symbols::All(filter) = &config.exchange.symbols else { panic!("{:?}", config.exchange.symbols) };
    assert_eq!(filter.limit.map(std::num::NonZero::get), Some(7));
}

#[test]
fn a_higher_layer_wins_and_is_named_as_the_source() {
    let (_folder, mut sources) = folder(&[
        ("klines.toml", "[klines]\nintervals = [\"1h\"]\ngrace = \"90ms\"\n[log]\nlevel = \"debug\"\n"),
        (".env", "KLINE_INTERVALS=5m\nLOG_LEVEL=error\nLOG_FORMAT=json\n"),
    ]);
    sources.environment = vec![("KLINE_INTERVALS".into(), "15m".into()), ("LOG_LEVEL".into(), "".into())];
    let mut with_flag = sources.clone();
    with_flag.flags = vec![("--intervals", "30m".to_owned())];

    let config = accepted(load(sources));
    assert_eq!(intervals(&config), ["15m"]);
    assert_eq!(config.place("klines.intervals").to_string(), "environment KLINE_INTERVALS");
    assert_eq!(config.log.level, Level::Error, "an empty variable counts as not set");
    assert_eq!(config.place("log.level").to_string(), ".env:2 LOG_LEVEL");
    assert_eq!(config.place("klines.grace").to_string(), "klines.toml:3:9");
    assert_eq!(config.place("klines.lateness").to_string(), "default");

    let config = accepted(load(with_flag));
    assert_eq!(intervals(&config), ["30m"]);
    assert_eq!(config.place("klines.intervals").to_string(), "flag --intervals");
}

#[test]
fn symbols_belong_to_every_category_unless_they_name_one() {
    let config = accepted(with_environment(&[
        ("BYBIT_CATEGORY", "linear,spot"),
        ("BYBIT_SYMBOLS", "BTCUSDT,spot:ETHUSDT,inverse:BTCUSD"),
    ]));
    assert_eq!(listed(&config), ["linear:BTCUSDT", "spot:BTCUSDT", "spot:ETHUSDT", "inverse:BTCUSD"]);
    let categories: Vec<&str> = config.exchange.categories.iter().map(|category| category.as_str()).collect();
    assert_eq!(categories, ["linear", "spot", "inverse"]);

    let config = accepted(with_environment(&[("BYBIT_SYMBOLS", "spot:ETHUSDT")]));
    let categories: Vec<&str> = config.exchange.categories.iter().map(|category| category.as_str()).collect();
    assert_eq!(categories, ["spot"], "a category without a symbol is not watched");

    let config = accepted(with_environment(&[("BYBIT_CATEGORY", "inverse")]));
    assert_eq!(listed(&config), ["inverse:BTCUSD", "inverse:ETHUSD"]);
}

#[test]
fn the_number_of_feeds_is_1_to_4() {
    for (text, number) in [("1", 1), ("2", 2), ("4", 4)] {
        let config = accepted(with_environment(&[("BYBIT_FEEDS", text)]));
        assert_eq!(config.exchange.feeds.get().get(), number);
        let config = accepted(with_files(&[("klines.toml", &format!("[exchange]\nfeeds = {text}\n"))]));
        assert_eq!(config.exchange.feeds.get().get(), number);
    }
    assert_eq!(accepted(with_environment(&[])).exchange.feeds.get().get(), 2, "the default is redundant");
    for wrong in ["0", "5", "-1", "two", "1.5"] {
        let report = with_environment(&[("BYBIT_FEEDS", wrong)]).unwrap_err().render(false, 100);
        let message = format!("`{wrong}` is not a valid number of feeds");
        assert!(report.contains(&message) && report.contains("a number from 1 to 4"), "{report}");
    }
    let report = with_files(&[("klines.toml", "[exchange]\nfeeds = 5\n")]).unwrap_err().render(false, 100);
    assert!(report.contains("klines.toml:2:9") && report.contains("a number from 1 to 4"), "{report}");
}

#[test]
fn third_party_components_are_found_by_path_and_in_the_plugins_folder() {
    let toml = "enabled_consumers = [\"alerts\", \"mine\", \"second\"]\n\
        [consumers.mine]\ncomponent = \"built/mine.wasm\"\n[consumers.mine.settings]\ndepth = 3\n\
        [consumers.second]\ncomponent = \"jsonl\"\n";
    let config = accepted(with_files(&[("klines.toml", toml), ("built/mine.wasm", ""), ("plugins/alerts.wasm", "")]));
    let components: Vec<_> = config.consumers.iter().map(|consumer| consumer.component.clone()).collect();
    assert_eq!(
        components,
        [
            Component::File("plugins/alerts.wasm".into()),
            Component::File("built/mine.wasm".into()),
            Component::Shipped(Shipped::Jsonl),
        ]
    );
    assert_eq!(config.consumers[1].settings, serde_json::json!({ "depth": 3 }));
    assert_eq!(config.consumers[0].allow.dirs, [], "an untrusted component gets no grant by default");
}

#[test]
fn the_example_toml_equals_the_defaults_and_has_every_key() {
    let text = include_str!("../../../klines.example.toml");
    let example = accepted(with_files(&[("klines.toml", text)]));
    let default = accepted(with_files(&[]));
    assert_eq!(example.exchange, default.exchange);
    assert_eq!(example.klines, default.klines);
    assert_eq!(example.log, default.log);
    assert_eq!(example.store, default.store);
    assert_eq!(example.consumers, default.consumers);
    for setting in default.settings() {
        let same = example.settings().iter().find(|other| other.key == setting.key);
        assert_eq!(same.map(|other| &other.value), Some(&setting.value), "{}", setting.key);
        let name = setting.key.rsplit('.').next().unwrap();
        let in_toml = !["websocket", "proxy"].iter().any(|section| setting.key.starts_with(section));
        assert!(!in_toml || text.contains(&format!("{name} = ")), "{} is not in the example", setting.key);
    }
    let uncommented: String = text.lines().map(|line| uncomment(line) + "\n").collect();
    // The component that it names does not exist, and its address of Redis does not use a `ca_file`.
    let whole = uncommented.replace("[consumers.mine]\n", "[consumers.mine]\n# ").replace("ca_file = ", "# ca_file = ");
    let result = with_files(&[("klines.toml", &whole), ("plugins/mine.wasm", "")]);
    assert!(result.is_ok(), "{}", result.err().unwrap().render(false, 100));
}

/// Uncomments keys that are commented out (`# key = value` and `# [section]`).
fn uncomment(line: &str) -> String {
    let Some(rest) = line.strip_prefix("# ") else { return line.to_owned() };
    let is_key = rest.split_once(" = ").is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
    if is_key || rest.starts_with("[consumers.") || rest.starts_with("[trusted_keys.") {
        rest.to_owned()
    } else {
        line.to_owned()
    }
}

#[test]
fn the_example_env_file_equals_the_defaults_and_has_every_variable() {
    let text = include_str!("../../../.env.example");
    let example = accepted(with_files(&[(".env", text)]));
    let default = accepted(with_files(&[]));
    assert_eq!(example.exchange, default.exchange);
    assert_eq!(example.klines, default.klines);
    assert_eq!(example.store, default.store);
    assert_eq!(example.consumers, default.consumers);
    for variable in default.settings().iter().filter_map(|setting| setting.variable) {
        assert!(text.contains(&format!("{variable}=")), "{variable} is not in the example");
    }
}

#[test]
fn problems_in_the_settings_of_a_consumer_get_their_place() {
    let toml = "[consumers.console.settings]\nshow = \"al\"\n";
    let (_folder, mut sources) = folder(&[("klines.toml", toml)]);
    sources.flags = vec![("--consumers", "console,jsonl".to_owned())];
    let config = accepted(load(sources));
    let finding = Finding { path: "show", message: "`al` is not a choice", expected: "closed or all" };
    let absent = Finding { path: "format", message: "is missing", expected: "text or json" };
    let mut report = config.settings_report("console", [finding, absent]);
    report.merge(config.settings_report("jsonl", [absent]));
    report.merge(config.component_report("jsonl", Severity::Error, "not a component", "one of klines:consumer@1"));
    let places: Vec<String> = report.sorted().iter().map(|diagnostic| diagnostic.place.to_string()).collect();
    assert_eq!(places, ["klines.toml:1:20", "klines.toml:2:8", "flag --consumers", "flag --consumers"]);
}

#[test]
fn secrets_are_shown_nowhere() {
    let (_folder, mut sources) = folder(&[(
        "klines.toml",
        "[consumers.console.settings]\napi_token = \"canary\"\nhook = \"https://u:canary@host/?key=canary\"\n\
         auth = { value = \"canary\", pair = [\"me\", \"canary\"], on = true }\n",
    )]);
    sources.environment = vec![
        ("WSS_AUTH_KEY".into(), "canary".into()),
        ("REDIS_URL".into(), "redis://:canary@localhost".into()),
        ("HTTPS_PROXY".into(), "http://me:canary@proxy:3128".into()),
        ("BYBIT_WS_URL".into(), "wss://me:canary@host".into()),
    ];
    let (config, warnings) = load(sources).unwrap();
    assert!(config.show().contains("http://me:***@proxy:3128"), "{}", config.show());
    for text in [config.show(), config.show_json().to_string(), warnings.render(false, 100)] {
        assert!(!text.contains("canary"), "{text}");
    }
    let debug = format!("{:?} {:?} {:?}", config.redis, config.websocket, config.proxy);
    assert!(!debug.contains("canary"), "{debug}");
}

/// Wrong files in which a secret is read as something else. Each secret is `canary`, or the number 1234567812345678.
const WRONG: [(&str, &str); 25] = [
    ("klines.toml", "[websocket]\nuser = \"me\"\nkey = \"canary-canary\nport = 1\n"),
    ("klines.toml", "[websocket]\nkey = canary-canary\n"),
    ("klines.toml", "[websocket]\nkey = 1234567812345678\n"),
    ("klines.toml", "[websocket]\nkey = 1234567812345678.5\n"),
    ("klines.toml", "[websocket]\nkey = 'canary'canary'\n"),
    ("klines.toml", "[websocket]\nkey \"canary\"\n"),
    ("klines.toml", "[websocket]\nkey: canary\n"),
    ("klines.toml", "[websocket]\nkey =\n\"canary\"\ncanary\n"),
    ("klines.toml", "[websocket]\nkey = \"canary\"\nkey = \"canary-2\"\n"),
    ("klines.toml", "[websocket]\nkeys = [\n  \"me:canary\",\n  canary,\n]\n"),
    ("klines.toml", "[websocket]\nkeys = [\"me:canary\", 1234567812345678]\n"),
    ("klines.toml", "[websocket]\nkeys = [{ me = \"canary\" }]\n"),
    ("klines.toml", "[websocket]\nauth = \"canary\"\n"),
    ("klines.toml", "[redis]\nurl = redis://:canary@localhost\n"),
    ("klines.toml", "[redis]\nurl = \"redis://:canary@localhost\n"),
    ("klines.toml", "[redis]\nurl = \"redis://me:canary\"\n"),
    ("klines.toml", "[redis]\nurl = \"http://me:canary@localhost\"\n"),
    ("klines.toml", "[exchange]\nws_url = \"https://host/?token=canary\"\n"),
    ("klines.toml", "[consumers.console.settings]\napi_token = \"canary\nshow = \"all\"\n"),
    ("klines.toml", "canary\n"),
    (".env", "WSS_AUTH_KEY=\"canary\nLOG_LEVEL=info\n"),
    (".env", "BYBIT_SYMBOLS=\"BTCUSDT,\nWSS_AUTH_KEY=canary\"\n"),
    (".env", "WSS_AUTH_KEY=canary\nWSS_AUTH_KEY=canary\n"),
    (".env", "REDIS_URL=redis:/:canary@localhost\nBYBIT_REST_URL=wss://host/?api_key=canary\n"),
    (".env", "WSS_AUTH_KEYS=canary,me:canary\n"),
];

#[test]
fn secrets_in_lines_that_are_wrong_are_shown_nowhere() {
    for (name, text) in WRONG {
        let report = match with_files(&[(name, text)]) {
            Err(report) => report,
            Ok((_, warnings)) => warnings,
        };
        assert!(!report.is_empty(), "nothing is wrong with {text}");
        let (shown, json) = (report.render(false, 100), report.json().to_string());
        assert!(shown.contains(name), "the place is shown: {shown}");
        for said in [shown, json] {
            assert!(!said.contains("canary") && !said.contains("12345678"), "{text}\n{said}");
        }
    }
    let wrong = [
        ("WSS_AUTH_KEYS", "canary"),
        ("REDIS_URL", "redis://me:canary"),
        ("BYBIT_WS_URL", "https://host/?token=canary"),
        ("BYBIT_REST_URL", "wss://me:canary@host"),
        ("HTTPS_PROXY", "http://:canary"),
        ("BYBIT_SYMBOLS", "BTCUSDT,\nWSS_AUTH_KEY=canary"),
    ];
    for (name, value) in wrong {
        let report = with_environment(&[(name, value)]).unwrap_err();
        let (shown, json) = (report.render(false, 100), report.json().to_string());
        assert!(shown.contains(name) && !shown.contains("canary") && !json.contains("canary"), "{shown}\n{json}");
    }
}

#[test]
fn messages_of_a_consumer_about_its_settings_show_no_secret() {
    let toml = "[consumers.console.settings]\nhook = \"https://me:canary@h\"\nauth.words = [\"canary\"]\n";
    let config = accepted(with_files(&[("klines.toml", toml)]));
    let hook =
        Finding { path: "hook", message: "`https://me:canary@h` has a user", expected: "an address without one" };
    let word = Finding { path: "auth.words[0]", message: "\"canary\" is too short", expected: "a longer word" };
    let report = config.settings_report("console", [hook, word]);
    let text = report.render(false, 100);
    assert!(text.contains("`https://me:***@h` has a user") && text.contains("is too short"), "{text}");
    assert!(!text.contains("canary") && !report.json().to_string().contains("canary"), "{text}");
}

#[test]
fn the_program_shows_no_secret_from_a_file_that_it_refuses() {
    // Some of each kind, but not the one that causes only a warning and would run.
    for (name, text) in WRONG.iter().step_by(6) {
        for arguments in ["check --json", "run"] {
            let (home, _) = folder(&[(name, text)]);
            let said = klines(home.path(), arguments).with("LOG_LEVEL", "debug").run().said;
            let all = format!("{}{}", said.out, said.err);
            assert!(all.contains(name), "{arguments}: {all}");
            assert!(!all.contains("canary") && !all.contains("12345678"), "{arguments} with {text}\n{all}");
        }
    }
}

#[test]
fn the_demo_replaces_nothing_but_the_exchange() {
    let (_folder, mut sources) = folder(&[]);
    sources.reads = Reads::AllButExchange;
    let config = accepted(load(sources));
    assert_eq!(listed(&config), ["linear:BTCUSDT", "linear:ETHUSDT", "linear:SOLUSDT"]);
    assert_eq!(intervals(&config), ["1s", "5s", "1m"]);
    assert_eq!(config.consumers[0].settings, serde_json::json!({ "show": "all" }));

    let env = "ENABLED_CONSUMERS=redis\nREDIS_URL=redis://cache\nBYBIT_SYMBOLS=DOGEUSDT\nBYBIT_CATEGORY=spot\n";
    let (_folder, mut sources) = folder(&[(".env", env)]);
    sources.environment = vec![("KLINE_INTERVALS".into(), "1h".into()), ("BYBIT_TESTNET".into(), "true".into())];
    sources.reads = Reads::AllButExchange;
    let config = accepted(load(sources));
    assert_eq!(listed(&config), ["linear:BTCUSDT", "linear:ETHUSDT", "linear:SOLUSDT"]);
    assert_eq!((intervals(&config), config.exchange.testnet), (vec!["1h".to_owned()], false));
    assert_eq!(config.consumers[0].name, "redis");

    let toml = "[exchange]\ncategories = [\"spot\"]\nload_all = true\n[klines]\nintervals = [\"5m\"]\n";
    let (_folder, mut sources) = folder(&[("klines.toml", toml)]);
    sources.reads = Reads::AllButExchange;
    let config = accepted(load(sources));
    assert_eq!(listed(&config), ["linear:BTCUSDT", "linear:ETHUSDT", "linear:SOLUSDT"]);
    assert_eq!(intervals(&config), ["5m"]);

    let (_folder, mut sources) = folder(&[("klines.toml", "nonsense"), (".env", "LOG_LEVEL=LOUD\n")]);
    sources.reads = Reads::AllButExchange;
    let report = load(sources).unwrap_err();
    assert!(report.len() >= 2, "{report:?}");
}

#[test]
fn relative_paths_start_from_the_folder_of_the_file_that_they_are_written_in() {
    let toml = "plugins_dir = \"mine\"\ndata_dir = \"/var/lib/klines\"\nenabled_consumers = [\"ema\", \"files\"]\n\
                [consumers.ema]\ncomponent = \"built/ema.wasm\"\n\
                [consumers.files]\ncomponent = \"jsonl\"\n\
                [consumers.files.allow]\ndirs = [{ host = \"../out\", guest = \"/out\", write = true }]\n";
    let (_folder, mut sources) = folder(&[("conf/klines.toml", toml), ("conf/built/ema.wasm", ""), ("out/.keep", "")]);
    sources.config_file = Some("conf/klines.toml".into());
    let config = accepted(load(sources.clone()));
    assert_eq!(config.plugins_dir, Path::new("conf/mine"));
    assert_eq!(config.data_dir, Path::new("/var/lib/klines"));
    assert_eq!(config.consumers[0].component, Component::File("conf/built/ema.wasm".into()));
    assert_eq!(config.consumers[1].component, Component::Shipped(Shipped::Jsonl));
    assert_eq!(config.consumers[1].allow.dirs[0].host, Path::new("conf/../out"));
    // A flag's path starts from the working directory.
    sources.flags = vec![("--plugins-dir", "mine".to_owned())];
    assert_eq!(accepted(load(sources)).plugins_dir, Path::new("mine"));
}

#[test]
fn a_named_file_must_exist() {
    let (_folder, mut sources) = folder(&[]);
    sources.config_file = Some("absent.toml".into());
    sources.env_file = Some("absent.env".into());
    let report = load(sources).unwrap_err();
    let places: Vec<String> = report.sorted().iter().map(|diagnostic| diagnostic.place.to_string()).collect();
    assert_eq!(places, ["flag --config", "flag --env-file"]);

    let (_folder, mut sources) = folder(&[("other.toml", "[log]\nlevel = \"error\"\n")]);
    sources.environment = vec![("KLINES_CONFIG".into(), "other.toml".into())];
    assert_eq!(accepted(load(sources)).log.level, Level::Error);
}

#[test]
fn two_configurations_differ_in_keys_and_in_sections_with_other_secrets() {
    let read_with = |enabled: &str, text: &str, key: &str| {
        let (_folder, mut sources) = folder(&[("klines.toml", &format!("enabled_consumers = [{enabled}]\n{text}"))]);
        sources.environment = vec![("WSS_AUTH_USER".into(), "me".into()), ("WSS_AUTH_KEY".into(), key.into())];
        load(sources).unwrap_or_else(|report| panic!("{}", report.render(false, 100))).0
    };
    let read = |text: &str, key: &str| read_with("\"websocket\"", text, key);
    let keys = ["nOt4-kEy_tHat-aNyone.gu3sses-9f", "aNother_kEy-tHat.n0body-gu3sses-7c"];
    let first = read("", keys[0]);
    assert!(first.changes(&read("[klines]\ngrace = \"80ms\"\n", keys[0])).is_empty(), "the default is no change");
    let other = read("[exchange]\nsymbols = [\"SOLUSDT\"]\n[metrics]\nlisten = \"127.0.0.1:0\"\n", keys[0]);
    assert_eq!(first.changes(&other), ["exchange.symbols", "metrics.listen"]);
    let kept = read("[store.retain]\n1m = \"forever\"\n", keys[0]);
    assert_eq!(first.changes(&kept), ["store.retain"]);
    assert_eq!(first.changes(&read("", keys[1])), ["websocket"]);
    // Of a consumer that joins or leaves, the section, and not all of its keys.
    let joined = read_with("\"websocket\", \"console\"", "", keys[0]);
    assert_eq!(first.changes(&joined), ["consumers.console", "enabled_consumers"]);
    assert_eq!(joined.changes(&first), ["consumers.console", "enabled_consumers"]);
}
