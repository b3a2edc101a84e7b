//! The worker leases of one partition: each group has at most one worker, and one position that only it can move.

use std::collections::BTreeMap;

use super::{Caller, Grant};
use crate::lease::Token;
use crate::member::Name;
use crate::refusal::Refusal;
use crate::stream_id::StreamId;

/// The maximum number of groups.
pub const MAX_GROUPS: usize = 256;

/// The lease and the position of a group. Both stay when the lease is over.
#[derive(Clone, Debug)]
struct Group {
    owner: Name,
    grant: Grant,
    /// The replication id of the Redis that granted the lease, as the worker knows it.
    replication: String,
    position: StreamId,
}

/// The groups of a partition.
#[derive(Clone, Debug, Default)]
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
        let (token, position) = match known {
            Some(known) => {
                known.grant.cut(now);
                let is_own = known.owner == caller.name && known.grant.instance == caller.instance;
                if known.grant.is_living(now) && !is_own {
                    return Err(Refusal::Held);
                }
                (Token(known.grant.token.0 + 1), known.position)
            }
            None if full => return Err(Refusal::Full),
            None => (Token(1), begin),
        };
        let grant = Grant { instance: caller.instance, token, expires: now + lease };
        let owner = caller.name.clone();
        self.groups.insert(group.clone(), Group { owner, grant, replication: replication.to_owned(), position });
        Ok(Progress { token, position })
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
        if position < known.position {
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
