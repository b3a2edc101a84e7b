//! Calls that write klines, trim the stream, and read the state of a partition.

use std::collections::BTreeMap;
use std::time::Duration;

use ::redis::{Cmd, Value};

use super::answer::Answer;
use super::call::{Call, answer};
use super::error::LibraryError;
use super::members::{caller, millis};
use crate::keys::PartitionKeys;
use crate::lease::Token;
use crate::model::Caller;
use crate::model::ledger::{Outcome, Status};
use crate::stream_id::StreamId;
use crate::version::{Bucket, Given, Identity, Published, Version, rank};

/// The number of keys before those of buckets.
const FIXED: usize = 4;

/// What became of the klines of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The clock of Redis, in milliseconds.
    pub now: u64,
    /// The epoch of the partition.
    pub epoch: u64,
    /// The entry of the stream; `None` if nothing was published.
    pub entry: Option<StreamId>,
    /// What became of each kline, in the order of the call.
    pub outcomes: Vec<Outcome>,
}

fn written(mut answer: Answer<'_>, count: usize) -> Result<Written, LibraryError> {
    let (now, epoch) = (answer.next("time")?, answer.next("epoch")?);
    let entry = answer
        .next_with("id of an entry", |text| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) })?;
    let mut outcomes = Vec::new();
    for _ in 0..count {
        let status = answer.next_with("status", status)?;
        outcomes.push(Outcome { status, revision: answer.next("revision")?, sequence: answer.next("sequence")? });
    }
    Ok(Written { now, epoch, entry, outcomes })
}

fn status(text: &str) -> Option<Status> {
    let all = [Status::Published, Status::Same, Status::Kept, Status::Conflict, Status::Old];
    all.get(text.parse::<usize>().ok()?).copied()
}

/// Returns the keys of a call, and the number of each bucket's key.
fn keys<'a>(
    keys: &PartitionKeys,
    identities: impl Iterator<Item = &'a Identity>,
) -> (Vec<String>, BTreeMap<Bucket, usize>) {
    let mut all = vec![keys.meta.clone(), keys.holders.clone(), keys.series.clone(), keys.stream.clone()];
    let mut numbers: BTreeMap<Bucket, usize> = identities.map(|identity| (identity.bucket, 0)).collect();
    for (at, (bucket, number)) in numbers.iter_mut().enumerate() {
        *number = FIXED + 1 + at;
        all.push(keys.bucket(*bucket));
    }
    (all, numbers)
}

fn kline(command: &mut Cmd, numbers: &BTreeMap<Bucket, usize>, identity: &Identity, version: &Version) {
    let number = numbers.get(&identity.bucket).copied().unwrap_or_default();
    command.arg(&identity.series).arg(identity.start).arg(number).arg(&version.digest.0[..]);
    command.arg(rank(version.quality)).arg(version.trades).arg(&version.body);
}

/// Sends the newest versions of one partition at one boundary. At most [`MAX_KLINES`](crate::version::MAX_KLINES).
#[derive(Clone, Copy, Debug)]
pub struct Append<'a> {
    /// The partition.
    pub keys: &'a PartitionKeys,
    /// Who writes.
    pub caller: &'a Caller,
    /// The fencing token of the holder.
    pub token: Token,
    /// The replication id of Redis, as the caller read it after it connected.
    pub replication: &'a str,
    /// The versions, in order.
    pub klines: &'a [(Identity, Version)],
}

impl Call for Append<'_> {
    type Answer = Written;
    const FUNCTION: &'static str = "klines_v1_append";

    fn keys(&self) -> Vec<String> {
        keys(self.keys, self.klines.iter().map(|(identity, _)| identity)).0
    }

    fn arguments(&self, command: &mut Cmd) {
        let (_, numbers) = keys(self.keys, self.klines.iter().map(|(identity, _)| identity));
        caller(command, self.caller);
        command.arg(self.token.0).arg(self.replication).arg(self.klines.len());
        self.klines.iter().for_each(|(identity, version)| kline(command, &numbers, identity, version));
    }

    fn read(&self, value: &Value) -> Result<Written, LibraryError> {
        written(answer::<Self>(value)?, self.klines.len())
    }
}

/// Sends what a node was given in the last minute once more, after it has connected. The first call of a cluster is one
/// without klines.
#[derive(Clone, Copy, Debug)]
pub struct Resend<'a> {
    /// The partition.
    pub keys: &'a PartitionKeys,
    /// Who writes.
    pub caller: &'a Caller,
    /// The fencing token of the holder.
    pub token: Token,
    /// The replication id of Redis, as the caller read it after it connected.
    pub replication: &'a str,
    /// The last epoch that the node knows; 0 for none.
    pub epoch: u64,
    /// The versions with their numbers, as [`Tail::resend`](crate::tail::Tail::resend) orders them: the last one of a kline is
    /// the newest of the node.
    pub klines: &'a [Given],
}

