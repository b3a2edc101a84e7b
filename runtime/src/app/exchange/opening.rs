//! One category on its way: its symbols, its feed, and the questions that are asked for it over REST. It waits for
//! nothing of another category.

use std::sync::Arc;
use std::time::Duration;

use klines_bybit::config::CategoryConfig;
use klines_bybit::driver::Uplink;
use klines_bybit::feed::Feed;
use klines_bybit::instruments::{Pace, Watch};
use klines_bybit::rest::RestClient;
use klines_bybit::session::Timing;
use klines_bybit::symbols;
use klines_delivery::catalog::Catalog;
use klines_domain::aggregator::Settings;
use klines_domain::feed::FeedMessage;
use klines_domain::symbol::{Category, SymbolTable};
use klines_pipeline::{CategoryPipeline, Watched};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;
use url::Url;

use crate::app::observed::Feeds;
use crate::app::queues::Sizing;

/// How soon the exchange is asked again for what it did not answer.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// All that a category needs to be opened.
pub(super) struct Opening {
    pub(super) config: CategoryConfig,
    pub(super) settings: Settings,
    pub(super) url: Url,
    pub(super) rest: RestClient,
    pub(super) uplink: Uplink,
    pub(super) catalog: Arc<Catalog>,
    pub(super) sizing: Arc<Sizing>,
    pub(super) feeds: Feeds,
    pub(super) joining: mpsc::Sender<Watched>,
    pub(super) tracker: TaskTracker,
}

impl Opening {
    /// Finds the symbols, however long it takes, and sets the category going; ends early when cancelled.
    pub(super) async fn run(self) {
        let (category, cancel) = (self.config.category, self.uplink.cancel.clone());
        let Some(table) = symbols::resolve(&self.rest, &self.config, &cancel).await else { return };
        let table = Arc::new(table);
        if table.is_empty() {
            warn!(%category, "no symbol to watch");
        }
        self.catalog.watch(category, table.iter().map(|(_, symbol)| symbol.clone()));
        // Before its first kline.
        self.sizing.follow();
        let feed = Feed::spawn(&self.uplink, &self.tracker, category, &self.url, &table, Timing::default());
        // What the feed brings waits for its pipeline.
        if self.joining.send((CategoryPipeline::new(self.settings, &table), feed.boundaries())).await.is_err() {
            return;
        }
        self.feeds.add(feed);
        if self.catalog.wants_descriptions() {
            self.tracker.spawn(describe_all(self.rest.clone(), category, self.catalog.clone(), cancel.clone()));
        }
        keep_asking(self.rest, self.config, table, self.uplink.out, cancel).await;
    }
}

/// Asks the exchange once how it describes its instruments, as often as it takes.
async fn describe_all(rest: RestClient, category: Category, catalog: Arc<Catalog>, cancel: CancellationToken) {
    let asking = async {
        loop {
            match rest.descriptions(category).await {
                Ok(rows) => return catalog.describe(category, rows),
                Err(error) => sleep(ASK_AGAIN.max(error.wait().unwrap_or_default())).await,
            }
        }
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = asking => {}
    }
}

/// Warns of symbols that do not exist, then watches for instruments that end.
async fn keep_asking(
    rest: RestClient,
    config: CategoryConfig,
    table: Arc<SymbolTable>,
    out: mpsc::Sender<FeedMessage>,
    cancel: CancellationToken,
) {
    let category = config.category;
    let asking = async {
        let first = symbols::check_in_background(rest.clone(), config, cancel.clone()).await;
        Watch::new(category, &table, Pace::default()).run(&rest, first, &out).await;
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = asking => {}
    }
}
