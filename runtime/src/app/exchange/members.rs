//! The watched symbols of one category: opens its feed and its pipeline, and lets symbols join and leave afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use klines_bybit::driver::FeedContext;
use klines_bybit::feed::{Feed, FeedSettings};
use klines_bybit::rest::RestClient;
use klines_delivery::catalog::Catalog;
use klines_domain::aggregator::{Earlier, Settings};
use klines_domain::repair::Answer;
use klines_domain::symbol::{Category, Symbol, SymbolId, SymbolTable};
use klines_pipeline::repair::RepairSettings;
use klines_pipeline::{CategoryFeed, CategoryPipeline, CategoryUpdate, Published, SymbolChange};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::{RETRY_AFTER, repairs};
use crate::app::observed::Feeds;
use crate::app::queues::QueueSizer;

/// What the symbols of a category are connected to.
#[derive(Clone)]
pub(super) struct Links {
    pub(super) rest: RestClient,
    pub(super) context: FeedContext,
    pub(super) catalog: Arc<Catalog>,
    pub(super) sizer: Arc<QueueSizer>,
    pub(super) feeds: Feeds,
    pub(super) updates: mpsc::Sender<CategoryUpdate>,
    pub(super) tracker: TaskTracker,
}

/// How the gaps of a category are repaired.
pub(super) struct Repairs {
    pub(super) settings: RepairSettings,
    pub(super) answers: mpsc::Sender<(Category, Answer)>,
}

/// The watched symbols of a category.
pub(super) struct Members {
    links: Links,
    feed: Feed,
    feed_settings: FeedSettings,
    /// All symbols that are watched or have been.
    tables: watch::Sender<Arc<SymbolTable>>,
    watched: BTreeSet<SymbolId>,
}

/// What has changed.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) joined: Vec<(SymbolId, Symbol)>,
    pub(super) left: Vec<SymbolId>,
}

impl Members {
    /// Opens a category with its first symbols. Returns `None` if the pipeline has ended.
    pub(super) async fn open(
        links: Links,
        feed_settings: FeedSettings,
        settings: Settings,
        repairs: Option<Repairs>,
        (table, earlier, published): (SymbolTable, BTreeMap<Symbol, Earlier>, Published),
    ) -> Option<Self> {
        let category = settings.category;
        if table.is_empty() {
            warn!(%category, "no symbol to watch");
        }
        let watched = table.iter().map(|(id, _)| id).collect();
        let tables = watch::Sender::new(Arc::new(table));
        let mut members = Self { links, feed: Feed::new(category), feed_settings, tables, watched };
        members.publish();
        let (links, table) = (members.links.clone(), members.table());
        let symbols: Vec<SymbolId> = members.watched.iter().copied().collect();
        let drivers = members.feed.add(&links.context, &members.feed_settings, &table, &symbols);
        let (mut pipeline, requests) = match repairs {
            Some(Repairs { settings: repair, answers }) => {
                let (rest, cancel) = (links.rest.clone(), links.context.cancel.clone());
                let symbols = members.tables.subscribe();
                let requests = repairs::spawn(&links.tracker, rest, category, symbols, answers, cancel);
                (CategoryPipeline::repairing(settings, &table, repair), Some(requests))
            }
            None => (CategoryPipeline::new(settings, &table), None),
        };
        pipeline.expect(published);
        let pipeline = pipeline.resuming(&table, earlier);
        let (boundaries, renewals) = (members.feed.boundaries(), members.feed.renewals());
        let feed = CategoryFeed { pipeline, boundaries, requests, renewals };
        // The messages of a connection wait until the pipeline knows the connection.
        links.updates.send(CategoryUpdate::Opened(Box::new(feed))).await.ok()?;
        links.feeds.put(members.feed.clone());
        drivers.spawn(&links.tracker);
        members.describe();
        Some(members)
    }

    /// Returns the category.
    pub(super) const fn category(&self) -> Category {
        self.feed.category()
    }

    /// Returns all symbols that are watched or have been.
    pub(super) fn table(&self) -> Arc<SymbolTable> {
        self.tables.borrow().clone()
    }