impl Call for Resend<'_> {
    type Answer = Written;
    const FUNCTION: &'static str = "klines_v1_resend";

    fn keys(&self) -> Vec<String> {
        keys(self.keys, self.klines.iter().map(|given| &given.kline.identity)).0
    }

    fn arguments(&self, command: &mut Cmd) {
        let (_, numbers) = keys(self.keys, self.klines.iter().map(|given| &given.kline.identity));
        caller(command, self.caller);
        command.arg(self.token.0).arg(self.replication).arg(self.epoch).arg(self.klines.len());
        for Given { kline: Published { identity, version, revision, sequence }, own } in self.klines {
            kline(command, &numbers, identity, version);
            command.arg(revision).arg(sequence).arg(u8::from(*own));
        }
    }

    fn read(&self, value: &Value) -> Result<Written, LibraryError> {
        written(answer::<Self>(value)?, self.klines.len())
    }
}

/// Removes entries that nobody needs.
#[derive(Clone, Copy, Debug)]
pub struct Trim<'a> {
    /// The partition.
    pub keys: &'a PartitionKeys,
    /// Who asks.
    pub caller: &'a Caller,
    /// The fencing token of the holder.
    pub token: Token,
    /// Younger entries stay.
    pub age: Duration,
    /// More entries than this are removed even if a group has not acknowledged them.
    pub most: u64,
    /// A group whose worker has not been seen for so long holds nothing up.
    pub life: Duration,
}

/// What was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trimmed {
    /// Entries that every living group had acknowledged.
    pub removed: u64,
    /// Entries beyond the maximum, whether acknowledged or not.
    pub forced: u64,
    /// Entries that remain.
    pub length: u64,
}

impl Call for Trim<'_> {
    type Answer = Trimmed;
    const FUNCTION: &'static str = "klines_v1_trim";

    fn keys(&self) -> Vec<String> {
        let PartitionKeys { meta, holders, stream, groups, .. } = self.keys;
        [meta, holders, stream, groups].map(Clone::clone).into()
    }

    fn arguments(&self, command: &mut Cmd) {
        caller(command, self.caller);
        command.arg(self.token.0).arg(millis(self.age)).arg(self.most).arg(millis(self.life));
    }

    fn read(&self, value: &Value) -> Result<Trimmed, LibraryError> {
        let mut answer = answer::<Self>(value)?;
        answer.next::<u64>("time")?;
        let (removed, forced) = (answer.next("number of entries")?, answer.next("number of entries")?);
        Ok(Trimmed { removed, forced, length: answer.next("length")? })
    }
}

/// Reads the state of a partition.
#[derive(Clone, Copy, Debug)]
pub struct PartitionView<'a> {
    /// The partition.
    pub keys: &'a PartitionKeys,
}

/// The state of a partition, for those who look on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// The clock of Redis, in milliseconds.
    pub now: u64,
    /// The number of entries of the stream.
    pub length: u64,
    /// The last entry of the stream.
    pub last: StreamId,
    /// Epoch, replication id, and counts, as Redis keeps them.
    pub meta: BTreeMap<String, String>,
    /// The lease of each holder, as Redis keeps it.
    pub holders: BTreeMap<String, String>,
    /// The lease and the position of each group, as Redis keeps them.
    pub groups: BTreeMap<String, String>,
}

impl Call for PartitionView<'_> {
    type Answer = PartitionState;
    const FUNCTION: &'static str = "klines_v1_partition";
    const READ_ONLY: bool = true;

    fn keys(&self) -> Vec<String> {
        let PartitionKeys { meta, holders, stream, groups, .. } = self.keys;
        [meta, holders, stream, groups].map(Clone::clone).into()
    }

    fn arguments(&self, _: &mut Cmd) {}

    fn read(&self, value: &Value) -> Result<PartitionState, LibraryError> {
        let mut answer = answer::<Self>(value)?;
        let (now, length, last) = (answer.next("time")?, answer.next("length")?, answer.next("last entry")?);
        let mut map = |what| -> Result<BTreeMap<String, String>, LibraryError> {
            let (mut list, mut found) = (answer.next_list(what)?, BTreeMap::new());
            while !list.is_over() {
                found.insert(list.next(what)?, list.next(what)?);
            }
            Ok(found)
        };
        Ok(PartitionState { now, length, last, meta: map("meta")?, holders: map("holders")?, groups: map("groups")? })
    }
}
