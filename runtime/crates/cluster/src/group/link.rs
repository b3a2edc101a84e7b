//! The connections of a group to Redis, and its calls. It decides nothing and repeats nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Value, cmd};

use super::Settings;
use super::slot::Fields;
use crate::keys::ClusterKeys;
use crate::lease::{Timing, Token};
use crate::library::{Acquire, Commit, LibraryError, Note, Release, Renew, call, field, plain, request};
use crate::member::{Instance, Name};
use crate::model::Caller;
use crate::model::groups::{Changes, Progress};
use crate::partition::Partition;
use crate::reader::entry::words;
use crate::server::{ConnectError, Connected, Server};
use crate::stream_id::StreamId;

/// How long one request waits for entries. Afterwards it is asked for the streams of leases that are new.
const BLOCK: Duration = Duration::from_millis(250);
/// How many entries of each stream one request returns.
const COUNT: usize = 8;

/// An answer to `XREAD` that is awaited.
pub(super) type Reading = Pin<Box<dyn Future<Output = Result<Value, String>> + Send>>;

/// What Redis knows of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StreamInfo {
    /// Its last entry.
    pub(super) last: StreamId,
    /// The last entry that was removed.
    pub(super) removed: StreamId,
}

pub(super) struct Link {
    server: Server,
    keys: ClusterKeys,
    group: Name,
    caller: Caller,
    /// For calls, and for reading, which blocks the connection.
    connections: Option<(Connected, MultiplexedConnection)>,
}

impl Link {
    pub(super) fn new(settings: &Settings) -> io::Result<Self> {
        let instance = Instance(getrandom::u64().map_err(io::Error::other)?);
        Ok(Self {
            server: settings.server.clone(),
            keys: ClusterKeys::new(&settings.cluster),
            group: settings.group.clone(),
            caller: Caller { name: settings.node.clone(), instance },
            connections: None,
        })
    }

    pub(super) fn shown(&self) -> &str {
        self.server.shown()
    }

    pub(super) const fn is_up(&self) -> bool {
        self.connections.is_some()
    }

    pub(super) fn drop_connections(&mut self) {
        self.connections = None;
    }

    pub(super) async fn connect(&mut self) -> Result<(), ConnectError> {
        self.connections = Some((self.server.connect().await?, self.server.look().await?));
        Ok(())
    }

    /// Returns the connection for calls, and the replication id of Redis.
    fn ready(&self) -> Result<(MultiplexedConnection, Arc<str>), LibraryError> {
        let up = self.connections.as_ref().map(|(up, _)| (up.connection.clone(), up.replication.clone()));
        up.ok_or_else(|| LibraryError::Unreachable { function: "group", detail: "there is no connection".to_owned() })
    }

    pub(super) async fn acquire(&self, of: Partition, begin: StreamId) -> Result<Progress, LibraryError> {
        let (mut connection, replication) = self.ready()?;
        let keys = self.keys.partition(of);
        let Self { group, caller, .. } = self;
        let lease = Timing::default().lease;
        let request = Acquire { keys: &keys, group, caller, lease, replication: &replication, begin };
        Ok(call(&mut connection, &request).await?.1)
    }

    pub(super) async fn renew(
        &self,
        of: Partition,
        token: Token,
        position: StreamId,
    ) -> Result<Progress, LibraryError> {
        let (mut connection, replication) = self.ready()?;
        let keys = self.keys.partition(of);
        let Self { group, caller, .. } = self;
        let lease = Timing::default().lease;
        let request = Renew { keys: &keys, group, caller, token, lease, replication: &replication, position };
        Ok(call(&mut connection, &request).await?.1)
    }

    /// Renews a lease, and changes the state.
    pub(super) async fn commit(
        &self,
        of: Partition,
        token: Token,
        position: StreamId,
        changes: &Changes,
    ) -> Result<Progress, LibraryError> {
        let (mut connection, replication) = self.ready()?;
        let keys = self.keys.partition(of);
        let Self { group, caller, .. } = self;
        let lease = Timing::default().lease;
        let request = Commit { keys: &keys, group, caller, token, lease, replication: &replication, position, changes };
        Ok(call(&mut connection, &request).await?.1)
    }

    pub(super) async fn release(&self, of: Partition, token: Token, position: StreamId) -> Result<(), LibraryError> {
        let (mut connection, replication) = self.ready()?;
        let keys = self.keys.partition(of);
        let Self { group, caller, .. } = self;
        let request = Release { keys: &keys, group, caller, token, replication: &replication, position };
        call(&mut connection, &request).await.map(drop)
    }

    /// Notes what is acknowledged in a partition other than that of the lease.
    pub(super) async fn note(&self, of: Partition, position: StreamId) -> Result<(), LibraryError> {
        let (mut connection, replication) = self.ready()?;
        let keys = self.keys.partition(of);
        let Self { group, caller, .. } = self;
        call(&mut connection, &Note { keys: &keys, group, caller, replication: &replication, position }).await.map(drop)
    }

    /// Reads the state of the consumer and the positions that are kept with it.
    pub(super) async fn state(&self, of: Partition) -> Result<Fields, LibraryError> {
        const COMMAND: &str = "HGETALL";
        let (mut connection, _) = self.ready()?;
        let key = self.keys.partition(of).state(&self.group);
        let value = request(&mut connection, COMMAND, cmd(COMMAND).arg(key)).await?;
        let read = ::redis::from_redis_value::<Fields>(value);
        read.map_err(|_| LibraryError::Answer { function: COMMAND, missing: "fields" })
    }

    pub(super) async fn stream(&self, of: Partition) -> Result<StreamInfo, LibraryError> {
        const COMMAND: &str = "XINFO STREAM";
        let (mut connection, _) = self.ready()?;
        let key = self.keys.partition(of).stream;
        let value = match request(&mut connection, COMMAND, cmd("XINFO").arg("STREAM").arg(key)).await {
            // Nothing was written yet.
            Err(LibraryError::Failed { detail, .. }) if detail.contains("no such key") => {
                return Ok(StreamInfo::default());
            }
            answer => answer?,
        };
        let id = |name| field(&value, name).and_then(plain).and_then(|text| text.parse().ok());
        let missing = |missing| LibraryError::Answer { function: COMMAND, missing };
        let last = id("last-generated-id").ok_or_else(|| missing("last-generated-id"))?;
        Ok(StreamInfo { last, removed: id("max-deleted-entry-id").ok_or_else(|| missing("max-deleted-entry-id"))? })
    }

    /// Returns the key of a stream.
    pub(super) fn key(&self, of: Partition) -> String {
        self.keys.partition(of).stream
    }

    /// Waits for entries of streams behind these positions. Returns no request if there is no connection.
    pub(super) fn read<'a>(&self, from: impl Iterator<Item = (&'a String, StreamId)>) -> Option<Reading> {
        let (_, connection) = self.connections.as_ref()?;
        let mut connection = connection.clone();
        let mut command = cmd("XREAD");
        command.arg("COUNT").arg(COUNT).arg("BLOCK").arg(BLOCK.as_millis().to_string()).arg("STREAMS");
        let (keys, positions): (Vec<&String>, Vec<String>) =
            from.map(|(key, position)| (key, position.to_string())).unzip();
        command.arg(keys).arg(positions);
        Some(Box::pin(async move {
            let answer = command.query_async::<Value>(&mut connection).await;
            answer.map_err(|error| words(&error.to_string()))
        }))
    }
}
