//! Tests of `[store]`: what is read, what is refused, and how it is shown.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use klines_domain::time::{DAY, HOUR, Millis};

use super::*;
use crate::document::Document;
use crate::layers::Layers;
use crate::loader::Setting;
use crate::place::SourceFile;
use crate::report::Report;

/// Reads `[store]` of a file and of variables.
fn read(text: &str, variables: &[(&str, &str)]) -> (Store, Report, Vec<Setting>) {
    let mut report = Report::default();
    let file = SourceFile { name: "klines.toml".to_owned(), text: text.to_owned() };
    let document = Some(Arc::new(Document::parse(file, &mut report)));
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let layers = Layers::of_file(document, variables.collect::<BTreeMap<_, _>>(), PathBuf::new(), None);
    let mut loader = Loader::new(&layers, report);
    let mut top = loader.top();
    let mut section = loader.section(&mut top, "store");
    let store = Store::read(&mut loader, &mut section);
    loader.finish(section);
    loader.finish(top);
    loader.report_unknown();
    (store, loader.report, loader.settings)
}

#[track_caller]
fn accepted(text: &str, variables: &[(&str, &str)]) -> Store {
    let (store, report, _) = read(text, variables);
    assert!(report.is_empty(), "{}", report.render(false, 100));
    store
}

/// Returns for how long klines of an interval are kept.
fn kept(store: &Store, interval: &str) -> Option<Millis> {
    store.retain.of(interval.parse().unwrap())
}

#[test]
fn short_intervals_are_kept_for_hours_minutes_for_a_month_and_longer_ones_forever() {
    let store = accepted("", &[]);
    assert_eq!(store, Store::default());
    assert_eq!((store.enabled, store.max_size), (true, 8 << 30));
    for (interval, time) in [
        ("100ms", Some(6 * HOUR)),
        ("30s", Some(6 * HOUR)),
        ("1m", Some(30 * DAY)),
        ("3m", None),
        ("1h", None),
        ("1D", None),
        ("1W", None),
        ("1M", None),
    ] {
        assert_eq!(kept(&store, interval), time, "{interval}");
    }
}

#[test]
fn an_interval_that_is_named_takes_precedence_and_the_other_defaults_stay() {
    let text = "[store]\nretain = { \"1s\" = \"7d\", \"<1m\" = \"2h\", \"1D\" = \"365d\", \"5s\" = \"forever\" }\n";
    let store = accepted(text, &[]);
    let times = ["1s", "500ms", "5s", "1m", "1D", "1h"].map(|interval| kept(&store, interval));
    assert_eq!(times, [Some(7 * DAY), Some(2 * HOUR), None, Some(30 * DAY), Some(365 * DAY), None]);
    let forever = accepted("[store.retain]\n\"<1m\" = \"forever\"\n60s = \"forever\"\n1h = \"1h\"\n", &[]);
    assert_eq!(["1s", "1m", "1h"].map(|interval| kept(&forever, interval)), [None, None, Some(HOUR)]);
}

#[test]
fn variables_set_the_switch_and_the_size() {
    let store =
        accepted("[store]\nenabled = true\nmax_size = \"1GiB\"\n", &[("STORE", "off"), ("STORE_MAX_SIZE", "64MiB")]);
    assert_eq!((store.enabled, store.max_size), (false, 64 << 20));
}

#[test]
fn every_time_is_shown_with_its_place() {
    let shown = |text: &str| {
        let (_, _, settings) = read(text, &[]);
        let lines = settings.iter().map(|Setting { key, value, place, .. }| format!("{key} {value} {place}"));
        lines.collect::<Vec<_>>()
    };
    assert_eq!(
        shown(""),
        ["store.enabled true default", "store.max_size 8GiB default", "store.retain <1m=6h,1m=30d default"]
    );
    assert_eq!(
        shown("[store]\nenabled = false\n[store.retain]\n1D = \"365d\"\n\"1s\" = \"FOREVER\"\n"),
        [
            "store.enabled false klines.toml:2:11",
            "store.max_size 8GiB default",
            "store.retain <1m=6h,1s=forever,1m=30d,1D=365d klines.toml:3:8"
        ]
    );
}

#[test]
fn every_mistake_names_the_key_the_place_and_the_fix() {
    let text = "\
[store]
enabled = \"maybe\"
max_size = \"63MiB\"
max_sise = 1

[store.retain]
1m = \"59m\"
1h = 30
1D = \"for ever\"
7m = \"1d\"
1d = \"1d\"
\"<1s\" = \"1d\"
5s = \"1d\"
5000ms = \"2d\"
";
    let (store, report, _) = read(text, &[("STORE_MAX_SIZE", "8")]);
    assert_eq!(kept(&store, "1m"), Some(30 * DAY), "the default takes the place of a wrong value");
    let found: Vec<[String; 4]> = report
        .sorted()
        .into_iter()
        .map(|found| {
            let nearest = found.nearest.clone().unwrap_or_default();
            [found.place.to_string(), found.message.clone(), found.expected.clone(), nearest]
        })
        .collect();
    let keys = "an interval such as 1s, 5m or 1D, or \"<1m\" for all intervals shorter than a minute";
    let kept = "a duration of 1h or more, such as 6h or 30d, or \"forever\"";
    let form = "not an interval: write a number and one of ms s m h D W M, such as 1m, or one of Bybit's codes";
    let unknown = |key: &str, error: &str| format!("unknown key `{key}` in [store.retain]: {error}");
    let uneven = unknown("7m", "does not divide a day; the only longer intervals are 1W and 1M");
    let (day, second) = (unknown("1d", form), unknown("<1s", form));
    let size = "64MiB or more; `enabled = false` stores nothing";
    let expected = [
        ["2:11", "`maybe` is not one of the choices", "true or false (also 1 0, yes no, on off)", ""],
        ["3:12", "63MiB is too small for a store", size, ""],
        ["4:1", "unknown key `max_sise` in [store]", "one of enabled, max_size, retain", "max_size"],
        ["7:6", "`store.retain.\"1m\"`: `59m` is too short", "1h or more, or \"forever\"", ""],
        ["8:6", "`30`: the unit is missing", kept, "30d"],
        ["9:6", "`for ever`: not a number with a unit", kept, "forever"],
        ["10:1", &uneven, keys, "5m"],
        ["11:1", &day, keys, "1D"],
        ["12:1", &second, keys, "<1m"],
        ["14:1", "`5000ms` in [store.retain] is 5s, which is set twice", "one key for each interval", ""],
        ["environment STORE_MAX_SIZE", "`8`: the unit is missing", "a size such as 64MiB, 512KiB or 1000B", "8MiB"],
    ];
    let found = found.iter().map(|found| found.each_ref().map(|text| text.trim_start_matches("klines.toml:")));
    assert_eq!(found.collect::<Vec<_>>(), expected);
}

#[test]
fn a_table_is_expected_and_a_section() {
    for (text, message) in [
        ("[store]\nretain = \"30d\"\n", "`store.retain` is a section, not a text"),
        ("store = false\n", "`store` is a section, not true or false"),
    ] {
        let rendered = read(text, &[]).1.render(false, 100);
        assert!(rendered.contains(message), "{rendered}");
    }
}
