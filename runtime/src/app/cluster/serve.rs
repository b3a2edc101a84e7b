//! A serve node in a run: what a reader reads from Redis is published on the hub, as if it had been made here.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use klines_cluster::epochs::SharedEpochs;
use klines_cluster::node::{Node, Settings};
use klines_cluster::reader::{self, Reader, Sink};
use klines_cluster::roster::Roster;
use klines_cluster::server::Server;
use klines_cluster::writer::Pending;
use klines_config::Config;
use klines_config::quantity::HumanDuration;
use klines_delivery::catalog::{Catalog, FeedState};
use klines_delivery::hub::Hub;
use klines_domain::kline::Batch;
use klines_domain::series::{SeriesId, SeriesKey};
use tokio::time::{MissedTickBehavior, interval};
use tracing::info;

use super::groups::Groups;
use super::sight::Sight;
use super::wanted::Wanted;
use crate::app::ending::{Hangup, wait_for_end};
use crate::app::observed::Observed;
use crate::app::queues::QueueSizer;
use crate::app::reconfigure::has_terminal;
use crate::app::wiring;

/// The file in `data_dir` that has the positions of the reader.
const POSITIONS: &str = "cluster.json";
/// How often the state of the cluster is reported to clients.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// How long a reader that catches up waits for the consumers, after each entry at most.
const ROOM: Duration = Duration::from_millis(500);
/// How often it looks meanwhile.
const LOOK: Duration = Duration::from_millis(5);

/// A serve node.
#[derive(Debug)]
pub struct Serve {
    server: Server,
    settings: Settings,
    epochs: Arc<SharedEpochs>,
    sight: Sight,
    roster: Arc<Roster>,
    is_connected: Arc<AtomicBool>,
}

impl Serve {
    pub(super) fn new(server: Server, settings: Settings) -> Self {
        let epochs = Arc::new(SharedEpochs::new(settings.partitions));
        let (sight, roster) = (Sight::default(), Arc::<Roster>::default());
        sight.show_roster(roster.clone());
        Self { server, settings, epochs, sight, roster, is_connected: Arc::default() }
    }

    /// Returns what lets consumers work for groups.
    #[must_use]
    pub fn groups(&self, config: &Config, catalog: &Arc<Catalog>, hub: &Arc<Hub>) -> Groups {
        let wanted = Wanted::new(config, catalog.clone());
        Groups {
            server: self.server.clone(),
            node: self.settings.clone(),
            roster: self.roster.clone(),
            run: hub.clone(),
            find: Arc::new(move |key| wanted.find(key)),
        }
    }

    /// Returns the epochs of the cluster.
    #[must_use]
    pub fn epochs(&self) -> Arc<SharedEpochs> {
        self.epochs.clone()
    }

    /// Hands on what the cluster publishes until the run ends. `last` has the last sequence of each series that is stored.
    ///
    /// # Errors
    /// When the system refuses a thread or a signal handler.
    pub async fn follow(
        &self,
        config: &Config,
        duration: Option<HumanDuration>,
        observed: &Observed,
        last: BTreeMap<SeriesKey, u64>,
    ) -> anyhow::Result<()> {
        let reader = self.join(config, observed, last)?;
        let consumers = observed.consumers.clone();
        let before_exit = move || {
            // The exit code after a second signal is fixed, so the returned one is ignored.
            let _ = wiring::print_summaries(&wiring::give_up(&consumers.views()));
        };
        let hangup = if has_terminal() { Hangup::Ends } else { Hangup::IsHandled };
        let reason = wait_for_end(duration, hangup, before_exit).await;
        observed.end();
        let counters = reader.counters();
        tokio::task::spawn_blocking(move || reader.end()).await.context("the reader of the cluster failed")?;
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (entries, klines, repeated) = (of(&counters.entries), of(&counters.klines), of(&counters.repeated));
        let (missing, unreadable) = (of(&counters.missing), of(&counters.unreadable));
        info!(entries, klines, repeated, missing, unreadable, "the cluster was read");
        reason.map(drop)
    }

