//! What a Redis says about itself, as far as a cluster depends on it.

use std::sync::Arc;

use ::redis::aio::MultiplexedConnection;
use ::redis::cmd;

use super::{ConnectError, failed};

/// What `INFO` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The replication id: it is another one after a failover.
    pub replication: Arc<str>,
    /// The number of replicas that are connected.
    pub replicas: u64,
    /// Whether it writes what it acknowledges into a file.
    pub is_appending: bool,
    /// How it makes room when its memory is full, if that removes keys.
    pub eviction: Option<String>,
}

impl Info {
    /// Reads what a master says.
    pub(super) async fn read(connection: &mut MultiplexedConnection) -> Result<Self, ConnectError> {
        let mut command = cmd("INFO");
        command.arg("replication").arg("memory").arg("persistence");
        let text: String = command.query_async(connection).await.map_err(|error| failed(&error))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self, ConnectError> {
        let field = |name: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            found.map(str::trim)
        };
        if field("role") != Some("master") {
            return Err(ConnectError::Replica);
        }
        let id = field("master_replid").filter(|id| id.chars().all(|c| c.is_ascii_alphanumeric()));
        let replication =
            id.map(Arc::from).ok_or_else(|| ConnectError::Failed("INFO has no master_replid".to_owned()))?;
        let number = |name| field(name).and_then(|text| text.parse().ok()).unwrap_or(0);
        let policy = field("maxmemory_policy").filter(|policy| number("maxmemory") > 0 && *policy != "noeviction");
        Ok(Self {
            replication,
            replicas: number("connected_slaves"),
            is_appending: number("aof_enabled") == 1,
            eviction: policy.map(super::words),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_redis_that_removes_keys_has_an_eviction() {
        let text = |role: &str, maxmemory: u64, policy: &str| {
            format!(
                "# Replication\r\nrole:{role}\r\nconnected_slaves:2\r\nmaster_replid:0a1b\r\n# Memory\r\nmaxmemory:{maxmemory}\r\n\
                 maxmemory_policy:{policy}\r\n# Persistence\r\naof_enabled:1\r\n"
            )
        };
        let info = Info::parse(&text("master", 0, "allkeys-lru")).unwrap();
        assert_eq!((&*info.replication, info.replicas, info.is_appending, info.eviction), ("0a1b", 2, true, None));
        assert_eq!(Info::parse(&text("master", 9, "noeviction")).unwrap().eviction, None);
        assert_eq!(Info::parse(&text("master", 9, "allkeys-lru")).unwrap().eviction.as_deref(), Some("allkeys-lru"));
        assert_eq!(Info::parse(&text("slave", 0, "noeviction")), Err(ConnectError::Replica));
        assert!(Info::parse("role:master\r\n").is_err());
    }
}
