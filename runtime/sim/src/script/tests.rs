//! Tests of the script language.

use super::*;

fn step(at_ms: u64, injection: impl Into<Injection>) -> Step {
    Step { at: Duration::from_millis(at_ms), action: Action::Inject(injection.into()) }
}

fn error(text: &str) -> String {
    Script::parse(text).unwrap_err().to_string()
}

#[test]
fn faults_take_parameters_spans_and_categories() {
    let script = Script::parse(
        "# a bad day\n\
         at 10s drop\n\
         at 15s stall 5s\n\
         at 16s for 2s mute spot   # only there\n\
         at 20s for 10s reorder 50ms\n\
         at 21s duplicate linear\n\
         \n\
         at 22s garbage\n\
         at 22s garbage truncated linear\n\
         at 22s garbage price\n\
         at 23s slow 20ms inverse\n\
         at 24s refuse SOLUSDT\n\
         at 25s delist ETHUSDT linear\n\
         at 26s list ETHUSDT\n\
         at 27s burst 50000\n\
         at 28s halt spot\n\
         at 40s cut 12s\n\
         at 40s for 1s cut spot\n\
         at 1m down 3s linear\n\
         at 2m heal\n",
    )
    .unwrap();
    let seconds = Duration::from_secs;
    assert_eq!(
        script.steps,
        [
            step(10_000, Fault::Drop),
            step(15_000, Fault::Stall.lasting(seconds(5))),
            step(16_000, Fault::Mute.lasting(seconds(2)).on(Category::Spot)),
            step(20_000, Fault::Reorder(Duration::from_millis(50)).lasting(seconds(10))),
            step(21_000, Fault::Duplicate.on(Category::Linear)),
            step(22_000, Fault::Garbage(Garbage::NotJson)),
            step(22_000, Fault::Garbage(Garbage::Truncated).on(Category::Linear)),
            step(22_000, Fault::Garbage(Garbage::BadPrice)),
            step(23_000, Fault::Slow(Duration::from_millis(20)).on(Category::Inverse)),
            step(24_000, Fault::Refuse("SOLUSDT".to_owned())),
            step(25_000, Fault::Delist("ETHUSDT".to_owned()).on(Category::Linear)),
            step(26_000, Fault::List("ETHUSDT".to_owned())),
            step(27_000, Fault::Burst(50_000)),
            step(28_000, Fault::Halt.on(Category::Spot)),
            step(40_000, Fault::Cut.lasting(seconds(12))),
            step(40_000, Fault::Cut.lasting(seconds(1)).on(Category::Spot)),
            step(60_000, Fault::Down.lasting(seconds(3)).on(Category::Linear)),
            Step { at: seconds(120), action: Action::Heal },
        ]
    );
}

#[test]
fn rest_faults_take_parameters_shares_and_spans() {
    let script = Script::parse(
        "\
         at 27s for 3s rest half-list spot\n\
         at 28s rest late 400ms\n\
         at 29s rest missing-trades linear\n\
         at 29s rest high-below-low\n\
         at 29s rest out-of-order\n\
         at 30s for 1m rest limited 33%\n\
         at 30s rest limited 2s 5% spot\n\
         at 31s rest timed-out\n\
         at 31s rest status 502\n\
         at 31s rest reset\n\
         at 31s rest truncated\n\
         at 31s rest garbage 100%\n",
    )
    .unwrap();
    let seconds = Duration::from_secs;
    assert_eq!(
        script.steps,
        [
            step(27_000, Fault::Rest(RestFault::HalfList).lasting(seconds(3)).on(Category::Spot)),
            step(28_000, Fault::Rest(RestFault::Late(Duration::from_millis(400)))),
            step(29_000, Fault::Rest(RestFault::MissingTrades).on(Category::Linear)),
            step(29_000, Fault::Rest(RestFault::HighBelowLow)),
            step(29_000, Fault::Rest(RestFault::OutOfOrder)),
            step(30_000, Fault::Rest(RestFault::Limited).with_chance(33).lasting(seconds(60))),
            step(30_000, Fault::Rest(RestFault::LimitedFor(seconds(2))).with_chance(5).on(Category::Spot)),
            step(31_000, Fault::Rest(RestFault::TimedOut)),
            step(31_000, Fault::Rest(RestFault::Status(502))),
            step(31_000, Fault::Rest(RestFault::Reset)),
            step(31_000, Fault::Rest(RestFault::Truncated)),
            step(31_000, Fault::Rest(RestFault::Garbage)),
        ]
    );
}

#[test]
fn rest_faults_without_parameters_are_one_word() {
    for (word, fault) in [
        ("too-frequent", RestFault::TooFrequent),
        ("blocked", RestFault::Blocked),
        ("failing", RestFault::Failing),
        ("unavailable", RestFault::Unavailable),
        ("silent", RestFault::Silent),
        ("empty-list", RestFault::EmptyList),
    ] {
        let script = Script::parse(&format!("at 1s rest {word}")).unwrap();
        assert_eq!(script.steps, [step(1_000, Fault::Rest(fault))]);
    }
}

#[test]
fn steps_are_carried_out_in_order_of_time() {
    let script = Script::parse("at 2s drop\nat 1s drop spot").unwrap();
    assert_eq!(script.steps, [step(1_000, Fault::Drop.on(Category::Spot)), step(2_000, Fault::Drop)]);
}

#[test]
fn an_error_names_its_line_and_what_is_wrong() {
    assert_eq!(error("at 1s drop\n\nafter 2s drop"), r#"line 3: expected `at TIME`, found "after""#);
    assert_eq!(error("at 5 drop"), r#"line 1: bad time "5": expected a number with ms, s or m, at most 30 days"#);
    assert_eq!(
        error("at 99999m drop"),
        r#"line 1: bad time "99999m": expected a number with ms, s or m, at most 30 days"#
    );
    assert!(error("at 5s explode").starts_with(r#"line 1: unknown fault "explode": expected drop"#));
    assert_eq!(error("at 5s reorder"), "line 1: reorder needs a time");
    assert!(error("at 5s rest spot").starts_with("line 1: rest needs too-frequent, blocked"));
    assert_eq!(error("at 5s rest status 99"), "line 1: rest status needs a number from 400 to 599");
    let share = |found| format!("line 1: bad share {found:?}: expected a whole number from 1 to 100 with %");
    assert_eq!(error("at 5s rest limited 0%"), share("0%"));
    assert_eq!(error("at 5s rest limited 33.3%"), share("33.3%"));
    assert_eq!(error("at 5s drop 33%"), r#"line 1: "33%" does not belong here"#);
    assert_eq!(error("at 5s refuse"), "line 1: refuse needs a symbol");
    assert_eq!(error("at 5s drop moon"), r#"line 1: "moon" does not belong here"#);
    assert_eq!(error("at 5s for 2s drop"), r#"line 1: "for" does not belong here"#);
}

#[test]
fn a_script_can_be_built_in_code() {
    let built = Script::default()
        .with(Duration::from_secs(2), Fault::Drop)
        .with(Duration::from_secs(1), Fault::Mute)
        .with(Duration::from_secs(2), Fault::Stall.lasting(Duration::from_secs(5)));
    assert_eq!(built, Script::parse("at 1s mute\nat 2s drop\nat 2s stall 5s").unwrap());
}
