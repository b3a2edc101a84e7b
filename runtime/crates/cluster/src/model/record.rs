//! The versions of one kline: the newest one of each node, and which of them is published.

#![expect(clippy::indexing_slicing, reason = "an index is where a version was found in the same list")]

use std::cmp::Reverse;

use klines_domain::mutants::Mutant;

use crate::member::Name;
use crate::version::{Digest, MAX_VERSIONS, Version, rank};

/// The versions of one identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The revision of the published version.
    pub revision: u64,
    /// The sequence of the published version.
    pub sequence: u64,
    /// The node whose version is published, as an index.
    owner: usize,
    /// The newest version of each node, in the order in which the nodes sent their first ones.
    versions: Vec<(Name, Version)>,
}

impl Record {
    /// Builds the record of a kline that one node has sent.
    #[must_use]
    pub fn new(node: &Name, version: Version, revision: u64, sequence: u64) -> Self {
        Self { revision, sequence, owner: 0, versions: vec![(node.clone(), version)] }
    }

    /// Returns the published version.
    #[must_use]
    pub fn published(&self) -> &Version {
        &self.versions[self.owner].1
    }

    /// Returns the digest of the newest version of a node.
    #[must_use]
    pub fn digest_of(&self, node: &Name) -> Option<Digest> {
        self.find(node).map(|at| self.versions[at].1.digest)
    }

    /// Takes the newest version of a node and chooses the best one. Returns whether another version is the best now.
    pub fn offer(&mut self, node: &Name, version: Version) -> bool {
        let before = self.published().digest;
        self.keep(node, version);
        let best = (0..self.versions.len()).min_by_key(|at| {
            let version = &self.versions[*at].1;
            // Among equal ones, the one that is published; then the node that was first.
            let rank = rank(version.quality);
            let rank = if Mutant::WorseVersionWins.is_made() { u8::MAX - rank } else { rank };
            (rank, Reverse(version.trades), *at != self.owner, *at)
        });
        self.owner = best.unwrap_or(self.owner);
        self.published().digest != before
    }

    /// Replaces what is published by a version that had been published before it was lost.
    pub fn restore(&mut self, node: &Name, version: Version, revision: u64, sequence: u64) {
        self.owner = self.keep(node, version);
        (self.revision, self.sequence) = (revision, sequence);
    }

    /// Returns whether another node has a better version than the one that a node sends.
    #[must_use]
    pub fn has_better(&self, node: &Name, version: &Version) -> bool {
        let order = |version: &Version| (rank(version.quality), Reverse(version.trades));
        self.versions.iter().any(|(name, other)| name != node && order(other) < order(version))
    }

    /// Returns whether the version of a node is equal to another node's in quality and trades, and is another one, while
    /// none is better.
    #[must_use]
    pub fn is_conflict(&self, node: &Name) -> bool {
        let Some(own) = self.find(node).map(|at| &self.versions[at].1) else { return false };
        let is_equal = |other: &Version| other.quality == own.quality && other.trades == own.trades;
        is_equal(self.published())
            && self.versions.iter().any(|(_, other)| is_equal(other) && other.digest != own.digest)
    }

    /// Stores the newest version of a node in the place of its last one. If there are too many nodes, that which was first
    /// and is not published is forgotten.
    fn keep(&mut self, node: &Name, version: Version) -> usize {
        if let Some(at) = self.find(node) {
            self.versions[at].1 = version;
            return at;
        }
        if self.versions.len() >= MAX_VERSIONS {
            let forgotten = usize::from(self.owner == 0);
            self.versions.remove(forgotten);
            self.owner -= usize::from(self.owner > forgotten);
        }
        self.versions.push((node.clone(), version));
        self.versions.len() - 1
    }

    fn find(&self, node: &Name) -> Option<usize> {
        self.versions.iter().position(|(name, _)| name == node)
    }
}
