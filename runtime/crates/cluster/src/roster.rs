//! What the node of a process and the groups for which the process works know of each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use klines_domain::kline::Batch;
use tokio::sync::{mpsc, watch};

use crate::group::Counters;
use crate::member::Name;
use crate::node::Seen;

/// What a process knows of a group for which it works.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Takes updates of open windows; what does not fit is dropped, because newer ones follow.
    pub(crate) updates: mpsc::Sender<Batch>,
    /// What the group has counted.
    pub counters: Arc<Counters>,
}

/// A group that is announced for as long as this process can work for it.
#[derive(Debug)]
pub(crate) struct Announced {
    group: Name,
    entry: Entry,
    roster: Arc<Roster>,
}

impl Announced {
    pub(crate) fn new(
        group: &Name,
        roster: &Arc<Roster>,
        updates: mpsc::Sender<Batch>,
        counters: &Arc<Counters>,
    ) -> Self {
        let announced =
            Self { group: group.clone(), entry: Entry { updates, counters: counters.clone() }, roster: roster.clone() };
        announced.set(true);
        announced
    }

    /// Announces the group, or takes that back.
    pub(crate) fn set(&self, works: bool) {
        if works {
            self.roster.add(self.group.clone(), self.entry.clone());
        } else {
            self.roster.remove(&self.group);
        }
    }

    /// Returns what the node sees, whenever it changes.
    pub(crate) fn seen(&self) -> watch::Receiver<Seen> {
        self.roster.seen()
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.set(false);
    }
}

/// The groups of a process, and what its node sees of the cluster.
#[derive(Debug, Default)]
pub struct Roster {
    groups: watch::Sender<BTreeMap<Name, Entry>>,
    seen: watch::Sender<Seen>,
}

impl Roster {
    /// Returns the groups for which the process works.
    #[must_use]
    pub fn groups(&self) -> BTreeMap<Name, Entry> {
        self.groups.borrow().clone()
    }

    pub(crate) fn names(&self) -> BTreeSet<Name> {
        self.groups.borrow().keys().cloned().collect()
    }

    fn add(&self, group: Name, entry: Entry) {
        self.groups.send_modify(|groups| drop(groups.insert(group, entry)));
    }

    fn remove(&self, group: &Name) {
        self.groups.send_modify(|groups| drop(groups.remove(group)));
    }

    /// Hands updates of open windows to the groups.
    pub fn update(&self, batch: &Batch) {
        for entry in self.groups.borrow().values() {
            let _ = entry.updates.try_send(batch.clone());
        }
    }

    /// Returns what the node sees, whenever it changes.
    #[must_use]
    pub fn seen(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    pub(crate) fn show(&self, seen: Seen) {
        self.seen.send_if_modified(|shown| {
            let is_new = *shown != seen;
            *shown = seen;
            is_new
        });
    }
}
