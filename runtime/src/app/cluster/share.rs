//! The symbols that this process watches: all that are configured, or its share of them in a cluster.

use std::time::Duration;

use klines_cluster::node::Watched;
use klines_cluster::partition::Partitions;
use klines_cluster::published::Published;
use klines_domain::symbol::{Category, Symbol, SymbolTable};
use klines_pipeline::Published as Until;
use tracing::warn;

/// How long a category waits for its first share, so that it continues what earlier runs have left of it.
const FIRST: Duration = Duration::from_secs(10);

/// A choice among the configured symbols, which changes in the course of a run. Clones follow it independently.
#[derive(Clone, Debug)]
pub struct Share(Option<Part>);

/// The part of a node in a cluster.
#[derive(Clone, Debug)]
struct Part {
    partitions: Partitions,
    watched: Watched,
    published: Published,
}

impl Share {
    /// Returns all symbols.
    #[must_use]
    pub const fn all() -> Self {
        Self(None)
    }

    /// Returns the symbols of the partitions that a node watches.
    #[must_use]
    pub const fn of(partitions: Partitions, watched: Watched, published: Published) -> Self {
        Self(Some(Part { partitions, watched, published }))
    }

    /// Returns those of the symbols that are watched.
    pub fn among(&mut self, category: Category, mut symbols: Vec<Symbol>) -> Vec<Symbol> {
        if let Some(Part { partitions, watched, .. }) = &mut self.0 {
            let watched = watched.borrow_and_update().clone();
            symbols.retain(|symbol| watched.contains(&partitions.of(category, symbol)));
        }
        symbols
    }

    /// Returns the table of those symbols that are watched.
    pub fn table(&mut self, category: Category, all: &SymbolTable) -> SymbolTable {
        let mut table = SymbolTable::default();
        for symbol in self.among(category, all.iter().map(|(_, symbol)| symbol.clone()).collect()) {
            table.intern(&symbol);
        }
        table
    }

    /// Returns until when the cluster has klines of symbols. The time since is not repaired where that cannot be read.
    pub async fn published(&self, category: Category, symbols: &[Symbol]) -> Until {
        let Some(Part { published, .. }) = self.0.as_ref().filter(|_| !symbols.is_empty()) else { return Until::new() };
        published.until(category, symbols).await.unwrap_or_else(|error| {
            warn!(%category, %error, "what nobody has watched before this node is not repaired: the klines of the cluster cannot be read");
            Until::new()
        })
    }

    /// Waits until the first share is known, for a while.
    pub async fn first(&mut self) {
        if let Some(Part { watched, .. }) = &mut self.0 {
            // Without a cluster, the share stays empty until there is one.
            let _ = tokio::time::timeout(FIRST, watched.wait_for(|watched| !watched.is_empty())).await;
        }
    }

    /// Waits until the share has changed; `None` if it never will again.
    pub async fn changed(&mut self) -> Option<()> {
        match &mut self.0 {
            Some(Part { watched, .. }) => watched.changed().await.ok(),
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use klines_cluster::member::Name;
    use klines_cluster::partition::Partition;
    use klines_cluster::server::Server;
    use tokio::sync::watch;

    use super::*;

    #[tokio::test]
    async fn a_share_has_the_symbols_of_its_partitions() {
        let partitions = Partitions::default();
        let symbols = ["BTCUSDT", "ETHUSDT"].map(|name| Symbol::new(name).unwrap());
        let category = Category::Linear;
        assert_eq!(Share::all().among(category, symbols.to_vec()), symbols);
        let (sender, receiver) = watch::channel(Arc::<BTreeSet<Partition>>::default());
        let server = Server::new("redis://127.0.0.1:1", &[], None).unwrap();
        let published = Published::new(server, &Name::new("main").unwrap(), partitions);
        let mut share = Share::of(partitions, receiver, published);
        assert_eq!(share.among(category, symbols.to_vec()), []);
        sender.send_replace(Arc::new(BTreeSet::from([partitions.of(category, &symbols[1])])));
        share.changed().await.unwrap();
        assert_eq!(share.among(category, symbols.to_vec()), symbols[1..]);
        drop(sender);
        assert_eq!(share.changed().await, None);
    }
}
