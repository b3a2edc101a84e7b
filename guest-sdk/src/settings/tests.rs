//! Tests of settings: every problem is listed, with its path and the expected value.

use serde::Deserialize;

use super::parse;
use crate::{Interval, NoSettings, Problem};

#[derive(Debug, PartialEq, Deserialize)]
struct Settings {
    #[serde(default)]
    show: Show,
    #[serde(default)]
    keep_days: u32,
    #[serde(default)]
    gzip: bool,
    dir: String,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    intervals: Vec<Interval>,
    label: Option<String>,
}

#[derive(Debug, PartialEq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Show {
    #[default]
    Closed,
    All,
    Sample(u8),
}

#[derive(Debug, PartialEq, Default, Deserialize)]
struct Limits {
    size: u8,
}

fn problems(json: &str) -> Vec<Problem> {
    let mut problems = parse::<Settings>(json).unwrap_err();
    problems.sort_by(|a, b| a.path.cmp(&b.path));
    problems
}

#[test]
fn good_settings_are_read() {
    let json = r#"{"dir":"/out","show":"all","gzip":true,"limits":{"size":3},"intervals":["1m","60m"],"label":null}"#;
    assert_eq!(
        parse(json),
        Ok(Settings {
            show: Show::All,
            keep_days: 0,
            gzip: true,
            dir: "/out".into(),
            limits: Limits { size: 3 },
            intervals: vec!["1m".parse().unwrap(), "1h".parse().unwrap()],
            label: None,
        })
    );
    assert_eq!(parse::<Settings>(r#"{"dir":"","show":{"sample":4}}"#).unwrap().show, Show::Sample(4));
}

#[test]
fn all_problems_are_listed_at_once() {
    let json = r#"{"shwo":"all","show":"clsed","keep_days":-1,"gzip":"yes","limits":{"size":300,"depth":1},
                   "intervals":["1m","1d","5x"],"label":7}"#;
    let interval = "an interval such as 100ms, 1s, 1m, 4h, 1D, 1W or 1M";
    assert_eq!(
        problems(json),
        [
            Problem::new("dir", "is missing", "a value"),
            Problem::new("gzip", "is \"yes\"", "true or false"),
            Problem::new("intervals.1", "is \"1d\"", interval),
            Problem::new("intervals.2", "is \"5x\"", interval),
            Problem::new("keep_days", "is -1", "a whole number from 0 to 4294967295"),
            Problem::new("label", "is 7", "a string"),
            Problem::new("limits.depth", "is not a known key", "size"),
            Problem::new("limits.size", "is 300", "a whole number from 0 to 255"),
            Problem::new("show", "is \"clsed\", did you mean closed?", "closed, all or sample"),
            Problem::new(
                "shwo",
                "is not a known key, did you mean show?",
                "show, keep_days, gzip, dir, limits, intervals or label"
            ),
        ]
    );
}

#[test]
fn a_required_value_that_is_wrong_is_not_also_missing() {
    assert_eq!(problems(r#"{"dir":1}"#), [Problem::new("dir", "is 1", "a string")]);
    assert_eq!(
        problems(r#"{"dir":"","limits":{"size":"big"}}"#),
        [Problem::new("limits.size", "is \"big\"", "a whole number from 0 to 255")]
    );
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_as_a_whole() {
    assert_eq!(problems("3"), [Problem::new("", "is a number", "a table")]);
    assert_eq!(problems(r#"{"dir":"","show":5}"#), [Problem::new("show", "is a number", "a string")]);
    let broken = problems("{");
    assert_eq!((broken.len(), broken[0].expected.as_str()), (1, "a JSON object"));
}

#[test]
fn a_consumer_without_settings_refuses_every_key() {
    assert_eq!(parse("{}"), Ok(NoSettings {}));
    assert_eq!(parse::<NoSettings>(r#"{"show":1}"#), Err(vec![Problem::new("show", "is not a known key", "no keys")]));
}
