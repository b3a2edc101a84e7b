//! Until when the klines of symbols are published: an ingest node that gets a partition goes on from there, so that what nobody has
//! watched meanwhile is repaired.

use std::collections::BTreeMap;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::cmd;
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::ExchangeMillis;

use crate::keys::ClusterKeys;
use crate::member::Name;
use crate::partition::Partitions;
use crate::reader::entry::{Entry, entries};
use crate::server::{ConnectError, Server, failed};

/// How long reading may take in all: meanwhile the symbols are not watched.
const PATIENCE: Duration = Duration::from_secs(3);
/// The number of entries that are read of a partition: the newest boundary, and some revisions of earlier ones. A symbol that has
/// none of them has no klines that matter.
const COUNT: usize = 32;

/// Reads what is published.
#[derive(Clone, Debug)]
pub struct Published {
    server: Server,
    keys: ClusterKeys,
    partitions: Partitions,
}

impl Published {
    /// Does not connect.
    #[must_use]
    pub fn new(server: Server, cluster: &Name, partitions: Partitions) -> Self {
        Self { server, keys: ClusterKeys::new(cluster), partitions }
    }

    /// Returns the first moment after the newest windows of these symbols that have a kline.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn until(
        &self,
        category: Category,
        symbols: &[Symbol],
    ) -> Result<BTreeMap<Symbol, ExchangeMillis>, ConnectError> {
        let reading = async {
            let mut connection = self.server.look().await?;
            let mut found = BTreeMap::new();
            let mut partitions: Vec<_> = symbols.iter().map(|symbol| self.partitions.of(category, symbol)).collect();
            partitions.sort_unstable();
            partitions.dedup();
            for partition in partitions {
                let entries = newest(&mut connection, &self.keys.partition(partition).stream).await?;
                note(&entries, category, &mut found);
            }
            found.retain(|symbol, _| symbols.contains(symbol));
            Ok(found)
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap_or(Err(ConnectError::Silent))
    }
}

async fn newest(connection: &mut MultiplexedConnection, stream: &str) -> Result<Vec<Entry>, ConnectError> {
    let mut command = cmd("XREVRANGE");
    command.arg(stream).arg("+").arg("-").arg("COUNT").arg(COUNT);
    Ok(entries(&command.query_async(connection).await.map_err(|error| failed(&error))?))
}

/// Notes the newest ends of windows.
fn note(entries: &[Entry], category: Category, found: &mut BTreeMap<Symbol, ExchangeMillis>) {
    for (key, start) in entries.iter().flat_map(Entry::windows).filter(|(key, _)| key.category == category) {
        let end = ExchangeMillis::new(key.interval.next(start));
        let newest = found.entry(key.symbol).or_insert(end);
        *newest = end.max(*newest);
    }
}

#[cfg(test)]
mod tests {
    use ::redis::Value;

    use super::*;

    #[test]
    fn the_newest_end_of_a_symbol_counts_whatever_its_interval() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let entry = |id: &str, windows: &[&str]| {
            let fields = windows.iter().flat_map(|window| [bulk(window), bulk("x")]);
            Value::Array(vec![bulk(id), Value::Array([bulk("epoch"), bulk("9")].into_iter().chain(fields).collect())])
        };
        let answer = Value::Array(vec![
            entry("8-0", &["linear ETHUSDT 1s 60000", "spot BTCUSDT 1s 90000", "junk"]),
            entry("7-0", &["linear BTCUSDT 1s 119000", "linear BTCUSDT 1m 60000", "linear BTCUSDT 1s 7"]),
            entry("6-0", &["linear ETHUSDT 1s 61000"]),
        ]);
        let mut found = BTreeMap::new();
        note(&entries(&answer), Category::Linear, &mut found);
        let found: Vec<(String, i64)> = found.iter().map(|(name, end)| (name.to_string(), end.get())).collect();
        assert_eq!(found, [("BTCUSDT".to_owned(), 120_000), ("ETHUSDT".to_owned(), 62_000)]);
        assert!(entries(&Value::Nil).is_empty());
    }
}
