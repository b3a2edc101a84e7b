//! Opens one category: its symbols, its feed, its repairs and its REST requests, without waiting for any other category.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use klines_bybit::config::CategoryConfig;
use klines_bybit::driver::FeedContext;
use klines_bybit::feed::{Feed, FeedSettings};
use klines_bybit::instruments::{Pace, Watch};
use klines_bybit::rest::RestClient;
use klines_bybit::session::Timing;
use klines_bybit::symbols;
use klines_delivery::catalog::Catalog;
use klines_domain::aggregator::Settings;
use klines_domain::feed::FeedMessage;
use klines_domain::repair::Answer;
use klines_domain::symbol::{Category, SymbolId, SymbolTable};
use klines_pipeline::repair::RepairSettings;
use klines_pipeline::{CategoryFeed, CategoryPipeline, CategoryUpdate};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;
use url::Url;

use super::repairs;
use crate::app::observed::Feeds;
use crate::app::queues::QueueSizer;

/// The pause before a failed REST request is repeated.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Everything that opening a category needs.
pub(super) struct Opening {
    pub(super) config: CategoryConfig,
    pub(super) settings: Settings,
    /// How many connections carry each set of topics.
    pub(super) redundancy: NonZeroUsize,
    /// `None` if gaps are not repaired.
    pub(super) repair: Option<RepairSettings>,
    pub(super) answers: mpsc::Sender<(Category, Answer)>,
    pub(super) url: Url,
    pub(super) rest: RestClient,
    pub(super) context: FeedContext,
    pub(super) catalog: Arc<Catalog>,
    pub(super) sizer: Arc<QueueSizer>,
    pub(super) feeds: Feeds,
    pub(super) joining: mpsc::Sender<CategoryUpdate>,
    pub(super) tracker: TaskTracker,
}

impl Opening {
    /// Resolves the symbols, however long that takes, and starts the category; returns early when cancelled.
    pub(super) async fn run(self) {
        let (category, cancel) = (self.config.category, self.context.cancel.clone());
        let Some(table) = symbols::resolve(&self.rest, &self.config, &cancel).await else { return };
        let table = Arc::new(table);
        if table.is_empty() {
            warn!(%category, "no symbol to watch");
        }
        self.catalog.watch(category, table.iter().map(|(_, symbol)| symbol.clone()));
        // Queues must have their size before the first kline of the category.
        self.sizer.update();
        let feed = self.spawn_feed(&table);
        let boundaries = feed.boundaries();
        let joining = match self.repair {
            Some(repair) => {
                let pipeline = CategoryPipeline::repairing(self.settings, &table, repair);
                let (rest, symbols, answers) = (self.rest.clone(), table.clone(), self.answers);
                let requests = repairs::spawn(&self.tracker, rest, category, symbols, answers, cancel.clone());
                CategoryFeed { pipeline, boundaries, requests: Some(requests) }
            }
            None => {
                let pipeline = CategoryPipeline::new(self.settings, &table);
                CategoryFeed { pipeline, boundaries, requests: None }
            }
        };
        // The messages of the feed wait until the pipeline of the category has joined.
        if self.joining.send(CategoryUpdate::Opened(Box::new(joining))).await.is_err() {
            return;
        }
        self.feeds.add(feed);
        if self.catalog.wants_descriptions() {
            self.tracker.spawn(describe_all(self.rest.clone(), category, self.catalog.clone(), cancel.clone()));
        }
        watch_instruments(self.rest, self.config, table, self.context.out, cancel).await;
    }

    fn spawn_feed(&self, table: &Arc<SymbolTable>) -> Feed {
        let settings = FeedSettings { url: self.url.clone(), feeds: self.redundancy, timing: Timing::default() };
        let mut feed = Feed::new(self.config.category);
        let symbols: Vec<SymbolId> = table.iter().map(|(id, _)| id).collect();
        feed.add(&self.context, &settings, table, &symbols).spawn(&self.tracker);
        feed
    }
}

/// Requests the instrument descriptions of the exchange; repeats the request until it succeeds.
async fn describe_all(rest: RestClient, category: Category, catalog: Arc<Catalog>, cancel: CancellationToken) {
    let asking = async {
        loop {
            match rest.descriptions(category).await {
                Ok(rows) => return catalog.describe(category, rows),
                Err(error) => sleep(RETRY_AFTER.max(error.wait().unwrap_or_default())).await,
            }
        }
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = asking => {}
    }
}

/// Warns about symbols that do not exist, then watches for instruments that end.
async fn watch_instruments(
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
