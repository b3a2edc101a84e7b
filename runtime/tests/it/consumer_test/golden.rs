//! Golden files: written on request, deterministic, and a difference names the kline and the command that repeats it.

use std::fs;

use super::{BY_HAND, CROSS_CASE, project, test, without_measurements};

#[test]
fn a_difference_names_the_first_kline_and_the_command_that_repeats_it() {
    let home = project("example", &[("tests/crossing.toml", CROSS_CASE), ("tests/by-hand.ndjson", BY_HAND)]);
    let golden = home.path().join("tests/crossing.golden");
    let ended = test(home.path(), "");
    assert_eq!(ended.code(), Some(1), "{}", ended.said.err);
    assert!(ended.said.out.contains("there is no tests/crossing.golden yet"), "{}", ended.said.out);
    let said = test(home.path(), "--update").success();
    assert!(said.out.contains("tests/crossing.golden: written, "), "{}", said.out);
    let text = fs::read_to_string(&golden).unwrap();
    insta::assert_snapshot!("golden", text);
    assert_eq!(test(home.path(), "").code(), Some(0));
    // Another value.
    fs::write(&golden, text.replace("side=buy", "side=bye")).unwrap();
    let ended = test(home.path(), "");
    assert_eq!(ended.code(), Some(1));
    insta::assert_snapshot!("another_value", without_measurements(&ended.said.out));
    let ended = test(home.path(), "--case crossing --until 4");
    assert_eq!(ended.code(), Some(1));
    insta::assert_snapshot!("until_the_call", without_measurements(&ended.said.out));
    assert_eq!(test(home.path(), "--until 3").code(), Some(0), "the calls before it are the same");
    // A kline for which the consumer did nothing this time.
    let second = "kline BTCUSDT 1m 1970-01-01T00:01:00Z confirmed r0 close=9\n  log info gone\n";
    let third = "kline BTCUSDT 1m 1970-01-01T00:02:00Z";
    let more = text.replace(third, &format!("{second}{third}"));
    fs::write(&golden, &more).unwrap();
    insta::assert_snapshot!("something_is_missing", without_measurements(&test(home.path(), "").said.out));
    let said = test(home.path(), "--update").success();
    insta::assert_snapshot!("what_an_update_changes", without_measurements(&said.out));
    assert_eq!(fs::read_to_string(&golden).unwrap(), text);
}

#[test]
fn two_runs_write_the_same_bytes() {
    let case = "[input]\nmarket = { seed = 11, seconds = 200, symbols = [\"BTCUSDT\", \"ETHUSDT\", \"SOLUSDT\"] }\n\
        intervals = [\"100ms\", \"1s\", \"1m\"]\nbatch = 3\n[expect]\ngolden = \"basic.golden\"\n";
    // More lines than may be logged in a second, which is measured in market time.
    let flood = format!("settings = {{ mode = \"log-flood\" }}\n{}", case.replace("200", "3"));
    for (component, case) in [("example", case.to_owned()), ("hostile", flood)] {
        let home = project(component, &[("tests/basic.toml", &case)]);
        let golden = home.path().join("tests/basic.golden");
        assert_eq!(test(home.path(), "--update").code(), Some(0));
        let first = fs::read(&golden).unwrap();
        assert!(first.len() > 1_000);
        fs::remove_file(&golden).unwrap();
        assert_eq!(test(home.path(), "--update").code(), Some(0));
        assert_eq!(first, fs::read(&golden).unwrap(), "{component}");
        assert_eq!(test(home.path(), "").code(), Some(0), "{component}");
    }
}
