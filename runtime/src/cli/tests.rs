//! Tests of the command line: its help, the forms that it parses, and that flags reach the configuration.

use klines_config::load;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::parse_line(line.split_whitespace())
}

#[test]
fn the_command_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn top_level_help() {
    insta::assert_snapshot!(Cli::command().term_width(100).render_help());
}

#[test]
fn run_help() {
    let mut command = Cli::command().term_width(100);
    command.build();
    insta::assert_snapshot!(command.find_subcommand_mut("run").unwrap().render_help());
}

#[test]
fn replay_help() {
    let mut command = Cli::command().term_width(100);
    command.build();
    insta::assert_snapshot!(command.find_subcommand_mut("replay").unwrap().render_long_help());
}

#[test]
fn help_on_keys_and_certificates() {
    let mut command = Cli::command().term_width(100);
    command.build();
    let keygen = command.find_subcommand_mut("keygen").unwrap().render_long_help();
    let tls = command.find_subcommand_mut("tls").unwrap();
    let self_signed = tls.find_subcommand_mut("self-signed").unwrap().render_long_help();
    insta::assert_snapshot!(format!("{keygen}\n----\n{self_signed}"));
}

#[test]
fn help_on_history_and_the_store() {
    let mut command = Cli::command().term_width(100);
    command.build();
    let mut help = command.find_subcommand_mut("history").unwrap().render_long_help().to_string();
    let store = command.find_subcommand_mut("store").unwrap();
    help = format!("{help}\n----\n{}", store.render_long_help());
    for name in ["info", "backup", "verify"] {
        help = format!("{help}\n----\n{}", store.find_subcommand_mut(name).unwrap().render_long_help());
    }
    insta::assert_snapshot!(help);
}

#[test]
fn flags_reach_the_configuration() {
    let cli = parse(
        "klines run --for 1m30s --symbols XRPUSDT,spot:ETHUSDT --intervals 1s --consumers jsonl --load-all=false \
         --testnet --open first-trade --fill all --log-level WARNING --log-format json --config none.toml",
    );
    let Command::Run(run) = cli.unwrap().command else { panic!() };
    assert_eq!(run.duration.unwrap().0.as_secs(), 90);
    let folder = tempfile::TempDir::new().unwrap();
    let mut sources = run.sources();
    assert_eq!(sources.config_file.take(), Some("none.toml".into()));
    (sources.folder, sources.environment) = (folder.path().to_path_buf(), Vec::new());
    let (config, warnings) = load(sources).unwrap();
    assert!(warnings.is_empty());
    for (key, flag) in [
        ("exchange.symbols", "flag --symbols"),
        ("exchange.load_all", "flag --load-all"),
        ("exchange.testnet", "flag --testnet"),
        ("klines.intervals", "flag --intervals"),
        ("klines.open", "flag --open"),
        ("klines.fill", "flag --fill"),
        ("enabled_consumers", "flag --consumers"),
        ("log.level", "flag --log-level"),
        ("log.format", "flag --log-format"),
        ("klines.update_interval", "default"),
    ] {
        assert_eq!(config.place(key).to_string(), flag, "{key}");
    }
}

#[test]
fn replay_into_a_file_needs_no_consumer() {
    let cli = parse("klines replay a.csv --format csv").unwrap();
    let Command::Replay(replay) = cli.command else { panic!() };
    let mut sources = replay.sources();
    sources.folder = tempfile::TempDir::new().unwrap().path().to_path_buf();
    sources.environment = vec![("ENABLED_CONSUMERS".into(), "redis".into())];
    assert!(load(sources).is_ok());
}

