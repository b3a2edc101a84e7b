//! Gaps are repaired with what the exchange still knows: klines of an outage and of the start become complete afterwards.
//! The exchange's own klines and trades decide what is right.

#![expect(clippy::float_cmp, reason = "seconds that are sums of whole milliseconds, and counts")]

use std::collections::BTreeMap;
use std::time::Duration;

use bybit_sim::{Activity, Category, Fault, Instrument, Market, Sim, SimConfig, SimKline, SimTrade};

use super::{DEMO, UNREPAIRED, assert_accounted, demo, each_complete, pass, run_at, times};
use crate::metrics::{ANYWHERE, health, page, served};
use crate::support::oracle::SLACK;
use crate::support::program::{Said, folder};
use crate::support::received::{Received, assert_sound, complete, last_revisions, received};
use crate::support::truth::{Truth, Values, inside, units};

/// Lets the console print every closed kline as JSON, and gaps are repaired.
const REPAIRING: &str = "\
[klines]
repair = \"1h\"

[consumers.console.settings]
show = \"closed\"
format = \"json\"
";

/// The same, open ones too.
const OPEN_TOO: &str = "[klines]\nrepair = \"24h\"\n[consumers.console.settings]\nshow = \"all\"\nformat = \"json\"\n";
/// The intervals of the first windows, with Bybit's codes.
const INTERVALS: [(&str, &str); 4] = [("1m", "1"), ("3m", "3"), ("1h", "60"), ("1D", "D")];

/// Starts an exchange that has traded for some minutes, and has klines from before that.
async fn exchange(seed: u64, activity: Activity, journal: bool) -> Sim {
    let one = |category, symbol, price, tick, step| {
        Instrument::new(category, symbol, price, tick, step).unwrap().with_activity(activity)
    };
    let instruments = vec![
        one(Category::Linear, "BTCUSDT", "64250.00", "0.10", "0.001"),
        one(Category::Spot, "ETHUSDT", "1921.00", "0.01", "0.001"),
        one(Category::Inverse, "BTCUSD", "64251.00", "0.50", "1"),
    ];
    let market = Market::seeded(seed, instruments).with_history(Duration::from_secs(600));
    Sim::start(SimConfig { journal, ..SimConfig::new(market) }).await.unwrap()
}

/// Returns the newest kline of each series, of the newest window.
fn newest(said: &Said) -> Vec<Received> {
    last_revisions(&received(&said.out)).into_values().filter_map(|mut klines| Some(klines.pop_last()?.1)).collect()
}

/// Returns whether a kline is the exchange's own one.
fn is_same(kline: &Received, truth: &SimKline) -> bool {
    let of_truth = [&truth.open, &truth.high, &truth.low, &truth.close, &truth.volume, &truth.turnover];
    let of_kline = [&kline.open, &kline.high, &kline.low, &kline.close, &kline.volume, &kline.turnover];
    (kline.start, kline.end) == (truth.start, truth.end) && of_kline == of_truth
}

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

