//! What one Redis has granted in a partition, kept apart from the models: the newest token of each name, until when it
//! lasts, and how far the group has consumed. A failover forgets it together with the models.

use std::collections::BTreeMap;

use klines_cluster::lease::Token;
use klines_cluster::member::{Instance, Name};
use klines_cluster::model::Caller;
use klines_cluster::model::groups::Progress;

/// The newest grant of a lease.
#[derive(Clone, Copy, Debug)]
struct Newest {
    instance: Instance,
    token: Token,
    until: u64,
}

/// What a worker has read since it began: all entries behind `begin`, up to `at`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Behind which entry it began.
    pub begin: u64,
    /// The last entry that it has consumed.
    pub at: u64,
}

/// The books of one partition.
#[derive(Clone, Debug, Default)]
pub struct Books {
    holders: BTreeMap<Name, Newest>,
    worker: Option<Newest>,
    /// All entries up to this one were consumed.
    consumed: u64,
    /// The last entry that the owner of the lease has acknowledged.
    acknowledged: u64,
}

impl Books {
    /// Notes a lease that was granted to a holder, or renewed. Returns what is wrong.
    pub fn hold(
        &mut self,
        caller: &Caller,
        asked: Option<Token>,
        granted: Token,
        until: u64,
        now: u64,
    ) -> Option<String> {
        let fault = asked.and_then(|token| self.write(caller, token, now));
        let newest = Newest { instance: caller.instance, token: granted, until };
        let before = self.holders.insert(caller.name.clone(), newest);
        let is_fenced = before.is_none_or(|before| before.token <= granted);
        fault.or_else(|| (!is_fenced).then(|| format!("{} got token {granted} after {before:?}", caller.name)))
    }

    /// Forgets the lease of a holder.
    pub fn drop(&mut self, caller: &Caller) {
        self.holders.remove(&caller.name);
    }

    /// Returns what is wrong with a request of a holder that was accepted.
    pub fn write(&self, caller: &Caller, token: Token, now: u64) -> Option<String> {
        let newest = self.holders.get(&caller.name);
        let may = newest.is_some_and(|newest| (newest.instance, newest.token) == (caller.instance, token));
        let is_living = newest.is_some_and(|newest| newest.until > now);
        (!may || !is_living)
            .then(|| format!("{} was let in at {now} with token {token}, and its lease is {newest:?}", caller.name))
    }

    /// Notes a lease that was granted to a worker. Returns what is wrong.
    pub fn acquire(&mut self, caller: &Caller, progress: Progress, until: u64, now: u64) -> Option<String> {
        let newest = Newest { instance: caller.instance, token: progress.token, until };
        let before = self.worker.replace(newest);
        let is_free = before.is_none_or(|before| before.until <= now || before.instance == caller.instance);
        let is_at = progress.position.millis == self.acknowledged;
        (!is_free || !is_at).then(|| {
            format!(
                "worker {} got a partition at {now} with {progress:?}; before: {before:?}, acknowledged {}",
                caller.name, self.acknowledged
            )
        })
    }

    /// Notes what a worker has acknowledged while it renewed or gave back its lease. Returns what is wrong.
    pub fn acknowledge(
        &mut self,
        caller: &Caller,
        progress: Progress,
        reading: Reading,
        until: u64,
        now: u64,
    ) -> Option<String> {
        let (newest, name) = (self.worker, &caller.name);
        let may = newest.is_some_and(|newest| {
            (newest.instance, newest.token) == (caller.instance, progress.token) && newest.until > now
        });
        let (before, consumed) = (self.acknowledged, self.consumed);
        self.worker = Some(Newest { instance: caller.instance, token: progress.token, until });
        self.acknowledged = reading.at;
        self.consumed = consumed.max(reading.at);
        if !may {
            return Some(format!("worker {name} acknowledged at {now} with {progress:?}; the newest is {newest:?}"));
        }
        if reading.at < before {
            return Some(format!("worker {name} acknowledged {} after {before}", reading.at));
        }
        (reading.begin > consumed && reading.at > reading.begin)
            .then(|| format!("worker {name} began behind {}, but only {consumed} are consumed", reading.begin))
    }
}
