//! What the driver of a group does with leases: it acquires, renews and releases them, and writes states and positions.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use klines_delivery::shared_state::Change;
use tokio::time::sleep;
use tracing::warn;

use super::{Driver, TICK};
use crate::group::book::{At, Holding, lost};
use crate::group::slot::{Slot, Stream, changes, stored};
use crate::lease::{Lease, Token};
use crate::library::LibraryError;
use crate::partition::Partition;
use crate::reader::BEGIN;
use crate::refusal::Refusal;
use crate::stream_id::StreamId;
use crate::workers::{Action, Input};

/// How long a lease that is to be given back waits until the consumer has accepted what it has got.
const FINISH: Duration = Duration::from_secs(10);

impl Driver {
    /// Does one thing. Returns what follows from it.
    pub(super) async fn act(&mut self, action: Action) -> Option<Input> {
        match action {
            Action::Acquire(partition) => self.acquire(partition).await,
            Action::Renew(partition, token) => self.renew(partition, token).await,
            Action::Begin(partition, token, position) => {
                let begun = self.begin(partition, position).await;
                self.failed(&begun.err()?);
                Some(Input::Refused { partition, token: Some(token), refusal: Refusal::Stale })
            }
            Action::Finish(partition) => {
                // A consumer that rests accepts nothing.
                let latest = self.book.now() + if self.is_resting { Duration::ZERO } else { FINISH };
                self.waiting.retain(|waiting| waiting.holding.partition != partition);
                self.slots.get_mut(&partition)?.finishing = Some(latest);
                None
            }
            Action::Abandon(partition) => {
                if self.slots.contains_key(&partition) {
                    self.abandoned += 1;
                }
                self.forget(partition);
                None
            }
            Action::Release(partition, token) => {
                self.release(partition, token).await;
                None
            }
        }
    }

    async fn acquire(&mut self, partition: Partition) -> Option<Input> {
        if !self.link.is_up() {
            return None;
        }
        let begin = if self.known.contains(&partition) { Ok(BEGIN) } else { self.end_of(partition).await };
        let sent = self.book.now();
        let result = match begin {
            Ok(begin) => self.link.acquire(partition, begin).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(progress) => {
                self.granted.insert(partition, progress.position);
                Some(Input::Granted { partition, sent, token: progress.token, position: progress.position })
            }
            Err(error) => {
                self.failed(&error);
                error.refusal().map(|refusal| Input::Refused { partition, token: None, refusal })
            }
        }
    }

    /// Returns the last entry of a stream.
    async fn end_of(&self, partition: Partition) -> Result<StreamId, LibraryError> {
        Ok(self.link.stream(partition).await?.last)
    }

    async fn renew(&mut self, partition: Partition, token: Token) -> Option<Input> {
        if !self.link.is_up() {
            return None;
        }
        let sent = self.book.now();
        let slot = self.slots.get(&partition)?;
        let (position, notes) = (slot.position(), slot.unnoted());
        let renewed = if notes.is_empty() {
            self.link.renew(partition, token, position).await
        } else {
            self.link.commit(partition, token, position, &changes(&[], &notes)).await
        };
        match renewed {
            Ok(progress) => {
                self.note(partition, &notes).await;
                Some(Input::Granted { partition, sent, token: progress.token, position: progress.position })
            }
            Err(error) => {
                self.failed(&error);
                error.refusal().map(|refusal| Input::Refused { partition, token: Some(token), refusal })
            }
        }
    }

    /// Notes positions in other partitions, for those who trim them.
    async fn note(&mut self, partition: Partition, notes: &[At]) {
        let mut noted = Vec::new();
        for at in notes {
            match self.link.note(at.partition, at.id).await {
                Ok(()) => noted.push(*at),
                Err(error) => {
                    self.failed(&error);
                    break;
                }
            }
        }
        if let Some(slot) = self.slots.get_mut(&partition) {
            slot.noted(&noted);
        }
    }

    /// Begins to read the streams of a lease.
    async fn begin(&mut self, partition: Partition, position: StreamId) -> Result<(), LibraryError> {
        let (state, positions) = stored(self.link.state(partition).await?);
        let is_new = !self.known.contains(&partition) && positions.is_empty();
        let all: Vec<Partition> = match self.settings.is_single {
            true => self.settings.partitions.iter().collect(),
            false => vec![partition],
        };
        let mut streams = BTreeMap::new();
        for of in all {
            let info = self.link.stream(of).await?;
            let stored = if of == partition { Some(position) } else { positions.get(&of.number()).copied() };
            let from = stored.unwrap_or(if is_new { info.last } else { BEGIN });
            if info.removed > from && from != BEGIN {
                self.counters.trimmed.fetch_add(1, Ordering::Relaxed);
                warn!(group = %self.settings.group, partition = %of, "entries were removed that the group had not acknowledged: klines are missing");
            }
            streams.insert(of, Stream::at(self.link.key(of), from));
        }
        self.number += 1;
        self.known.insert(partition);
        let holding = Holding { partition, number: self.number };
        let until = self.workers.lease(partition).map(Lease::until).unwrap_or_default();
        self.slots.insert(partition, Slot { holding, streams, finishing: None });
        self.book.begin(holding, until, state);
        Ok(())
    }

    fn forget(&mut self, partition: Partition) {
        self.book.end_of(partition);
        self.slots.remove(&partition);
        self.waiting.retain(|waiting| waiting.holding.partition != partition);
    }

    async fn release(&mut self, partition: Partition, token: Token) {
        // After this, the consumer changes nothing of it.
        self.book.end_of(partition);
        let slot = self.slots.remove(&partition);
        let granted = self.granted.get(&partition).copied().unwrap_or_default();
        let position = slot.as_ref().map_or(granted, Slot::position);
        let notes = slot.map(|slot| slot.unnoted()).unwrap_or_default();
        if !notes.is_empty() {
            match self.link.commit(partition, token, position, &changes(&[], &notes)).await {
                Ok(_) => self.note(partition, &notes).await,
                Err(error) => self.failed(&error),
            }
        }
        if let Err(error) = self.link.release(partition, token, position).await {
            self.failed(&error);
        }
    }

    /// Writes changes of a state with the position. Repeats it until it is certain, or until the lease is over.
    pub(super) async fn commit(&mut self, holding: Holding, at: Option<At>, values: &[Change]) -> Result<(), String> {
        let partition = holding.partition;
        loop {
            let Some(slot) = self.slots.get(&partition).filter(|slot| slot.holding == holding) else {
                return Err(lost(partition));
            };
            let own = at.filter(|at| at.partition == partition).map_or(StreamId::default(), |at| at.id);
            let position = slot.position().max(own);
            let other: Vec<At> = at.into_iter().filter(|at| at.partition != partition).collect();
            if let Some(token) = self.workers.may_acknowledge(partition, self.book.now()) {
                let sent = self.book.now();
                match self.link.commit(partition, token, position, &changes(values, &other)).await {
                    Ok(progress) => {
                        self.counters.commits.fetch_add(1, Ordering::Relaxed);
                        if let (Some(slot), Some(at)) = (self.slots.get_mut(&partition), at) {
                            slot.accepted(at);
                        }
                        let position = progress.position;
                        self.input(Input::Granted { partition, sent, token: progress.token, position }).await;
                        return Ok(());
                    }
                    Err(error) => {
                        self.failed(&error);
                        if let Some(refusal) = error.refusal() {
                            self.input(Input::Refused { partition, token: Some(token), refusal }).await;
                            continue;
                        }
                    }
                }
            }
            sleep(TICK).await;
            self.connect().await;
            self.beat().await;
        }
    }
}
