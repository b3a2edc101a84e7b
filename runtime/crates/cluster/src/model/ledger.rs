//! What one partition has published: appending versions, and restoring what an asynchronous failover has lost.

use std::collections::{BTreeMap, BTreeSet};

use klines_domain::mutants::Mutant;

use super::record::Record;
use crate::member::Name;
use crate::refusal::Refusal;
use crate::version::{Bucket, Given, Identity, MAX_NUMBER, Published, REVISION_STEP, Version};

/// What became of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It was published with this revision and sequence.
    Published,
    /// It is what is published under them.
    Same,
    /// Another version, which is better, is published under them.
    Kept,
    /// Another version, which is no better and no worse, is published under them.
    Conflict,
    /// Its time to be compared is over; nothing was published.
    Old,
}

/// The answer for one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What became of it.
    pub status: Status,
    /// The revision of what is published.
    pub revision: u64,
    /// The sequence of what is published.
    pub sequence: u64,
}

/// A call that writes.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// The node that writes; its lease is checked by [`Holders`](super::holders::Holders).
    pub node: &'a Name,
    /// The replication id of Redis, as the node knows it.
    pub replication: &'a str,
    /// The live holders of the partition.
    pub living: &'a BTreeSet<Name>,
    /// The clock of Redis, in milliseconds.
    pub now: u64,
}

/// The state of one partition.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The number of the epoch; 0 before the first one.
    pub epoch: u64,
    /// The replication id of the Redis that the nodes wrote to.
    pub replication: String,
    /// The number of versions that were no better and no worse than others, and of numbers that were given twice.
    pub conflicts: u64,
    /// Everything that was published, oldest first, with its epoch.
    pub stream: Vec<(u64, Published)>,
    /// The holders that have not sent their last minute again since this Redis is another one.
    owing: BTreeSet<Name>,
    series: BTreeMap<String, u64>,
    buckets: BTreeMap<Bucket, BTreeMap<(String, u64), Record>>,
}

impl Ledger {
    /// Takes the newest versions of a node, in order.
    ///
    /// # Errors
    /// [`Refusal::Resend`] if this is not the Redis that the nodes wrote to, [`Refusal::Wait`] while a live holder has not
    /// sent its last minute again: its numbers could be given to other klines.
    pub fn append(&mut self, write: Write<'_>, klines: &[(Identity, Version)]) -> Result<Vec<Outcome>, Refusal> {
        self.expire(write.now);
        if self.replication != write.replication {
            return Err(Refusal::Resend);
        }
        self.owing.retain(|name| write.living.contains(name));
        if !self.owing.is_empty() && !Mutant::OwingForgotten.is_made() {
            return Err(Refusal::Wait);
        }
        Ok(klines.iter().map(|(identity, version)| self.append_one(write.node, identity, version, write.now)).collect())
    }

    /// Takes what a node was given in the last minute, in order, and restores what is missing. Begins an epoch if this is
    /// another Redis, if a number was given twice, or if numbers are missing. `epoch` is the last one that the node knows.
    pub fn resend(&mut self, write: Write<'_>, epoch: u64, klines: &[Given]) -> Vec<Outcome> {
        let Write { node, replication, living, now } = write;
        self.expire(now);
        if self.replication != replication {
            replication.clone_into(&mut self.replication);
            self.owing.clone_from(living);
            if !Mutant::EpochKept.is_made() {
                self.begin_epoch(epoch, now);
            }
        }
        self.owing.remove(node);
        let mut known = BTreeMap::new();
        for (at, Given { kline, .. }) in klines.iter().enumerate() {
            let (highest, newest): &mut (u64, usize) = known.entry(&kline.identity).or_default();
            (*highest, *newest) = (kline.revision.max(*highest), at);
        }
        let resent = klines.iter().enumerate().map(|(at, given)| {
            let (highest, newest) = known.get(&given.kline.identity).copied().unwrap_or_default();
            self.resend_one(write, Resent { given, epoch, highest, is_newest: newest == at })
        });
        resent.collect()
    }

    /// Returns the sequence of the last kline of a series.
    #[must_use]
    pub fn sequence(&self, series: &str) -> u64 {
        self.series.get(series).copied().unwrap_or_default()
    }

    /// Returns the record of a kline.
    #[must_use]
    pub fn record(&self, identity: &Identity) -> Option<&Record> {
        self.buckets.get(&identity.bucket)?.get(&(identity.series.clone(), identity.start))
    }

    /// Forgets the klines of buckets that have expired.
    fn expire(&mut self, now: u64) {
        self.buckets.retain(|bucket, _| bucket.expires() > now);
    }

    fn append_one(&mut self, node: &Name, identity: &Identity, version: &Version, now: u64) -> Outcome {
        if identity.bucket.expires() <= now {
            return Outcome { status: Status::Old, revision: 0, sequence: 0 };
        }
        if let Some(record) = self.record(identity).cloned() {
            return self.offer(node, identity, version, record, |revision| revision + 1);
        }
        let sequence = self.sequence(&identity.series) + 1;
        self.publish(identity, Record::new(node, version.clone(), 0, sequence), version)
    }

