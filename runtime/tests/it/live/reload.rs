//! The configuration changes while a run goes on: symbols and intervals join and leave, and nothing else notices.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bybit_sim::{Category, Fault, Market, Sim, SimConfig};
use serde_json::Value;
use tempfile::TempDir;

use super::{FEEDS, assert_accounted, demo, pass, times};
use crate::metrics::served;
use crate::support::program::{Ended, Invocation, Said, component, folder, klines};
use crate::support::received::{Received, assert_sound, complete, last_revisions, received};
use crate::support::truth::Truth;
use crate::websocket::peer::Peer;

const KEY: &str = "nOt4-kEy_tHat-aNyone.gu3sses-9f";
const READ: &str = "configuration read again";

/// Returns a configuration with these lines in `[exchange]`; the console prints every closed kline as JSON.
fn toml(exchange: &str) -> String {
    toml_at(exchange, "\"1s\", \"5s\"")
}

fn toml_at(exchange: &str, intervals: &str) -> String {
    format!(
        "[exchange]\n{exchange}\n[klines]\nintervals = [{intervals}]\n\
         [websocket]\nhost = \"127.0.0.1\"\nport = 0\nuser = \"me\"\n\
         [consumers.console.settings]\nshow = \"closed\"\nformat = \"json\"\n"
    )
}

fn home(exchange: &str) -> TempDir {
    folder(&[("klines.toml", &toml(exchange))])
}

/// Replaces the file as a whole, so that no half of it is read.
fn write(home: &TempDir, text: &str) {
    let (new, file) = (home.path().join("new.toml"), home.path().join("klines.toml"));
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, file).unwrap();
}

fn run(home: &TempDir, sim: &Sim) -> Invocation {
    klines(home.path(), "run").at(sim).with("LOG_FORMAT", "json")
}

fn reload(home: &Path) -> Ended {
    klines(home, "reload").run()
}

fn of<'a>(received: &'a [Received], symbol: &'a str) -> impl Iterator<Item = &'a Received> {
    received.iter().filter(move |kline| kline.symbol == symbol)
}

/// Asserts that klines are exact, and that no connection was lost.
#[track_caller]
fn assert_unhindered(said: &Said, sim: &Sim, symbols: &[&str]) -> Vec<Received> {
    let received = received(&said.out);
    assert_sound(&received);
    let mut truth = Truth::default();
    truth.note(sim, Category::Linear, symbols);
    assert!(truth.assert_same(&received) > 0);
    assert_accounted(said, &["linear"]);
    assert_eq!(said.logged("feed ended")[0]["gaps"], 0, "{}", said.err);
    assert_eq!(times(said, "connection lost, reconnecting"), 0, "{}", said.err);
    received
}

/// Returns the newest klines that are not complete, except those of the first two windows of each series: the first one may
/// begin before it is watched, and the second one opens with a price of it.
fn doubtful(received: &[Received]) -> Vec<Received> {
    let newest = last_revisions(received).into_values().flat_map(|klines| klines.into_values().skip(2));
    newest.filter(|kline| !kline.is_complete()).collect()
}

fn enter(address: SocketAddr) -> Peer {
    Peer::connect(address, "/v1/stream", &[("Authorization", &format!("Bearer {KEY}"))]).unwrap()
}

