//! Klines of the past: archives that are downloaded, and what a backfill stores of them and of the REST API.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use bybit_sim::{Activity, Category, Fault, Instrument, Market, RestFault, Sim, SimConfig};
use klines_delivery::encode::{self, CsvColumn};
use klines_delivery::history::{Query, Side};
use klines_store::reader::Reader;
use klines_store::{check, file};
use tempfile::TempDir;

use super::support::program::{Ended, Invocation, folder, klines};

mod against;
mod fetching;

const DAY: i64 = 86_400_000;
/// Keeps all klines of the tests.
const KEEP: &str = "[store.retain]\n\"1s\" = \"1000d\"\n\"1m\" = \"1000d\"\n";

/// Starts an exchange with a symbol in each category and 42 days of history.
async fn exchange(seed: u64) -> Sim {
    let instrument = |category, symbol, price, tick, step| {
        Instrument::new(category, symbol, price, tick, step).unwrap().with_activity(Activity::LIVELY)
    };
    let instruments = vec![
        instrument(Category::Linear, "BTCUSDT", "64250.00", "0.10", "0.001"),
        instrument(Category::Inverse, "BTCUSD", "64250.00", "0.50", "1"),
        instrument(Category::Spot, "ETHUSDT", "1922.50", "0.01", "0.01"),
    ];
    Sim::start(SimConfig::new(Market::seeded(seed, instruments))).await.unwrap()
}

/// Returns the date of the day that is this number of days before today.
fn date(sim: &Sim, ago: i64) -> String {
    let day = (sim.now_ms().div_euclid(DAY) - ago) * DAY;
    jiff::Timestamp::from_millisecond(day).unwrap().strftime("%Y-%m-%d").to_string()
}

fn fetch(home: &Path, sim: &Sim, arguments: &str) -> Invocation {
    klines(home, &format!("fetch {arguments} --url {}", sim.archive_url()))
}

/// Downloads two days of a symbol: that before yesterday, and yesterday. Returns their names.
fn two_days(home: &Path, sim: &Sim, symbol: &str) -> String {
    let said = fetch(home, sim, &format!("{symbol} {} {}", date(sim, 2), date(sim, 1))).run().success();
    said.out.lines().collect::<Vec<_>>().join(" ")
}

fn backfill(home: &Path, sim: &Sim, arguments: &str) -> Invocation {
    klines(home, &format!("backfill {arguments}")).at(sim)
}

/// Returns every stored kline with its revision and quality, and checks the store.
#[track_caller]
fn content(home: &Path) -> BTreeSet<String> {
    let path = file::path_in(&home.join("klines-data"));
    assert_eq!(check::verify(&path).unwrap().faults, Vec::<String>::new());
    let reader = Reader::open(&path).unwrap();
    let mut content = BTreeSet::new();
    for series in reader.series().unwrap() {
        let query = Query { series, from: 0, to: i64::MAX, limit: usize::MAX, side: Side::Oldest };
        for kline in reader.read(&query).unwrap() {
            let mut line = String::new();
            encode::csv(&kline, &CsvColumn::DEFAULT, &mut line);
            content.insert(format!("{} {} {} {}", kline.series.category, line.trim(), kline.quality, kline.revision));
        }
    }
    content
}

/// Returns how many klines are in the blocks of a store that may not exist yet.
fn size(home: &Path) -> u64 {
    let info = check::info(&file::path_in(&home.join("klines-data")));
    info.map_or(0, |info| info.intervals.iter().map(|held| held.klines).sum())
}

#[track_caller]
fn failed(ended: Ended) -> String {
    assert_eq!(ended.code(), Some(1), "{}", ended.said.err);
    ended.said.err
}

fn home() -> TempDir {
    folder(&[("klines.toml", KEEP)])
}

