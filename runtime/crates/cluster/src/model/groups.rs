//! The worker leases of one partition: each group has at most one worker, and one position that only it can move.

use std::collections::BTreeMap;

use klines_domain::mutants::Mutant;

use super::{Caller, Grant};
use crate::lease::Token;
use crate::member::Name;
use crate::refusal::Refusal;
use crate::stream_id::StreamId;

/// The maximum number of groups.
pub const MAX_GROUPS: usize = 256;
/// The maximum number of fields that one call deletes, and that it sets.
pub const MAX_FIELDS: usize = 65_536;
/// The maximum length of the name of a field, in bytes.
pub const MAX_FIELD: usize = 512;
/// The maximum length of the value of a field, in bytes.
pub const MAX_VALUE: usize = 64 << 20;

/// What changes in the state of a consumer: fields that are deleted, and fields that get a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The fields that are deleted.
    pub deleted: Vec<Vec<u8>>,
    /// The fields that get a value. A field is in one of both lists.
    pub set: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The lease and the position of a group. Both stay when the lease is over.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    owner: Name,
    grant: Grant,
    /// The replication id of the Redis that granted the lease, as the worker knows it.
    replication: String,
    position: StreamId,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The groups of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    groups: BTreeMap<Name, Group>,
}

/// A lease that was granted or renewed: its token, and what the group has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The fencing token.
    pub token: Token,
    /// The last acknowledged entry.
    pub position: StreamId,
}

impl Groups {
    /// Grants the lease of a group. A new group begins behind `begin`.
    ///
    /// # Errors
    /// [`Refusal::Held`] while another worker has it, [`Refusal::Full`] if there are too many groups.
    pub fn acquire(
        &mut self,
        group: &Name,
        caller: &Caller,
        (replication, begin): (&str, StreamId),
        lease: u64,
        now: u64,
    ) -> Result<Progress, Refusal> {
        let full = self.groups.len() >= MAX_GROUPS;
        let known = self.groups.get_mut(group);
        let (token, position, state) = match known {
            Some(known) => {
                known.grant.cut(now);
                let is_own = known.owner == caller.name && known.grant.instance == caller.instance;
                if known.grant.is_living(now) && !is_own {
                    return Err(Refusal::Held);
                }
                (Token(known.grant.token.0 + 1), known.position, std::mem::take(&mut known.state))
            }
            None if full => return Err(Refusal::Full),
            None => (Token(1), begin, BTreeMap::new()),
        };
        let grant = Grant { instance: caller.instance, token, expires: now + lease };
        let owner = caller.name.clone();
        let replication = replication.to_owned();
        self.groups.insert(group.clone(), Group { owner, grant, replication, position, state });
        Ok(Progress { token, position })
    }

    /// Renews the lease of a group, moves its position on, and changes the state of its consumer.
    ///
    /// # Errors
    /// As for [`Groups::renew`]; then nothing has changed.
    pub fn commit(
        &mut self,
        (group, caller, token): (&Name, &Caller, Token),
        from: (&str, StreamId),
        changes: Changes,
        lease: u64,
        now: u64,
    ) -> Result<Progress, Refusal> {
        let progress = self.renew(group, caller, token, from, lease, now)?;
        if let Some(known) = self.groups.get_mut(group) {
            changes.deleted.iter().for_each(|field| drop(known.state.remove(field)));
            known.state.extend(changes.set);
        }
        Ok(progress)
    }

    /// Notes what a group has acknowledged whose lease is in another partition.
    ///
    /// # Errors
    /// [`Refusal::Full`] if there are too many groups.
    pub fn note(
        &mut self,
        group: &Name,
        caller: &Caller,
        (replication, position): (&str, StreamId),
    ) -> Result<Progress, Refusal> {
        if !self.groups.contains_key(group) && self.groups.len() >= MAX_GROUPS {
            return Err(Refusal::Full);
        }
        let known = self.groups.remove(group);
        let (token, before, state) =
            known.map(|known| (known.grant.token, known.position, known.state)).unwrap_or_default();
        let (owner, replication, position) = (caller.name.clone(), replication.to_owned(), position.max(before));
        let grant = Grant { instance: caller.instance, token, expires: 0 };
        self.groups.insert(group.clone(), Group { owner, grant, replication, position, state });
        Ok(Progress { token, position })
    }

    /// Returns the state of the consumer of a group.
    #[must_use]
    pub fn state(&self, group: &Name) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.groups.get(group).map(|known| known.state.clone()).unwrap_or_default()
    }

    /// Renews the lease of a group, and moves its position on.
    ///
    /// # Errors
    /// [`Refusal::Stale`] if it is over or another's, [`Refusal::Resend`] if this is another Redis,
    /// [`Refusal::Argument`] if the position would go back.
    pub fn renew(
        &mut self,
        group: &Name,
        caller: &Caller,
        token: Token,
        (replication, position): (&str, StreamId),
        lease: u64,
        now: u64,
    ) -> Result<Progress, Refusal> {
        let known = self.groups.get_mut(group).filter(|known| known.owner == caller.name).ok_or(Refusal::Stale)?;
        known.grant.check(caller, token, now)?;
        if known.replication != replication {
            return Err(Refusal::Resend);
        }
        if position < known.position && !Mutant::PositionBack.is_made() {
            return Err(Refusal::Argument);
        }
        known.grant.expires = now + lease;
        known.position = position;
        Ok(Progress { token, position })
    }

    /// Ends the lease of a group, and moves its position on. The same errors as those of [`Groups::renew`].
    ///
    /// # Errors
    /// As for [`Groups::renew`].
    pub fn release(
        &mut self,
        group: &Name,
        caller: &Caller,
        token: Token,
        from: (&str, StreamId),
        now: u64,
    ) -> Result<Progress, Refusal> {
        self.renew(group, caller, token, from, 0, now)
    }

    /// Returns the worker that has the lease of a group.
    #[must_use]
    pub fn owner(&self, group: &Name, now: u64) -> Option<&Name> {
        self.groups.get(group).filter(|known| known.grant.is_living(now)).map(|known| &known.owner)
    }
}