    /// Returns those of the symbols that are not watched.
    pub(super) fn new_ones(&self, names: &[Symbol]) -> Vec<Symbol> {
        let table = self.table();
        let is_watched = |name: &&Symbol| table.get(name.as_str()).is_some_and(|id| self.watched.contains(&id));
        names.iter().filter(|name| !is_watched(name)).cloned().collect()
    }

    /// Watches these symbols and no others. One that has left before gets a new number; others have published klines of those
    /// that join until `published`. Returns `None` if the pipeline has ended.
    pub(super) async fn set(&mut self, names: &[Symbol], published: Published) -> Option<Change> {
        let change = self.plan(names);
        if change.joined.is_empty() && change.left.is_empty() {
            return Some(change);
        }
        let (category, links) = (self.category(), self.links.clone());
        let named: Vec<String> = change.joined.iter().map(|(_, symbol)| symbol.to_string()).collect();
        let table = self.table();
        let gone: Vec<String> = change.left.iter().filter_map(|id| Some(table.name(*id)?.to_string())).collect();
        info!(%category, joined = named.join(","), left = gone.join(","), watched = self.watched.len(), "symbols changed");
        self.publish();
        let joined: Vec<SymbolId> = change.joined.iter().map(|(id, _)| *id).collect();
        let drivers = (!joined.is_empty()).then(|| self.feed.add(&links.context, &self.feed_settings, &table, &joined));
        let update = SymbolChange {
            category,
            joined: change.joined.iter().map(|(_, symbol)| symbol.clone()).collect(),
            published,
            left: change.left.clone(),
            boundaries: self.feed.boundaries(),
        };
        links.updates.send(CategoryUpdate::Changed(update)).await.ok()?;
        links.feeds.put(self.feed.clone());
        self.feed.leave(&change.left);
        if let Some(drivers) = drivers {
            drivers.spawn(&links.tracker);
            self.describe();
        }
        Some(change)
    }

    /// Numbers the symbols that join, and determines which ones leave.
    fn plan(&mut self, names: &[Symbol]) -> Change {
        let mut table = SymbolTable::clone(&self.tables.borrow());
        let wanted: BTreeSet<&Symbol> = names.iter().collect();
        let is_left = |id: &SymbolId| table.name(*id).is_none_or(|name| !wanted.contains(name));
        let left: Vec<SymbolId> = self.watched.iter().copied().filter(is_left).collect();
        let is_watched = |name: &Symbol| table.get(name.as_str()).is_some_and(|id| self.watched.contains(&id));
        let new: Vec<Symbol> = wanted.iter().filter(|name| !is_watched(name)).map(|name| (*name).clone()).collect();
        let joined: Vec<(SymbolId, Symbol)> = new.into_iter().map(|name| (table.renew(&name), name)).collect();
        self.watched.retain(|id| !left.contains(id));
        self.watched.extend(joined.iter().map(|(id, _)| *id));
        self.tables.send_replace(Arc::new(table));
        Change { joined, left }
    }

    /// Publishes the watched symbols. Queues must have their size before the first kline.
    fn publish(&self) {
        let table = self.table();
        let names = self.watched.iter().filter_map(|id| table.name(*id).cloned());
        self.links.catalog.watch(self.category(), names);
        self.links.sizer.update();
    }

    /// Requests the exchange's descriptions of the instruments, if a consumer reads them, until that succeeds.
    fn describe(&self) {
        let Links { rest, context, catalog, tracker, .. } = self.links.clone();
        if !catalog.wants_descriptions() {
            return;
        }
        let category = self.category();
        tracker.spawn(async move {
            let asking = async {
                loop {
                    match rest.descriptions(category).await {
                        Ok(rows) => return catalog.describe(category, rows),
                        Err(error) => sleep(RETRY_AFTER.max(error.wait().unwrap_or_default())).await,
                    }
                }
            };
            tokio::select! {
                () = context.cancel.cancelled() => {}
                () = asking => {}
            }
        });
    }
}