/// Returns the lines without those of klines that are not known well, and without what minutes do not know.
fn comparable(content: &BTreeSet<String>) -> BTreeSet<String> {
    let known = content.iter().filter(|line| line.contains(" complete ") || line.contains(" repaired "));
    known.map(|line| line.rsplit_once(',').unwrap().0.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn backfills_from_archives_and_from_rest_agree() {
    let (sim, archives, rest) = (exchange(91).await, home(), home());
    for symbol in ["BTCUSDT", "inverse:BTCUSD", "spot:ETHUSDT"] {
        let files = two_days(archives.path(), &sim, symbol);
        backfill(archives.path(), &sim, &format!("--intervals 1m,1h,1D --files {files}")).run().success();
    }
    let of_archives = content(archives.path());
    // A window of yesterday is complete; the first one of the day before begins with its first trade.
    let yesterday = of_archives.iter().filter(|line| line.contains(" complete 0")).count();
    assert!(yesterday >= 3 * (2 * 1_440 + 47 + 1) - 6, "{yesterday}");
    let span = format!("--from {} --to {}", date(&sim, 2), date(&sim, 1));
    let symbols = "BTCUSDT inverse:BTCUSD spot:ETHUSDT --intervals 1s,1m,1h,1D";
    let said = backfill(rest.path(), &sim, &format!("{symbols} {span}")).run().success();
    assert!(said.err.contains("1s cannot be composed of minutes"), "{}", said.err);
    let of_rest = content(rest.path());
    assert_eq!(of_rest.len(), 3 * (2 * 1_440 + 48 + 2));
    assert!(of_rest.iter().all(|line| line.contains(" repaired 0")));
    let of_rest = comparable(&of_rest);
    let differing: Vec<_> = comparable(&of_archives).difference(&of_rest).cloned().collect();
    assert_eq!(differing, Vec::<String>::new());
    // Exact klines replace those of REST, and not the other way.
    let files = two_days(rest.path(), &sim, "BTCUSDT");
    let said = backfill(rest.path(), &sim, &format!("--intervals 1m,1h,1D --files {files}")).run().success();
    assert!(said.err.contains("0 klines added, "), "{}", said.err);
    let improved = content(rest.path());
    assert!(improved.iter().filter(|line| line.contains(" complete 1")).count() > 2_900);
    let said = backfill(rest.path(), &sim, &format!("{symbols} {span}")).run().success();
    let count = 3 * (2 * 1_440 + 48 + 2);
    assert_eq!(said.err.lines().last(), Some(&*format!("0 klines added, 0 improved, {count} stored already")));
    assert_eq!(content(rest.path()), improved);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_that_was_interrupted_twice_stores_what_one_in_one_go_does() {
    let (sim, whole, parts) = (exchange(92).await, home(), home());
    let files = two_days(whole.path(), &sim, "BTCUSDT");
    two_days(parts.path(), &sim, "BTCUSDT");
    let from_files = format!("--intervals 1s,1m,1h --files {files}");
    let from_rest = format!("spot:ETHUSDT --intervals 1m,1h,1D,1W --from {} --to {}", date(&sim, 30), date(&sim, 1));
    for arguments in [&from_files, &from_rest] {
        backfill(whole.path(), &sim, arguments).run().success();
        for number in 0..2 {
            let before = size(parts.path());
            let run = backfill(parts.path(), &sim, arguments).start();
            while size(parts.path()) == before {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            run.kill();
            assert!(number > 0 || content(parts.path()).len() < content(whole.path()).len(), "it was not interrupted");
        }
        backfill(parts.path(), &sim, arguments).run().success();
        let (whole, parts) = (content(whole.path()), content(parts.path()));
        assert_eq!(parts.symmetric_difference(&whole).next(), None);
    }
    // Once more changes nothing, and asks for nothing that is stored: only for the time.
    let before = sim.counters().rest_requests;
    backfill(parts.path(), &sim, &from_rest).run().success();
    assert_eq!(sim.counters().rest_requests - before, 1);
    let said = backfill(parts.path(), &sim, &from_files).run().success();
    assert!(said.err.contains("0 klines added, 0 improved, "), "{}", said.err);
    assert_eq!(content(parts.path()), content(whole.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_rest_are_waited_for() {
    let (sim, calm, home) = (exchange(93).await, home(), home());
    let arguments = format!("BTCUSDT --intervals 1m,5m --from {} --to {}", date(&sim, 5), date(&sim, 1));
    backfill(calm.path(), &sim, &arguments).run().success();
    sim.inject(Fault::Rest(RestFault::Limited));
    let run = backfill(home.path(), &sim, &arguments).start();
    run.until("the wait", |said| said.err.contains("rate limit reached") && said.err.contains("waiting 5 s"));
    sim.heal();
    for fault in [RestFault::Failing, RestFault::Truncated, RestFault::Garbage, RestFault::Reset] {
        sim.inject(Fault::Rest(fault).with_chance(15));
    }
    run.end().success();
    assert_eq!(content(home.path()), content(calm.path()));
    sim.heal();
    sim.inject(Fault::Rest(RestFault::Blocked));
    let arguments = format!("spot:ETHUSDT --from {}", date(&sim, 1));
    let said = failed(backfill(home.path(), &sim, &arguments).run());
    assert!(said.contains("a country or a network is not served"), "{said}");
    sim.heal();
    let said = failed(backfill(home.path(), &sim, &format!("NOSUCH --from {}", date(&sim, 1))).run());
    assert!(said.contains("linear NOSUCH") && said.contains("10001"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_klines_are_never_replaced_and_contradictions_are_reported() {
    let (sim, other, home) = (exchange(94).await, exchange(95).await, home());
    let files = two_days(home.path(), &sim, "BTCUSDT");
    backfill(home.path(), &sim, &format!("--intervals 1h --files {files}")).run().success();
    let before = content(home.path());
    let elsewhere = folder(&[]);
    let files = two_days(elsewhere.path(), &other, "BTCUSDT");
    let files: Vec<_> = files.split(' ').map(|file| elsewhere.path().join(file).display().to_string()).collect();
    let said = failed(backfill(home.path(), &sim, &format!("--intervals 1h --files {}", files.join(" "))).run());
    assert!(said.contains("47 contradict stored ones, which stay"), "{said}");
    assert!(said.contains("linear BTCUSDT 1h") && said.contains("volume       stored "), "{said}");
    assert_eq!(content(home.path()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_a_run_writes_is_refused_and_old_klines_are_not_stored() {
    let (sim, home) = (exchange(96).await, folder(&[]));
    let run = klines(home.path(), "run").at(&sim).with("BYBIT_SYMBOLS", "BTCUSDT").with("LOG_FORMAT", "json").start();
    run.until("its store", |said| !said.logged("storing klines").is_empty());
    let said = failed(backfill(home.path(), &sim, &format!("BTCUSDT --from {}", date(&sim, 1))).run());
    assert!(said.contains("klines.db is used by another klines"), "{said}");
    run.stop().success();
    // The default keeps minutes for 30 days.
    let arguments = format!("BTCUSDT --intervals 1m,1h --from {} --to {}", date(&sim, 33), date(&sim, 28));
    let said = backfill(home.path(), &sim, &arguments).run().success();
    assert!(said.err.contains("1m klines that start before "), "{}", said.err);
    let arguments = format!("BTCUSDT --intervals 1m --from {} --to {}", date(&sim, 40), date(&sim, 35));
    let said = failed(backfill(home.path(), &sim, &arguments).run());
    assert!(said.contains("nothing of this time is kept: raise `retain`"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_that_finds_nothing_says_why() {
    let (sim, home) = (exchange(97).await, home());
    let reason = |arguments: &str| -> String {
        let said = failed(backfill(home.path(), &sim, arguments).run());
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[lines.len() - 2], "0 klines added, 0 improved, 0 stored already", "{said}");
        lines[lines.len() - 1].strip_prefix("nothing was found that can be stored: ").expect(&said).to_owned()
    };
    // There is no whole month in a day.
    let said = reason(&format!("BTCUSDT --intervals 1M --from {0} --to {0}", date(&sim, 2)));
    let midnight = format!("ends by {}T00:00:00Z: ask for a longer time", date(&sim, 1));
    assert!(said.contains("no window of the intervals") && said.contains(&midnight), "{said}");
    // The exchange has a history of three months at most.
    let said = reason(&format!("BTCUSDT --intervals 1m --from {0} --to {0}", date(&sim, 120)));
    assert!(said.contains("the exchange lacks minutes of every window of this time"), "{said}");
    let files = two_days(home.path(), &sim, "BTCUSDT");
    let said = reason(&format!("--intervals 1h --from {0} --to {0} --files {files}", date(&sim, 10)));
    assert!(said.contains(&format!("are from {}T", date(&sim, 2))), "{said}");
    assert!(said.ends_with(", outside of --from and --to"), "{said}");
}
