//! What metrics see of this process in a cluster. It knows nothing of the run.

use std::sync::{Arc, OnceLock};

use klines_cluster::node::Node;
use klines_cluster::reader::Counters;

/// The node of this process, once it has joined. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Sight(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    node: OnceLock<Arc<Node>>,
    counters: OnceLock<Arc<Counters>>,
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
