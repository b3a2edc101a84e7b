//! Gaps are repaired with what the exchange still knows: klines of an outage and of the start become complete afterwards.

use bybit_sim::{Category, Fault, Sim};

use super::{DEMO, assert_accounted, demo, each_complete, pass, run_at, times};
use crate::support::program::{Said, folder};
use crate::support::received::{assert_sound, last_revisions, received};
use crate::support::truth::Truth;

const REPAIRING: &str = "\
[klines]
repair = \"1h\"

[consumers.console.settings]
show = \"closed\"
format = \"json\"
";

/// Returns whether the newest revisions of all windows of 1 s and 5 s between two moments are complete, for each symbol.
fn is_known(said: &Said, from: i64, to: i64) -> bool {
    let newest = last_revisions(&received(&said.out));
    DEMO.iter().all(|symbol| {
        [("1s", 1_000), ("5s", 5_000)].iter().all(|(interval, length)| {
            let series = newest.get(&("linear".to_owned(), (*symbol).to_owned(), (*interval).to_owned()));
            let is_complete = |start| series.and_then(|klines| klines.get(&start)).is_some_and(|it| it.is_complete());
            (from - from % length..=to).step_by(usize::try_from(*length).unwrap()).all(is_complete)
        })
    })
}

#[track_caller]
fn assert_true(said: &Said, sim: &Sim) {
    let klines = received(&said.out);
    assert_sound(&klines);
    assert_accounted(said, &["linear"]);
    let mut truth = Truth::default();
    truth.note(sim, Category::Linear, &DEMO);
    assert!(truth.assert_same(&klines) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn klines_of_an_outage_and_of_the_start_become_complete() {
    let (sim, home) = (demo(71).await, folder(&[("klines.toml", REPAIRING)]));
    let run = run_at(&home, &sim, "BTCUSDT,ETHUSDT,SOLUSDT", "1s,5s").with_one_feed().start();
    run.until("the feed", |said| times(said, "subscribed") == 1);
    let started = sim.now_ms();
    run.until("the first windows", |said| is_known(said, started, started + 1_000));
    run.until("klines", |said| each_complete(said, "1s", 2));
    sim.inject(Fault::Cut);
    run.until("it notices", |said| times(said, "connection lost, reconnecting") == 1);
    let from = sim.now_ms();
    pass(&sim, 2_500).await;
    let to = sim.now_ms();
    sim.heal();
    run.until("what was missed", |said| is_known(said, from, to));
    assert_true(&run.stop().success(), &sim);
}