#[test]
fn every_documented_command_line_is_parsed() {
    for line in [
        "klines run --demo --for 20s",
        "klines check --online --json",
        "klines replay a.csv b.gz --format csv --output - --category linear --symbols A --closed-only --open first-trade",
        "klines replay a.csv --format csv --header --columns start,close,quality --decimals scale --output b.csv --force",
        "klines verify a.jsonl.gz --json",
        "klines simulate --listen 127.0.0.1:0 --seed 3 --symbols 900 --speed 2.5 --refuse A --refuse B --script s --for 5s",
        "klines simulate --recording a.gz --times kept --category spot",
        "klines history BTCUSDT",
        "klines history spot:BTCUSDT 1h --from 2024-01-01 --to 2024-01-31T12:00:00+01:00 --format csv --data-dir d",
        "klines history BTCUSD 1s --category inverse --from 1704067200000 --last 5000 --format ndjson",
        "klines history BTCUSDT 1D --format chart --config k.toml --env-file k.env",
        "klines store info --json --data-dir d",
        "klines store backup copy.db",
        "klines store verify --json",
        "klines keygen --json",
        "klines tls self-signed --host example.com --host 192.0.2.1 --host ::1 --output certificates --force --json",
        "klines config show --json",
        "klines completions zsh",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn a_list_with_spaces_is_explained() {
    for (line, tip) in [
        ("klines run --symbols BTCUSDT ETHUSDT", "--symbols BTCUSDT,ETHUSDT"),
        ("klines check --intervals 1m,5m 1h --json", "--intervals 1m,5m,1h"),
        ("klines replay a.csv --consumers console jsonl", ""),
        ("klines run --for 3s ETHUSDT", ""),
    ] {
        let shown = parse(line).err().map(|error| error.to_string()).unwrap_or_default();
        let expected = format!("tip: commas separate the items of a list: {tip}");
        assert_eq!(shown.contains(&expected), !tip.is_empty(), "{line}: {shown}");
    }
}

#[test]
fn usage_errors_exit_with_2() {
    for line in [
        "klines run --for soon",
        "klines replay",
        "klines replay a --header",
        "klines replay a --columns start",
        "klines replay a --format csv --force",
        "klines replay a --format ndjson --columns start",
        "klines replay a --format bybit --header",
        "klines replay a --format ndjson --decimals scale",
        "klines verify",
        "klines ruN",
        "klines simulate --speed=0",
        "klines run --demo --testnet",
        "klines history",
        "klines history BTCUSDT 7m",
        "klines history BTCUSDT --last 0",
        "klines history spot:BTCUSDT --category linear",
        "klines history BTCUSDT --from 2024-02-01 --to 2024-01-31",
        "klines store",
        "klines store backup",
        "klines tls",
        "klines tls self-signed --host https://example.com",
        "klines tls self-signed --host=",
    ] {
        assert_eq!(parse(line).unwrap_err().exit_code(), i32::from(EXIT_USAGE), "{line}");
    }
}

#[test]
fn a_duration_without_a_unit_suggests_seconds() {
    for command in ["run", "simulate", "consumer test --live"] {
        let error = parse(&format!("klines {command} --for 20")).unwrap_err().to_string();
        let expected = "invalid value '20' for '--for <DURATION>': the unit is missing: did you mean `20s`?";
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_wrong_column_is_refused_with_the_names_of_all_columns() {
    let refusal = |columns: &str| {
        let error = parse(&format!("klines replay a --format csv --columns {columns}")).unwrap_err();
        error.to_string().lines().next().unwrap().to_owned()
    };
    let all = "category, symbol, interval, start, end, open, high, low, close, volume, turnover, buy_volume, \
               buy_turnover, price_decimals, volume_decimals, trades, last_trade_time, confirm, revision, quality, \
               sequence, emitted";
    let invalid = |columns: &str| format!("error: invalid value '{columns}' for '--columns <COLUMNS>': ");
    assert_eq!(
        refusal("start,volum"),
        format!("{}`volum` is not a column (did you mean `volume`?); the columns are {all}", invalid("start,volum"))
    );
    assert_eq!(
        refusal("start,,close"),
        format!("{}`` is not a column; the columns are {all}", invalid("start,,close"))
    );
    assert_eq!(
        refusal("start,close,start"),
        format!("{}`start` is named twice; the columns are {all}", invalid("start,close,start"))
    );
    let error = parse("klines replay a --format ndjson --columns start").unwrap_err().to_string();
    assert!(
        error.starts_with("error: --columns is for --format csv or parquet: the other formats have fixed fields"),
        "{error}"
    );
}

#[test]
fn parquet_has_columns_and_no_form_of_text() {
    let parsed = |flags: &str| parse(&format!("klines replay a --format parquet --output a.parquet {flags}"));
    if cfg!(not(feature = "parquet")) {
        let error = parsed("").unwrap_err().to_string();
        assert!(error.starts_with("error: this build has no parquet: it was built without the feature"), "{error}");
        return;
    }
    assert!(parsed("--columns start,close --closed-only --force").is_ok());
    for flag in ["--header", "--decimals scale"] {
        let error = parsed(flag).unwrap_err().to_string();
        assert!(error.contains(" is for --format csv: a Parquet file has the names and the scales of"), "{error}");
    }
}

#[test]
fn values_have_the_format_of_the_extension() {
    let parsed = |flags: &str| parse(&format!("klines replay a {flags}"));
    for (name, format) in
        [("v.csv", ValueFormat::Csv), ("v.ndjson", ValueFormat::Ndjson), ("v.jsonl", ValueFormat::Ndjson)]
    {
        let Command::Replay(replay) = parsed(&format!("--values {name} --force")).unwrap().command else { panic!() };
        assert_eq!(replay.values, Some(ValuePath { path: name.into(), format }));
    }
    for (flags, expected) in [
        (
            "--values v.txt",
            "error: invalid value 'v.txt' for '--values <FILE>': the format is that of the file's extension",
        ),
        (
            "--values v.csv --format csv",
            "error: with --format, no consumer receives klines and publishes --values: replay",
        ),
        ("--format csv --force", "error: --force is for a file that --output or --values names"),
    ] {
        let error = parsed(flags).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn no_secret_has_a_flag() {
    let mut command = Cli::command();
    command.build();
    let mut commands: Vec<&clap::Command> = vec![&command];
    while let Some(command) = commands.pop() {
        for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
            // These name files, or are switches.
            let is_file = ["allow-unsigned", "key", "minisign", "password-file"].contains(&flag);
            assert!(is_file || !klines_domain::secret::is_secret_name(flag), "--{flag}");
        }
        commands.extend(command.get_subcommands());
    }
}

#[test]
fn completions_name_every_command() {
    let mut script = Vec::new();
    completions(Shell::Bash, &mut script);
    let script = String::from_utf8(script).unwrap();
    for command in
        ["run", "check", "replay", "verify", "history", "store", "simulate", "keygen", "tls", "config", "completions"]
    {
        assert!(script.contains(&format!("klines__subcmd__{command}")), "{command}");
    }
}

/// Returns the arguments of `klines history` with these flags.
fn history(flags: &str) -> HistoryArgs {
    let Command::History(history) = parse(&format!("klines history {flags}")).unwrap().command else { panic!() };
    history
}

#[test]
fn history_reads_the_last_klines_of_a_minute_unless_a_flag_says_otherwise() {
    let series = |flags: &str| {
        let series = history(flags).series();
        format!("{}:{} {}", series.category, series.symbol, series.interval)
    };
    assert_eq!(series("BTCUSDT"), "linear:BTCUSDT 1m");
    assert_eq!(series("BTCUSD 60 --category inverse"), "inverse:BTCUSD 1h");
    assert_eq!(series("spot:BTCUSDT 1M --category spot"), "spot:BTCUSDT 1M");
    for (flags, limit) in [
        ("", Some(100)),
        ("--last 5000", Some(5_000)),
        ("--from 2024-01-01", None),
        ("--to 2024-01-01", None),
        ("--from 2024-01-01 --last 3", Some(3)),
    ] {
        assert_eq!(history(&format!("BTCUSDT {flags}")).limit(), limit, "{flags}");
    }
    assert_eq!(history("BTCUSDT").format, HistoryFormat::Table);
}

#[test]
fn a_time_is_a_date_or_rfc_3339_or_milliseconds() {
    for (text, from, to) in [
        ("2024-01-01", 1_704_067_200_000, 1_704_153_599_999),
        ("2024-01-01T00:00:00Z", 1_704_067_200_000, 1_704_067_200_000),
        ("2024-01-01T01:30:00.25+01:00", 1_704_069_000_250, 1_704_069_000_250),
        ("2024-01-01T00:01", 1_704_067_260_000, 1_704_067_260_000),
        ("1704067200000", 1_704_067_200_000, 1_704_067_200_000),
        ("0", 0, 0),
    ] {
        assert_eq!(history(&format!("BTCUSDT --from {text}")).from, Some(from), "{text}");
        assert_eq!(history(&format!("BTCUSDT --to {text}")).to, Some(to), "{text}");
    }
    let refusal = |flags: &str| parse(&format!("klines history {flags}")).unwrap_err().to_string();
    for (flags, expected) in [
        ("BTCUSDT --from 1704067200", "(ms since 1970): did you mean `1704067200000`?"),
        ("BTCUSDT --from 2024", "did you mean `2024-01-01`?"),
        ("BTCUSDT --from yesterday", "expected a time such as 2024-01-31, 2024-01-31T12:00:00Z or"),
        ("BTCUSDT --from 2024-13-01", "expected a time such as"),
        ("BTCUSDT --to 31.01.2024", "expected a time such as"),
        ("BTCUSDT 1d", "did you mean `1D`?"),
        ("btcusdt", "did you mean `BTCUSDT`?"),
        ("BTCUSDT --category sport", "did you mean `spot`?"),
        ("BTCUSDT --from 2024-01-02 --to 2024-01-01", "error: --from is later than --to"),
        ("spot:BTCUSDT --category linear", "error: the symbol is one of spot, and --category is linear"),
    ] {
        let error = refusal(flags);
        assert!(error.contains(expected), "{flags}: {error}");
    }
}
