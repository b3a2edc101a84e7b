//! Calls of workers: the lease to consume a partition for a group, and what the group has acknowledged.

use std::time::Duration;

use ::redis::{Cmd, Value};

use super::answer::Answer;
use super::call::{Call, answer};
use super::error::LibraryError;
use super::members::{caller, millis};
use crate::keys::PartitionKeys;
use crate::lease::Token;
use crate::member::Name;
use crate::model::Caller;
use crate::model::groups::{Changes, Progress};
use crate::stream_id::StreamId;

fn progress(mut answer: Answer<'_>) -> Result<(u64, Progress), LibraryError> {
    let now = answer.next("time")?;
    Ok((now, Progress { token: Token(answer.next("token")?), position: answer.next("position")? }))
}

/// Asks for the lease of a group. The answers of this and the other calls of workers begin with the clock of Redis.
#[derive(Clone, Copy, Debug)]
pub struct Acquire<'a> {
    /// The partition.
    pub keys: &'a PartitionKeys,
    /// The group.
    pub group: &'a Name,
    /// Who asks.
    pub caller: &'a Caller,
    /// How long the lease lasts.
    pub lease: Duration,
    /// The replication id of Redis, as the caller read it after it connected.
    pub replication: &'a str,
    /// Behind which entry a new group begins.
    pub begin: StreamId,
}

impl Call for Acquire<'_> {
    type Answer = (u64, Progress);
    const FUNCTION: &'static str = "klines_v1_acquire";

    fn keys(&self) -> Vec<String> {
        vec![self.keys.groups.clone()]
    }

    fn arguments(&self, command: &mut Cmd) {
        command.arg(self.group.as_str());
        caller(command, self.caller);
        command.arg(millis(self.lease)).arg(self.replication).arg(self.begin.to_string());
    }

    fn read(&self, value: &Value) -> Result<Self::Answer, LibraryError> {
        progress(answer::<Self>(value)?)
    }
}

/// Renews the lease of a group, and acknowledges what was consumed.
#[derive(Clone, Copy, Debug)]
pub struct Renew<'a> {
    /// The partition.
    pub keys: &'a PartitionKeys,
    /// The group.
    pub group: &'a Name,
    /// Who asks.
    pub caller: &'a Caller,
    /// The fencing token.
    pub token: Token,
    /// How long the lease lasts from now on.
    pub lease: Duration,
    /// The replication id of Redis, as the caller read it after it connected.
    pub replication: &'a str,
    /// The last entry that was consumed.
    pub position: StreamId,
}

impl Call for Renew<'_> {
    type Answer = (u64, Progress);
    const FUNCTION: &'static str = "klines_v1_renew";

    fn keys(&self) -> Vec<String> {
        vec![self.keys.groups.clone()]
    }

    fn arguments(&self, command: &mut Cmd) {
        command.arg(self.group.as_str());
        caller(command, self.caller);
        command.arg(self.token.0).arg(millis(self.lease)).arg(self.replication).arg(self.position.to_string());
    }

    fn read(&self, value: &Value) -> Result<Self::Answer, LibraryError> {
        progress(answer::<Self>(value)?)
    }
}

/// Acknowledges what was consumed, and ends the lease of a group.
#[derive(Clone, Copy, Debug)]
pub struct Release<'a> {
    /// The partition.
    pub keys: &'a PartitionKeys,
    /// The group.
    pub group: &'a Name,
    /// Who asks.
    pub caller: &'a Caller,
    /// The fencing token.
    pub token: Token,
    /// The replication id of Redis, as the caller read it after it connected.
    pub replication: &'a str,
    /// The last entry that was consumed.
    pub position: StreamId,
}

impl Call for Release<'_> {
    type Answer = (u64, Progress);
    const FUNCTION: &'static str = "klines_v1_release";

    fn keys(&self) -> Vec<String> {
        vec![self.keys.groups.clone()]
    }

    fn arguments(&self, command: &mut Cmd) {
        command.arg(self.group.as_str());
        caller(command, self.caller);
        command.arg(self.token.0).arg(self.replication).arg(self.position.to_string());
    }

    fn read(&self, value: &Value) -> Result<Self::Answer, LibraryError> {
        progress(answer::<Self>(value)?)
    }
}

/// Renews the lease of a group, acknowledges what was consumed, and changes the state of the consumer: all or nothing.
#[derive(Clone, Copy, Debug)]
pub struct Commit<'a> {
    /// The partition.
    pub keys: &'a PartitionKeys,
    /// The group.
    pub group: &'a Name,
    /// Who asks.
    pub caller: &'a Caller,
    /// The fencing token.
    pub token: Token,
    /// How long the lease lasts from now on.
    pub lease: Duration,
    /// The replication id of Redis, as the caller read it after it connected.
    pub replication: &'a str,
    /// The last entry that was consumed.
    pub position: StreamId,
    /// What changes in the state.
    pub changes: &'a Changes,
}

impl Call for Commit<'_> {
    type Answer = (u64, Progress);
    const FUNCTION: &'static str = "klines_v1_commit";

    fn keys(&self) -> Vec<String> {
        vec![self.keys.groups.clone(), self.keys.state(self.group)]
    }

    fn arguments(&self, command: &mut Cmd) {
        command.arg(self.group.as_str());
        caller(command, self.caller);
        command.arg(self.token.0).arg(millis(self.lease)).arg(self.replication).arg(self.position.to_string());
        let Changes { deleted, set } = self.changes;
        command.arg(deleted.len()).arg(deleted).arg(set.len()).arg(set);
    }

    fn read(&self, value: &Value) -> Result<Self::Answer, LibraryError> {
        progress(answer::<Self>(value)?)
    }
}

/// Notes what a group has acknowledged in a partition other than that of its lease: what was not is not trimmed.
#[derive(Clone, Copy, Debug)]
pub struct Note<'a> {
    /// The partition.
    pub keys: &'a PartitionKeys,
    /// The group.
    pub group: &'a Name,
    /// Who asks.
    pub caller: &'a Caller,
    /// The replication id of Redis, as the caller read it after it connected.
    pub replication: &'a str,
    /// The last entry that was consumed.
    pub position: StreamId,
}

impl Call for Note<'_> {
    type Answer = (u64, Progress);
    const FUNCTION: &'static str = "klines_v1_note";

    fn keys(&self) -> Vec<String> {
        vec![self.keys.groups.clone()]
    }

    fn arguments(&self, command: &mut Cmd) {
        command.arg(self.group.as_str());
        caller(command, self.caller);
        command.arg(self.replication).arg(self.position.to_string());
    }

    fn read(&self, value: &Value) -> Result<Self::Answer, LibraryError> {
        progress(answer::<Self>(value)?)
    }
}
