//! An ingest node in a run: its share decides what is watched, and a partition counts when its first windows are right.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use klines_cluster::membership::Phase;
use klines_cluster::node::{Node, Settings};
use klines_cluster::partition::Partition;
use klines_cluster::published::Published;
use klines_cluster::server::Server;
use klines_cluster::writer::{NAME, Pending, WriterBlueprint};
use klines_delivery::Subscription;
use klines_delivery::manager::Spec;
use klines_delivery::policy::OnError;
use klines_delivery::queue::{DEFAULT_CAPACITY, Grouping};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::share::Share;
use super::sight::Sight;
use crate::app::observed::Observed;

/// How often it is checked whether first windows are right.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// A partition is watched for at least so long before its first windows can be right: its symbols have joined by then.
const JOINING: Duration = Duration::from_secs(3);
/// After this time, a partition counts although some first windows are not known.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a node that leaves waits for others to take over.
const LEAVE: Duration = Duration::from_secs(30);

/// An ingest node.
#[derive(Debug)]
pub struct Ingest {
    server: Server,
    settings: Settings,
    pending: Arc<Pending>,
    sight: Sight,
}

impl Ingest {
    pub(super) fn new(server: Server, settings: Settings) -> Self {
        let pending = Pending::new(settings.partitions);
        Self { server, settings, pending, sight: Sight::default() }
    }

    /// Returns the consumer that hands klines to the node.
    #[must_use]
    pub fn spec(&self) -> Spec {
        Spec {
            name: NAME.to_owned(),
            blueprint: Box::new(WriterBlueprint(self.pending.clone())),
            allowed: Subscription::default(),
            queue: DEFAULT_CAPACITY,
            grouping: Grouping::Boundary,
            on_error: OnError::Restart,
            hub: None,
        }
    }

    /// Joins the cluster. Returns the share of this node.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn join(&self) -> anyhow::Result<Share> {
        let node = Node::start(self.server.clone(), self.settings.clone(), self.pending.clone(), Arc::default());
        let node = Arc::new(node.context("starting the thread of the cluster")?);
        let Settings { cluster, partitions, .. } = &self.settings;
        let published = Published::new(self.server.clone(), cluster, *partitions);
        let share = Share::of(*partitions, node.watched(), published);
        self.sight.show(node);
        Ok(share)
    }

    /// Returns what metrics see.
    #[must_use]
    pub fn sight(&self) -> Sight {
        self.sight.clone()
    }

    /// Reports the partitions whose first windows are right; never ends.
    pub async fn report_seeded(&self, observed: &Observed, repairs: bool) -> Infallible {
        let mut checks = interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut since, mut was_over) = (BTreeMap::<Partition, Instant>::new(), false);
        loop {
            checks.tick().await;
            let Some(node) = self.sight.node() else { continue };
            let held = node.seen().partitions;
            since.retain(|known, _| held.iter().any(|(partition, ..)| partition == known));
            // At one look, a symbol may be covered while its first windows are not wanted yet.
            let is_over = is_seeded(observed, repairs);
            for (partition, phase, _) in held {
                let age = since.entry(partition).or_insert_with(Instant::now).elapsed();
                let is_right = is_over && was_over && age >= JOINING;
                if phase == Phase::Seeding && (is_right || age >= PATIENCE) {
                    if !is_right {
                        warn!(%partition, "a partition counts although some of its first windows are not known");
                    }
                    node.seeded(partition).await;
                }
            }
            was_over = is_over;
        }
    }

    /// Lets others take over, for a while, and returns then.
    pub async fn leave(&self) {
        let Some(node) = self.sight.node() else { return };
        if !node.seen().connected {
            return;
        }
        info!("leaving the cluster: others take over first");
        if !node.drain(LEAVE).await {
            warn!("nobody has taken over all partitions of this node within {} s", LEAVE.as_secs());
        }
    }

    /// Ends the thread of the node. Blocks for a moment.
    pub fn end(&self) {
        if let Some(node) = self.sight.node() {
            node.stop();
        }
    }
}

/// Returns whether the first windows of all symbols are right, or cannot be.
fn is_seeded(observed: &Observed, repairs: bool) -> bool {
    let seeding = observed.seeding();
    observed.categories().iter().all(|category| {
        let is_idle = observed.catalog.count(*category) == 0;
        let of = seeding.iter().find(|seeding| seeding.category == *category);
        is_idle || !repairs || of.is_some_and(|seeding| seeding.is_over)
    })
}
