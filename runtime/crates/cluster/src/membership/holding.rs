//! One partition that a node watches: its lease, whether its first windows are right, and who else holds it.

use std::time::Duration;

use klines_domain::mutants::Mutant;

use crate::lease::{Lease, Token};
use crate::member::Name;
use crate::refusal::Refusal;

/// What a holder is for a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Its first windows are not right yet: it is no replacement for another holder.
    Seeding,
    /// It counts as a replica.
    Counting,
}

impl Phase {
    /// Returns the name that Redis keeps.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seeding => "seeding",
            Self::Counting => "counting",
        }
    }

    /// Returns the phase with a name; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Seeding, Self::Counting].into_iter().find(|phase| phase.as_str() == text)
    }
}

/// A live holder of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its name.
    pub name: Name,
    /// Whether it counts.
    pub phase: Phase,
}

/// The state of one partition.
#[derive(Clone, Debug)]
pub(super) struct Holding {
    phase: Phase,
    /// Whether it is a share of this node now.
    wanted: bool,
    lease: Option<Lease>,
    /// The other holders, as the last answer named them.
    others: Vec<Holder>,
    next: Duration,
}

impl Default for Holding {
    fn default() -> Self {
        Self { phase: Phase::Seeding, wanted: true, lease: None, others: Vec::new(), next: Duration::ZERO }
    }
}

impl Holding {
    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) const fn is_wanted(&self) -> bool {
        self.wanted
    }

    pub(super) const fn set_wanted(&mut self, wanted: bool) {
        self.wanted = wanted;
    }

    pub(super) fn token(&self) -> Option<Token> {
        self.lease.map(Lease::token)
    }

    pub(super) fn others(&self) -> &[Holder] {
        &self.others
    }

    /// Returns whether another node counts.
    pub(super) fn counts(&self, name: &Name) -> bool {
        self.others.iter().any(|other| other.name == *name && other.phase == Phase::Counting)
    }

    pub(super) fn may_write(&self, now: Duration) -> Option<Token> {
        let lease = self.lease.filter(|lease| lease.is_valid(now))?;
        let is_needed = self.phase == Phase::Counting || self.others.iter().all(|other| other.phase == Phase::Seeding);
        is_needed.then(|| lease.token())
    }

    /// Returns whether others count while this node has a lease and is seeding.
    pub(super) fn leaves_to_others(&self, now: Duration) -> bool {
        self.lease.is_some_and(|lease| lease.is_valid(now)) && self.may_write(now).is_none()
    }

    /// Returns the token and the phase of the request that is due.
    pub(super) fn ask(&mut self, now: Duration, beat: Duration) -> Option<(Option<Token>, Phase)> {
        if now < self.next {
            return None;
        }
        self.next = now + beat;
        // After a pause, the token may be stale: ask for a new lease.
        let lease = self.lease.filter(|lease| lease.is_valid(now));
        let phase = if Mutant::CountsTooSoon.is_made() { Phase::Counting } else { self.phase };
        Some((lease.map(Lease::token), phase))
    }

    /// Makes the next request due at a moment.
    pub(super) const fn ask_at(&mut self, now: Duration) {
        self.next = now;
    }

    pub(super) fn granted(&mut self, lease: Lease, holders: Vec<Holder>, me: &Name) {
        if self.lease.is_none_or(|known| lease.newer(known) == lease) {
            self.lease = Some(lease);
            self.others = holders;
            self.others.retain(|holder| holder.name != *me);
        }
    }

    pub(super) fn refused(&mut self, token: Option<Token>, refusal: Refusal, now: Duration) {
        if token.is_none() || token == self.token() {
            self.lease = None;
            if refusal == Refusal::Stale {
                self.next = now;
            }
        }
    }

    /// Counts from now on, and says so at once.
    pub(super) fn seeded(&mut self, now: Duration) {
        if self.phase == Phase::Seeding {
            self.phase = Phase::Counting;
            self.next = now;
        }
    }
}