    /// Takes the newest version of a node for a known kline, and publishes the best one if it is another one.
    fn offer(
        &mut self,
        node: &Name,
        identity: &Identity,
        version: &Version,
        mut record: Record,
        next: impl FnOnce(u64) -> u64,
    ) -> Outcome {
        if record.digest_of(node) == Some(version.digest) {
            return self.keep(identity, record, version, node);
        }
        let is_new = record.offer(node, version.clone());
        self.conflicts += u64::from(record.is_conflict(node));
        if !is_new {
            return self.keep(identity, record, version, node);
        }
        record.revision = next(record.revision);
        record.sequence = self.sequence(&identity.series) + 1;
        self.publish(identity, record, version)
    }

    fn begin_epoch(&mut self, known: u64, now: u64) {
        self.epoch = self.epoch.max(known).saturating_add(1).max(now);
    }

    fn place(&self, node: &Name, Given { kline, own }: &Given) -> Place {
        let Published { identity, version, revision, .. } = kline;
        match self.record(identity) {
            Some(record) if record.revision > *revision => Place::Known,
            Some(record) if record.revision == *revision && (!own || record.published().digest == version.digest) => {
                Place::Known
            }
            Some(record) if record.revision == *revision => Place::Conflict,
            Some(record) if *own && record.has_better(node, version) && !Mutant::LoserRestored.is_made() => {
                Place::Worse
            }
            _ if !own => Place::Lost,
            _ => Place::Restored,
        }
    }

    fn resend_one(&mut self, write: Write<'_>, Resent { given, epoch, highest, is_newest }: Resent<'_>) -> Outcome {
        let (Write { node, now, .. }, Published { identity, version, revision, sequence }) = (write, &given.kline);
        if identity.bucket.expires() <= now {
            return Outcome { status: Status::Old, revision: 0, sequence: 0 };
        }
        let (place, record, last) =
            (self.place(node, given), self.record(identity).cloned(), self.sequence(&identity.series));
        // Other nodes may know later revisions that this Redis has lost.
        let free = |known: u64| (known.max(highest) / REVISION_STEP + 1) * REVISION_STEP;
        if place == Place::Known {
            // The newest version of this node may be lost although what is published is not.
            return match record {
                Some(record) if is_newest => self.offer(node, identity, version, record, free),
                Some(record) => self.keep(identity, record, version, node),
                None => self.append_one(node, identity, version, now),
            };
        }
        // Numbers are missing, or are another kline's by now.
        if place != Place::Restored || *sequence != last + 1 {
            self.begin_epoch(epoch, now);
        }
        let mut record = record.unwrap_or_else(|| Record::new(node, version.clone(), 0, 0));
        if place == Place::Restored {
            record.restore(node, version.clone(), *revision, (*sequence).max(last + 1));
        } else {
            self.conflicts += u64::from(place == Place::Conflict);
            record.offer(node, version.clone());
            (record.revision, record.sequence) = (free(record.revision), last.max(*sequence) + 1);
        }
        self.publish(identity, record, version)
    }

    /// Writes the best version of a record into the stream, and answers for the version that was sent.
    fn publish(&mut self, identity: &Identity, record: Record, sent: &Version) -> Outcome {
        let (revision, sequence) = (record.revision, record.sequence);
        debug_assert!(sequence <= MAX_NUMBER);
        let version = record.published().clone();
        let status = if version.digest == sent.digest { Status::Published } else { Status::Kept };
        self.stream.push((self.epoch, Published { identity: identity.clone(), version, revision, sequence }));
        self.series.insert(identity.series.clone(), sequence);
        self.store(identity, record);
        Outcome { status, revision, sequence }
    }

    /// Stores a record from which nothing is published, and answers for the version that was sent.
    fn keep(&mut self, identity: &Identity, record: Record, sent: &Version, node: &Name) -> Outcome {
        let status = match record.published().digest == sent.digest {
            true => Status::Same,
            false if record.is_conflict(node) => Status::Conflict,
            false => Status::Kept,
        };
        let outcome = Outcome { status, revision: record.revision, sequence: record.sequence };
        self.store(identity, record);
        outcome
    }

    fn store(&mut self, identity: &Identity, record: Record) {
        self.buckets.entry(identity.bucket).or_default().insert((identity.series.clone(), identity.start), record);
    }
}

/// One of the klines of a call.
#[derive(Clone, Copy)]
struct Resent<'a> {
    given: &'a Given,
    /// The last epoch that the node knows.
    epoch: u64,
    /// The highest revision of this kline that the node knows.
    highest: u64,
    /// Whether this is the last version of the kline in the call, which is the newest one of the node.
    is_newest: bool,
}

/// What a resent kline is to what Redis has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It, or a later revision, is published.
    Known,
    /// It was lost, and is restored, under a later sequence if its own is another kline's by now.
    Restored,
    /// Another node's version was lost, which was published instead of it.
    Lost,
    /// Its revision is another version's.
    Conflict,
    /// It was published by another Redis, which lost, while this one got a better version of another node.
    Worse,
}
