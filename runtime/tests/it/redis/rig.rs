//! The Redis consumer and a neighbour behind the real hub, fed with generated klines in sequence.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use klines_delivery::data_dir::DataDir;
use klines_delivery::encode::Extras;
use klines_delivery::hub::Hub;
use klines_delivery::manager::{Manager, Spec, Summary};
use klines_delivery::policy::OnError;
use klines_delivery::queue::{DEFAULT_CAPACITY, Grouping};
use klines_delivery::stats::LossReason;
use klines_delivery::trusted_work::TrustedWork;
use klines_delivery::{Blueprint, Consumer, Delivery, Failure, Next, Problem, Subscription};
use klines_domain::decimal::Decimal;
use klines_domain::interval::Interval;
use klines_domain::kline::{Batch, Kline, Quality};
use klines_domain::series::SeriesId;
use klines_domain::symbol::{Category, Symbol};
use klines_redis::{Address, RedisBlueprint, Settings, SpillSettings, Stream, Tallies, Totals};

use super::server::{Heard, Server, eventually};

const PATIENCE: Duration = Duration::from_secs(60);
/// The symbols that have a kline at each boundary.
pub const SYMBOLS: [&str; 2] = ["BTCUSDT", "ETHUSDT"];

/// Returns a closed linear kline of the `window`-th minute.
pub fn kline(symbol: &str, window: i64) -> Kline {
    let decimal = |text| Decimal::parse(text).unwrap();
    Kline {
        series: SeriesId::new(Category::Linear, Symbol::new(symbol).unwrap(), Interval::MINUTE),
        start: window * 60_000,
        end: window * 60_000 + 59_999,
        open: decimal("16578.5"),
        high: decimal("16580.25"),
        low: decimal("16578"),
        close: decimal("16580"),
        volume: decimal("1.207"),
        turnover: decimal("20011.4375"),
        buy_volume: decimal("0.5"),
        buy_turnover: decimal("8289.25"),
        price_decimals: 2,
        volume_decimals: 3,
        trades: 7,
        last_trade_time: window * 60_000 + 5,
        confirm: true,
        revision: 0,
        quality: Quality::Complete,
        sequence: window.unsigned_abs() + 1,
        emitted: window * 60_000 + 60_080,
    }
}

/// Returns klines as the batch of one boundary.
pub fn batch(klines: impl IntoIterator<Item = Kline>) -> Batch {
    Batch { klines: klines.into_iter().map(Into::into).collect() }
}

/// Returns the settings of a spill in the subfolder `spill` of `folder`.
pub fn spill(folder: &Path, most_bytes: u64) -> SpillSettings {
    SpillSettings { folder: folder.join("spill"), most_bytes, data_dir: DataDir::scratch(folder) }
}

/// Returns settings that publish on `klines`, append to `klines:stream` and spill into the folder.
pub fn settings(url: &str, folder: &Path) -> Settings {
    Settings {
        name: "redis".to_owned(),
        address: Address::new(url, None).unwrap(),
        channel: "klines".to_owned(),
        first: Category::Linear,
        publish: true,
        extras: Extras::default(),
        stream: Some(Stream { name: "klines:stream".to_owned(), max_len: 1_000_000 }),
        last_value: None,
        values: false,
        spill: Some(spill(folder, 16 << 20)),
    }
}

/// The consumers, and the number of windows that were fed to them.
pub struct Rig {
    pub hub: Hub,
    manager: Manager,
    tallies: Tallies,
    /// Whether it publishes, and whether it has a stream.
    outputs: [bool; 2],
    begun: i64,
    fed: i64,
}

impl Rig {
    pub fn start(settings: Settings, folder: &Path) -> Self {
        let outputs = [settings.publish, settings.stream.is_some()];
        let blueprint = RedisBlueprint::new(settings);
        let (tallies, hub) = (blueprint.tallies(), Hub::new());
        let specs = vec![spec("redis", blueprint), spec("neighbour", Neighbour)];
        let manager = Manager::start(specs, &hub, &DataDir::scratch(folder)).unwrap();
        assert!(manager.started(PATIENCE).iter().all(|started| started.result.is_ok()));
        Self { hub, manager, tallies, outputs, begun: 0, fed: 0 }
    }

    /// Begins at a later window than 0, as the run after another one.
    pub fn begin_at(mut self, window: i64) -> Self {
        (self.begun, self.fed) = (window, window);
        self
    }

    /// Publishes the klines of `windows` further windows.
    pub fn feed(&mut self, windows: i64) {
        for window in self.fed..self.fed + windows {
            self.hub.publish(&batch(SYMBOLS.map(|symbol| kline(symbol, window))));
            // A market does not close a thousand windows at once.
            self.hub.wait_for_room();
        }
        self.fed += windows;
    }

    pub fn fed(&self) -> i64 {
        self.fed
    }

    pub fn publish(&self) -> Totals {
        self.tallies.publish.totals()
    }

    pub fn stream(&self) -> Totals {
        self.tallies.stream.totals()
    }

    /// Waits until all klines that were fed or found on disk are acknowledged on every configured output.
    #[track_caller]
    pub fn caught_up(&self) {
        let given = self.given();
        for (is_on, totals) in self.outputs.into_iter().zip([Self::publish, Self::stream]) {
            eventually("all is acknowledged", || {
                let Totals { taken, found, acknowledged, .. } = totals(self);
                !is_on || (taken == given && acknowledged == taken + found)
            });
        }
    }

