//! What one partition has published: appending versions, and restoring what an asynchronous failover has lost.

use std::collections::BTreeMap;

use super::record::Record;
use crate::member::Name;
use crate::refusal::Refusal;
use crate::version::{Bucket, Identity, MAX_NUMBER, Published, Version};

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
    series: BTreeMap<String, u64>,
    buckets: BTreeMap<Bucket, BTreeMap<(String, u64), Record>>,
}

impl Ledger {
    /// Takes the newest versions of a node, in order.
    ///
    /// # Errors
    /// [`Refusal::Resend`] if this is not the Redis that the nodes wrote to.
    pub fn append(
        &mut self,
        node: &Name,
        replication: &str,
        klines: &[(Identity, Version)],
        now: u64,
    ) -> Result<Vec<Outcome>, Refusal> {
        self.expire(now);
        if self.replication != replication {
            return Err(Refusal::Resend);
        }
        Ok(klines.iter().map(|(identity, version)| self.append_one(node, identity, version, now)).collect())
    }

    /// Takes what a node was given in the last minute, in order, and restores what is missing. Begins an epoch if this is
    /// another Redis, if a number was given twice, or if numbers are missing.
    pub fn resend(
        &mut self,
        node: &Name,
        (replication, epoch): (&str, u64),
        klines: &[Published],
        now: u64,
    ) -> Vec<Outcome> {
        self.expire(now);
        let (first, mut begins) = (self.stream.len(), self.replication != replication);
        let mut outcomes = Vec::new();
        for kline in klines {
            begins |= self.begins_epoch(kline, now);
            outcomes.push(self.resend_one(node, kline, now));
        }
        if begins {
            self.epoch = self.epoch.max(epoch).saturating_add(1).max(now);
            self.replication = replication.to_owned();
            // The klines of one call are one entry.
            self.stream.iter_mut().skip(first).for_each(|(of, _)| *of = self.epoch);
        }
        outcomes
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
        let Some(mut record) = self.record(identity).cloned() else {
            let sequence = self.sequence(&identity.series) + 1;
            return self.publish(identity, Record::new(node, version.clone(), 0, sequence), version);
        };
        let is_known = record.digest_of(node) == Some(version.digest);
        if !is_known && record.offer(node, version.clone()) {
            record.revision += 1;
            record.sequence = self.sequence(&identity.series) + 1;
            self.note_conflict(&record, node);
            return self.publish(identity, record, version);
        }
        if !is_known {
            self.note_conflict(&record, node);
        }
        self.keep(identity, record, version, node)
    }

    /// Returns whether a resent kline shows that numbers are missing or were given twice.
    fn begins_epoch(&self, kline: &Published, now: u64) -> bool {
        let Published { identity, sequence, .. } = kline;
        let expected = self.sequence(&identity.series) + 1;
        identity.bucket.expires() > now
            && match self.place(kline) {
                Place::Restored => *sequence > expected,
                Place::Conflict => true,
                Place::Known | Place::Older => false,
            }
    }

    fn place(&self, kline: &Published) -> Place {
        let Published { identity, version, revision, sequence } = kline;
        let record = self.record(identity);
        match record {
            Some(record) if record.revision >= *revision && record.published().digest == version.digest => Place::Known,
            Some(record) if record.revision > *revision => Place::Older,
            Some(record) if record.revision == *revision => Place::Conflict,
            _ if *sequence > self.sequence(&identity.series) => Place::Restored,
            _ => Place::Conflict,
        }
    }

    fn resend_one(&mut self, node: &Name, kline: &Published, now: u64) -> Outcome {
        let Published { identity, version, revision, sequence } = kline;
        if identity.bucket.expires() <= now {
            return Outcome { status: Status::Old, revision: 0, sequence: 0 };
        }
        let record = self.record(identity).cloned();
        match (self.place(kline), record) {
            (Place::Known | Place::Older, Some(record)) if record.digest_of(node).is_some() => {
                self.keep(identity, record, version, node)
            }
            (Place::Known | Place::Older, _) => self.append_one(node, identity, version, now),
            (Place::Restored, record) => {
                let mut record = record.unwrap_or_else(|| Record::new(node, version.clone(), 0, 0));
                record.restore(node, version.clone(), *revision, *sequence);
                self.publish(identity, record, version)
            }
            (Place::Conflict, record) => {
                self.conflicts += 1;
                let known = record.as_ref().map_or(0, |record| record.revision);
                let mut record = record.unwrap_or_else(|| Record::new(node, version.clone(), 0, 0));
                record.offer(node, version.clone());
                record.revision = known.max(*revision) + 1;
                record.sequence = self.sequence(&identity.series) + 1;
                self.publish(identity, record, version)
            }
        }
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

    fn note_conflict(&mut self, record: &Record, node: &Name) {
        self.conflicts += u64::from(record.is_conflict(node));
    }

    fn store(&mut self, identity: &Identity, record: Record) {
        self.buckets.entry(identity.bucket).or_default().insert((identity.series.clone(), identity.start), record);
    }
}

/// What a resent kline is to what Redis has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It is what is published, or was published again since.
    Known,
    /// A later revision is published.
    Older,
    /// It was lost.
    Restored,
    /// Its revision or its sequence is another kline's.
    Conflict,
}