/// Subscribes to a topic. Returns the answer, which pushes of other topics may precede.
#[track_caller]
fn subscribe(client: &mut Peer, topic: &str) -> Value {
    client.say(&format!(r#"{{"op":"subscribe","id":1,"topics":["{topic}"]}}"#));
    loop {
        let text = client.json();
        if text["op"] == "subscribe" {
            return text;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_takes_other_symbols_without_a_gap_for_clients_and_open_klines() {
    let (sim, home) = (demo(141).await, home("symbols = [\"BTCUSDT\", \"SOLUSDT\"]"));
    let run = run(&home, &sim).with("ENABLED_CONSUMERS", "console,websocket").with("WSS_AUTH_KEY", KEY).start();
    let mut client = enter(served(&run, "serving klines"));
    assert_eq!(subscribe(&mut client, "kline.1s.BTCUSDT")["ok"], true);
    let both = |said: &Said| ["BTCUSDT", "SOLUSDT"].iter().all(|name| complete(&said.out, name, "1s") >= 2);
    run.until("klines", |said| both(said) && times(said, "subscribed") == FEEDS);
    write(&home, &toml("symbols = [\"BTCUSDT\", \"ETHUSDT\"]"));
    run.until("the change", |said| times(said, "symbols changed") == 1);
    let changed = sim.now_ms();
    let before = complete(&run.said().out, "BTCUSDT", "5s");
    run.until("klines afterwards", |said| {
        complete(&said.out, "ETHUSDT", "1s") >= 3 && complete(&said.out, "BTCUSDT", "5s") >= before + 2
    });
    let refused = subscribe(&mut client, "kline.1s.SOLUSDT");
    assert_eq!(refused["error"], "symbol `SOLUSDT` of linear is not watched here", "{refused}");
    assert_eq!(subscribe(&mut client, "kline.1s.ETHUSDT")["ok"], true);
    let said = run.stop().success();
    let line = &said.logged("symbols changed")[0];
    assert_eq!((&line["joined"], &line["left"]), (&"ETHUSDT".into(), &"SOLUSDT".into()), "{line}");
    assert_eq!(said.logged(READ)[0]["outcome"], "applied: exchange.symbols");
    let received = assert_unhindered(&said, &sim, &["BTCUSDT", "ETHUSDT", "SOLUSDT"]);
    // The window in which a symbol leaves is not confirmed.
    assert_eq!(doubtful(&received), [], "{}", said.out);
    let last = of(&received, "SOLUSDT").map(|kline| kline.end).max().unwrap();
    assert!(last <= changed + 1_000, "it has left: {last} is after {changed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_intervals_take_their_place_without_a_gap_for_clients_and_open_klines() {
    let symbols = "symbols = [\"BTCUSDT\"]";
    let (sim, home) = (demo(145).await, folder(&[("klines.toml", &toml_at(symbols, "\"1s\""))]));
    let run = run(&home, &sim).with("ENABLED_CONSUMERS", "console,websocket").with("WSS_AUTH_KEY", KEY).start();
    let mut client = enter(served(&run, "serving klines"));
    assert_eq!(subscribe(&mut client, "kline.1s.BTCUSDT")["ok"], true);
    assert_eq!(subscribe(&mut client, "kline.5s.BTCUSDT")["error"], "interval `5s` is not made here, only 1s");
    run.until("klines", |said| complete(&said.out, "BTCUSDT", "1s") >= 2);
    write(&home, &toml_at(symbols, "\"5s\""));
    run.until("the change", |said| times(said, "intervals changed") == 1);
    assert_eq!(subscribe(&mut client, "kline.1s.BTCUSDT")["error"], "interval `1s` is not made here, only 5s");
    assert_eq!(subscribe(&mut client, "kline.5s.BTCUSDT")["ok"], true);
    run.until("klines of the new one", |said| complete(&said.out, "BTCUSDT", "5s") >= 2);
    let last = |said: &Said, interval: &str| -> Received {
        let received = received(&said.out);
        let own = received.iter().filter(|kline| kline.interval == interval);
        own.max_by_key(|kline| kline.start).unwrap().clone()
    };
    let said = run.said();
    let (short, long) = (last(&said, "1s"), last(&said, "5s"));
    assert!(short.end < long.start, "it is not made any more: {}", said.out);
    write(&home, &toml_at(symbols, "\"1s\", \"5s\""));
    run.until("both", |said| last(said, "1s").start > short.start && last(said, "5s").start > long.start);
    let mut topics = std::collections::BTreeSet::new();
    while topics.len() < 2 {
        topics.extend(client.json()["topic"].as_str().map(str::to_owned));
    }
    let said = run.stop().success();
    assert_eq!(said.logged(READ)[0]["outcome"], "applied: klines.intervals");
    let lines = said.logged("intervals changed");
    let changes = lines.iter().map(|line| (line["added"].as_str().unwrap(), line["removed"].as_str().unwrap()));
    assert_eq!(changes.collect::<Vec<_>>(), [("5s", "1s"), ("1s", "")]);
    let received = assert_unhindered(&said, &sim, &["BTCUSDT"]);
    // An interval that comes back while no shorter one is made begins with a window that is not complete.
    let doubtful = doubtful(&received);
    assert!(doubtful.len() <= 1 && doubtful.iter().all(|kline| kline.interval == "1s"), "{}", said.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_and_a_hangup_without_a_terminal_ask_the_exchange_for_new_symbols() {
    let (sim, home) = (demo(142).await, home("load_all = true"));
    let run = run(&home, &sim).without_terminal().start();
    run.until("klines", |said| complete(&said.out, "BTCUSDT", "1s") >= 1 && times(said, "symbols checked") == 0);
    sim.inject(Fault::List("NEWUSDT".to_owned()));
    let done = reload(home.path());
    assert_eq!((done.code(), done.said.err.trim()), (Some(0), "nothing has changed"));
    run.until("the first one", |said| complete(&said.out, "NEWUSDT", "1s") >= 2);
    sim.inject(Fault::List("OTHERUSDT".to_owned()));
    run.hang_up();
    run.until("the second one", |said| complete(&said.out, "OTHERUSDT", "1s") >= 2);
    let said = run.stop().success();
    assert_unhindered(&said, &sim, &["BTCUSDT", "ETHUSDT", "SOLUSDT", "NEWUSDT", "OTHERUSDT"]);
    assert_eq!(said.logged("symbols changed").len(), 2);
    assert_eq!(said.logged("ending; a second signal ends at once")[0]["signal"], "SIGINT");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_configuration_leaves_the_old_one_and_what_cannot_change_is_named() {
    let (sim, home) = (demo(143).await, home("symbols = [\"BTCUSDT\"]"));
    let run = run(&home, &sim).start();
    run.until("klines", |said| complete(&said.out, "BTCUSDT", "1s") >= 1);
    write(&home, &toml("symbols = [\"BTCUSDT\", \"ethusdt\"]\nfeeds = 9"));
    let refused = reload(home.path());
    assert_eq!(refused.code(), Some(78), "{}", refused.said.err);
    for problem in ["symbols are upper case on Bybit", "klines.toml:2", "1 to 4"] {
        assert!(refused.said.err.contains(problem), "{problem}: {}", refused.said.err);
    }
    run.until("the same in the log", |said| said.err.contains("symbols are upper case on Bybit"));
    std::fs::remove_file(home.path().join("klines.toml")).unwrap();
    let gone = reload(home.path());
    assert_eq!(gone.code(), Some(78), "{}", gone.said.err);
    assert!(gone.said.err.contains("klines.toml was read before and is gone"), "{}", gone.said.err);
    let wanted = "symbols = [\"BTCUSDT\", \"spot:ETHUSDT\", \"SOLUSDT\"]\nfeeds = 1";
    write(&home, &(toml(wanted) + "[metrics]\nlisten = \"127.0.0.1:0\"\n"));
    run.until("the change", |said| times(said, "symbols changed") == 1);
    let again = reload(home.path());
    let pending = "needs a restart: exchange.feeds, metrics.listen, the category spot";
    assert_eq!((again.code(), again.said.err.trim()), (Some(0), pending));
    run.until("klines of the new one", |said| complete(&said.out, "SOLUSDT", "1s") >= 2);
    let before = sim.now_ms();
    pass(&sim, 1_500).await;
    run.until("klines of the old one", |said| {
        of(&received(&said.out), "BTCUSDT").any(|kline| kline.start > before && kline.is_complete())
    });
    let said = run.stop().success();
    let received = assert_unhindered(&said, &sim, &["BTCUSDT", "SOLUSDT"]);
    assert_eq!(of(&received, "ETHUSDT").count(), 0);
    assert_eq!(said.logged("symbols changed")[0]["joined"], "SOLUSDT");
    assert_eq!(said.logged(READ)[0]["outcome"], format!("applied: exchange.symbols; {pending}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_windows_of_a_symbol_that_joins_are_repaired() {
    let text = |symbols: &str| {
        let show = "[consumers.console.settings]\nshow = \"all\"\nformat = \"json\"\n";
        format!("[exchange]\nsymbols = [{symbols}]\n[klines]\nintervals = [\"1m\", \"1h\"]\nrepair = \"1h\"\n{show}")
    };
    let market = Market::demo(144).with_history(Duration::from_secs(600));
    let sim = Sim::start(SimConfig::new(market)).await.unwrap();
    let home = folder(&[("klines.toml", &text("\"BTCUSDT\""))]);
    let run = run(&home, &sim).start();
    let known = |said: &Said, symbol: &str| {
        let received = received(&said.out);
        let newest = of(&received, symbol).filter(|kline| kline.interval == "1h").max_by_key(|kline| kline.start);
        newest.cloned().filter(|kline| ["complete", "repaired"].contains(&kline.quality.as_str()))
    };
    run.until("the hour of the first one", |said| known(said, "BTCUSDT").is_some());
    write(&home, &text("\"BTCUSDT\", \"ETHUSDT\""));
    run.until("the hour of the second one", |said| known(said, "ETHUSDT").is_some());
    let said = run.stop().success();
    let closed: Vec<Received> = received(&said.out).into_iter().filter(|kline| kline.confirm).collect();
    assert_sound(&closed);
    assert_eq!(said.logged("symbols changed")[0]["joined"], "ETHUSDT");
    assert_eq!(times(&said, "connection lost, reconnecting"), 0, "{}", said.err);
}

#[test]
fn a_reload_without_a_run_says_so() {
    let home = folder(&[]);
    let ended = reload(home.path());
    assert_eq!(ended.code(), Some(1));
    assert!(ended.said.err.contains("no klines runs with the data_dir"), "{}", ended.said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_are_added_replaced_and_removed_and_the_others_notice_nothing() {
    let jsonl = |home: &TempDir, prefix: &str| {
        let out = home.path().join("out").display().to_string();
        format!(
            "[consumers.files]\ncomponent = \"jsonl\"\n[consumers.files.allow]\n\
             dirs = [{{ host = \"{out}\", guest = \"/out\", write = true }}]\n\
             [consumers.files.settings]\nprefix = \"{prefix}\"\n"
        )
    };
    let enabled = |names: &str| format!("enabled_consumers = [{names}]\n{}", toml("symbols = [\"BTCUSDT\"]"));
    let (sim, home) = (demo(145).await, folder(&[("klines.toml", &enabled("\"console\""))]));
    let lines = |prefix: &str| {
        // One file a day, whose name begins with the prefix.
        let files =
            std::fs::read_dir(home.path().join("out")).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut own: Vec<_> =
            files.filter(|path| path.file_name().is_some_and(|it| it.to_str().unwrap().starts_with(prefix))).collect();
        own.sort();
        received(&own.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect::<String>())
    };
    let run = run(&home, &sim).start();
    run.until("klines", |said| complete(&said.out, "BTCUSDT", "1s") >= 1);
    write(&home, &(enabled("\"console\", \"files\"") + &jsonl(&home, "first")));
    run.until("the added one", |_| lines("first").len() >= 3);
    write(&home, &(enabled("\"console\", \"files\"") + &jsonl(&home, "second")));
    run.until("the one in its place", |_| lines("second").len() >= 3);
    // Its settings are wrong: nothing of the configuration is taken.
    write(&home, &(enabled("\"console\", \"files\"") + &jsonl(&home, "a/b")));
    let refused = reload(home.path());
    assert_eq!(refused.code(), Some(78), "{}", refused.said.err);
    assert!(refused.said.err.contains("prefix"), "{}", refused.said.err);
    write(&home, &(enabled("\"console\", \"redis\"") + "[redis]\nurl = \"redis://127.0.0.1:1\"\n"));
    let gone = reload(home.path());
    assert!(gone.said.err.contains("the consumer redis"), "{}", gone.said.err);
    let (last, listed) = (lines("second").len(), klines(home.path(), "consumer list").run().said.out);
    assert!(listed.contains("console") && !listed.contains("files"), "{listed}");
    let before = complete(&run.said().out, "BTCUSDT", "1s");
    run.until("klines afterwards", |said| complete(&said.out, "BTCUSDT", "1s") >= before + 2);
    let said = run.stop().success();
    assert_eq!(lines("second").len(), last, "it has ended");
    let printed = assert_unhindered(&said, &sim, &["BTCUSDT"]);
    // What the two wrote is one part of what the console printed, without a loss or a repetition where they meet.
    let key = |kline: &Received| (kline.interval.clone(), kline.start, kline.revision);
    let written: Vec<_> = lines("first").iter().chain(&lines("second")).map(key).collect();
    let all: Vec<_> = printed.iter().map(key).collect();
    assert!(all.windows(written.len()).any(|part| part == written), "{written:?} in {all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_is_not_trusted_joins_a_run_that_began_without_one() {
    let enabled = |names: &str| format!("enabled_consumers = [{names}]\n{}", toml("symbols = [\"BTCUSDT\"]"));
    let (sim, home) = (demo(146).await, folder(&[("klines.toml", &enabled("\"console\""))]));
    let run = run(&home, &sim).start();
    run.until("klines", |said| complete(&said.out, "BTCUSDT", "1s") >= 1);
    let path = component("hostile");
    let own = format!("[consumers.counter]\ncomponent = {path:?}\nsettings.mode = \"count\"\n");
    write(&home, &(enabled("\"console\", \"counter\"") + &own));
    let added = reload(home.path());
    assert_eq!(added.code(), Some(0), "{}", added.said.err);
    assert!(!added.said.err.contains("failed"), "{}", added.said.err);
    let listed = klines(home.path(), "consumer list").run().said.out;
    assert!(listed.contains("counter"), "{listed}");
    run.stop().success();
}
