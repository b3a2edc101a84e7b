//! The requests of a node as tasks: each sends one call and returns what was answered.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Value, cmd};
use klines_domain::kline::Kline;

use super::Settings;
use super::lane::Next;
use crate::keys::ClusterKeys;
use crate::lease::{Timing, Token};
use crate::library::{
    Append, Beat, Drop, Hold, Holding, Join, Leave, LibraryError, Membership, Resend, Trim, Trimmed, ViewMembers,
    Written, call, request,
};
use crate::member::View;
use crate::membership::Phase;
use crate::model::Caller;
use crate::partition::Partition;
use crate::server::{ConnectError, Connected, Server};
use crate::updates;

/// More entries than this in a stream are removed even if a group has not acknowledged them.
const MOST_ENTRIES: u64 = 100_000;
/// A group whose worker was not seen for so long holds nothing up.
const GROUP_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// What came back.
pub(super) enum Done {
    Connected(Result<Connected, ConnectError>),
    Member {
        sent: Duration,
        token: Option<Token>,
        result: Result<Membership, LibraryError>,
    },
    Viewed(Result<View, LibraryError>),
    Held {
        partition: Partition,
        sent: Duration,
        token: Option<Token>,
        result: Result<Holding, LibraryError>,
    },
    Written {
        partition: Partition,
        token: Token,
        what: Next,
        result: Result<Written, LibraryError>,
    },
    Trimmed(Result<Trimmed, LibraryError>),
    /// Updates were published.
    Updated(Result<Value, LibraryError>),
    /// A lease was given back, or is over.
    Ended(Result<bool, LibraryError>),
}

/// What a request is sent with.
#[derive(Clone)]
pub(super) struct Sender {
    pub(super) connected: Connected,
    pub(super) keys: Arc<ClusterKeys>,
    pub(super) caller: Arc<Caller>,
    pub(super) settings: Arc<Settings>,
    pub(super) timing: Timing,
}

pub(super) async fn connect(server: Server, pause: Duration) -> Done {
    tokio::time::sleep(pause).await;
    Done::Connected(server.connect().await)
}

impl Sender {
    pub(super) async fn join(mut self, sent: Duration) -> Done {
        let (keys, caller, about) = (&*self.keys, &*self.caller, &self.settings.about);
        let join = Join { keys, caller, lease: self.timing.lease, about };
        let result = call(&mut self.connected.connection, &join).await;
        Done::Member { sent, token: None, result }
    }

    pub(super) async fn beat(mut self, sent: Duration, token: Token, generation: u64) -> Done {
        let (keys, caller) = (&*self.keys, &*self.caller);
        let beat = Beat { keys, caller, token, lease: self.timing.lease, generation };
        let result = call(&mut self.connected.connection, &beat).await;
        Done::Member { sent, token: Some(token), result }
    }

    pub(super) async fn leave(mut self, token: Token) -> Done {
        let leave = Leave { keys: &self.keys, caller: &self.caller, token };
        Done::Ended(call(&mut self.connected.connection, &leave).await)
    }

    pub(super) async fn view(mut self) -> Done {
        Done::Viewed(call(&mut self.connected.connection, &ViewMembers { keys: &self.keys }).await)
    }

    pub(super) async fn hold(
        mut self,
        sent: Duration,
        (partition, token): (Partition, Option<Token>),
        phase: Phase,
    ) -> Done {
        let keys = self.keys.partition(partition);
        let hold = Hold { keys: &keys, caller: &self.caller, token, lease: self.timing.lease, phase };
        let result = call(&mut self.connected.connection, &hold).await;
        Done::Held { partition, sent, token, result }
    }

    pub(super) async fn drop(mut self, partition: Partition, token: Token) -> Done {
        let keys = self.keys.partition(partition);
        let drop = Drop { keys: &keys, caller: &self.caller, token };
        Done::Ended(call(&mut self.connected.connection, &drop).await)
    }

    pub(super) async fn write(mut self, partition: Partition, token: Token, what: Next) -> Done {
        let keys = self.keys.partition(partition);
        let (keys, caller, replication) = (&keys, &*self.caller, &*self.connected.replication);
        let connection = &mut self.connected.connection;
        let result = match &what {
            Next::Append(klines) => call(connection, &Append { keys, caller, token, replication, klines }).await,
            Next::Resend { epoch, klines } => {
                call(connection, &Resend { keys, caller, token, replication, epoch: *epoch, klines }).await
            }
        };
        Done::Written { partition, token, what, result }
    }

    pub(super) async fn publish(mut self, partition: Partition, updates: Vec<Arc<Kline>>) -> Done {
        let mut command = cmd("PUBLISH");
        command
            .arg(self.keys.partition(partition).updates)
            .arg(updates::encode(updates.iter().map(|update| &**update)));
        Done::Updated(request(&mut self.connected.connection, "PUBLISH", &command).await)
    }

    pub(super) async fn trim(mut self, partition: Partition, token: Token) -> Done {
        let (keys, age) = (self.keys.partition(partition), self.settings.retain);
        let trim = Trim { keys: &keys, caller: &self.caller, token, age, most: MOST_ENTRIES, life: GROUP_LIFE };
        Done::Trimmed(call(&mut self.connected.connection, &trim).await)
    }
}