    /// Returns the number of klines that were fed in this run.
    fn given(&self) -> u64 {
        u64::try_from(self.fed - self.begun).unwrap() * SYMBOLS.len() as u64
    }

    /// Returns the summaries of the consumer and its neighbour so far.
    pub fn summaries(&self) -> [Summary; 2] {
        self.manager.summaries().try_into().unwrap()
    }

    /// Ends the run, and asserts that the neighbour missed no kline and that all klines for Redis are accounted for.
    #[track_caller]
    pub fn stop(self) -> Tallies {
        let tallies = self.tallies.clone();
        let [_, neighbour] = self.end();
        assert_eq!((neighbour.stats.lost(), neighbour.stats.crashes()), (0, 0), "{neighbour:?}");
        tallies
    }

    /// Ends the run, and asserts that all klines for Redis are accounted for. Returns both summaries.
    #[track_caller]
    pub fn end(self) -> [Summary; 2] {
        let [redis, neighbour]: [Summary; 2] = self.manager.shutdown(PATIENCE).try_into().unwrap();
        for tally in [&self.tallies.publish, &self.tallies.stream, &self.tallies.last_value] {
            let Totals { taken, found, acknowledged, overtaken, dropped, kept, .. } = tally.totals();
            assert_eq!(taken + found, acknowledged + overtaken + dropped + kept, "{:?}", tally.totals());
            assert_eq!((tally.in_memory(), tally.on_disk()), (0, kept), "{tally:?}");
        }
        let sum = |what: fn(&Totals) -> u64| {
            [&self.tallies.publish, &self.tallies.stream].iter().map(|tally| what(&tally.totals())).sum::<u64>()
        };
        let in_queue = redis.stats.losses.of(LossReason::QueueFull);
        let dropped = sum(|totals| totals.dropped) + in_queue;
        let expected = [sum(|totals| totals.acknowledged), dropped, sum(|totals| totals.kept)];
        assert_eq!([redis.stats.delivered, redis.stats.lost(), redis.stats.on_disk], expected, "{redis:?}");
        assert_eq!((redis.stats.crashes(), redis.stats.in_hand), (0, 0), "{redis:?}");
        [redis, neighbour]
    }

    /// Waits until the neighbour has every kline, whatever Redis does.
    #[track_caller]
    pub fn neighbour_has_all(&self) {
        eventually("the neighbour goes on", || self.manager.summaries()[1].stats.delivered == self.given());
    }
}

fn spec(name: &str, blueprint: impl Blueprint) -> Spec {
    Spec {
        name: name.to_owned(),
        blueprint: Box::new(blueprint),
        allowed: Subscription::default(),
        queue: DEFAULT_CAPACITY,
        grouping: Grouping::Boundary,
        on_error: OnError::default(),
        hub: None,
    }
}

/// A consumer that takes every kline at once.
struct Neighbour;

impl Blueprint for Neighbour {
    fn validate(&mut self) -> Vec<Problem> {
        Vec::new()
    }

    fn instantiate(&mut self, _: &Arc<TrustedWork>) -> Result<Box<dyn Consumer>, Failure> {
        Ok(Box::new(Self))
    }
}

impl Consumer for Neighbour {
    fn setup(&mut self) -> Result<Subscription, Failure> {
        Ok(Subscription::default())
    }

    fn start(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn consume(&mut self, _: &Delivery) -> Result<Next, Failure> {
        Ok(Next::Deliver)
    }

    fn stop(&mut self) {}
}

/// Asserts that every window of `0..windows` arrived for each symbol, in order, with repeats only after a lost
/// connection that had windows in flight. Each loss can repeat a window once; only the window that a new connection
/// tries first may come more often.
#[track_caller]
fn assert_in_order(klines: &[serde_json::Value], start: &str, windows: i64, losses: usize) {
    for symbol in SYMBOLS {
        let of_symbol = klines.iter().filter(|kline| kline["symbol"] == symbol);
        let found: Vec<i64> = of_symbol.map(|kline| kline[start].as_i64().unwrap() / 60_000).collect();
        let mut times = BTreeMap::<i64, usize>::new();
        let mut first = Vec::new();
        for window in &found {
            *times.entry(*window).or_insert_with(|| {
                first.push(*window);
                0
            }) += 1;
        }
        assert_eq!(first, (0..windows).collect::<Vec<_>>(), "{symbol}: {found:?}");
        let often = times.values().filter(|times| **times > 1 + losses).count();
        assert!(often <= losses, "{symbol}: {times:?}");
    }
}

/// Calls [`assert_in_order`] for the server's stream.
#[track_caller]
pub fn assert_stream(server: &Server, windows: i64, losses: usize) {
    assert_in_order(&server.stream("klines:stream"), "start", windows, losses);
}

/// Waits for the last message on `klines` and calls [`assert_in_order`] for all of them.
#[track_caller]
pub fn assert_heard(heard: &Heard, windows: i64, losses: usize) {
    let last = (windows - 1) * 60_000;
    let is_last = |kline: &serde_json::Value| kline["timestamp"] == last && kline["symbol"] == SYMBOLS[1];
    eventually("the last message", || heard.klines("klines").iter().any(is_last));
    assert_in_order(&heard.klines("klines"), "timestamp", windows, losses);
}