/// The connection and the other topics are alive: only the recent trades show that one topic is dead. That takes half a
/// minute of silence.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_brings_nothing_is_subscribed_to_again_and_its_klines_become_complete() {
    let (sim, home) = (demo(72).await, folder(&[("klines.toml", REPAIRING)]));
    let run = run_at(&home, &sim, "BTCUSDT,ETHUSDT,SOLUSDT", "1s,5s").with_one_feed().start();
    run.until("klines", |said| each_complete(said, "1s", 2));
    sim.inject(Fault::DeadTopic("ETHUSDT".to_owned()));
    let from = sim.now_ms();
    let message = "symbols have traded and their topics brought nothing, subscribing again";
    run.until("it notices", |said| times(said, message) > 0);
    let to = sim.now_ms();
    assert!(to - from > 20_000, "a symbol is quiet for 30 s before it is asked about");
    // Flat klines were called complete, and are corrected in order of time. The recent trades of a busy symbol reach back for about as
    // long as the silence lasts: the first seconds can stay unknown, the last ones are certain.
    let dead = ("linear".to_owned(), "ETHUSDT".to_owned(), "1s".to_owned());
    let are_corrected = |said: &Said| {
        let newest = last_revisions(&received(&said.out));
        let klines: Vec<_> =
            newest.get(&dead).unwrap().range(to - 12_000..to - 2_000).map(|(_, kline)| kline).collect();
        let traded = klines.iter().filter(|kline| kline.trades > 0 && kline.revision > 0).count();
        // One second in two hundred has no trade.
        klines.iter().all(|kline| kline.is_complete()) && traded >= 7
    };
    run.until("what was missed", are_corrected);
    assert!(sim.counters().unsubscribes > 0);
    assert_true(&run.stop().success(), &sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_windows_become_those_of_the_exchange() {
    let (sim, home) = (exchange(201, Activity::CALM, false).await, folder(&[("klines.toml", OPEN_TOO)]));
    let intervals = INTERVALS.map(|(interval, _)| interval).join(",");
    let run = run_at(&home, &sim, "BTCUSDT,spot:ETHUSDT,inverse:BTCUSD", &intervals);
    let run = run.with("METRICS_LISTEN", ANYWHERE).start();
    let address = served(&run, "serving metrics");
    let mut right = Vec::new();
    // Each window is compared at a moment at which it has every trade. Windows of a minute may be over before.
    run.until("the first windows", |said| {
        for kline in newest(said) {
            let (category, code) = (Category::parse(&kline.category).unwrap(), INTERVALS.iter());
            let code = code.clone().find(|(interval, _)| *interval == kline.interval).unwrap().1;
            let is_known = ["complete", "repaired"].contains(&kline.quality.as_str());
            let truth = sim.klines(category, &kline.symbol, code);
            if is_known && truth.last().is_some_and(|truth| is_same(&kline, truth)) && !right.contains(&kline.series())
            {
                right.push(kline.series());
            }
        }
        right.len() == 3 * INTERVALS.len()
    });
    run.until("the last log line of each category", |said| times(said, "first windows known") == 3);
    let (status, ready) = health(address, "/readyz");
    assert_eq!(status, 200);
    for feed in 0..3 {
        assert_eq!((&ready["feeds"][feed]["seeded"], &ready["feeds"][feed]["symbols"]), (&1.into(), &1.into()));
    }
    let said = run.stop().success();
    let days = newest(&said).into_iter().filter(|kline| kline.interval == "1D");
    assert_eq!(days.filter(|kline| kline.quality == "repaired").count(), 3, "no feed brought the trades of the day");
    assert_accounted(&said, &["linear", "spot", "inverse"]);
}

/// Returns the kline that follows from the tape, which has a trade before it.
fn of_tape(tape: &[SimTrade], kline: &Received, category: Category) -> Values {
    let trades: Vec<&SimTrade> = inside(tape, kline.start, kline.end).collect();
    let before = tape.partition_point(|trade| trade.time < kline.start);
    Values::new(category, &trades, units(&tape[before - 1].price))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_of_the_only_feed_leaves_no_gap_that_recent_trades_reach() {
    let (sim, home) = (exchange(202, Activity::LIVELY, true).await, folder(&[("klines.toml", REPAIRING)]));
    let run = run_at(&home, &sim, "BTCUSDT", "1s,5s").with_one_feed();
    let run = run.with("METRICS_LISTEN", ANYWHERE).start();
    let address = served(&run, "serving metrics");
    run.until("klines", |said| complete(&said.out, "BTCUSDT", "1s") >= 3);
    sim.inject(Fault::Cut);
    run.until("it notices", |said| times(said, "connection lost, reconnecting") == 1);
    let from = sim.now_ms() - SLACK;
    pass(&sim, 4_000).await;
    sim.heal();
    run.until("it is back", |said| times(said, "subscribed") == 2);
    let to = sim.now_ms();
    let known = |said: &Said| -> Vec<Received> {
        let klines = last_revisions(&received(&said.out)).into_values().flat_map(BTreeMap::into_values);
        klines.filter(|kline| kline.start <= to && from <= kline.end).collect()
    };
    let ends = |klines: &[Received], interval: &str| klines.iter().any(|it| it.interval == interval && it.end >= to);
    run.until("the windows of the cut", |said| {
        let klines = known(said);
        ends(&klines, "1s") && ends(&klines, "5s") && klines.iter().all(Received::is_complete)
    });
    let linear = ("category", "linear");
    let gap = |outcome| page(address).value("klines_gap_seconds_total", &[linear, ("outcome", outcome)]);
    // Where the start of coverage was corrected by some milliseconds, these stay pending.
    run.until("the metrics", |_| page(address).value("klines_gap_pending_seconds", &[linear]) < 0.1);
    assert!(gap("repaired") >= 4.0, "{}", gap("repaired"));
    assert_eq!(gap("unknown"), 0.0);
    let metrics = page(address);
    assert!(metrics.value("klines_repair_requests_total", &[linear]) >= 2.0);
    assert!(metrics.value("klines_repair_symbols_seeded", &[linear]) <= 1.0);
    let said = run.stop().success();
    assert_sound(&received(&said.out));
    let tape = sim.trades(Category::Linear, "BTCUSDT");
    let (klines, mut seconds) = (known(&said), 0);
    for kline in klines {
        assert_eq!(Values::of(&kline), of_tape(&tape, &kline, Category::Linear), "{kline:?}");
        seconds += usize::from(kline.interval == "1s");
    }
    let expected = usize::try_from((to - from) / 1_000).unwrap();
    assert!((expected..=expected + 2).contains(&seconds), "{seconds} of {expected}: none is missing");
    assert_accounted(&said, &["linear"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_repair_nothing_is_asked_and_gaps_stay() {
    let (sim, home) = (exchange(203, Activity::LIVELY, true).await, folder(&[("klines.toml", UNREPAIRED)]));
    let run = run_at(&home, &sim, "BTCUSDT", "1s").with_one_feed();
    let run = run.with("METRICS_LISTEN", ANYWHERE).start();
    let address = served(&run, "serving metrics");
    run.until("klines", |said| complete(&said.out, "BTCUSDT", "1s") >= 3);
    sim.inject(Fault::Drop);
    run.until("it is back", |said| times(said, "subscribed") == 2);
    let before = complete(&run.said().out, "BTCUSDT", "1s");
    run.until("klines go on", |said| complete(&said.out, "BTCUSDT", "1s") >= before + 5);
    // The list of instruments is asked for once, to check the symbols.
    assert!(sim.counters().rest_requests <= 1, "{}", sim.counters().rest_requests);
    let (metrics, linear) = (page(address), ("category", "linear"));
    assert!(metrics.value("klines_gap_seconds_total", &[linear, ("outcome", "unknown")]) > 0.0);
    assert_eq!(metrics.value("klines_gap_seconds_total", &[linear, ("outcome", "repaired")]), 0.0);
    assert_eq!(metrics.value("klines_gap_pending_seconds", &[linear]), 0.0);
    assert_eq!(metrics.get("klines_repair_requests_total", &[linear]), None);
    assert_eq!(health(address, "/readyz").1["feeds"][0]["seeded"], serde_json::Value::Null);
    let said = run.stop().success();
    assert!(received(&said.out).iter().any(|kline| kline.quality == "gapped"));
    assert_eq!(times(&said, "first windows known"), 0);
}