    fn join(&self, config: &Config, observed: &Observed, last: BTreeMap<SeriesKey, u64>) -> anyhow::Result<Reader> {
        let pending = Pending::new(self.settings.partitions);
        let node = Node::start(self.server.clone(), self.settings.clone(), pending, self.roster.clone());
        let node = Arc::new(node.context("starting the thread of the cluster")?);
        let sink = HubSink::new(config, observed, self.roster.clone(), self.is_connected.clone());
        let settings = reader::Settings {
            cluster: self.settings.cluster.clone(),
            partitions: Wanted::new(config, observed.catalog.clone()).partitions(self.settings.partitions),
            positions: config.data_dir.join(POSITIONS),
            last,
        };
        let (epochs, clock) = (self.epochs.clone(), observed.clock);
        let reader = Reader::start(self.server.clone(), settings, epochs, Box::new(sink), clock);
        let reader = reader.context("starting the thread that reads the cluster")?;
        self.sight.show(node);
        self.sight.show_counters(reader.counters());
        Ok(reader)
    }

    /// Returns what metrics see.
    #[must_use]
    pub fn sight(&self) -> Sight {
        self.sight.clone()
    }

    /// Reports to clients whether klines arrive; never ends.
    pub async fn report_state(&self, config: &Config, observed: &Observed) -> Infallible {
        let mut checks = interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            checks.tick().await;
            if observed.is_ending() {
                std::future::pending::<()>().await;
            }
            let Some(node) = self.sight.node() else { continue };
            let state = if !self.is_connected.load(Ordering::Relaxed) {
                FeedState::Down
            } else if !node.seen().member || node.seen().view.ingest().next().is_none() {
                // This node may not take part, or nobody writes.
                FeedState::Stale
            } else {
                FeedState::Live
            };
            for category in &config.exchange.categories {
                observed.catalog.report(*category, state, observed.clock.now().get());
            }
        }
    }

    /// Leaves the cluster. Blocks for a moment.
    pub fn end(&self) {
        if let Some(node) = self.sight.node() {
            node.stop();
        }
    }
}

/// Publishes what is read on the hub, and hands updates to the groups as well.
struct HubSink {
    hub: Arc<Hub>,
    sizer: QueueSizer,
    wanted: Wanted,
    /// The number of symbols for which the queues have their sizes.
    sized: usize,
    roster: Arc<Roster>,
    is_connected: Arc<AtomicBool>,
}

impl HubSink {
    fn new(config: &Config, observed: &Observed, roster: Arc<Roster>, is_connected: Arc<AtomicBool>) -> Self {
        let wanted = Wanted::new(config, observed.catalog.clone());
        let sizer = QueueSizer::new(observed, &observed.catalog);
        sizer.update();
        Self { hub: observed.hub.clone(), sizer, sized: wanted.count(), wanted, roster, is_connected }
    }
}

impl Sink for HubSink {
    fn find(&mut self, key: &SeriesKey) -> Option<SeriesId> {
        self.wanted.find(key)
    }

    fn found(&mut self) {
        // Queues have their size before the first kline.
        let count = self.wanted.count();
        if count != self.sized {
            self.sized = count;
            self.sizer.update();
        }
    }

    fn publish(&mut self, batch: Batch, is_old: bool) {
        if is_old {
            // A consumer that takes longer loses its oldest klines, as it would without a cluster.
            let until = std::time::Instant::now() + ROOM;
            while !self.hub.has_room() && std::time::Instant::now() < until {
                std::thread::park_timeout(LOOK);
            }
        }
        if batch.klines.first().is_some_and(|first| !first.confirm) {
            self.roster.update(&batch);
        }
        self.hub.publish(&batch);
    }

    fn connected(&mut self, is_connected: bool) {
        self.is_connected.store(is_connected, Ordering::Relaxed);
    }
}
