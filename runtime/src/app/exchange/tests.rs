//! The symbols of a run follow the lists of the exchange, thousands of times as fast as usual.

use bybit_sim::{Fault, Market, Sim, SimConfig};
use klines_bybit::feed::Feed;
use klines_config::Sources;
use klines_delivery::data_dir::DataDir;
use klines_delivery::hub::Hub;
use klines_domain::aggregator::{GapTally, Tally};
use klines_pipeline::Pipeline;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::app::cluster::share::Share;
use crate::app::wiring;

const PACE: Pace =
    Pace { usual: Duration::from_millis(50), apart: Duration::from_millis(100), chosen: Duration::from_millis(150) };

/// A run without consumers.
struct Run {
    observed: Observed,
    choices: Choices,
    cancel: CancellationToken,
    tracker: TaskTracker,
    pipeline: JoinHandle<()>,
    _home: TempDir,
}

impl Run {
    fn start(sim: &Sim, flags: &[(&'static str, &str)]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let own = flags.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let usual = [("--ws-url", sim.ws_url()), ("--rest-url", sim.rest_url()), ("--intervals", "1s".to_owned())];
        let sources = Sources { flags: own.chain(usual).collect(), ..Sources::default() };
        let sources = Sources { folder: home.path().to_owned(), ..sources };
        let config = klines_config::load(sources).unwrap().0;
        let (clock, catalog) = (LocalClock::start(), wiring::catalog(&config));
        let data_dir = DataDir::new(home.path(), config.data_dir_max);
        let observed = Observed::new(&config, Vec::new(), Arc::new(Hub::new()), clock, catalog, data_dir);
        let (choices, cancel) = (Choices::new(wanted(&config), &config.klines.intervals), CancellationToken::new());
        let ExchangeHandle { inbox, categories, answers, tracker } =
            open(&config, &observed, (&choices, &Share::all(), EarlierSymbols::new()), PACE, &cancel).unwrap();
        let pipeline =
            Pipeline::new(categories, answers, clock, observed.hub.clone(), observed.tallies.clone()).run(inbox);
        let pipeline = tokio::spawn(pipeline);
        Self { observed, choices, cancel, tracker, pipeline, _home: home }
    }

    /// Waits until exactly these symbols are watched, and every connection has their topics acknowledged.
    async fn until(&self, names: &[&str]) {
        loop {
            let watched = self.observed.catalog.symbols().remove(0).1;
            let feeds = self.observed.feeds.read();
            let sets: Vec<_> = feeds.iter().flat_map(Feed::sets).collect();
            let covered: usize = sets.iter().filter_map(|set| set.iter().map(|status| status.covered).min()).sum();
            if watched.iter().map(Symbol::as_str).eq(names.iter().copied()) && covered == names.len() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn tally(&self) -> Tally {
        self.observed.tallies.read().first().map(|known| known.tally).unwrap_or_default()
    }

    /// Ends the run. Returns its tally.
    async fn end(self) -> Tally {
        self.cancel.cancel();
        self.tracker.wait().await;
        self.pipeline.await.unwrap();
        self.observed.tallies.read()[0].tally
    }
}

async fn exchange(seed: u64) -> Sim {
    Sim::start(SimConfig::new(Market::demo(seed))).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn listed_symbols_join_and_delisted_ones_leave_and_come_back() {
    let sim = exchange(91).await;
    let run = Run::start(&sim, &[("--load-all", "true")]);
    run.until(&["BTCUSDT", "ETHUSDT", "SOLUSDT"]).await;
    sim.inject(Fault::List("NEWUSDT".to_owned()));
    run.until(&["BTCUSDT", "ETHUSDT", "NEWUSDT", "SOLUSDT"]).await;
    sim.inject(Fault::Delist("SOLUSDT".to_owned()));
    run.until(&["BTCUSDT", "ETHUSDT", "NEWUSDT"]).await;
    sim.inject(Fault::List("SOLUSDT".to_owned()));
    run.until(&["BTCUSDT", "ETHUSDT", "NEWUSDT", "SOLUSDT"]).await;
    let before = run.tally();
    while run.tally().counted < before.counted + 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let tally = run.end().await;
    assert_eq!((tally.rejected, tally.gaps), (0, GapTally::default()), "no connection was lost: {tally:?}");
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_choice_takes_the_place_of_the_old_one_even_where_nothing_was_chosen_before() {
    let sim = exchange(92).await;
    let run = Run::start(&sim, &[("--symbols", "BTCUSDT")]);
    run.until(&["BTCUSDT"]).await;
    let choose = |symbols: SymbolChoice| {
        let linear = CategoryConfig { category: Category::Linear, symbols };
        run.choices.choose(&BybitConfig { categories: vec![linear], ..BybitConfig::default() });
    };
    let listed = |names: &[&str]| SymbolChoice::Listed(names.iter().map(|name| Symbol::new(name).unwrap()).collect());
    choose(listed(&["ETHUSDT", "SOLUSDT"]));
    run.until(&["ETHUSDT", "SOLUSDT"]).await;
    choose(listed(&[]));
    run.until(&[]).await;
    choose(SymbolChoice::All(AllSymbols { limit: Some(2), ..AllSymbols::default() }));
    run.until(&["BTCUSDT", "ETHUSDT"]).await;
    let spot = CategoryConfig { category: Category::Spot, symbols: listed(&["BTCUSDT"]) };
    let both = BybitConfig { categories: vec![spot], ..BybitConfig::default() };
    assert_eq!(run.choices.unknown(&both), [Category::Spot], "a category is opened at the start");
    let tally = run.end().await;
    assert_eq!((tally.rejected, tally.gaps), (0, GapTally::default()), "{tally:?}");
    sim.stop().await;
}
