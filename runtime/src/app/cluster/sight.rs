//! What metrics see of this process in a cluster. It knows nothing of the run.

use std::sync::{Arc, OnceLock};

use klines_cluster::node::Node;
use klines_cluster::reader::Counters;
use klines_cluster::roster::Roster;

/// The node of this process, once it has joined. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Sight(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    node: OnceLock<Arc<Node>>,
    counters: OnceLock<Arc<Counters>>,
    roster: OnceLock<Arc<Roster>>,
}

impl Sight {
    /// Shows a node. There is one in a run.
    pub fn show(&self, node: Arc<Node>) {
        let _ = self.0.node.set(node);
    }

    /// Shows the counters of a serve node.
    pub fn show_counters(&self, counters: Arc<Counters>) {
        let _ = self.0.counters.set(counters);
    }

    /// Shows the groups of a serve node.
    pub fn show_roster(&self, roster: Arc<Roster>) {
        let _ = self.0.roster.set(roster);
    }

    /// Returns the groups of a serve node.
    #[must_use]
    pub fn roster(&self) -> Option<&Arc<Roster>> {
        self.0.roster.get()
    }

    /// Returns the node, once it has joined.
    #[must_use]
    pub fn node(&self) -> Option<&Arc<Node>> {
        self.0.node.get()
    }

    /// Returns what a serve node has read, once it has joined.
    #[must_use]
    pub fn counters(&self) -> Option<&Arc<Counters>> {
        self.0.counters.get()
    }
}
